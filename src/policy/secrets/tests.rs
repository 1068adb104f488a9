//! What detectors find and what they let pass, that their time is linear, and that nothing they found is repeated.

mod places;

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::cell::Cell;

thread_local!(pub(super) static STEPS: Cell<usize> = const { Cell::new(0) });

/// Names of all that is found in a text.
fn found(text: &str) -> Vec<String> {
    let detectors = Detectors::default();
    let found = in_text(&detectors, text, DetectorSet::ALL);
    found.iter().map(|detector| detectors.own.name(detector).to_owned()).collect()
}
/// Names of all that is found in a claim.
fn found_in(name: &str, value: &Value) -> Vec<String> {
    let detectors = Detectors::default();
    let found = in_member(&detectors, name, value, DetectorSet::ALL);
    found.iter().map(|detector| detectors.own.name(detector).to_owned()).collect()
}

#[test]
fn values_that_are_found() {
    for (detector, texts) in [
        (
            "card",
            &[
                "4111111111111111",
                "4111 1111 1111 1111",
                "4111-1111-1111-1111",
                "4111\u{a0}1111\u{a0}1111\u{a0}1111",
                "4111\u{2013}1111\u{2013}1111\u{2013}1111",
                "41 11 11 11 11 11 11 11",
                "paid with 4111 1111 1111 1111 12/27 yesterday",
                "2023-11-14 4111 1111 1111 1111 123",
                "card:4111111111111111;",
                "card_4111111111111111",
                "card-4111111111111111",
                "card-4111-1111-1111-1111",
                "Room B12 4111 1111 1111 1111",
                "order1 4111111111111111",
                "4111111111111111 3D Secure",
                "4111 1111 1111 1111 3D Secure",
                "+49 4111111111111111",
                "1.5 4111111111111111",
                "4111111111111111-123",
                "4222222222222",
                "5555555555554444",
                "2223000048400011",
                "378282246310005",
                "3782 822463 10005",
                "30569309025904",
                "6011111111111117",
                "3530111333300000",
                "6200000000000005",
                "6759649826438453",
                "2200123456789019",
            ][..],
        ),
        (
            "iban",
            &[
                "DE89370400440532013000",
                "DE89 3704 0044 0532 0130 00",
                "de89 3704 0044 0532 0130 00",
                "IBAN: GB29 NWBK 6016 1331 9268 19, thanks",
                "(FR1420041010050500013M02606)",
                "NO9386011117947",
                "DE89-3704-0044-0532-0130-00",
                "NL91\u{2011}ABNA\u{2011}0417\u{2011}1643\u{2011}00",
                "MT84MALT011000012345MTLCAST001S",
                "https://bank.example/accounts/DE89370400440532013000/balance",
                "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00",
            ],
        ),
        (
            "email",
            &[
                "alice@example.com",
                "Alice <alice.b+tag@mail.example.co.uk>",
                "mailto:alice@example.com",
                "https://login.example.com/?login_hint=alice%40example.com&x=1",
                "a@b.de.",
                "jörg@exämple.de",
                "x@xn--exmple-cua.xn--p1ai",
                "\"a b\"@example.com",
                "@@ a@@example a@example.org",
            ],
        ),
        (
            "national_id",
            &[
                "536-22-1234",
                "my ssn is 536 22 1234.",
                "912-70-1234",
                "536\u{2011}22\u{2011}1234",
                "536\u{2013}22\u{2013}1234",
                "536\u{a0}22\u{a0}1234",
                "ab123456c",
                "ab 12 34 56 c",
                "12345678z",
                "x1234567l",
                "255022a12345647",
                "529.982.247\u{2011}25",
                "85.07.30\u{2013}033.28",
                "AB123456C",
                "AB 12 34 56 C",
                "RSSMRA85T10A562S",
                "rssmra85t10a562s",
                "12345678Z",
                "12345678-Z",
                "X1234567L",
                "185057800608491",
                "1 85 05 78 006 084 91",
                "255022A12345647",
                "756.9217.0769.85",
                "7569217076985",
                "529.982.247-25",
                "85.07.30-033.28",
            ],
        ),
        (
            "private_key",
            &[
                "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
                "-----BEGIN RSA PRIVATE KEY-----",
                "-----BEGIN OPENSSH PRIVATE KEY-----",
                "-----BEGIN PGP PRIVATE KEY BLOCK-----",
                "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU",
                "PuTTY-User-Key-File-3: ssh-ed25519",
                "AGE-SECRET-KEY-1QQPQZRFR7ZZ2WCV",
                r#"{"kty":"oct","k":"AAAA"}"#,
                r#"{"crv":"Ed25519", "d":"AAAA","kty":"OKP"}"#,
            ],
        ),
        (
            "jwt",
            &[
                "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
                "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
                "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
                "https://app.example/cb#id_token=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln&state=x",
                "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a2V5.aXY.Y2lwaGVydGV4dA.dGFn",
                "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.Y2lwaGVydGV4dA.dGFn",
                "eyAiYWxnIjogIkVTMjU2IiB9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
                "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln~WyJzYWx0Il0~",
                "the token is eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl.",
                "see eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl...",
                "jwt-eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
                "my_jwt_eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
                "jwt.eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
                "eyJhbGciOiJIUzI1NiJ9====.eyJzdWIiOiJhIn0=.c2lnbmF0dXJl==",
                "https://app.example/x.y/eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln/z",
            ],
        ),
        (
            "entropy",
            &[
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                "q3Zv9/kT2mX8+LpR4sW7nYcB1dF6hJ0gQeUaVtKiMxo=",
                "kX9v2QpLm4Zt8Rw1Yc7NbH3s",
                "password=kX9v2QpLm4Zt8Rw1Yc7NbH3s;",
                "AKIAIOSFODNN7EXAMPLE",
                "aws_access_key_id=AKIAIOSFODNN7EXAMPLE",
                "https://h/?k=AKIAIOSFODNN7EXAMPLE",
                "https://h/keys/AKIAIOSFODNN7EXAMPLE",
                "vault.hvs.CAESIJ1234567890abcdef",
                "sha1:AKIAIOSFODNN7EXAMPLE",
                "sha1:ghp_16C7e42F292c6912E7710c838347Ae178B4a",
                "sha256:kX9v2QpLm4Zt8Rw1Yc7NbH3s",
                "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
                "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
                "glpat-3fkPq9sLx7Zt2Vw8Yb1N",
                "0c8a3f5e9d7b1c6f4e2a8b0d9f3c5e7a1b4d6f8091a2b3c4d5e6f708192a3b4c",
            ],
        ),
    ] {
        for text in texts {
            assert_eq!(found(text), [detector], "{text}");
        }
    }
}

