//! The table: malicious and mistaken requests, with what must come back.
#![allow(unreachable_pub, reason = "a module of one test binary")]

/// What must come back: status, code of the problem, and a rule among its violations (or none).
pub struct Case {
    pub row: &'static str,
    pub what: &'static str,
    pub body: Vec<u8>,
    pub status: u16,
    pub code: &'static str,
    pub rule: Option<&'static str>,
}

fn with_claims(claims: &str) -> String {
    format!(
        r#"{{"profile":"access","claims":{{"sub":"alice","client_id":"web","aud":"https://api.test",{claims}}}}}"#
    )
}

fn with_members(members: &str) -> String {
    let good = r#""profile":"access","claims":{"sub":"alice","client_id":"web","aud":"https://api.test"}"#;
    format!("{{{good},{members}}}")
}

/// A policy refusal: 403 with this rule.
fn rule(row: &'static str, what: &'static str, body: String, rule: &'static str) -> Case {
    Case { row, what, body: body.into_bytes(), status: 403, code: "policy.denied", rule: Some(rule) }
}

/// Not a request at all: 400 with this code.
fn json(row: &'static str, what: &'static str, body: impl Into<Vec<u8>>, code: &'static str) -> Case {
    Case { row, what, body: body.into(), status: 400, code, rule: None }
}

