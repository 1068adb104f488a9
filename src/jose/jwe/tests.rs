//! Opened by a second implementation of the receiving side; keys that must not be used.

use super::*;
use crate::jose::{Digest, json};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::key_wrap::KeyWrap as _;
use aws_lc_rs::rsa::{KeyPair, KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{aead, encoding::AsDer as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The recipient's side: a private key, and the JWK that is given away.
pub(crate) struct Owner {
    private: Private,
    jwk: Value,
}
enum Private {
    Rsa(OaepPrivateDecryptingKey),
    Agreement(PrivateKey),
}
impl Owner {
    pub(crate) fn rsa() -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pair = KeyPair::from_pkcs8(key.as_der().unwrap().as_ref()).unwrap();
        let text = |number: &[u8]| base64url::encode(number);
        let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
        let jwk = json!({"kty": "RSA", "n": text(n.big_endian_without_leading_zero()),
                         "e": text(e.big_endian_without_leading_zero()), "use": "enc", "kid": "r-1"});
        Self { private: Private::Rsa(OaepPrivateDecryptingKey::new(key).unwrap()), jwk }
    }
    pub(crate) fn agreement(algorithm: &'static agreement::Algorithm) -> Self {
        let key = PrivateKey::generate(algorithm).unwrap();
        let public = key.compute_public_key().unwrap();
        let mut jwk = serde_json::to_value(ephemeral(algorithm, public.as_ref()).unwrap()).unwrap();
        jwk["use"] = "enc".into();
        jwk["kid"] = "a-1".into();
        Self { private: Private::Agreement(key), jwk }
    }
    /// A set of this key alone.
    pub(crate) fn set(&self) -> Value {
        json!({"keys": [self.jwk]})
    }
    /// Header and content, or `None` for what was not encrypted to this key, or was changed.
    pub(crate) fn open(&self, jwe: &str) -> Option<(Value, String)> {
        let parts: Vec<&str> = jwe.split('.').collect();
        let [header, wrapped, nonce, content, tag] = parts[..] else { return None };
        let bytes = |text| base64url::decode(text);
        let aad = aead::Aad::from(header);
        let limits = json::Limits { bytes: 4096, depth: 3, nodes: 16 };
        let header = json::parse(&bytes(header)?, limits).ok()?;
        let wrapped = bytes(wrapped)?;
        let size = if header["enc"] == "A128GCM" { 16 } else { 32 };
        let content_key = match &self.private {
            Private::Rsa(key) => {
                assert_eq!(header["alg"], "RSA-OAEP-256");
                let mut output = vec![0; key.min_output_size()];
                key.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut output, None).ok()?.to_vec()
            }
            Private::Agreement(key) => {
                let epk = &header["epk"];
                let point = match epk["crv"].as_str()? {
                    "X25519" => bytes(epk["x"].as_str()?)?,
                    _ => {
                        let (x, y) = (bytes(epk["x"].as_str()?)?, bytes(epk["y"].as_str()?)?);
                        [&[4], &x[..], &y[..]].concat()
                    }
                };
                let peer = UnparsedPublicKey::new(key.algorithm(), point);
                let secret = agree(key, peer, (), |secret| Ok(secret.to_vec())).ok()?;
                if header["alg"] == "ECDH-ES" {
                    assert!(wrapped.is_empty());
                    concat_kdf(&secret, header["enc"].as_str()?, size)
                } else {
                    assert_eq!(header["alg"], "ECDH-ES+A256KW");
                    let mut output = vec![0; wrapped.len()];
                    let key = AesKek::new(&AES_256, &concat_kdf(&secret, "ECDH-ES+A256KW", 32)).unwrap();
                    key.unwrap(&wrapped, &mut output).ok()?.to_vec()
                }
            }
        };
        assert_eq!(content_key.len(), size);
        let algorithm = if size == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &content_key).unwrap());
        let nonce = aead::Nonce::try_assume_unique_for_key(&bytes(nonce)?).ok()?;
        let mut sealed = [bytes(content)?, bytes(tag)?].concat();
        let content = key.open_in_place(nonce, aad, &mut sealed).ok()?;
        Some((header, String::from_utf8(content.to_vec()).unwrap()))
    }
}
/// RFC 7518 section 4.6.2, written out: `apu` and `apv` are empty, one round of SHA-256 is enough.
fn concat_kdf(secret: &[u8], algorithm: &str, len: usize) -> Vec<u8> {
    let count = |number: usize| (number as u32).to_be_bytes();
    let round = [
        &count(1)[..],
        secret,
        &count(algorithm.len()),
        algorithm.as_bytes(),
        &count(0),
        &count(0),
        &count(len * 8),
    ];
    Digest::Sha256.hash(&round.concat())[..len].to_vec()
}

static OWNERS: LazyLock<Vec<Owner>> = LazyLock::new(|| {
    let curves = [&ECDH_P256, &ECDH_P384, &ECDH_P521, &X25519];
    [Owner::rsa()].into_iter().chain(curves.map(Owner::agreement)).collect()
});
const ENCS: [ContentEncryption; 2] = [ContentEncryption::A256GCM, ContentEncryption::A128GCM];

