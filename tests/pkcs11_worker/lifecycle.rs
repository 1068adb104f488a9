//! What was half made is told, and what is destroyed is gone or said not to be, whatever the module does meanwhile.

use super::fixture::{Sign as _, Token, soon, verifies};
use super::objects::change;
use jwsd::backend::{Class, Destroyed, KeyStore as _};
use jwsd::jose::Algorithm;

const GONE: Destroyed = Destroyed { pending_until: None };

#[tokio::test]
async fn half_a_pair_is_neither_made_nor_nothing() {
    let token = Token::new();
    let backend = token.start().await;
    let bare = token.generate(&backend, b"bare", Algorithm::ES256).await;
    let left = token.generate(&backend, b"left", Algorithm::ES256).await;
    change(&token, "halves");
    change(&token, "twins");
    for (id, said) in [
        (&b"bare"[..], "1 private and 0 public"),
        (b"left", "0 private and 1 public"),
        (b"twin", "2 private and 2 public"),
    ] {
        let error = backend.find_made(id, "a label").await.unwrap_err();
        assert_eq!(error.class, Class::Misconfigured, "{error}");
        assert!(error.message.contains(said) && error.message.contains("vendor's tool"), "{error}");
    }
    // Nothing shows whose the private half is; the public one is what a killed destruction leaves behind.
    for (id, public) in [(&b"bare"[..], &bare.public), (b"twin", &bare.public)] {
        assert_eq!(backend.destroy(id, public).await.unwrap_err().class, Class::Misconfigured);
    }
    assert_eq!(backend.destroy(b"left", &bare.public).await.unwrap_err().class, Class::Untrusted);
    assert_eq!(backend.destroy(b"left", &left.public).await.unwrap(), GONE);
    assert_eq!(backend.find_made(b"left", "a label").await.unwrap(), None);
    let listed = backend.list().await.unwrap();
    assert_eq!(listed.len(), 3, "the private keys are all there: {listed:?}");
    // No id at all would fit whatever has none.
    for id in [&b""[..], b"nobody"] {
        match backend.destroy(id, &bare.public).await {
            Ok(destroyed) => assert_eq!((id, destroyed), (&b"nobody"[..], GONE)),
            Err(error) => assert_eq!((id, error.class), (&b""[..], Class::Bug)),
        }
    }
}

/// Wherever it is interrupted, the same call again brings it to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_that_is_interrupted_is_done_again() {
    let interrupted = async |fault: &str, nth: u8| {
        let token = Token::faulty("");
        let backend = token.start().await;
        let other = token.generate(&backend, b"other", Algorithm::ES256).await;
        let ours = token.generate(&backend, b"ours", Algorithm::ES256).await;
        token.script(&format!("C_DestroyObject {fault} nth {nth}"));
        let first = backend.destroy(b"ours", &ours.public).await;
        token.script("");
        if let Err(error) = first {
            assert_eq!(error.class, Class::Down, "{fault} {nth}: {error}");
        }
        assert_eq!(backend.destroy(b"ours", &ours.public).await.unwrap(), GONE, "{fault} {nth}");
        assert_eq!(backend.find_made(b"ours", "a label").await.unwrap(), None, "{fault} {nth}");
        assert_eq!(backend.list().await.unwrap().len(), 1, "{fault} {nth}");
        let signature = other.sign(b"x", soon()).await.unwrap();
        assert!(verifies(Algorithm::ES256, &other.public, b"x", &signature));
    };
    // A device error, one of the session, one of the handle, one of the vendor's, and a crash.
    for fault in ["rv 0x30", "rv 0x6", "rv 0x82", "rv 0x80000001", "abort"] {
        interrupted(fault, 1).await;
        interrupted(fault, 2).await;
    }
}

/// As SoftHSM does when it cannot remove the file.
#[tokio::test]
async fn a_token_that_only_says_so_is_not_believed() {
    let token = Token::faulty("");
    let backend = token.start().await;
    let ours = token.generate(&backend, b"k", Algorithm::ES256).await;
    token.script("C_DestroyObject rv 0x0");
    let error = backend.destroy(b"k", &ours.public).await.unwrap_err();
    assert!(error.class == Class::Down && error.message.contains("still shows it"), "{error}");
    // One that refuses to is believed.
    token.script("C_DestroyObject rv 0x1b");
    let error = backend.destroy(b"k", &ours.public).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Misconfigured, "CKR_ACTION_PROHIBITED"),
        "{error}"
    );
    token.script("");
    assert_eq!(backend.list().await.unwrap().len(), 1);
    ours.sign(b"x", soon()).await.unwrap();
}
