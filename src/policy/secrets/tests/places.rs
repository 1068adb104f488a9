//! Objects, arrays and numbers are looked at too, and the place of what is found is told.

use super::*;

#[test]
fn objects_and_numbers_are_looked_at_too() {
    let none: [&str; 0] = [];
    for (value, expected) in [
        (json!(4_111_111_111_111_111u64), &["card"][..]),
        (json!(4_111_111_111_111_111.0), &["card"]),
        (json!(-4_111_111_111_111_111i64), &["card"]),
        (json!(185_057_800_608_491u64), &["national_id"]),
        (json!(1_700_000_000), &none),
        (json!(1_700_000_000_000u64), &none),
        (json!(52.411_111_111_111_11), &none),
        (json!(1e300), &none),
        (json!(-0.5), &none),
        (json!([["x", {"y": ["alice@example.com"]}]]), &["email"]),
        (json!({"alice@example.com": true}), &["email"]),
        (json!({"a": {"password": "x"}}), &["name"]),
        (json!({"a": [{"apiKey": ""}]}), &["name"]),
        (json!({"password": null, "has": {"secret": true}}), &none),
        (json!({"pin": 1234}), &["name"]),
        (json!({"password": {"hash": "x"}}), &["name"]),
        (json!({"kty": "oct", "k": "AAAA"}), &["private_key"]),
        (json!({"keys": [{"kty": "EC", "d": "AAAA"}]}), &["private_key"]),
        (json!({"kty": "AKP", "priv": "AAAA"}), &["private_key"]),
        (json!({"kty": "oct", "k": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}), &["private_key"]),
        (json!({"kty": 1, "k": "AAAA"}), &none),
        (json!({"kty": 1, "k": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}), &["entropy"]),
        (json!({"k": "v", "d": 1}), &none),
        (
            json!({"kty": "EC", "crv": "P-256", "x": "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis",
                   "y": "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE"}),
            &none,
        ),
        (json!({"kty": null, "note": "ghp_16C7e42F292c6912E7710c838347Ae178B4a"}), &["entropy"]),
        (json!({"kty": "EC", "note": "ghp_16C7e42F292c6912E7710c838347Ae178B4a"}), &["entropy"]),
        (json!({"kty": "x", "x": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}), &["entropy"]),
        (
            json!({"kty": "OKP", "y": {"z": ["a"]}, "x5c": ["dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"]}),
            &none,
        ),
        (json!({"kty": "AKP", "pub": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "kid": "a"}), &none),
        (json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), &none),
        (json!({"other": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), &["entropy"]),
        (json!({"jkt": "alice@example.com"}), &["email"]),
    ] {
        assert_eq!(found_in("claim", &value), expected, "{value}");
    }
    for name in ["nonce", "at_hash", "sid", "sub", "client_id"] {
        assert_eq!(found_in(name, &json!("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")), none, "{name}");
        assert_eq!(found_in(name, &json!("4111111111111111")), ["card"], "{name}");
    }
    assert_eq!(found_in("amr", &json!(["pwd", "otp", "pin"])), none);
}

/// What is said is the first place.
#[test]
fn places() {
    let detectors = Detectors::default();
    for (value, detector, expected) in [
        (json!("a@b.de"), Detector::EMAIL, "/claims/c"),
        (json!(["x", "a@b.de", "c@d.de"]), Detector::EMAIL, "/claims/c/1"),
        (json!({"x": 1, "y": {"z": ["a@b.de"]}}), Detector::EMAIL, "/claims/c/y/z/0"),
        (json!({"x": {"a@b.de": "4111111111111111"}}), Detector::EMAIL, "/claims/c/x"),
        (json!({"x": {"y": "4111111111111111"}}), Detector::CARD, "/claims/c/x/y"),
        (json!({"x": [{"user_pin": 1}]}), Detector::NAME, "/claims/c/x/0/user_pin"),
        (json!({"x": {"kty": "oct", "k": ""}}), Detector::PRIVATE_KEY, "/claims/c/x"),
        (
            json!({"jkt": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                   "x": {"kty": "EC", "x": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "note": "AKIAIOSFODNN7EXAMPLE"}}),
            Detector::ENTROPY,
            "/claims/c/x/note",
        ),
    ] {
        let place = String::from(locate(&detectors, "c", &value, detector));
        assert_eq!(place, expected, "{value}");
    }
    assert_eq!(String::from(locate(&detectors, "pin", &json!({"pin": 1}), Detector::NAME)), "/claims/pin");
    let harmless = |text| is_harmless(&detectors, text);
    assert!(harmless("role") && !harmless("alice@example.com") && !harmless("4111111111111111"));
}