fn header_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for member in [
        "alg", "header", "kid", "typ", "jku", "x5u", "jwk", "x5c", "x5t", "crit", "b64", "zip", "cty",
        "payload", "key", "iss",
    ] {
        let row = if member == "alg" { "J1" } else { "J2" };
        cases.push(rule(
            row,
            "a header member in the request",
            with_members(&format!(r#""{member}":"x""#)),
            "request.member",
        ));
    }
    cases.push(rule("J1", "alg none", with_members(r#""alg":"none""#), "request.member"));
    cases.push(rule("J1", "alg in odd case", with_members(r#""ALG":"noNE""#), "request.member"));
    cases
}

fn profile_cases() -> Vec<Case> {
    let of = |profile: &str| format!(r#"{{"profile":{profile},"claims":{{"sub":"a","client_id":"b"}}}}"#);
    vec![
        rule("J3", "a profile that does not exist", of(r#""logout""#), "caller.profile"),
        rule("J3", "a profile of another caller", of(r#""service""#), "caller.profile"),
        rule("J3", "the profile's name in another case", of(r#""Access""#), "caller.profile"),
        rule("J3", "the profile's name with a blank", of(r#""access ""#), "caller.profile"),
        rule("J3", "an empty profile", of(r#""""#), "caller.profile"),
        rule("J3", "typ as a claim", with_claims(r#""typ":"logout+jwt""#), "claim.unknown"),
    ]
}

fn shape_cases() -> Vec<Case> {
    let deny = |what, body: &str, name| rule("J5", what, body.to_owned(), name);
    vec![
        deny("no profile", r#"{"claims":{}}"#, "request.profile"),
        deny("profile is a number", r#"{"profile":1,"claims":{}}"#, "request.profile"),
        deny("no claims", r#"{"profile":"access"}"#, "request.claims"),
        deny("claims is an array", r#"{"profile":"access","claims":[]}"#, "request.claims"),
        deny("claims is text", r#"{"profile":"access","claims":"{}"}"#, "request.claims"),
        deny("claims is null", r#"{"profile":"access","claims":null}"#, "request.claims"),
        deny("the body is an array", "[]", "request.object"),
        deny("the body is text", r#""x""#, "request.object"),
        deny("the body is null", "null", "request.object"),
        deny("the body is a number", "1", "request.object"),
        rule(
            "J5",
            "sub is a number",
            r#"{"profile":"access","claims":{"sub":1,"client_id":"b","aud":"https://api.test"}}"#.into(),
            "claim.type",
        ),
        rule(
            "J5",
            "sub is null",
            r#"{"profile":"access","claims":{"sub":null,"client_id":"b","aud":"https://api.test"}}"#.into(),
            "claim.type",
        ),
        rule(
            "J5",
            "sub is an array",
            r#"{"profile":"access","claims":{"sub":["a"],"client_id":"b","aud":"https://api.test"}}"#.into(),
            "claim.type",
        ),
        rule("J5", "auth_time is text", with_claims(r#""auth_time":"1700000000""#), "claim.type"),
        rule("J5", "level is text", with_claims(r#""level":"3""#), "claim.type"),
        rule("J5", "level has a fraction", with_claims(r#""level":3.5"#), "claim.type"),
        rule("J5", "groups is text", with_claims(r#""groups":"admin""#), "claim.type"),
    ]
}

fn duplicate_cases() -> Vec<Case> {
    let twice = |what, body: &str| json("J6", what, body, "json.duplicate");
    vec![
        twice("profile twice", r#"{"profile":"access","profile":"access","claims":{}}"#),
        twice("claims twice", r#"{"profile":"access","claims":{},"claims":{"sub":"a"}}"#),
        twice("sub twice", r#"{"profile":"access","claims":{"sub":"a","sub":"b","client_id":"c"}}"#),
        twice(
            "sub twice, once escaped",
            r#"{"profile":"access","claims":{"sub":"a","\u0073ub":"b","client_id":"c"}}"#,
        ),
        twice("exp twice, once escaped", r#"{"profile":"access","claims":{"exp":1,"\u0065xp":2}}"#),
        twice("twice in a nested object", &with_claims(r#""address":{"city":"a","city":"b"}"#)),
        twice("twice in an object in an array", &with_claims(r#""groups":[{"a":1,"a":2}]"#)),
    ]
}

fn name_cases() -> Vec<Case> {
    let mut cases = vec![
        rule("J7", "zero-width space in a name", with_claims("\"e\u{200b}xp\":1"), "claim.lookalike"),
        rule("J7", "fullwidth letter in a name", with_claims("\"\u{ff45}xp\":1"), "claim.lookalike"),
        rule("J7", "Cyrillic letter in a name", with_claims("\"is\u{455}\":\"x\""), "claim.lookalike"),
        rule("J7", "a blank behind a name", with_claims(r#""exp ":1"#), "claim.lookalike"),
        rule("J7", "a configured name in another case", with_claims(r#""Scope":"read""#), "claim.lookalike"),
        json("J7", "NUL in a name", with_claims(r#""ex\u0000p":1"#), "json.control"),
        json("J7", "a newline in a name", with_claims(r#""ex\np":1"#), "json.control"),
    ];
    for name in ["Exp", "EXP", "eXp", "Iss", "IAT", "Nbf", "JTI"] {
        cases.push(rule(
            "J7",
            "a reserved name in another case",
            with_claims(&format!(r#""{name}":1"#)),
            "claim.lookalike",
        ));
    }
    for name in ["iss", "iat", "nbf", "exp", "jti"] {
        cases.push(rule(
            "J9",
            "a claim that is the daemon's",
            with_claims(&format!(r#""{name}":1"#)),
            "claim.reserved",
        ));
    }
    for name in ["admin", "act", "cnf", "authorization_details", "azp", "nonce", "email"] {
        cases.push(rule(
            "J13",
            "a claim that is not allowed",
            with_claims(&format!(r#""{name}":{{}}"#)),
            "claim.unknown",
        ));
    }
    cases
}

fn number_cases() -> Vec<Case> {
    let number = |what, text: &str, code| json("J8", what, with_claims(&format!(r#""level":{text}"#)), code);
    vec![
        number("2^53", "9007199254740992", "json.number"),
        number("2^53+1", "9007199254740993", "json.number"),
        number("2^63", "9223372036854775808", "json.number"),
        number("2^64", "18446744073709551616", "json.number"),
        number("below -(2^53-1)", "-9007199254740992", "json.number"),
        number("minus zero", "-0", "json.number"),
        number("1e400", "1e400", "json.number"),
        number("1e999", "1e999", "json.number"),
        number("1e300", "1e300", "json.number"),
        number("NaN", "NaN", "json.syntax"),
        number("Infinity", "Infinity", "json.syntax"),
        number("-Infinity", "-Infinity", "json.syntax"),
        number("a leading zero", "01", "json.syntax"),
        number("a plus sign", "+1", "json.syntax"),
        number("a bare point", ".5", "json.syntax"),
        number("hexadecimal", "0x10", "json.syntax"),
        rule("J8", "a date with a fraction", with_claims(r#""auth_time":1700000000.5"#), "claim.type"),
        rule("J8", "a date in exponent form", with_claims(r#""auth_time":1.7e9"#), "claim.type"),
        rule("J8", "a negative date", with_claims(r#""auth_time":-1"#), "claim.type"),
        rule("J8", "a date beyond the year 9999", with_claims(r#""auth_time":253402300800"#), "claim.type"),
    ]
}

fn lifetime_cases() -> Vec<Case> {
    let ttl = |what, text: &str, name| rule("J9", what, with_members(&format!(r#""ttl":{text}"#)), name);
    vec![
        ttl("ttl 0", "0", "ttl.positive"),
        ttl("ttl below 0", "-1", "ttl.positive"),
        ttl("ttl over the maximum", "901", "ttl.max"),
        ttl("ttl of 2^53-1", "9007199254740991", "ttl.max"),
        ttl("ttl as text over the maximum", r#""1h""#, "ttl.max"),
        ttl("ttl as text, negative", r#""-5m""#, "ttl.positive"),
        ttl("ttl with a fraction", "1.5", "ttl.form"),
        ttl("ttl is nonsense", r#""soon""#, "ttl.form"),
        ttl("ttl is true", "true", "ttl.form"),
        ttl("ttl is an object", "{}", "ttl.form"),
        ttl("ttl is null", "null", "ttl.form"),
    ]
}

fn audience_cases() -> Vec<Case> {
    let aud = |what, text: &str, name| {
        let body = format!(r#"{{"profile":"access","claims":{{"sub":"a","client_id":"b","aud":{text}}}}}"#);
        rule("J10", what, body, name)
    };
    let many: Vec<String> = (0..10_000).map(|_| "\"https://api.test\"".to_owned()).collect();
    vec![
        aud("an audience that is not allowed", r#""https://evil.test""#, "aud.allowed"),
        aud("an allowed audience with a slash more", r#""https://api.test/""#, "aud.allowed"),
        aud("an empty audience", r#""""#, "aud.allowed"),
        aud("a list with an empty audience", r#"[""]"#, "aud.allowed"),
        aud("an empty list", "[]", "aud.count"),
        aud("two where the form is one", r#"["https://api.test","https://other.test"]"#, "aud.count"),
        aud("a number", "1", "aud.form"),
        aud("null", "null", "aud.form"),
        aud("an object", r#"{"a":"b"}"#, "aud.form"),
        aud("a list of mixed types", r#"["https://api.test",1]"#, "aud.form"),
        Case {
            status: 413,
            code: "body.too_large",
            rule: None,
            ..aud("10,000 entries", &format!("[{}]", many.join(",")), "")
        },
        rule(
            "J10",
            "none where there is a choice",
            r#"{"profile":"access","claims":{"sub":"a","client_id":"b"}}"#.into(),
            "aud.required",
        ),
    ]
}

fn size_cases() -> Vec<Case> {
    let nested =
        |depth: usize| with_claims(&format!(r#""groups":{}1{}"#, "[".repeat(depth), "]".repeat(depth)));
    let wide = (0..600).map(|_| "1").collect::<Vec<_>>().join(",");
    let large = |body: Vec<u8>, what| Case {
        row: "J11",
        what,
        body,
        status: 413,
        code: "body.too_large",
        rule: None,
    };
    vec![
        json("J11", "9 levels", nested(7), "json.too_deep"),
        json("J11", "1,000 levels", nested(1000), "json.too_deep"),
        json("J11", "12,000 open brackets", "[".repeat(12_000), "json.too_deep"),
        json("J11", "600 values", with_claims(&format!(r#""groups":[{wide}]"#)), "json.too_many"),
        large("[".repeat(100_000).into_bytes(), "100,000 open brackets"),
        large(with_claims(&format!(r#""scope":"{}""#, "a".repeat(20_000))).into_bytes(), "20 kB of text"),
        rule(
            "J11",
            "sub over its length",
            format!(
                r#"{{"profile":"access","claims":{{"sub":"{}","client_id":"b","aud":"https://api.test"}}}}"#,
                "a".repeat(65)
            ),
            "claim.length",
        ),
        rule(
            "J11",
            "groups over its length",
            with_claims(r#""groups":["a","b","c","d","e"]"#),
            "claim.length",
        ),
    ]
}

fn encoding_cases() -> Vec<Case> {
    let with_bytes = |bytes: &[u8]| {
        let mut body = br#"{"profile":"access","claims":{"sub":""#.to_vec();
        body.extend_from_slice(bytes);
        body.extend_from_slice(br#"","client_id":"b"}}"#);
        body
    };
    let utf16: Vec<u8> = r#"{"profile":"access"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        json("J12", "invalid UTF-8", with_bytes(&[0xff]), "json.syntax"),
        json("J12", "an overlong encoding", with_bytes(&[0xc0, 0x80]), "json.syntax"),
        json("J12", "an encoded surrogate", with_bytes(&[0xed, 0xa0, 0x80]), "json.syntax"),
        json("J12", "a truncated sequence", with_bytes(&[0xe2, 0x82]), "json.syntax"),
        json(
            "J12",
            "a byte-order mark",
            [&[0xef, 0xbb, 0xbf][..], br#"{"profile":"access","claims":{}}"#].concat(),
            "json.syntax",
        ),
        json("J12", "UTF-16", utf16, "json.syntax"),
        json("J12", "a lone high surrogate", with_bytes(br"\ud800"), "json.syntax"),
        json("J12", "a lone low surrogate", with_bytes(br"\udc00"), "json.syntax"),
        json("J12", "a raw control character", with_bytes(b"a\x01b"), "json.syntax"),
        rule(
            "J14",
            "an escaped newline in sub",
            with_claims("").replace(",}}", "}}").replace("alice", r"al\nice"),
            "claim.control",
        ),
        json(
            "J14",
            "a NUL in sub",
            with_claims("").replace(",}}", "}}").replace("alice", r"al\u0000ice"),
            "json.control",
        ),
        rule(
            "J14",
            "a C1 control in client_id",
            with_claims("").replace(",}}", "}}").replace("web", r"w\u0085eb"),
            "claim.control",
        ),
        rule(
            "J14",
            "a right-to-left override in sub",
            with_claims("").replace(",}}", "}}").replace("alice", r"al\u202eice"),
            "claim.control",
        ),
    ]
}

fn claim_cases() -> Vec<Case> {
    vec![
        rule(
            "J13",
            "a nested object with an unknown member",
            with_claims(r#""address":{"city":"a","x":1}"#),
            "claim.schema",
        ),
        rule(
            "J13",
            "a nested object without a required member",
            with_claims(r#""address":{}"#),
            "claim.schema",
        ),
        rule(
            "J13",
            "a nested object of the wrong type",
            with_claims(r#""address":{"city":1}"#),
            "claim.schema",
        ),
        rule("J13", "not the constant", with_claims(r#""region":"us""#), "claim.const"),
        rule("J13", "not in the list", with_claims(r#""role":"admin""#), "claim.enum"),
        rule("J13", "in the list but for its case", with_claims(r#""role":"Reader""#), "claim.enum"),
        rule("J13", "not the pattern", with_claims(r#""scope":"READ""#), "claim.pattern"),
        rule(
            "J13",
            "the pattern and something behind it",
            with_claims(r#""scope":"read!""#),
            "claim.pattern",
        ),
        rule("J13", "the pattern and a newline", with_claims(r#""scope":"read\n""#), "claim.pattern"),
        rule(
            "J13",
            "no sub",
            r#"{"profile":"access","claims":{"client_id":"b","aud":"https://api.test"}}"#.into(),
            "claim.required",
        ),
        rule(
            "J13",
            "no client_id",
            r#"{"profile":"access","claims":{"sub":"b","aud":"https://api.test"}}"#.into(),
            "claim.required",
        ),
        rule(
            "J20",
            "consent where the profile has none",
            with_members(r#""consent":{}"#),
            "consent.unexpected",
        ),
        rule("J20", "an encryption request", with_members(r#""enc":"A256GCM""#), "request.member"),
    ]
}

fn syntax_cases() -> Vec<Case> {
    let bad = |what, body: &'static str| json("J15", what, body, "json.syntax");
    vec![
        bad("nothing", ""),
        bad("blanks", "   "),
        bad("an open object", r#"{"profile":"access""#),
        bad("two documents", "{} {}"),
        bad("a comma too many", r#"{"profile":"access",}"#),
        bad("a comment", r#"{"profile":"access"/* */}"#),
        bad("single quotes", "{'profile':'access'}"),
        bad("a name without quotes", r#"{profile:"access"}"#),
        bad("an invalid escape", r#"{"profile":"\x61"}"#),
        bad("a JWT instead of JSON", "eyJhbGciOiJub25lIn0.e30."),
        bad("a form", "profile=access&claims=x"),
    ]
}

/// All of them.
pub fn all() -> Vec<Case> {
    let groups = [
        header_cases(),
        profile_cases(),
        shape_cases(),
        duplicate_cases(),
        name_cases(),
        number_cases(),
        lifetime_cases(),
        audience_cases(),
        size_cases(),
        encoding_cases(),
        claim_cases(),
        syntax_cases(),
    ];
    groups.into_iter().flatten().collect()
}
