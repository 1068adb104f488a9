//! Forged, altered, expired, misdirected and confused JWTs: none of them is active.

use super::*;
use crate::revocation::presented::LONGEST;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

struct Matrix<'a> {
    world: &'a World,
    tried: usize,
}

impl Matrix<'_> {
    fn refuses(&mut self, token: &str, why: Inactive, what: &str) {
        assert_eq!(self.world.judge(token).map(|_| ()), Err(why), "{what}: {token}");
        self.tried += 1;
    }

    /// Refused for whatever reason.
    fn refuses_any(&mut self, token: &str, what: &str) {
        assert!(self.world.judge(token).is_err(), "{what}: {token}");
        self.tried += 1;
    }
}

#[test]
fn nothing_that_is_not_ours_is_active() {
    let world = World::new();
    let mut matrix = Matrix { world: &world, tried: 0 };
    assert!(world.judge(&world.good()).is_ok());
    headers(&mut matrix);
    claims(&mut matrix);
    bytes(&mut matrix);
    keys(&mut matrix);
    assert!(matrix.tried >= 300, "{}", matrix.tried);
}

fn headers(matrix: &mut Matrix<'_>) {
    let world = matrix.world;
    for (member, values, why) in [
        (
            "alg",
            &[
                json!("none"),
                json!("None"),
                json!("noNE"),
                json!("NONE"),
                json!("HS256"),
                json!("HS512"),
                json!("RS256"),
                json!("ES384"),
                json!("ES256K"),
                json!("Ed25519"),
                json!("es256"),
                json!("ES256 "),
                json!(""),
                json!("PS256"),
            ][..],
            Inactive::Algorithm,
        ),
        ("alg", &[json!(null), json!(1), json!(["ES256"]), json!({})], Inactive::Header),
        (
            "kid",
            &[
                json!(""),
                json!("x"),
                json!("../../dev/null"),
                json!("' OR 1=1 --"),
                json!("file:///etc/passwd"),
            ],
            Inactive::Key,
        ),
        ("kid", &[json!(null), json!(7), json!([])], Inactive::Header),
        (
            "typ",
            &[
                json!("JWT"),
                json!("jwt"),
                json!("AT+JWT"),
                json!("application/at+jwt"),
                json!("at+jwt "),
                json!("secevent+jwt"),
                json!("id+jwt"),
                json!(""),
            ],
            Inactive::Type,
        ),
        ("typ", &[json!(null), json!(false)], Inactive::Header),
    ] {
        for value in values {
            let mut header = world.header();
            header[member] = value.clone();
            matrix.refuses(&world.token(&header, &world.claims()), why, member);
        }
    }
    for (member, value) in [
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["alg", "alg"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("jku", json!("https://evil.example.com/keys")),
        ("x5u", json!("https://evil.example.com/cert")),
        ("x5c", json!(["AAAA"])),
        ("cty", json!("JWT")),
        ("iss", json!(ISSUER)),
        ("nonce", json!("x")),
        ("unknown", json!(null)),
    ] {
        let mut header = world.header();
        header[member] = value;
        matrix.refuses(&world.token(&header, &world.claims()), Inactive::Header, member);
        // In the place of another member.
        for gone in ["alg", "kid", "typ"] {
            let mut header = header.clone();
            header.as_object_mut().unwrap().remove(gone);
            matrix.refuses(&world.token(&header, &world.claims()), Inactive::Header, member);
        }
    }
    let claims = world.claims().to_string();
    let kid = world.key.public().thumbprint().to_string();
    for header in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"ES256\"".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"alg":"ES256","alg":"none","kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"none","alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt"}} "x""#),
        format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt",}}"#),
        format!(r#"{{"ALG":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
    ] {
        matrix.refuses_any(&world.key.sign(header.as_bytes(), claims.as_bytes()), &header);
    }
}

fn claims(matrix: &mut Matrix<'_>) {
    let world = matrix.world;
    let text = "2027-01-15T08:00:00Z";
    let wrong = [
        json!(null),
        json!(true),
        json!("1800000290"),
        json!(text),
        json!(1.8e9),
        json!(1_800_000_290.5),
        json!(-1),
        json!([NOW]),
        json!({}),
    ];
    for name in ["iat", "nbf", "exp"] {
        for value in &wrong {
            let mut claims = world.claims();
            claims[name] = value.clone();
            // A whole number in another form is one all the same, unless it is not in its time.
            if value.as_i64().is_some_and(|date| date >= 0) {
                continue;
            }
            matrix.refuses(&world.token(&world.header(), &claims), Inactive::Claims, name);
        }
    }
    for name in ["iss", "jti", "iat", "exp"] {
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().remove(name);
        matrix.refuses(&world.token(&world.header(), &claims), Inactive::Claims, name);
    }
    for (name, value, why) in [
        ("exp", json!(NOW), Inactive::Expired),
        ("exp", json!(NOW - 1), Inactive::Expired),
        ("exp", json!(0), Inactive::Expired),
        ("nbf", json!(NOW + 1), Inactive::Early),
        ("nbf", json!(i64::MAX), Inactive::Claims),
        ("iat", json!(NOW + 61), Inactive::Early),
        ("iat", json!(u64::MAX), Inactive::Claims),
        ("exp", json!(u64::MAX), Inactive::Claims),
        ("iss", json!("https://login.example.com/"), Inactive::Issuer),
        ("iss", json!("HTTPS://LOGIN.EXAMPLE.COM"), Inactive::Issuer),
        ("iss", json!("https://evil.example.com"), Inactive::Issuer),
        ("iss", json!(""), Inactive::Issuer),
        ("iss", json!([ISSUER]), Inactive::Claims),
        ("iss", json!({ "0": ISSUER }), Inactive::Claims),
        ("jti", json!(1), Inactive::Claims),
        ("jti", json!(["id-1"]), Inactive::Claims),
    ] {
        let mut claims = world.claims();
        claims[name] = value;
        matrix.refuses(&world.token(&world.header(), &claims), why, name);
    }
    let mut many = world.header();
    many["typ"] = json!("many+jwt");
    let (ours, other) = ("https://api.example.com", "https://evil.example.com");
    for (header, audience) in [
        (world.header(), json!(null)),
        (world.header(), json!("")),
        (world.header(), json!(other)),
        (world.header(), json!("https://api.example.com/")),
        (world.header(), json!("https://API.example.com")),
        (world.header(), json!([ours])),
        (world.header(), json!([ours, other])),
        (world.header(), json!([])),
        (world.header(), json!({ ours: true })),
        (world.header(), json!(1)),
        (many.clone(), json!(null)),
        (many.clone(), json!(ours)),
        (many.clone(), json!([])),
        (many.clone(), json!([other])),
        (many.clone(), json!([ours, other])),
        (many.clone(), json!([ours, 1])),
        (many.clone(), json!([[ours]])),
    ] {
        let mut claims = world.claims();
        claims["aud"] = audience;
        matrix.refuses(&world.token(&header, &claims), Inactive::Audience, "aud");
        claims.as_object_mut().unwrap().remove("aud");
        matrix.refuses(&world.token(&header, &claims), Inactive::Audience, "no aud");
    }
    let asked = Asked { audience: Some(other) };
    let judged = world.revocations.judge(&world.good(), (&world.ring, &world.policy), asked, NOW);
    assert_eq!(judged.unwrap_err(), Inactive::Audience);
    let header = world.header().to_string();
    let good = world.claims().to_string();
    let (start, _) = good.rsplit_once('}').unwrap();
    for payload in [
        "null".to_owned(),
        "[]".to_owned(),
        "\"x\"".to_owned(),
        format!("{start},\"exp\":9999999999}}"),
        format!("{start},\"sub\":\"bob\"}}"),
        format!("{start},\"a\":{{\"b\":1,\"b\":2}}}}"),
        format!("{start},}}"),
        format!("{good}{good}"),
        format!("{start},\"a\":NaN}}"),
        format!("{start},\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100)),
    ] {
        matrix.refuses(&world.key.sign(header.as_bytes(), payload.as_bytes()), Inactive::Claims, &payload);
    }
}

/// One character changed, each part cut, other forms.
fn bytes(matrix: &mut Matrix<'_>) {
    let good = matrix.world.good();
    for at in 0..good.len() {
        let mut altered = good.clone().into_bytes();
        altered[at] = match altered[at] {
            b'A' => b'B',
            _ => b'A',
        };
        matrix.refuses_any(std::str::from_utf8(&altered).unwrap(), "altered");
    }
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let flat = json!({ "protected": header, "payload": payload, "signature": signature });
    let general =
        json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] });
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}.{signature}"),
        format!("{good}~"),
        format!("{header}.{payload}.{signature}.{header}.{payload}"),
        format!("Bearer {good}"),
        good.replace('.', "%2e"),
        good.replace('_', "/").replace('-', "+") + "==",
        flat.to_string(),
        general.to_string(),
        "a".repeat(LONGEST + 1),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 4]),
        format!("{header}.{payload}.{signature}AAAA"),
    ] {
        matrix.refuses_any(&token, "another form");
    }
    // A signature of nothing, and one in DER.
    let zero = BASE64URL.encode([0; 64]);
    let der = BASE64URL.encode([0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01]);
    for signature in [zero, der] {
        matrix.refuses(&format!("{header}.{payload}.{signature}"), Inactive::Signature, "no signature");
    }
}