#[test]
fn values_that_pass() {
    for text in [
        "",
        "alice",
        "read write:all",
        "Alice Liddell",
        "x y z",
        "2023-11-14",
        "2023-11-14T22:13:20Z",
        "20231114T221320Z",
        "2023-11-14T22:13:20.123456789+01:00",
        "https://login.example.com/realms/acme",
        "https://api.example.com/v1/objects/01ARZ3NDEKTSV4RRFFQ69G5FAV/Versions/8f14e45fceea167a5a36dedd4bea2543",
        "urn:ietf:params:oauth:token-type:access_token",
        "spiffe://example.org/ns/prod/sa/billing",
        "urn:example:8f14e45f-ceea-467f-a8e8-3b1c4a1f2c3d",
        // Identifiers.
        "8f14e45f-ceea-467f-a8e8-3b1c4a1f2c3d",
        "00000000-0000-0000-0000-000000000000",
        "41111111-1111-1111-1111-111111111111",
        "41111111-1111-1111-abcd-abcdefabcdef",
        "abcdefab-cdef-abcd-4111-111111111111",
        "abcd4111-1111-1111-1111-111111111111",
        "abcdefab-4111-1111-1111-1111abcdefab",
        "B4111111111111111",
        "4111111111111111B",
        "+4111111111111111",
        "018bcfe5-6800-7000-8000-000000000000",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "507f1f77bcf86cd799439011",
        "8f14e45fceea167a5a36dedd4bea2543",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "110169484474386276334",
        "1700000000",
        "1700000000000",
        "1700000000000000",
        "1700000000000000000",
        "order-2023-000123",
        "INV-2023-11-0042",
        "billing-api-7d9f8b6c5d-x2x4q",
        "V1StGXR8_Z5jdHi6B-myT",
        "arn:aws:iam::111122223333:role/jwsd",
        "projects/my-project-1234/locations/europe-west1/keyRings/ring/cryptoKeys/key",
        "com.example.application.AuthenticationServiceImpl",
        "getUserAccountByIdAndEnvironmentName",
        "OpenID-Connect-Core-1_0-Final-2023",
        "UserAccountRegistrationService2024",
        "refs/heads/feature/JIRA-1234-new",
        "registry.example.com/team/app:1.2.3",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC",
        "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0",
        "monkeyJhbGci.example.com.au",
        // Numbers of other kinds.
        "+49 170 1234567",
        "+1 555 123 4567",
        "+4915123456789",
        "555-12-3456-7",
        "192.168.0.1",
        "2001:db8::8a2e:370:7334",
        "52.4111111111111111",
        "4111111111111112",
        "9111111111111111",
        "1234567890123456",
        "000-12-3456",
        "666-12-3456",
        "123-00-4567",
        "123-45-0000",
        "950-45-6789",
        "BG123456C",
        "bg123456c",
        "12345678a",
        "000\u{2011}12\u{2011}3456",
        "DE89-3704-0044-0532-0130-01",
        "DE89-37040044-0532-0130-00",
        "ba890000-0000-0000-0000-000000000000",
        "QQ123456C",
        "12345678A",
        "RSSMRA85T10A562T",
        "185057800608492",
        "756.9217.0769.86",
        "529.982.247-26",
        "111.111.111-11",
        "85.07.30-033.29",
        "DE88370400440532013000",
        "DE8937040044053201300",
        "DE893704004405320130001",
        "ZZ89370400440532013000",
        "XDE89370400440532013000",
        "1.2.3-rc.4+build.5",
        "10.0.0.0/8",
        "3.141592653589793",
        "978-3-16-148410-0",
        // Signs alone.
        "@example.com",
        "a@b",
        "a@localhost",
        "@scope/package@1.2.3",
        "user@10.0.0.1",
        "a @ b.com",
        "50%40",
        "@",
        "%40",
        "eyJ",
        "e30.e30.e30",
        "a.b.c",
        "www.example.com",
        "eyewitness.report.example",
        "e.x.a.m.p.l.e",
        "v1.2.3.4.5",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----",
        "the PRIVATE KEY is elsewhere",
        r#"{"kty":"OKP","x":"AAAA"}"#,
        "hvs.",
        "ghp_",
        "AKIA",
        "npm_config_registry_url",
        "日本語の長い文字列はここにありますけれども",
        "\u{1f600}\u{1f600}",
    ] {
        assert_eq!(found(text), [""; 0], "{text}");
    }
}

