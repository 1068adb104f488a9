//! Which expressions are taken, what is told of the others and where, and that no text makes the parser fall over.

use super::*;
use proptest::prelude::*;

const CLAIMS: [&str; 5] = ["amount", "role", "list", "https://example.com/x", "address"];

fn compile(text: &str) -> Result<Condition, Vec<ConditionFault>> {
    Condition::compile(text, &CLAIMS.into())
}

#[test]
fn what_can_be_known_before_a_request_is() {
    for text in [
        "claims.amount < 1000",
        "claims.amount < 1000 && caller.name == 'billing'",
        "claims[\"https://example.com/x\"] in ['a', 'b'] || !has(claims.role)",
        "has(claims.address.city) ? claims.address.city != '' : true",
        "claims.list[0].name.startsWith(\"x\") && size(claims.list) <= 3",
        "has(claims.list[0].name)",
        "claims.role.matches('^[a-z]+$') && string(claims.amount).size() < 4",
        "{'eur': 100, 'usd': 120.5}[claims.role] >= double(claims.amount)",
        "has(caller.exe) && caller.exe.endsWith('/app') && caller.uid == 1000 && caller.gid > 0 && caller.unit.contains('x')",
        "request.ttl <= 300 && 'https://api.example.com' in request.audience && request.profile == 'x'",
        "has(request.consent) && 'care' in request.consent.purposes && request.consent.expires_at > now",
        "has(request.session.auth_time) && now - request.session.auth_time < 5 * 60 % 7 / 2 - -1",
        "claims.role",
        "true // a comment",
        "claims.amount < 1\n  && claims.role == 'x'",
        "claims.amount == 1 && [1, 2] + [3] == claims.list && uint(1) == 1u && int(2) == 2 && claims.role == null",
    ] {
        assert!(compile(text).is_ok(), "{text}: {:?}", compile(text));
    }
    let condition = compile("has(caller.exe) && has(claims.role)").unwrap();
    assert!(condition.wants(CallerFact::Exe) && !condition.wants(CallerFact::Unit));
}

#[test]
fn each_fault_is_told_with_its_place() {
    let long = format!("'{}' == ''", "x".repeat(TEXT));
    let deep = format!("{}1{} == 1", "[".repeat(30), "]".repeat(30));
    let chain = format!("1{} == 1", "-1".repeat(40));
    let many = vec!["1 == 1"; 100].join(" && ");
    let sum = format!("1{} == 1", " + 1".repeat(13));
    let choices = format!("{}true", "true?true:".repeat(65));
    let nested = format!("{}true{}", "(1 == 1 && ".repeat(30), ")".repeat(30));
    for (text, part, message) in [
        // Syntax.
        ("", "", "not an expression"),
        ("claims.amount <", "", "not an expression"),
        ("claims.amount == 1 claims.role", "claims", "expecting <EOF>"),
        ("claims.amount == 'x", "", "not an expression"),
        ("claims.?role == 1", ".", "unsupported syntax"),
        // References.
        ("claim.amount == 1", ".amount", "there is no \"claim\" here: use claims.NAME"),
        ("amount == 1", "amount", "there is no \"amount\""),
        ("size(claims) == 1", "claims", "say which claim"),
        ("claims == {}", "claims", "say which claim"),
        ("'amount' in claims", "claims", "say which claim"),
        ("claims[claims.role] == 1", "claims", "say which claim"),
        ("claims.salary < 1", ".salary", "no claim \"salary\""),
        ("has(claims.salary)", "has", "no claim \"salary\""),
        ("has(claims)", "has(claims)", "invalid argument to has"),
        ("claims.aud == 'x'", ".aud", "request.audience"),
        ("claims[0] == 1", "claims", "say which claim"),
        ("caller.pid == 1", ".pid", "there is no caller.pid: write one of caller.name, caller.uid"),
        ("caller.name.first == 'x'", ".first", "caller.name, caller.uid"),
        ("caller == 1", "caller", "write one of caller.name, caller.uid"),
        ("request.claims.role == 'x'", ".role", "request.profile, request.ttl"),
        ("request.consent == null", ".consent", "request.consent.id"),
        ("request.session.sid == ''", ".sid", "request.session.auth_time"),
        ("now.getHours() < 8", "getHours(", "no function \"getHours\""),
        ("now.hours < 8", ".hours", "seconds since 1970"),
        ("now() < 8", "now", "no function \"now\""),
        (".claims.amount == 1", ".amount", "there is no \".claims\""),
        // Functions.
        ("timestamp('2030-01-01T00:00:00Z') == 1", "timestamp", "no function \"timestamp\""),
        ("sizes(claims.list) == 1", "sizes", "no function \"sizes\""),
        ("claims.list.size(1) == 1", "size(", "in another way"),
        ("size() == 1", "size", "in another way"),
        ("matches(claims.role, 'x')", "matches", "in another way"),
        ("claims.role.matches(claims.role)", ".role", "stands in quotes"),
        ("claims.role.matches('a' + 'b')", "+", "stands in quotes"),
        (
            "'1'.matches('1')&&'2'.matches('2')&&'3'.matches('3')&&'4'.matches('4')&&'5'.matches('5')\
             &&'6'.matches('6')&&'7'.matches('7')&&'8'.matches('8')&&claims.role.matches('9')",
            "matches(",
            "more than 8 matches",
        ),
        ("claims.role.matches('(')", "'('", "not a regular expression: unclosed group"),
        ("claims.role.matches('(?:a{1000}){1000}')", "'(?:a{1000}){1000}'", "too large"),
        ("type(claims.role) == string", "type", "no function \"type\""),
        ("optional.of(claims.role).hasValue()", "hasValue(", "no function"),
        // What it comes to.
        ("claims.amount + 1", "+", "neither true nor false"),
        ("'true'", "'true'", "neither true nor false"),
        ("size(claims.list)", "size", "neither true nor false"),
        ("claims.role ? 1 : 2", "?", "neither true nor false"),
        ("[true]", "[", "neither true nor false"),
        // What has no bound.
        ("claims.list.all(x, x > 0)", "all(", "all, exists"),
        ("claims.list.exists(x, x > 0)", "exists(", "all, exists"),
        ("claims.list.exists_one(x, x > 0)", "exists_one(", "all, exists"),
        ("claims.list.map(x, x) == []", "map(", "all, exists"),
        ("size(claims.list.filter(x, x > 0)) > 1", "filter(", "all, exists"),
        (
            "true || claims.list.map(x, claims.list.map(y, claims.list.map(z, z))) == []",
            "map(",
            "all, exists",
        ),
        ("Foo{a: 1} == 1", "Foo", "makes no messages"),
        (&long, &long, "longer than 4096"),
        (&deep, "", "recursion limit"),
        (&chain, "-", "more than 16 operators"),
        (&many, "", "more than 256 parts"),
        (&sum, "+", "more than 12 additions"),
        (&choices, &choices, "more than 64 question marks"),
        (&nested, "", "recursion limit"),
    ] {
        let faults = compile(text).map(|_| text).unwrap_err();
        let fault = faults.first().unwrap();
        assert!(fault.message.contains(message), "{text}: {faults:?}");
        let told = text.get(fault.at.clone()).unwrap_or_default();
        assert!(part.is_empty() || told == part, "{text}: {told:?} {faults:?}");
    }
}