fn keys(matrix: &mut Matrix<'_>) {
    let world = matrix.world;
    let other = Soft::new();
    let claims = world.claims().to_string();
    // Another key under our name, and under its own.
    matrix.refuses(
        &other.sign(world.header().to_string().as_bytes(), claims.as_bytes()),
        Inactive::Signature,
        "key",
    );
    let mut own = world.header();
    own["kid"] = json!(other.public().thumbprint().as_str());
    matrix.refuses(&other.sign(own.to_string().as_bytes(), claims.as_bytes()), Inactive::Key, "key");
    // The public key as the secret of an HMAC.
    for secret in [
        world.key.0.public_key().as_ref().to_vec(),
        serde_json::to_vec(&world.key.public().to_jwk(Algorithm::ES256)).unwrap(),
        Vec::new(),
    ] {
        for algorithm in ["HS256", "ES256"] {
            let mut header = world.header();
            header["alg"] = json!(algorithm);
            let input = compact::signing_input(header.to_string().as_bytes(), claims.as_bytes());
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
            matrix.refuses_any(&format!("{input}.{}", BASE64URL.encode(tag.as_ref())), "HMAC");
        }
    }
    // What the key signs besides JWTs.
    let test = world.key.0.sign(&SystemRandom::new(), b"jwsd key self-test, not a JWT\n").unwrap();
    let input = compact::signing_input(world.header().to_string().as_bytes(), claims.as_bytes());
    matrix.refuses(&format!("{input}.{}", BASE64URL.encode(test.as_ref())), Inactive::Signature, "self-test");
}
