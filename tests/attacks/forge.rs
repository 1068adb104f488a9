//! Makes attacks: each takes a good request and spoils it in a way that must never be signed, at random within its kind.

#![allow(unreachable_pub, reason = "a module of one test binary")]

use serde_json::{Value, json};

use crate::common::{Dice, good};

/// One attack.
pub struct Attack {
    /// Its number in the catalogue.
    pub row: &'static str,
    pub body: Vec<u8>,
    /// A rule that must be among those it breaks, where it is a request at all; else it is refused by itself.
    pub rule: Option<&'static str>,
}

/// Makes attacks of all kinds in turn.
pub struct Forge {
    dice: Dice,
    next: usize,
}

type Kind = fn(&mut Forge) -> Attack;
const KINDS: [Kind; 17] = [
    algorithm,
    header,
    confusion,
    critical,
    types,
    duplicate,
    lookalike,
    number,
    lifetime,
    reserved,
    audience,
    bomb,
    encoding,
    smuggle,
    hidden,
    serialization,
    encryption,
];

impl Forge {
    pub fn new(dice: Dice) -> Self {
        Self { dice, next: 0 }
    }
    pub fn attack(&mut self) -> Attack {
        self.next += 1;
        KINDS[self.next % KINDS.len()](self)
    }
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.dice.below(limit as u64)).unwrap()
    }
    /// Some of its letters in the other case, at least one.
    fn recase(&mut self, word: &str) -> String {
        let letters: Vec<usize> =
            word.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).map(|(at, _)| at).collect();
        let (sure, mask) = (self.pick(&letters), self.dice.below(1 << 20));
        let flip = |(at, c): (usize, char)| match at == sure || mask >> at & 1 == 1 {
            true if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
            true => c.to_ascii_lowercase(),
            false => c,
        };
        word.char_indices().map(flip).collect()
    }
    /// A word with something put in anywhere.
    fn insert(&mut self, word: &str, what: &str) -> String {
        let at = self.below(word.len() + 1);
        format!("{}{what}{}", &word[..at], &word[at..])
    }
    /// Any JSON value, small.
    fn value(&mut self) -> Value {
        let number = self.dice.below(1 << 40);
        self.pick(&[
            json!(number),
            json!(true),
            json!(null),
            json!("x"),
            json!(""),
            json!([]),
            json!({}),
            json!(0.5),
            json!([number, "x"]),
            json!({"x": {"y": number}}),
            json!("https://evil.test"),
            json!("none"),
        ])
    }
}

fn broken(row: &'static str, rule: &'static str, request: &Value) -> Attack {
    Attack { row, body: request.to_string().into_bytes(), rule: Some(rule) }
}
fn unreadable(row: &'static str, body: impl Into<Vec<u8>>) -> Attack {
    Attack { row, body: body.into(), rule: None }
}
fn with_claim(name: &str, value: Value) -> Value {
    let mut request = good("access");
    request["claims"][name] = value;
    request
}
fn with_member(name: &str, value: Value) -> Value {
    let mut request = good("access");
    request[name] = value;
    request
}
/// A good request whose claims begin with this text.
fn with_text(text: &str) -> String {
    good("access").to_string().replacen("\"claims\":{", &format!("\"claims\":{{{text},"), 1)
}