fn choose(set: Value) -> Result<Recipient, RecipientError> {
    Recipient::choose(&set, ContentEncryption::A256GCM, None)
}
/// What is wrong with a key that is alone in its set.
fn unusable(jwk: Value) -> String {
    match choose(json!({"keys": [jwk]})) {
        Err(RecipientError::Unusable(Some(why))) => why,
        other => panic!("{other:?}"),
    }
}
fn changed(owner: &Owner, name: &str, value: impl Into<Value>) -> Value {
    let mut jwk = owner.jwk.clone();
    jwk[name] = value.into();
    jwk
}

#[test]
fn the_concat_kdf_is_that_of_rfc_7518_appendix_c() {
    let secret = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218,
        128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
    ];
    let key = derive(&secret, "A128GCM", [b"Alice", b"Bob"], 16).unwrap();
    assert_eq!(base64url::encode(&key), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn each_owner_opens_what_is_meant_for_it_and_nobody_else_does() {
    for (index, owner) in OWNERS.iter().enumerate() {
        let algs = match owner.private {
            Private::Rsa(_) => &[KeyManagement::RsaOaep256][..],
            Private::Agreement(_) => &[KeyManagement::EcdhEs, KeyManagement::EcdhEsA256Kw],
        };
        for (alg, enc) in algs.iter().flat_map(|alg| ENCS.map(|enc| (*alg, enc))) {
            let recipient = Recipient::choose(&owner.set(), enc, Some(alg)).unwrap();
            assert_eq!((recipient.alg(), recipient.enc()), (alg, enc));
            let jwe = recipient.encrypt("e30.e30.AAEC").unwrap();
            let (header, content) = owner.open(&jwe).unwrap();
            assert_eq!(content, "e30.e30.AAEC");
            let names: Vec<&String> = header.as_object().unwrap().keys().collect();
            let epk = alg != KeyManagement::RsaOaep256;
            assert_eq!(names, &["alg", "enc", "kid", "cty", "epk"][..4 + usize::from(epk)]);
            assert_eq!(header["cty"], "JWT");
            assert_eq!(header["kid"], recipient.kid());
            assert_ne!(recipient.encrypt("e30.e30.AAEC").unwrap(), jwe, "keys and nonces are new each time");
            let other = &OWNERS[(index + 1) % OWNERS.len()];
            if matches!((&owner.private, &other.private), (Private::Rsa(_), Private::Rsa(_))) {
                assert_eq!(other.open(&jwe), None);
            }
            // Every part is authenticated.
            for (at, byte) in jwe.bytes().enumerate().filter(|(_, byte)| *byte != b'.').step_by(29) {
                let mut changed = jwe.clone().into_bytes();
                changed[at] = if byte == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                let opened = std::panic::catch_unwind(|| owner.open(&changed));
                assert!(!matches!(opened, Ok(Some(_))), "{at}");
            }
        }
    }
    let twin = Owner::agreement(&ECDH_P256);
    let jwe = choose(OWNERS[1].set()).unwrap().encrypt("x").unwrap();
    assert_eq!(twin.open(&jwe), None);
}

#[test]
fn the_first_key_that_fits_is_taken() {
    let [rsa, p256, p384, ..] = &OWNERS[..] else { panic!() };
    let signing = changed(p256, "use", "sig");
    let chosen = choose(json!({"keys": [signing, changed(p384, "kid", "second"), rsa.jwk]})).unwrap();
    assert_eq!((chosen.kid(), chosen.alg()), ("second", KeyManagement::EcdhEs));
    let set = json!({"keys": [p256.jwk, rsa.jwk]});
    let asked = Recipient::choose(&set, ContentEncryption::A128GCM, Some(KeyManagement::RsaOaep256));
    assert_eq!(asked.unwrap().kid(), "r-1");
    let own = changed(p256, "alg", "ECDH-ES+A256KW");
    assert_eq!(choose(json!({"keys": [own]})).unwrap().alg(), KeyManagement::EcdhEsA256Kw);
    let bare = json!({"kty": "EC", "crv": "P-256", "x": p256.jwk["x"], "y": p256.jwk["y"]});
    let bare = choose(json!({"keys": [bare]})).unwrap();
    assert_eq!(bare.kid(), bare.thumbprint());
    let (header, _) = p256.open(&bare.encrypt("x").unwrap()).unwrap();
    assert!(header.get("kid").is_none(), "the owner never gave it one");
    for (owner, operations) in [
        (rsa, json!(["wrapKey"])),
        (rsa, json!(["encrypt"])),
        (p256, json!(["x", "deriveBits"])),
        (p256, json!([])),
    ] {
        choose(json!({"keys": [changed(owner, "key_ops", operations)]})).unwrap();
    }
    assert!(choose(rsa.set()).unwrap() == choose(rsa.set()).unwrap());
    assert!(choose(rsa.set()).unwrap() != choose(p256.set()).unwrap());
}

#[test]
fn keys_that_must_not_be_used_are_refused() {
    let [rsa, p256, _, p521, x25519] = &OWNERS[..] else { panic!() };
    let n = |bytes: usize, last: u8| {
        let mut n = vec![0xc3; bytes];
        n[bytes - 1] = last;
        base64url::encode(&n)
    };
    let mut off = base64url::decode(p521.jwk["y"].as_str().unwrap()).unwrap();
    off[65] ^= 1;
    let cases = [
        (changed(rsa, "use", "sig"), "\"use\" is not \"enc\""),
        (changed(rsa, "use", json!(1)), "\"use\" is not \"enc\""),
        (changed(rsa, "key_ops", json!(["verify"])), "wrapKey and encrypt"),
        (changed(rsa, "key_ops", json!([])), "wrapKey"),
        (changed(p256, "key_ops", json!(["verify"])), "deriveKey"),
        (changed(p256, "key_ops", json!("deriveKey")), "deriveKey"),
        (changed(rsa, "alg", "RSA1_5"), "\"alg\" is none of"),
        (changed(rsa, "alg", "RSA-OAEP"), "\"alg\" is none of"),
        (changed(p256, "alg", "ECDH-ES+A128KW"), "\"alg\" is none of"),
        (changed(p256, "alg", "dir"), "\"alg\" is none of"),
        (changed(rsa, "alg", "ECDH-ES"), "no key for ECDH-ES"),
        (changed(p256, "alg", "RSA-OAEP-256"), "no key for RSA-OAEP-256"),
        (changed(rsa, "n", n(255, 0xc3)), "2040 bits"),
        (changed(rsa, "n", n(128, 0xc3)), "1024 bits"),
        (changed(rsa, "n", n(1025, 0xc3)), "8200 bits"),
        (changed(rsa, "n", n(256, 0xc2)), "weak kind"),
        (changed(rsa, "e", "Aw"), "exponent"),
        (changed(rsa, "e", "AQAA"), "exponent"),
        (changed(p521, "y", base64url::encode(&off)), "not on the curve"),
        (changed(p256, "crv", "P-384"), "not on the curve"),
        (changed(p256, "crv", "secp256k1"), "unknown \"crv\""),
        (changed(x25519, "x", base64url::encode(&[0; 32])), "cannot encrypt"),
        (changed(x25519, "x", base64url::encode(&[9; 31])), "not on the curve"),
        (changed(x25519, "crv", "X448"), "unknown"),
        (changed(rsa, "kid", "x".repeat(201)), "printable"),
        (changed(rsa, "kid", "a\nb"), "printable"),
        (changed(rsa, "kid", 7), "printable"),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "signatures",
        ),
        (json!({"kty": "oct"}), "unknown \"kty\""),
        (json!({}), "unknown \"kty\""),
    ];
    for (jwk, text) in cases {
        let why = unusable(jwk);
        assert!(why.starts_with("key 0: ") && why.contains(text), "{why}: {text}");
    }
    let asked = |alg| Recipient::choose(&changed_set(), ContentEncryption::A256GCM, Some(alg));
    fn changed_set() -> Value {
        json!({"keys": [changed(&OWNERS[1], "alg", "ECDH-ES")]})
    }
    let RecipientError::Unusable(Some(why)) = asked(KeyManagement::EcdhEsA256Kw).unwrap_err() else {
        panic!()
    };
    assert!(why.contains("not the one asked for"), "{why}");
}

