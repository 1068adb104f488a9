//! The message representative of ML-DSA, which KMS signs where the message itself is too long for it.
//!
//! Pure. FIPS 204 algorithms 2 and 7 with an empty context, as RFC 9964 wants it.

use sha3::Shake256;
use sha3::digest::{ExtendableOutput, Update, XofReader};

/// Bytes of `mu` and of `tr`.
pub(super) const LENGTH: usize = 64;

/// `tr`: the hash of an encoded public key (FIPS 204 algorithm 6, line 9).
pub(super) fn of_key(public: &[u8]) -> [u8; LENGTH] {
    shake(&[public])
}

/// `mu` of `message` under the key whose hash is `tr` (FIPS 204 algorithm 7, line 6). The two zeros are the domain
/// separator of the pure form and the length of the empty context (algorithm 2, line 10).
pub(super) fn of(tr: &[u8; LENGTH], message: &[u8]) -> [u8; LENGTH] {
    shake(&[tr, &[0, 0], message])
}

fn shake(parts: &[&[u8]]) -> [u8; LENGTH] {
    let mut hash = Shake256::default();
    for part in parts {
        hash.update(part);
    }
    let mut output = [0; LENGTH];
    hash.finalize_xof().read(&mut output);
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::hex;
    use aws_lc_rs::signature::{
        KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair,
    };

    /// Made with another implementation of SHAKE256; OpenSSL 4.0 signed these `mu` and verified the message.
    #[test]
    fn agrees_with_openssl() {
        let seed: Vec<u8> = (0..32).collect();
        for (set, tr, mu) in [
            (
                &ML_DSA_44_SIGNING,
                "329a07b1fabb48f52a309f11a1898f848e2322ffe623ec810db3bee33685854a\
                 88269da320d5120bfcfe89a18e30f7114d83aa404a646b6c997389860d12522e",
                "f110c02621db2c767680b012dcec897e178bf90156c3cc0459c9169fda29acf6\
                 d7602fa14643227a0fb922c256fae4aeeec209c0f330200354c2facd858ba1e0",
            ),
            (
                &ML_DSA_65_SIGNING,
                "1b0563e3cd3346149c8c9ebcf23b0a4e5a900eea9c6562790a7c63e38663daa2\
                 dddb6e480dc405a1e701948b74841ef5cc1c3f2bf327972e9510510cd5375ecc",
                "448b3966e3fe7d4269f63f563e55a30de318120bc611f5a2bae7421f74cba26d\
                 0a3d30c54669de8ec0bdd31e6a79b9664d90b74a4ebbb8b5f942fed5186e2500",
            ),
            (
                &ML_DSA_87_SIGNING,
                "89886750b57c24db3fc012e61ede59753337374fa7124991549af243496d0637\
                 cb3be05a5948235bf79875f896d8fe0cab30c84948db4d6315aaaf160ac62436",
                "4c55ff6433ff091b3fd30b7d10c7b7d31fc8e06ac9777a641b3f0982b620ff49\
                 787f61e949da1dda964ef7122223db281b657b11534c5b5c98f9234a7a951e0a",
            ),
        ] {
            let pair = PqdsaKeyPair::from_seed(set, &seed).unwrap();
            let own = of_key(pair.public_key().as_ref());
            assert_eq!((hex(&own), hex(&of(&own, b"header.payload"))), (tr.to_owned(), mu.to_owned()));
        }
    }

    #[test]
    fn takes_messages_of_any_length() {
        let key: Vec<u8> = (0..1312_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let message: Vec<u8> = (0..5000_u32).map(|at| u8::try_from(at % 256).unwrap()).collect();
        assert_eq!(
            hex(&of(&of_key(&key), &message)),
            "e746aa3cbe3bceca4b2615ece2b3c12c2c3c0145d70ef5278bf81a1b19f165f0\
             bef2d3d4cea3f7f0741300dd6be925cf805daacbe0cfb610f6fd3f090f631803"
        );
    }
}
