//! Public keys in PKCS#11's encodings, which differ between tokens: curve names, points,
//! parameter sets, sizes. Pure.

use super::super::protocol::Material;
use crate::jose::{Algorithm, Curve, KeyType, MlDsa};
use cryptoki::object::{MlDsaParameterSetType, ParameterSetType};

/// DER of the named curves (RFC 5480 section 2.1.1.1).
pub(super) fn curve_oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        Curve::P384 => b"\x06\x05\x2b\x81\x04\x00\x22",
        Curve::P521 => b"\x06\x05\x2b\x81\x04\x00\x23",
    }
}
/// Ed25519 as an object identifier (RFC 8410 section 3).
pub(super) const ED25519_OID: &[u8] = b"\x06\x03\x2b\x65\x70";
/// Ed25519 as a PrintableString (PKCS#11 3.0, section 2.3.5).
pub(super) const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// `CKA_PARAMETER_SET` of an ML-DSA key (PKCS#11 3.2).
pub(super) fn parameter_set(set: MlDsa) -> ParameterSetType {
    match set {
        MlDsa::MlDsa44 => MlDsaParameterSetType::ML_DSA_44,
        MlDsa::MlDsa65 => MlDsaParameterSetType::ML_DSA_65,
        MlDsa::MlDsa87 => MlDsaParameterSetType::ML_DSA_87,
    }
    .into()
}

/// An EC key from `CKA_EC_PARAMS` and `CKA_EC_POINT`.
pub(super) fn ec(params: &[u8], point: &[u8]) -> Result<Material, String> {
    let curve = [Curve::P256, Curve::P384, Curve::P521]
        .into_iter()
        .find(|curve| curve_oid(*curve) == params)
        .ok_or("its curve is none of P-256, P-384 and P-521")?;
    let (length, material): (_, fn(Vec<u8>) -> Material) = match curve {
        Curve::P256 => (65, |point| Material::P256 { point }),
        Curve::P384 => (97, |point| Material::P384 { point }),
        Curve::P521 => (133, |point| Material::P521 { point }),
    };
    unwrap_point(point, length).map(|point| material(point.to_vec()))
}

/// An Edwards key from `CKA_EC_PARAMS` and `CKA_EC_POINT`.
pub(super) fn ed25519(params: &[u8], point: &[u8]) -> Result<Material, String> {
    if params != ED25519_OID && params != ED25519_NAME {
        return Err("its curve is not Ed25519".into());
    }
    let x = unwrap_point(point, 32)?.to_vec();
    Ok(Material::Ed25519 { x })
}

/// An ML-DSA key from `CKA_PARAMETER_SET` and `CKA_VALUE`.
pub(super) fn ml_dsa(found: Option<ParameterSetType>, key: Vec<u8>) -> Result<Material, String> {
    let set = MlDsa::ALL.into_iter().find(|set| Some(parameter_set(*set)) == found);
    let set = set.ok_or("its CKA_PARAMETER_SET is none of ML-DSA-44, 65 and 87")?;
    if key.len() != set.public_len() {
        return Err(format!("its CKA_VALUE is no public key of {}", set.name()));
    }
    Ok(Material::MlDsa { set, key })
}

/// The point itself: tokens give it bare or as a DER OCTET STRING. The lengths never coincide.
fn unwrap_point(point: &[u8], length: usize) -> Result<&[u8], String> {
    let inner = match point {
        bare if bare.len() == length => bare,
        [0x04, 0x81, inner_length, inner @ ..] if *inner_length >= 0x80 => {
            if usize::from(*inner_length) != inner.len() { &[] } else { inner }
        }
        [0x04, inner_length, inner @ ..] if usize::from(*inner_length) == inner.len() => inner,
        _ => &[],
    };
    if inner.len() == length { Ok(inner) } else { Err("its CKA_EC_POINT is not a point of its curve".into()) }
}

/// Whether the algorithm can use the key.
pub(super) fn fits(public: &Material, algorithm: Algorithm) -> bool {
    match (public, algorithm.key_type()) {
        (Material::MlDsa { set, .. }, KeyType::MlDsa(wanted)) => *set == wanted,
        (Material::Rsa { .. }, KeyType::Rsa)
        | (Material::P256 { .. }, KeyType::Ec(Curve::P256))
        | (Material::P384 { .. }, KeyType::Ec(Curve::P384))
        | (Material::P521 { .. }, KeyType::Ec(Curve::P521))
        | (Material::Ed25519 { .. }, KeyType::Ed25519) => true,
        _ => false,
    }
}

/// `RSA-2048`, `P-256`, `Ed25519`: for people.
pub(super) fn describe(public: &Material) -> String {
    match public {
        Material::Rsa { n, .. } => {
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            let significant = n.get(zeros..).unwrap_or_default();
            let spare = significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
            format!("RSA-{}", significant.len() * 8 - spare)
        }
        Material::P256 { .. } => "P-256".into(),
        Material::P384 { .. } => "P-384".into(),
        Material::P521 { .. } => "P-521".into(),
        Material::Ed25519 { .. } => "Ed25519".into(),
        Material::MlDsa { set, .. } => set.name().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_taken_bare_or_wrapped_and_nothing_else() {
        for length in [32usize, 65, 97, 133] {
            let bare = vec![4; length];
            let head = match u8::try_from(length).unwrap() {
                long @ 0x80.. => vec![4, 0x81, long],
                short => vec![4, short],
            };
            let wrapped = [head, bare.clone()].concat();
            assert_eq!(unwrap_point(&bare, length), Ok(&bare[..]));
            assert_eq!(unwrap_point(&wrapped, length), Ok(&bare[..]));
            assert!(unwrap_point(&wrapped[..wrapped.len() - 1], length).is_err());
            assert!(unwrap_point(&[wrapped, vec![0]].concat(), length).is_err());
        }
        assert!(unwrap_point(&[], 32).is_err());
        assert!(unwrap_point(&[4, 0x81], 32).is_err());
    }

    #[test]
    fn curves_are_known_by_name_or_number() {
        for params in [ED25519_OID, ED25519_NAME] {
            assert!(ed25519(params, &[7; 32]).is_ok());
        }
        assert!(ed25519(curve_oid(Curve::P256), &[7; 32]).is_err());
        assert!(ec(ED25519_OID, &[4; 65]).is_err());
        assert!(ec(curve_oid(Curve::P256), &[4; 97]).is_err());
    }

    #[test]
    fn an_ml_dsa_key_is_of_the_set_and_the_length_that_it_says() {
        for set in MlDsa::ALL {
            let read = |length| ml_dsa(Some(parameter_set(set)), vec![7; length]);
            assert_eq!(describe(&read(set.public_len()).unwrap()), set.name());
            for other in MlDsa::ALL.into_iter().filter(|other| *other != set) {
                assert!(read(other.public_len()).is_err());
            }
            assert!(ml_dsa(None, vec![7; set.public_len()]).is_err());
        }
    }

    #[test]
    fn an_rsa_key_is_named_by_its_bits() {
        let key = |n: Vec<u8>| describe(&Material::Rsa { n, e: vec![1, 0, 1] });
        assert_eq!(key([vec![0], vec![0xff; 256]].concat()), "RSA-2048");
        assert_eq!(key([vec![0x7f], vec![0xff; 255]].concat()), "RSA-2047");
        assert_eq!(key(vec![]), "RSA-0");
    }
}
