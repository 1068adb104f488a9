//! What strict JSON refuses, and that what it accepts is kept to the letter.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const LIMITS: Limits = Limits { bytes: 16 * 1024, depth: 8, nodes: 512 };

fn fault(text: impl AsRef<[u8]>) -> JsonError {
    match parse(text.as_ref(), LIMITS) {
        Err(fault) => fault,
        Ok(tree) => panic!("accepted: {tree}"),
    }
}

#[test]
fn takes_ordinary_documents_as_they_are() {
    for text in [
        "null",
        "true",
        " [ ] ",
        r#"{"b":1,"a":[1,-1,1.5,"x",null,{"b":{}}]}"#,
        r#"{"n":9007199254740991,"m":-9007199254740991}"#,
        r#"{"x":0.1,"y":1e3,"z":1.0,"small":1e-300}"#,
        r#""\ud83d\ude00 é \n""#,
        r#"{"":1,"é":2,"a~/b":3}"#,
    ] {
        let tree = parse(text.as_bytes(), LIMITS).unwrap();
        assert_eq!(tree, serde_json::from_str::<Value>(text).unwrap(), "{text:?}");
    }
    let tree = parse(br#"{"b":1,"a":2}"#, LIMITS).unwrap();
    assert_eq!(tree.to_string(), r#"{"b":1,"a":2}"#, "order is kept");
}

#[test]
fn refuses_a_name_twice_at_any_depth_and_however_written() {
    for (text, pointer) in [
        (r#"{"exp":1,"exp":2}"#, ""),
        (r#"{"exp":1,"exp":1}"#, ""),
        (r#"{"exp":1,"\u0065xp":2}"#, ""),
        (r#"{"\u0065\u0078\u0070":1,"exp":2}"#, ""),
        (r#"{"/":1,"\/":2}"#, ""),
        (r#"{"😀":1,"\ud83d\ude00":2}"#, ""),
        (r#"{"a":[0,{"b":{"c":1,"c":2}}]}"#, "/a/1/b"),
        (r#"{"a~/b":{"c":1,"c":2}}"#, "/a~0~1b"),
        ("{\"n\u{e9}\":{\"x\":{\"c\":1,\"c\":2}}}", ""),
    ] {
        assert_eq!(fault(text), JsonError::Duplicate { pointer: pointer.into() }, "{text:?}");
    }
    assert!(parse(br#"{"a":{"c":1},"b":{"c":1}}"#, LIMITS).is_ok(), "same name in two objects");
}

#[test]
fn refuses_numbers_that_readers_disagree_on() {
    for number in [
        "9007199254740992",
        "9007199254740993",
        "-9007199254740992",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "1e16",
        "9007199254740993.0",
        "1e400",
        "-1e400",
        "1e999",
        "-0",
        "-0.0",
        "-0e5",
        "-1e-400",
    ] {
        let expected = JsonError::Number { pointer: "/a/1".into() };
        assert_eq!(fault(format!(r#"{{"a":[0,{number}]}}"#)), expected, "{number}");
    }
    for number in
        ["NaN", "Infinity", "-Infinity", "01", "-01", "+1", ".5", "1.", "0x10", "1e", "--1", "1_000"]
    {
        assert!(matches!(fault(number), JsonError::Syntax { .. }), "{number}");
    }
}

#[test]
fn refuses_what_is_not_json() {
    for (text, offset, reason) in [
        (&b""[..], 0, "it ends too early"),
        (b"\xef\xbb\xbf{}", 0, "it begins with a byte-order mark"),
        (b"{\"a\":\"\xff\"}", 6, "not UTF-8"),
        (b"\"\xed\xa0\x80\"", 1, "not UTF-8"),
        (b"\"\xc0\x80\"", 1, "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", 0, "not UTF-8"),
        (b"{\x00}\x00", 1, "a member name is expected"),
        (br#""\ud800""#, 7, "half of a surrogate pair"),
        (br#""\ud800x""#, 7, "half of a surrogate pair"),
        (br#""\udc00""#, 6, "half of a surrogate pair"),
        (br#""\ud800\u0041""#, 12, "half of a surrogate pair"),
        (b"\"\n\"", 1, "a control character in a string; escape it"),
        (br#""\x""#, 2, "an unknown escape in a string"),
        (br#"{"a":1,}"#, 7, "a comma before a closing bracket or brace"),
        (b"[1,]", 3, "a comma before a closing bracket or brace"),
        (b"[1 2]", 3, "a comma or closing bracket is expected"),
        (b"{} {}", 3, "text after the end of the document"),
        (b"{}\x00", 2, "text after the end of the document"),
        (b"{'a':1}", 1, "a member name is expected"),
        (b"{\n \"a\" 1}", 7, "a colon is expected"),
        (b"{a:1}", 1, "a member name is expected"),
        (b"// x\n1", 0, "a value is expected"),
        (b"tru", 2, "it ends too early"),
        (b"[", 0, "it ends too early"),
        (b"True", 0, "a value is expected"),
    ] {
        // The library's column is off by one after some characters.
        match fault(text) {
            JsonError::Syntax { offset: at, reason: why } if at.abs_diff(offset) <= 1 => {
                assert_eq!(why, reason, "{text:?}")
            }
            other => panic!("{other:?} for {text:?}"),
        }
    }
}

#[test]
fn refuses_control_characters() {
    for text in [
        r#"{"a":{"x\u0000":1}}"#,
        r#"{"a":{"\u001fx":1}}"#,
        r#"{"a":{"\u007f":1}}"#,
        r#"{"a":{"\u0085":1}}"#,
        r#"{"a":{"\n":1}}"#,
        r#"{"a":"x\u0000y"}"#,
    ] {
        assert_eq!(fault(text), JsonError::Control { pointer: "/a".into() }, "{text:?}");
    }
    assert!(parse(br#"{"a":"x\ny"}"#, LIMITS).is_ok(), "in a string, policy decides");
}

#[test]
fn holds_its_limits() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(8).as_bytes(), LIMITS).is_ok());
    assert_eq!(fault(nested(9)), JsonError::TooDeep { limit: 8 });
    assert_eq!(
        fault(r#"{"a":"#.repeat(9)),
        JsonError::TooDeep { limit: 8 },
        "found before the end is missed"
    );

    let list = |len: usize| format!("[{}]", vec!["0"; len].join(","));
    assert!(parse(list(511).as_bytes(), LIMITS).is_ok());
    assert_eq!(fault(list(512)), JsonError::TooMany { limit: 512 });

    let text = format!("\"{}\"", "x".repeat(16 * 1024 - 2));
    assert!(parse(text.as_bytes(), LIMITS).is_ok());
    assert_eq!(fault(format!("{text} ")), JsonError::TooLarge { limit: 16 * 1024 });
}

#[test]
fn depth_bombs_do_not_recurse() {
    let wide = Limits { bytes: usize::MAX, depth: usize::MAX, nodes: usize::MAX };
    for bomb in ["[".repeat(100_000), r#"[{"":"#.repeat(50_000)] {
        assert_eq!(parse(bomb.as_bytes(), wide), Err(JsonError::TooDeep { limit: 127 }));
    }
    let deepest = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert!(parse(deepest.as_bytes(), wide).is_ok());
}

#[test]
fn messages_and_pointers_hold_no_text_of_the_document() {
    let canary = "canary-4711";
    for text in [
        format!(r#"{{"a":"{canary}\ud800"}}"#),
        format!(r#"{{"{canary}":1,"{canary}":2}}"#),
        format!(r#"["{canary}" {canary}]"#),
        format!(r#"{{"a":1e400,"b":"{canary}"}}"#),
        format!(r#"{{"{canary}{}":[-0]}}"#, "x".repeat(64)),
        format!("{{\"{canary}\u{202e}\":[-0]}}"),
    ] {
        let fault = fault(&text);
        assert!(!fault.to_string().contains(canary) && !format!("{fault:?}").contains(canary), "{fault}");
        assert!(fault.code().starts_with("json."));
    }
}

#[test]
fn pointers_are_escaped_and_end_before_odd_names() {
    let pointer = |names: &[&str]| -> String {
        names.iter().fold(Pointer::default(), |pointer, name| pointer.name(name)).into()
    };
    assert_eq!(pointer(&["claims", "a/b~c"]), "/claims/a~1b~0c");
    assert_eq!(pointer(&["claims", "e\u{301}", "x"]), "/claims");
    assert_eq!(pointer(&["claims", &"x".repeat(65)]), "/claims");
    assert_eq!(pointer(&["claims", "", "x"]), "/claims");
    assert_eq!(String::from(Pointer::default().name("a").index(3).name("\n").index(4)), "/a/3");
}

fn tree() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (-9007199254740991i64..=9007199254740991).prop_map(|n| json!(n)),
        (-9e15f64..9e15).prop_filter("-0", |n| *n != 0.0).prop_map(|n| json!(n)),
        any::<f64>().prop_filter("range", |n| n.abs() < 9e15 && *n != 0.0).prop_map(|n| json!(n)),
    ];
    let text = "[^\\x00]{0,12}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|b| json!(b)),
        number,
        text.prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec(("[^\\x00-\\x1f\\x7f-\\x9f]{0,6}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, LIMITS);
    }
    #[test]
    fn never_panics_on_almost_json(text in r#"[\[\]{}:,"\\u0-9a-fdDtrue.e+ \n-]{0,60}"#) {
        if let Ok(tree) = parse(text.as_bytes(), LIMITS) {
            prop_assert_eq!(parse(tree.to_string().as_bytes(), LIMITS), Ok(tree));
        }
    }
    #[test]
    fn what_is_accepted_is_written_and_read_the_same(tree in tree()) {
        let text = tree.to_string();
        let read = parse(text.as_bytes(), LIMITS).unwrap();
        prop_assert_eq!(&read, &tree);
        prop_assert_eq!(read.to_string(), text, "member order too");
    }
    #[test]
    fn what_is_accepted_serde_json_reads_alike(text in r#"[\[\]{}:,"\\u0-9a-f.e+ -]{0,40}"#) {
        if let Ok(tree) = parse(text.as_bytes(), LIMITS) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), tree);
        }
    }
}
