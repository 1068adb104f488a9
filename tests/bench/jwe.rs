//! What encryption to a recipient takes: as the daemon does it, and the cryptography of it alone, called directly.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::agreement::{self, EphemeralPrivateKey, ParsedPublicKey, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use jwsd::jose::jwe::{ContentEncryption, KeyManagement, Recipient};
use jwsd::jose::{base64url_decode, base64url_encode};
use serde_json::{Value, json};

use super::Measured;

/// As long as a JWT with a dozen claims, bytes.
const JWT: usize = 1000;

/// Each algorithm with each kind of key, whole and alone.
pub(super) fn encryptions() -> Vec<Measured> {
    let jwt = "x".repeat(JWT);
    let set: Value = serde_json::from_str(include_str!("../../config/examples/gateway.jwks.json")).unwrap();
    let jwk = set["keys"][0].clone();
    let n = base64url_decode(jwk["n"].as_str().unwrap()).unwrap();
    let rsa: PublicEncryptingKey = RsaPublicKeyComponents { n, e: vec![1, 0, 1] }.try_into().unwrap();
    let rsa = OaepPublicEncryptingKey::new(rsa).unwrap();
    let rsa_alone = move |_| seal(&rsa_wrapped(&rsa));
    let mut all = vec![
        whole("RSA-3072", &jwk, KeyManagement::RsaOaep256, &jwt),
        Measured {
            name: "jwe/RSA-OAEP-256/RSA-3072-cryptography".into(),
            input: Value::Null,
            run: Box::new(rsa_alone),
        },
    ];
    for (curve, algorithm) in [
        ("P-256", &agreement::ECDH_P256),
        ("P-384", &agreement::ECDH_P384),
        ("P-521", &agreement::ECDH_P521),
        ("X25519", &agreement::X25519),
    ] {
        let theirs = PrivateKey::generate(algorithm).unwrap().compute_public_key().unwrap();
        let public = theirs.as_ref();
        let jwk = match curve {
            "X25519" => json!({"kty": "OKP", "crv": curve, "x": base64url_encode(public)}),
            _ => {
                let (x, y) = public[1..].split_at(public.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url_encode(x), "y": base64url_encode(y)})
            }
        };
        for (alg, wraps) in [(KeyManagement::EcdhEs, false), (KeyManagement::EcdhEsA256Kw, true)] {
            all.push(whole(curve, &jwk, alg, &jwt));
            let peer = ParsedPublicKey::try_from(UnparsedPublicKey::new(algorithm, public)).unwrap();
            all.push(Measured {
                name: format!("jwe/{}/{curve}-cryptography", alg.name()),
                input: Value::Null,
                run: Box::new(move |_| seal(&agreed(&peer, wraps))),
            });
        }
    }
    all
}

fn whole(key: &str, jwk: &Value, alg: KeyManagement, jwt: &str) -> Measured {
    let set = json!({"keys": [jwk]});
    let recipient = Recipient::choose(&set, ContentEncryption::A256GCM, Some(alg)).unwrap();
    let (name, jwt) = (format!("jwe/{}/{key}", alg.name()), jwt.to_owned());
    let run = Box::new(move |_| drop(black_box(recipient.encrypt(&jwt).unwrap())));
    Measured { name, input: Value::Null, run }
}

fn rsa_wrapped(key: &OaepPublicEncryptingKey) -> [u8; 32] {
    let (content_key, mut wrapped) = (random(), vec![0; key.ciphertext_size()]);
    key.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut wrapped, None).unwrap();
    black_box(wrapped);
    content_key
}
/// The content key, wrapped with what is agreed on or that itself.
fn agreed(peer: &ParsedPublicKey, wraps: bool) -> [u8; 32] {
    let ours = EphemeralPrivateKey::generate(peer.alg(), &SystemRandom::new()).unwrap();
    black_box(ours.compute_public_key().unwrap());
    let derive = |secret: &[u8]| {
        let hash = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256).ok_or(Unspecified)?;
        let mut key = [0; 32];
        sskdf_digest(hash, secret, &[0; 32], &mut key)?;
        Ok(key)
    };
    let key = agreement::agree_ephemeral(ours, peer.clone(), Unspecified, derive).unwrap();
    if !wraps {
        return key;
    }
    let (content_key, mut wrapped) = (random(), [0; 40]);
    AesKek::new(&AES_256, &key).unwrap().wrap(&content_key, &mut wrapped).unwrap();
    black_box(wrapped);
    content_key
}
fn seal(key: &[u8; 32]) {
    let mut content = [b'x'; JWT];
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).unwrap();
    let sealed = key.seal_in_place_separate_tag(Aad::from([b'h'; 200]), &mut content).unwrap();
    let _ = black_box((sealed, content));
}
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).unwrap();
    bytes
}