fn algorithm(forge: &mut Forge) -> Attack {
    let name = match forge.below(2) {
        0 => "alg".to_owned(),
        _ => forge.recase("alg"),
    };
    let none = forge.recase("none");
    let value = forge.pick(&[
        json!(none),
        json!("none"),
        json!("HS256"),
        json!("RS256"),
        json!("ES256"),
        json!(["ES256"]),
        json!(null),
    ]);
    broken("J1", "request.member", &with_member(&name, value))
}
fn header(forge: &mut Forge) -> Attack {
    let name = forge.pick(&[
        "kid", "jku", "x5u", "jwk", "x5c", "x5t", "x5t#S256", "b64", "zip", "cty", "typ", "url", "nonce",
    ]);
    let value = forge.value();
    let outer = forge.pick(&["", "header", "protected", "headers", "unprotected"]);
    let request =
        if outer.is_empty() { with_member(name, value) } else { with_member(outer, json!({ name: value })) };
    broken("J2", "request.member", &request)
}
fn confusion(forge: &mut Forge) -> Attack {
    let other = forge.recase("access");
    let profile = match forge.below(3) {
        0 => forge
            .pick(&["logout", "id-token", "service", "at+jwt", "", "access/../access", "accеss"])
            .to_owned(),
        1 => other,
        _ => {
            let what = forge.pick(&[" ", "\t", "s", ".", "-"]);
            forge.insert("access", what)
        }
    };
    if forge.below(3) == 0 {
        let claim = forge.pick(&["events", "typ", "cnf", "nonce", "at_hash", "htm", "sid"]);
        let value = forge.value();
        return broken("J3", stranger(claim), &with_claim(claim, value));
    }
    broken("J3", "caller.profile", &with_member("profile", json!(profile)))
}
fn critical(forge: &mut Forge) -> Attack {
    let extension = forge.pick(&["b64", "exp", "alg", "x", "", "http://example.com/UNDEFINED"]);
    let list = forge.pick(&[
        json!([extension]),
        json!([]),
        json!([extension, extension]),
        json!(extension),
        json!({ extension: true }),
    ]);
    let mut request = with_member("crit", list);
    request[if extension.is_empty() { "b64" } else { extension }] = forge.value();
    broken("J4", "request.member", &request)
}
fn types(forge: &mut Forge) -> Attack {
    let (name, right): (_, fn(&Value) -> bool) = forge.pick(&[
        ("sub", Value::is_string as fn(&Value) -> bool),
        ("client_id", Value::is_string),
        ("level", Value::is_u64),
        ("auth_time", Value::is_u64),
        ("groups", Value::is_array),
    ]);
    let value = loop {
        let value = forge.value();
        if !right(&value) {
            break if name == "auth_time" && forge.below(2) == 0 { json!("1700000000") } else { value };
        }
    };
    broken("J5", "claim.type", &with_claim(name, value))
}
fn duplicate(forge: &mut Forge) -> Attack {
    let name = forge.pick(&["sub", "client_id", "aud", "exp", "scope"]);
    let at = forge.below(name.len());
    let escaped = format!("{}\\u{:04x}{}", &name[..at], name.as_bytes()[at], &name[at + 1..]);
    let twice = match forge.below(4) {
        0 => format!("\"{name}\":1,\"{escaped}\":2"),
        1 => format!("\"{escaped}\":1,\"{name}\":2,\"{name}\":3"),
        2 => format!("\"groups\":[1,{{\"{name}\":1,\"{escaped}\":1}}]"),
        _ => format!("\"address\":{{\"{name}\":[],\"{escaped}\":[]}}"),
    };
    unreadable("J6", with_text(&twice))
}
fn lookalike(forge: &mut Forge) -> Attack {
    let name = forge.pick(&["exp", "iss", "iat", "nbf", "jti", "aud", "sub", "scope", "role"]);
    let spoiled = match forge.below(6) {
        0 => forge.recase(name),
        1 => {
            let what = forge.pick(&["\u{200b}", "\u{feff}", "\u{ad}", "\u{2060}", "\u{301}", "\u{202e}"]);
            forge.insert(name, what)
        }
        // Fullwidth forms stand in the order of ASCII.
        2 => {
            let at = forge.below(name.len());
            let wide = char::from_u32(u32::from(name.as_bytes()[at]) + 0xfee0).unwrap();
            format!("{}{wide}{}", &name[..at], &name[at + 1..])
        }
        3 => format!(" {name}"),
        4 => format!("{name} "),
        _ => {
            let what = forge.pick(&["\u{0}", "\n", "\u{85}", "\u{7f}"]);
            return unreadable("J7", with_claim(&forge.insert(name, what), json!(1)).to_string());
        }
    };
    let value = forge.value();
    broken("J7", "claim.lookalike", &with_claim(&spoiled, value))
}
fn number(forge: &mut Forge) -> Attack {
    let over = (1_u64 << 53) + forge.dice.below(1 << 53);
    let digits = format!("{over}{:0>1$}", "", forge.below(30));
    let text = match forge.below(6) {
        0 => digits,
        1 => format!("-{digits}"),
        2 => format!("1e{}", 16 + forge.below(2000)),
        3 => forge
            .pick(&[
                "-0",
                "-0.0",
                "-0e1",
                "NaN",
                "Infinity",
                "-Infinity",
                "+1",
                "01",
                ".5",
                "1.",
                "0x10",
                "1e",
                "1_000",
            ])
            .to_owned(),
        4 => format!("{over}.5e{}", forge.below(20)),
        _ => format!("-1e{}", 16 + forge.below(400)),
    };
    let name = forge.pick(&["level", "auth_time", "exp", "sub"]);
    // The good request's own `sub` would be a second one.
    if name == "sub" {
        return unreadable("J8", with_text(&format!("\"groups\":[{text}]")));
    }
    unreadable("J8", with_text(&format!("\"{name}\":{text}")))
}
fn lifetime(forge: &mut Forge) -> Attack {
    let seconds = 901 + forge.dice.below(1 << 52);
    let (ttl, rule) = match forge.below(6) {
        0 => (json!(seconds), "ttl.max"),
        1 => (json!(format!("{}s", 901 + seconds % 1_000_000)), "ttl.max"),
        2 => (json!(-i64::try_from(seconds).unwrap()), "ttl.positive"),
        3 => (json!(format!("-{}m", 1 + seconds % 1000)), "ttl.positive"),
        4 => (forge.pick(&[json!(0), json!("0s"), json!("PT0S")]), "ttl.positive"),
        _ => (
            forge.pick(&[
                json!(1.5),
                json!("60"),
                json!(""),
                json!(true),
                json!(null),
                json!([60]),
                json!({}),
                json!("1ns"),
            ]),
            "ttl.form",
        ),
    };
    broken("J9", rule, &with_member("ttl", ttl))
}
fn reserved(forge: &mut Forge) -> Attack {
    let name = forge.pick(&["iss", "iat", "nbf", "exp", "jti"]);
    let date = forge.dice.below(1 << 45);
    let value = forge.value();
    let value = forge.pick(&[
        json!(date),
        json!(-1),
        json!(0),
        json!(253_402_300_799_i64),
        json!(date.to_string()),
        value,
    ]);
    broken("J9", "claim.reserved", &with_claim(name, value))
}
fn audience(forge: &mut Forge) -> Attack {
    let api = "https://api.test";
    let bent = match forge.below(4) {
        0 => forge.recase(api),
        1 => format!("{api}/"),
        2 => format!("{api}.evil.test"),
        _ => {
            let what = forge.pick(&["\u{200b}", " ", "%00", "@"]);
            forge.insert(api, what)
        }
    };
    let many = 2 + forge.below(300);
    let (value, rule) = match forge.below(8) {
        0 => (json!([]), "aud.count"),
        1 => (json!([""]), "aud.allowed"),
        2 => (json!(bent), "aud.allowed"),
        3 => (json!([bent]), "aud.allowed"),
        4 => (json!(vec![api; many]), "aud.count"),
        5 => (json!([api, 1]), "aud.form"),
        6 => (json!([[api]]), "aud.form"),
        _ => (forge.pick(&[json!(null), json!(1), json!({ "aud": api }), json!(true)]), "aud.form"),
    };
    broken("J10", rule, &with_claim("aud", value))
}
fn bomb(forge: &mut Forge) -> Attack {
    let depth = 7 + forge.below(2000);
    let text = match forge.below(4) {
        0 => format!("\"groups\":{}{}", "[".repeat(depth), "]".repeat(depth)),
        1 => format!("\"address\":{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
        2 => format!("\"groups\":[{}0]", "0,".repeat(512 + forge.below(4000))),
        _ => return unreadable("J11", "[".repeat(9 + forge.below(100_000))),
    };
    unreadable("J11", with_text(&text))
}
fn encoding(forge: &mut Forge) -> Attack {
    let good = good("access").to_string();
    match forge.below(4) {
        0 => unreadable("J12", [&[0xef, 0xbb, 0xbf], good.as_bytes()].concat()),
        1 => {
            let wide = good.encode_utf16();
            unreadable(
                "J12",
                wide.flat_map(if forge.below(2) == 0 { u16::to_le_bytes } else { u16::to_be_bytes })
                    .collect::<Vec<_>>(),
            )
        }
        2 => {
            let half = 0xd800 + forge.below(0x800);
            unreadable("J12", good.replace("alice", &format!("al\\u{half:04x}ice")))
        }
        _ => {
            let bad = forge.pick(&[
                &[0xff][..],
                &[0xc0, 0x80],
                &[0xed, 0xa0, 0x80],
                &[0xe2, 0x82],
                &[0xf8, 0x88, 0x80, 0x80, 0x80],
                &[0x80],
                &[0xf4, 0x90, 0x80, 0x80],
            ]);
            let at = good.find("alice").unwrap() + forge.below(6);
            unreadable("J12", [&good.as_bytes()[..at], bad, &good.as_bytes()[at..]].concat())
        }
    }
}
fn smuggle(forge: &mut Forge) -> Attack {
    let value = forge.value();
    if forge.below(2) == 0 {
        let member = forge.pick(&["role", "admin", "sub", "exp", "City", "country"]);
        return broken("J13", "claim.schema", &with_claim("address", json!({ "city": "x", member: value })));
    }
    let name = forge.pick(&[
        "act",
        "cnf",
        "authorization_details",
        "may_act",
        "admin",
        "roles",
        "entitlements",
        "azp",
        "email",
    ]);
    broken("J13", stranger(name), &with_claim(name, json!({ "sub": value, "scope": ["admin"] })))
}
/// What refuses a claim that the profile, which makes access tokens, does not list.
fn stranger(name: &str) -> &'static str {
    match name {
        "cnf" | "events" | "nonce" | "at_hash" => "kind.forbidden",
        _ => "claim.unknown",
    }
}
fn hidden(forge: &mut Forge) -> Attack {
    let what = forge.pick(&[
        "\n",
        "\r\nSet-Cookie: a=b",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        "\u{9b}",
        "\u{200b}",
        "\u{202e}",
        "\u{2028}",
        "\u{feff}",
        "\u{2066}",
        "\u{e0041}",
    ]);
    let name = forge.pick(&["sub", "client_id"]);
    let value = forge.insert("alice", what);
    if forge.below(3) == 0 {
        let request = with_claim("groups", json!(["a", { "b": value }]));
        return broken("J14", "claim.control", &request);
    }
    broken("J14", "claim.control", &with_claim(name, json!(value)))
}
fn serialization(forge: &mut Forge) -> Attack {
    let compact = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.";
    match forge.below(4) {
        0 => unreadable("J15", forge.insert(compact, ".")),
        1 => broken("J15", "request.object", &json!(compact)),
        2 => broken(
            "J15",
            "request.profile",
            &json!({"payload": "e30", "signatures": [{"protected": "e30", "signature": ""}]}),
        ),
        _ => broken("J15", "request.claims", &with_member("claims", json!(compact))),
    }
}
fn encryption(forge: &mut Forge) -> Attack {
    let name =
        forge.pick(&["enc", "zip", "p2c", "p2s", "epk", "apu", "encrypted_key", "ciphertext", "recipients"]);
    let count = forge.dice.below(1 << 50);
    let value = forge.pick(&[json!("DEF"), json!(count), json!("A256GCM"), json!("PBES2-HS256+A128KW")]);
    broken("J20", "request.member", &with_member(name, value))
}