/// As often as a key is found, and as seldom as chance makes one of an identifier.
#[test]
fn chance_is_told_from_order() {
    let mut state = 88_172_645_463_325_252u64;
    let mut random = |alphabet: &[u8], length: usize| -> String {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap()
        };
        (0..length).map(|_| char::from(alphabet[next() % alphabet.len()])).collect()
    };
    let base64url = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (length, least) in [(32, 870), (43, 940), (64, 980), (86, 990)] {
        let hits = (0..1000).filter(|_| found(&random(base64url, length)) == ["entropy"]).count();
        assert!(hits >= least, "{hits} of 1000 with {length} characters");
    }
    for _ in 0..4000 {
        let hex = random(b"0123456789abcdef", 32);
        let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let ulid = random(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26);
        let commit = random(b"0123456789abcdef", 40);
        for text in [uuid.to_uppercase(), uuid, hex, ulid, commit] {
            assert_eq!(found(&text), [""; 0], "{text}");
        }
    }
    // Of numbers of 16 digits every tenth has the check digit of a card, and few an issuer.
    let hits = (0..5000).filter(|_| !found(&random(b"0123456789", 16)).is_empty()).count();
    assert!((50..=200).contains(&hits), "{hits}");
}

/// Twice the text takes about twice the steps, whatever the text.
#[test]
fn time_is_linear() {
    let steps = |text: &str| {
        STEPS.with(|steps| steps.set(0));
        found(text);
        STEPS.with(Cell::get)
    };
    let pieces = [
        "1",
        "1 ",
        "1-",
        "4111 ",
        "4111",
        "12 345-",
        "a",
        "@",
        "a@",
        "a@b.",
        "%40",
        "a@b",
        "DE89 ",
        "DE89",
        "DE89 3704 0044 0532 0130 01 ",
        "D",
        ".",
        "eyJhbGciOiJ.",
        "e.",
        "aB3",
        "aB3-",
        "aB3/",
        "a1B2c3D4e5F6.",
        "eyJ-",
        "ghp_aaaaaaaaaaaaaaaa.",
        "/ghp_",
        "=",
        "\u{a0}1",
        "\u{e9}@",
        "1.2.3-",
        "\"kty\"",
        "-----BEGIN ",
        "123-45-0000 ",
        "AB12345",
        "aaaaaa00a00a000a ",
    ];
    for piece in pieces {
        let (short, long) = (piece.repeat(1000), piece.repeat(4000));
        let (few, many) = (steps(&short), steps(&long));
        assert!(few <= short.len() * 80, "{piece:?}: {few} steps for {} bytes", short.len());
        assert!(many <= few * 4 + few / 5 + 1000, "{piece:?}: {few} steps, then {many}");
    }
    assert!(steps("4111 1111 1111 1111") > 16, "steps are counted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_text_panics(text in prop_oneof![
        "\\PC*",
        "[0-9 \\-\u{a0}\u{2013}+.]{0,60}",
        "[A-Za-z0-9+/=_.\\-]{0,200}",
        "[a-z@%40.\u{e9}\"-]{0,60}",
        "(eyJ|DE89|4111|-----BEGIN|\"kty\"|756|[A-Z]{6}|[0-9]{2,9}|[ .-]){0,12}",
    ]) {
        let text: String = text;
        STEPS.with(|steps| steps.set(0));
        found(&text);
        prop_assert!(STEPS.with(Cell::get) <= text.len() * 80 + 200);
        in_member(&Detectors::default(), &text, &json!({&text: [&text]}), DetectorSet::ALL);
    }
    /// Every number with the right check digit is found, however it is grouped.
    #[test]
    fn cards_are_found_in_any_grouping(body in proptest::collection::vec(0u8..10, 14), gaps in proptest::collection::vec(0usize..3, 16)) {
        let mut digits = vec![4];
        digits.extend(body);
        let sum: u32 = digits.iter().rev().enumerate().map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (1, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        }).sum();
        digits.push(u8::try_from((10 - sum % 10) % 10).unwrap());
        let text: String = digits.iter().zip(gaps).map(|(digit, gap)| format!("{digit}{}", ["", " ", "-"][gap])).collect();
        prop_assert!(found(text.trim_end_matches([' ', '-'])).contains(&"card".to_owned()), "{}", text);
    }
}