#[test]
fn all_faults_are_told_in_order() {
    let faults = compile("claims.role == x && claims.y.matches(1) && sizes(caller.z) > 0").unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.at.start).collect();
    assert!(faults.len() >= 4 && told.is_sorted(), "{faults:?}");
}

/// On less stack than any thread of the daemon has.
fn on_little_stack(text: String) -> bool {
    let compiled = move || Condition::compile(&text, &CLAIMS.into()).is_ok();
    std::thread::Builder::new().stack_size(1 << 20).spawn(compiled).unwrap().join().unwrap()
}

#[test]
fn no_text_makes_the_parser_fall_over() {
    let tower =
        |open: &str, close: &str, times: usize| format!("{}true{}", open.repeat(times), close.repeat(times));
    for text in [
        tower("(", ")", 2000),
        tower("[", "]", 2000),
        tower("{1:", "}", 1000),
        tower("!", "", 4000),
        tower("!-", "", 2000),
        tower("", "+1", 2000),
        tower("1?1:", "", 1000),
        tower("1?", "", 1500),
        tower("", "&&1", 1300),
        tower("", ".a", 2000),
        tower("", "[0]", 1300),
        tower("f(", ")", 1300),
        tower("", ".f()", 1000),
        tower("has(", ")", 600),
        tower("a.all(x,", ")", 400),
        tower("(1?1:", ")", 600),
        "'".repeat(4001),
        "\"\"\"".repeat(1300),
        "(a?[".repeat(1000),
        "@#$".repeat(1300),
        "\\".repeat(4000),
        "\u{1f431}".repeat(1000),
        "b'\\xff\\".repeat(500),
    ] {
        on_little_stack(text);
    }
}

/// Found by fuzzing: places in the middle of a character, and behind the end.
#[test]
fn faults_are_whole_characters_of_the_text() {
    for text in [
        "1 < \u{e9}",
        "\u{e9} == 1",
        "claims.amount \u{1f431} 1",
        "1 <",
        "",
        "'\u{e9}",
        "f(\u{e9}",
        "`\u{200b}",
    ] {
        for fault in compile(text).unwrap_err() {
            assert!(text.get(fault.at.clone()).is_some(), "{text:?}: {:?}", fault.at);
        }
    }
}

/// Words of the language in any order, most of them in an order that means something.
pub(crate) fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "claims.amount",
        "claims.role",
        "claims.list",
        "claims",
        "claims['amount']",
        "caller.name",
        "caller.exe",
        "request.ttl",
        "request.audience",
        "has(claims.role)",
        "now",
        "1",
        "-1",
        "0",
        "9223372036854775807",
        "1u",
        "1.5",
        "1e308",
        "'a'",
        "''",
        "b'a'",
        "null",
        "true",
        "false",
        "[1, 2]",
        "[]",
        "{}",
        "{'a': 1}",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "in",
        "?",
        ":",
        "(",
        ")",
        "[",
        "]",
        ".",
        ".size()",
        ".contains('a')",
        ".matches('a+')",
        ".startsWith('')",
        "size(",
        "int(",
        "uint(",
        "double(",
        "string(",
        "[0]",
        "['a']",
        ".all(x, x)",
        "\u{e9}",
        "//",
        "\n",
        "`",
        "\"",
        "\\",
    ]);
    prop::collection::vec(word, 1..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_words_are_read_or_refused(text in words()) {
        on_little_stack(text);
    }
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        if let Err(faults) = compile(&text) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| text.get(fault.at.clone()).is_some()), "{faults:?}");
        }
    }
}
