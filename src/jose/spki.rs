//! Public keys as X.509 writes them: SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), read strictly, and written.

use super::public_key::Material;
use super::{Curve, MlDsa, PublicKey, PublicKeyError};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use spki::SubjectPublicKeyInfoRef;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, Curve); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), Curve::P256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), Curve::P384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), Curve::P521),
];
const ML_DSA: [(ObjectIdentifier, MlDsa); 3] = [
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17"), MlDsa::MlDsa44),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18"), MlDsa::MlDsa65),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"), MlDsa::MlDsa87),
];

/// RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaKey<'a> {
    n: UintRef<'a>,
    e: UintRef<'a>,
}

/// `None` for keys of other types than EC and Ed25519, which nobody needs.
pub(super) fn write(key: &PublicKey) -> Option<Vec<u8>> {
    let (oid, parameters, bits): (_, _, &[u8]) = match &key.0 {
        Material::Ec { curve, point } => {
            let (named, _) = CURVES.iter().find(|(_, known)| known == curve)?;
            (EC, Some(AnyRef::from(named)), point)
        }
        Material::Ed25519 { x } => (ED25519, None, x),
        Material::Rsa { .. } | Material::MlDsa { .. } => return None,
    };
    let algorithm = spki::AlgorithmIdentifierRef { oid, parameters };
    let subject_public_key = BitStringRef::from_bytes(bits).ok()?;
    spki::SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().ok()
}

pub(super) fn read(der: &[u8]) -> Result<PublicKey, PublicKeyError> {
    use PublicKeyError::Spki;
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| Spki("it is not DER of that type"))?;
    let bits = info.subject_public_key.as_bytes().ok_or(Spki("its bit string is not whole bytes"))?;
    let oid = info.algorithm.oid;
    let parameters = info.algorithm.parameters;
    let plain = |known: ObjectIdentifier| oid == known && parameters.is_none();
    if oid == RSA && parameters.is_none_or(|parameters| parameters == AnyRef::NULL) {
        let key = RsaKey::from_der(bits).map_err(|_| Spki("its RSA key is not DER of that type"))?;
        return PublicKey::rsa(key.n.as_bytes(), key.e.as_bytes());
    }
    if oid == EC {
        let named = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        let curve = CURVES.into_iter().find(|(oid, _)| named == Some(*oid));
        let (_, curve) = curve.ok_or(Spki("its curve is none of P-256, P-384 and P-521"))?;
        return PublicKey::ec(curve, bits);
    }
    if plain(ED25519) {
        return PublicKey::ed25519(bits);
    }
    let set = ML_DSA.into_iter().find(|(oid, _)| plain(*oid));
    let (_, set) = set.ok_or(Spki("its algorithm is none of RSA, EC, Ed25519 and ML-DSA"))?;
    PublicKey::ml_dsa(set, bits)
}
