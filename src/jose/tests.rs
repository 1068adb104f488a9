//! Keys and signatures against the RFCs' own examples and the library's signers.
use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as lc, KeyPair as _};
use serde_json::{Value, json};

const N_7515: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const N_7638: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const RS256_7515: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const ES256_7515: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const ES512_7515: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
const EDDSA_8037: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn rsa_7515() -> Value {
    json!({"kty": "RSA", "n": N_7515, "e": "AQAB"})
}
fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
           "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}
fn p521() -> Value {
    json!({"kty": "EC", "crv": "P-521",
           "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
           "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"})
}
fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}
fn key(jwk: &Value) -> PublicKey {
    PublicKey::from_jwk(jwk).unwrap()
}
fn raw(bytes: impl Into<Vec<u8>>, key: &PublicKey) -> Result<Signature, BadSignature> {
    Signature::from_backend(bytes.into(), key)
}

#[test]
fn examples_of_the_standards_verify() {
    for (algorithm, jwk, token) in [
        (Algorithm::RS256, rsa_7515(), RS256_7515),
        (Algorithm::ES256, p256(), ES256_7515),
        (Algorithm::ES512, p521(), ES512_7515),
        (Algorithm::EdDSA, ed25519(), EDDSA_8037),
        (Algorithm::Ed25519, ed25519(), EDDSA_8037),
    ] {
        let parts = compact::split(token).unwrap();
        let key = key(&jwk);
        let signature = raw(parts.signature, &key).unwrap();
        let verifier = Verifier::new(algorithm, key).unwrap();
        assert_eq!(verifier.verify(parts.signing_input.as_bytes(), &signature), Ok(()));
        assert_eq!(verifier.verify(b"another text", &signature), Err(BadSignature::Mismatch));
        assert!(compact::seal(parts.signing_input, &signature) == token, "{algorithm:?}");
    }
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    let rfc7638 = json!({"kty": "RSA", "n": N_7638, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let cases = [
        (rfc7638, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (ed25519(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ];
    for (jwk, thumbprint) in cases {
        assert_eq!(key(&jwk).thumbprint().as_str(), thumbprint);
    }
    // No published example exists for EC: an independent implementation stands in.
    for jwk in [p256(), p521(), rsa_7515()] {
        let other: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let thumbprint = other.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(key(&jwk).thumbprint().as_str(), thumbprint.unwrap());
    }
}

#[test]
fn published_form_has_fixed_members_and_reads_back() {
    let kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let jwk = key(&ed25519()).to_jwk(Algorithm::Ed25519);
    assert_eq!(jwk.kid().as_str(), kid);
    assert_eq!(
        serde_json::to_string(&jwk).unwrap(),
        format!(
            r#"{{"kty":"OKP","use":"sig","alg":"Ed25519","kid":"{kid}","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
        )
    );
    for (jwk, algorithm, members) in [
        (rsa_7515(), Algorithm::PS256, "kty use alg kid n e"),
        (p256(), Algorithm::ES256, "kty use alg kid crv x y"),
        (p521(), Algorithm::ES512, "kty use alg kid crv x y"),
    ] {
        let published = serde_json::to_value(key(&jwk).to_jwk(algorithm)).unwrap();
        let names: Vec<_> = published.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names.join(" "), members);
        for (name, value) in jwk.as_object().unwrap() {
            assert_eq!(&published[name], value);
        }
        assert_eq!(key(&published), key(&jwk));
    }
}

#[test]
fn unusable_jwks_are_refused() {
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        for jwk in [rsa_7515(), p256(), ed25519()] {
            let fault = PublicKey::from_jwk(&with(jwk, member, json!("AA"))).unwrap_err();
            assert!(fault.to_string().contains("private"), "{member}: {fault}");
        }
    }
    let x = p256()["x"].as_str().unwrap().to_owned();
    let leading_zero = base64url_encode(&[&[0], &base64url_decode(N_7515).unwrap()[..]].concat());
    for jwk in [
        json!(null),
        json!([]),
        json!({}),
        json!({"kty": "oct"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        with(p256(), "kty", json!("ec")),
        with(p256(), "use", json!("enc")),
        with(p256(), "use", json!(null)),
        with(p256(), "crv", json!("secp256k1")),
        with(p256(), "crv", json!("P-384")),
        with(p256(), "y", json!(x)),
        with(p256(), "x", json!(format!("{x}="))),
        with(p256(), "x", json!(7)),
        with(p256(), "x", json!(format!("AA{x}"))),
        with(p521(), "crv", json!("P-256")),
        with(ed25519(), "crv", json!("X25519")),
        with(ed25519(), "x", json!("AA")),
        with(rsa_7515(), "n", json!(leading_zero)),
        with(rsa_7515(), "e", json!("AAEAAQ")),
        with(rsa_7515(), "e", json!("AQ")),
        with(rsa_7515(), "n", json!("AQAB")),
    ] {
        assert!(PublicKey::from_jwk(&jwk).is_err(), "{jwk}");
    }
    // Coordinates whose lengths only add up.
    let short = with(with(p256(), "x", json!("AQ")), "y", json!("A".repeat(84)));
    assert_eq!(PublicKey::from_jwk(&short), Err(PublicKeyError::Point));
}

#[test]
fn weak_rsa_keys_are_refused() {
    let n = base64url_decode(N_7515).unwrap();
    let e = [1, 0, 1];
    assert_eq!(PublicKey::rsa(&[&[0, 0], &n[..]].concat(), &[0, 1, 0, 1]), PublicKey::rsa(&n, &e));
    for bad in [&[][..], &[0], &[1], &[3], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 1], &[0xff; 9]] {
        assert_eq!(PublicKey::rsa(&n, bad), Err(PublicKeyError::RsaExponent), "{bad:?}");
    }
    for (n, bits) in [
        (vec![], 0),
        (vec![0xff; 128], 1024),
        ([&[0x7f][..], &[0xff; 255]].concat(), 2047),
        (vec![0xff; 1025], 8200),
    ] {
        assert_eq!(PublicKey::rsa(&n, &e), Err(PublicKeyError::RsaSize { bits }));
    }
    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(PublicKey::rsa(&even, &e), Err(PublicKeyError::RsaModulus));
    // 65537^128 is a power of 65537 modulo every prime: the fingerprint of CVE-2017-15361.
    let roca = (0..128).fold(vec![1u8], |power, _| {
        let mut sum = [&power[..], &[0, 0]].concat();
        let mut carry = 0;
        for place in 0..sum.len() {
            let low = power.iter().rev().nth(place).map_or(0, |b| u16::from(*b));
            let at = sum.len() - 1 - place;
            carry += u16::from(sum[at]) + low;
            sum[at] = carry as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0);
        sum
    });
    assert_eq!(PublicKey::rsa(&roca, &e), Err(PublicKeyError::RsaModulus));
}

#[test]
fn bad_points_are_refused() {
    let (x, y) = (p256()["x"].clone(), p256()["y"].clone());
    let [x, y] = [x, y].map(|v| base64url_decode(v.as_str().unwrap()).unwrap());
    let point = [&[4], &x[..], &y[..]].concat();
    assert!(PublicKey::ec(Curve::P256, &point).is_ok());
    let mut off = point.clone();
    *off.last_mut().unwrap() ^= 1;
    let compressed = [&[3], &x[..]].concat();
    let hybrid = [&[7], &x[..], &y[..]].concat();
    let octet_string = [&[4, 65], &point[..]].concat();
    let over_field = [&[4], &[0xff; 32][..], &y[..]].concat();
    for bad in [&off[..], &compressed, &hybrid, &octet_string, &over_field, &[0], &[], &[4; 65]] {
        assert_eq!(PublicKey::ec(Curve::P256, bad), Err(PublicKeyError::Point), "{bad:?}");
    }
    assert_eq!(PublicKey::ec(Curve::P384, &point), Err(PublicKeyError::Point));

    let mut order_8 = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(PublicKey::ed25519(&order_8), Err(PublicKeyError::Point));
    order_8[31] |= 0x80;
    let mut not_canonical = [0xff; 32];
    not_canonical[0] = 0xf0;
    for bad in [&order_8[..], &identity, &[0; 32], &[0xff; 32], &not_canonical, &[9; 31], &[9; 33]] {
        assert_eq!(PublicKey::ed25519(bad), Err(PublicKeyError::Point), "{bad:?}");
    }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;
/// A key with its signer for each algorithm.
fn signers() -> Vec<(Algorithm, PublicKey, Sign)> {
    let rng = SystemRandom::new();
    let mut all: Vec<(Algorithm, PublicKey, Sign)> = Vec::new();
    let rsa = std::sync::Arc::new(lc::RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    let n = rsa.public_key().modulus().big_endian_without_leading_zero();
    let public = PublicKey::rsa(n, &[1, 0, 1]).unwrap();
    let encodings: [(Algorithm, &'static dyn lc::RsaEncoding); 6] = [
        (Algorithm::RS256, &lc::RSA_PKCS1_SHA256),
        (Algorithm::RS384, &lc::RSA_PKCS1_SHA384),
        (Algorithm::RS512, &lc::RSA_PKCS1_SHA512),
        (Algorithm::PS256, &lc::RSA_PSS_SHA256),
        (Algorithm::PS384, &lc::RSA_PSS_SHA384),
        (Algorithm::PS512, &lc::RSA_PSS_SHA512),
    ];
    for (algorithm, encoding) in encodings {
        let (rsa, rng) = (rsa.clone(), rng.clone());
        all.push((
            algorithm,
            public.clone(),
            Box::new(move |text| {
                let mut signature = vec![0; 256];
                lc::RsaKeyPair::sign(&rsa, encoding, &rng, text, &mut signature).unwrap();
                signature
            }),
        ));
    }
    for (algorithm, curve, signing) in [
        (Algorithm::ES256, Curve::P256, &lc::ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::ES384, Curve::P384, &lc::ECDSA_P384_SHA384_FIXED_SIGNING),
        (Algorithm::ES512, Curve::P521, &lc::ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let pair = lc::EcdsaKeyPair::generate(signing).unwrap();
        let public = PublicKey::ec(curve, pair.public_key().as_ref()).unwrap();
        let rng = rng.clone();
        all.push((
            algorithm,
            public,
            Box::new(move |text| lc::EcdsaKeyPair::sign(&pair, &rng, text).unwrap().as_ref().to_vec()),
        ));
    }
    for algorithm in [Algorithm::Ed25519, Algorithm::EdDSA] {
        let pair = lc::Ed25519KeyPair::generate().unwrap();
        let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
        all.push((
            algorithm,
            public,
            Box::new(move |text| lc::Ed25519KeyPair::sign(&pair, text).as_ref().to_vec()),
        ));
    }
    for (algorithm, signing) in [
        (Algorithm::MlDsa44, &lc::ML_DSA_44_SIGNING),
        (Algorithm::MlDsa65, &lc::ML_DSA_65_SIGNING),
        (Algorithm::MlDsa87, &lc::ML_DSA_87_SIGNING),
    ] {
        let pair = lc::PqdsaKeyPair::generate(signing).unwrap();
        let KeyType::MlDsa(set) = algorithm.key_type() else { panic!("{algorithm:?} is ML-DSA") };
        let public = PublicKey::ml_dsa(set, pair.public_key().as_ref()).unwrap();
        all.push((
            algorithm,
            public,
            Box::new(move |text| {
                let mut signature = vec![0; set.signature_len()];
                lc::PqdsaKeyPair::sign(&pair, text, &mut signature).unwrap();
                signature
            }),
        ));
    }
    all
}

/// What KMS answers: keys as SubjectPublicKeyInfo, ECDSA signatures in DER.
#[test]
fn keys_and_signatures_of_x509_are_read_strictly() {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    let rsa = lc::RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ed = lc::Ed25519KeyPair::generate().unwrap();
    let pq = lc::PqdsaKeyPair::generate(&lc::ML_DSA_65_SIGNING).unwrap();
    let der = |key: &PublicKeyX509Der<'_>| key.as_ref().to_vec();
    let modulus = rsa.public_key().modulus().big_endian_without_leading_zero().to_vec();
    let mut cases = vec![
        (der(&rsa.public_key().as_der().unwrap()), PublicKey::rsa(&modulus, &[1, 0, 1]).unwrap()),
        (der(&ed.public_key().as_der().unwrap()), PublicKey::ed25519(ed.public_key().as_ref()).unwrap()),
        (
            der(&pq.public_key().as_der().unwrap()),
            PublicKey::ml_dsa(MlDsa::MlDsa65, pq.public_key().as_ref()).unwrap(),
        ),
    ];
    for (algorithm, curve, signing) in [
        (Algorithm::ES256, Curve::P256, &lc::ECDSA_P256_SHA256_ASN1_SIGNING),
        (Algorithm::ES384, Curve::P384, &lc::ECDSA_P384_SHA384_ASN1_SIGNING),
        (Algorithm::ES512, Curve::P521, &lc::ECDSA_P521_SHA512_ASN1_SIGNING),
    ] {
        let pair = lc::EcdsaKeyPair::generate(signing).unwrap();
        let public = PublicKey::ec(curve, pair.public_key().as_ref()).unwrap();
        cases.push((der(&pair.public_key().as_der().unwrap()), public.clone()));
        let verifier = Verifier::new(algorithm, public.clone()).unwrap();
        // Often enough that short numbers occur.
        for _ in 0..300 {
            let signature = lc::EcdsaKeyPair::sign(&pair, &SystemRandom::new(), b"x").unwrap();
            let joined = Signature::from_x509(signature.as_ref().to_vec(), &public).unwrap();
            assert_eq!(verifier.verify(b"x", &joined), Ok(()));
        }
        let good = lc::EcdsaKeyPair::sign(&pair, &SystemRandom::new(), b"x").unwrap().as_ref().to_vec();
        let longer = [&good[..], &[0]].concat();
        for bad in [&good[1..], &good[..good.len() - 1], &longer, &[], &[0x30, 0]] {
            assert!(Signature::from_x509(bad.to_vec(), &public) == Err(BadSignature::Der));
        }
        let wide = [&[0x30, 0x81, 0x8a][..], &[2, 67], &[1; 67], &[2, 67], &[1; 67]].concat();
        assert!(Signature::from_x509(wide, &public) == Err(BadSignature::Der), "longer than the field");
    }
    for (der, public) in cases {
        assert_eq!(PublicKey::from_spki(&der), Ok(public));
        let longer = [&der[..], &[0]].concat();
        for bad in [&der[1..], &der[..der.len() - 1], &longer, &[]] {
            assert!(matches!(PublicKey::from_spki(bad), Err(PublicKeyError::Spki(_))));
        }
    }
}

#[test]
fn ml_dsa_keys_are_published_as_rfc_9964_says() {
    for set in MlDsa::ALL {
        let key = PublicKey::ml_dsa(set, &vec![7; set.public_len()]).unwrap();
        let algorithm = Algorithm::from_name(set.name()).unwrap();
        let jwk = serde_json::to_value(key.to_jwk(algorithm)).unwrap();
        assert_eq!((jwk["kty"].as_str(), jwk["alg"].as_str()), (Some("AKP"), Some(set.name())));
        assert_eq!(PublicKey::from_jwk(&jwk), Ok(key.clone()));
        // RFC 9964 section 6: "alg", "kty" and "pub" are hashed, in this order.
        let canonical = format!(r#"{{"alg":"{}","kty":"AKP","pub":{}}}"#, set.name(), jwk["pub"]);
        let hash = base64url_encode(&Digest::Sha256.hash(canonical.as_bytes()));
        assert_eq!(key.thumbprint().as_str(), hash);
        for (member, wrong) in [("alg", json!("ML-DSA-1")), ("pub", json!("AAAA")), ("priv", json!("AAAA"))] {
            let mut bent = jwk.clone();
            bent[member] = wrong;
            assert!(PublicKey::from_jwk(&bent).is_err(), "{member}");
        }
    }
}

#[test]
fn every_algorithm_takes_its_own_signatures_and_no_others() {
    let signers = signers();
    assert_eq!(signers.len(), Algorithm::ALL.len());
    for (algorithm, public, sign) in &signers {
        let bytes = sign(b"text");
        assert_eq!(bytes.len(), public.signature_len());
        let verifier = Verifier::new(*algorithm, public.clone()).unwrap();
        assert_eq!(verifier.verify(b"text", &raw(bytes.clone(), public).unwrap()), Ok(()), "{algorithm:?}");
        for place in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bent = bytes.clone();
            bent[place] ^= 1;
            assert!(
                verifier.verify(b"text", &raw(bent, public).unwrap()).is_err(),
                "{algorithm:?} at {place}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        for wrong in [&bytes[1..], &longer, &[]] {
            let expected = bytes.len();
            assert!(raw(wrong, public) == Err(BadSignature::Length { found: wrong.len(), expected }));
        }
        // Any other algorithm over the same key refuses the key or the signature (RFC 8725 section 3.1).
        for other in Algorithm::ALL {
            let same =
                other == *algorithm || (other.digest().is_none() && other.key_type() == algorithm.key_type());
            match Verifier::new(other, public.clone()) {
                Ok(verifier) if !same => assert!(
                    verifier.verify(b"text", &raw(bytes.clone(), public).unwrap()).is_err(),
                    "{algorithm:?} as {other:?}"
                ),
                Ok(_) => assert_eq!(other.key_type(), public.key_type()),
                Err(fault) => {
                    assert!(matches!(fault, PublicKeyError::WrongType { .. }));
                    assert_ne!(other.key_type(), public.key_type());
                }
            }
        }
    }
}

#[test]
fn special_ecdsa_values_do_not_verify() {
    let key = key(&p256());
    let verifier = Verifier::new(Algorithm::ES256, key.clone()).unwrap();
    let n = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let zero = [0; 32];
    let mut one = zero;
    one[31] = 1;
    let parts = compact::split(ES256_7515).unwrap();
    let (r, s) = parts.signature.split_at(32);
    for (r, s) in [
        (&zero[..], &zero[..]),
        (&zero, s),
        (r, &zero),
        (&n, s),
        (r, &n),
        (&one, &zero),
        (&one, &one),
        (&[0xff; 32], &[0xff; 32]),
        (s, r),
    ] {
        let signature = raw([r, s].concat(), &key).unwrap();
        assert_eq!(verifier.verify(parts.signing_input.as_bytes(), &signature), Err(BadSignature::Mismatch));
    }
    let der = [&[0x30, 0x45, 2, 33, 0], r, &[2, 32], s].concat();
    assert!(raw(der, &key).is_err(), "DER is no JOSE form");
}

#[test]
fn pss_salts_of_another_length_do_not_verify() {
    let pair = lc::RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let n = pair.public_key().modulus().big_endian_without_leading_zero();
    let key = PublicKey::rsa(n, &[1, 0, 1]).unwrap();
    let verifier = Verifier::new(Algorithm::PS256, key.clone()).unwrap();
    let encodings: [(&'static dyn lc::RsaEncoding, bool); 4] = [
        (&lc::RSA_PSS_SHA256, true),
        (&const { lc::RSA_PSS_SHA256.with_pss_salt_length(lc::RsaPssSaltLength::Custom(32)) }, true),
        (&const { lc::RSA_PSS_SHA256.with_pss_salt_length(lc::RsaPssSaltLength::Custom(20)) }, false),
        (&const { lc::RSA_PSS_SHA256.with_pss_salt_length(lc::RsaPssSaltLength::Max) }, false),
    ];
    for (encoding, fits) in encodings {
        let mut bytes = vec![0; 256];
        lc::RsaKeyPair::sign(&pair, encoding, &SystemRandom::new(), b"text", &mut bytes).unwrap();
        let signature = raw(bytes, &key).unwrap();
        assert_eq!(verifier.verify(b"text", &signature).is_ok(), fits, "{encoding:?}");
    }
}
