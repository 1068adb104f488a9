//! Places of issuers, and the bytes of their documents.

use super::*;

fn place(issuer: &str) -> Option<(String, String, String)> {
    Place::of(issuer).map(|place| {
        let directory = place.directory().to_str().unwrap().to_owned();
        (place.host, place.path, directory)
    })
}

#[test]
fn a_place_is_host_and_path() {
    for (issuer, host, path, directory) in [
        ("https://login.example.com", "login.example.com", "", "login.example.com"),
        ("https://Login.Example.com/", "login.example.com", "", "login.example.com"),
        ("HTTPS://a.example:443/t", "a.example", "/t", "a.example/t"),
        ("http://a.example:80", "a.example", "", "a.example"),
        ("http://a.example:443/", "a.example:443", "", "a.example_443"),
        ("https://a.example:8443/x/Y_1/", "a.example:8443", "/x/Y_1", "a.example_8443/x/Y_1"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", "", "_2001_db8__1__8443"),
    ] {
        let expected = (host.to_owned(), path.to_owned(), directory.to_owned());
        assert_eq!(place(issuer), Some(expected), "{issuer}");
    }
}

#[test]
fn nothing_is_named_after_what_is_not_plain() {
    for issuer in [
        "deploy-robot",
        "urn:example:issuer",
        "ftp://a.example",
        "https://",
        "https://..",
        "https://../x",
        "https://.hidden",
        "https://a/..",
        "https://a/../../etc",
        "https://a/.",
        "https://a/.well-known",
        "https://a//b",
        "https://a//",
        "https://a/%2e%2e/b",
        "https://a/b c",
        "https://a/b\\c",
        "https://a/\u{e4}",
        "https://a:b",
        "https://a:",
        "https://a:0",
        "https://a:+80",
        "https://a:08443",
        "https://a:65536",
        "https://a:1:2",
        "https://me@a",
        "https://[::1",
        "https://[..]",
        "https://[::1]x",
        "https://[::1]:",
        "https://jwks.json",
    ] {
        assert_eq!(place(issuer), None, "{issuer}");
    }
    assert_eq!(place(&format!("https://a/{}", "b".repeat(256))), None);
    assert_eq!(place(&format!("https://{}", "b".repeat(256))), None);
    assert_eq!(place(&format!("https://a{}", "/b".repeat(257))), None);
}

fn text(document: &Document) -> String {
    String::from_utf8(document.body().to_vec()).unwrap()
}

#[test]
fn a_document_says_what_is_true_and_no_more() {
    let issuer = "https://login.example.com/";
    let all = [
        (issuer, Algorithm::RS256),
        (issuer, Algorithm::ES256),
        (issuer, Algorithm::RS256),
        ("x", Algorithm::PS256),
    ];
    let discovery = Discovery::new(all, None);
    assert_eq!(discovery.issuers().len(), 1);
    let expected = concat!(
        r#"{"issuer":"https://login.example.com/","jwks_uri":"https://login.example.com/.well-known/jwks.json","#,
        r#""response_types_supported":["id_token"],"subject_types_supported":["public"],"#,
        r#""id_token_signing_alg_values_supported":["ES256","RS256"]}"#
    );
    assert_eq!(text(discovery.find("", None).unwrap()), expected);
    let elsewhere = Discovery::new(all, Some("https://cdn.example.com/keys"));
    let moved =
        expected.replace("https://login.example.com/.well-known/jwks.json", "https://cdn.example.com/keys");
    assert_eq!(text(elsewhere.find("", None).unwrap()), moved);
}

#[test]
fn path_first_and_then_host_decide() {
    let of = |issuer| (issuer, Algorithm::ES256);
    let discovery = Discovery::new(
        [of("https://a.example"), of("https://B.example:8443/"), of("https://a.example/t")],
        None,
    );
    let issuer = |path: &str, host: Option<&str>| {
        let document = text(discovery.find(path, host)?);
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        Some(document["issuer"].as_str().unwrap().to_owned())
    };
    assert_eq!(issuer("", Some("a.example")).as_deref(), Some("https://a.example"));
    assert_eq!(issuer("", Some("b.EXAMPLE:8443")).as_deref(), Some("https://B.example:8443/"));
    for host in [None, Some("b.example"), Some("localhost"), Some(""), Some("a.example, b.example:8443")] {
        assert_eq!(issuer("", host), None, "{host:?}");
    }
    // The only one there.
    assert_eq!(issuer("/t", Some("localhost")).as_deref(), Some("https://a.example/t"));
    assert_eq!(
        (issuer("/T", None), issuer("/t/", None), issuer("/u", Some("a.example"))),
        (None, None, None)
    );
    assert!(discovery.has_path("") && discovery.has_path("/t") && !discovery.has_path("/t/"));
}