#[test]
fn sets_that_must_not_be_used_are_refused() {
    let [rsa, p256, ..] = &OWNERS[..] else { panic!() };
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        let set = json!({"keys": [rsa.jwk, changed(p256, name, "AA")]});
        assert_eq!(choose(set).unwrap_err(), RecipientError::Private { index: 1 }, "{name}");
    }
    for set in
        [json!([]), json!({}), json!({"keys": {}}), json!({"keys": [1]}), json!(null), p256.jwk.clone()]
    {
        assert_eq!(choose(set).unwrap_err(), RecipientError::Form);
    }
    assert_eq!(choose(json!({"keys": []})).unwrap_err(), RecipientError::Unusable(None));
    let twice = json!({"keys": [rsa.jwk, changed(p256, "kid", "r-1")]});
    assert_eq!(choose(twice).unwrap_err(), RecipientError::DuplicateKid);
    let bare = json!({"kty": "oct"});
    let full = |count| json!({"keys": vec![bare.clone(); count]});
    assert!(matches!(choose(full(100)).unwrap_err(), RecipientError::Unusable(_)));
    assert_eq!(choose(full(101)).unwrap_err(), RecipientError::TooMany);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_encrypted_opens_to_the_same(text in "\\PC{0,300}", owner in 0usize..5) {
        let owner = &OWNERS[owner];
        let jwe = choose(owner.set()).unwrap().encrypt(&text).unwrap();
        prop_assert_eq!(owner.open(&jwe).map(|(_, content)| content), Some(text));
    }
}
