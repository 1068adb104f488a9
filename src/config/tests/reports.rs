//! Many faults, and what they show of a file.

use super::{GOOD, LOADER};

/// Two tokens of one module, and one label in two token directories.
#[test]
fn tokens_that_differ_are_two() {
    let other = |token: &str, conf: &str| {
        format!(
            "[backend.two]\nkind = \"pkcs11\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\ntoken = {token}\n\
             pin = {{ credential = \"x\" }}\nenv = {{ SOFTHSM2_CONF = \"{conf}\" }}\n[audit]"
        )
    };
    for (own, two, conf) in [
        ("{ label = \"jwsd\" }", "{ label = \"other\" }", "/etc/softhsm2.conf"),
        (
            "{ label = \"jwsd\", serial = \"1\" }",
            "{ label = \"jwsd\", serial = \"2\" }",
            "/etc/softhsm2.conf",
        ),
        ("{ serial = \"1\" }", "{ label = \"jwsd\", serial = \"2\" }", "/etc/softhsm2.conf"),
        ("{ label = \"jwsd\" }", "{ label = \"jwsd\" }", "/etc/other.conf"),
    ] {
        let text = GOOD.replace("token = { label = \"jwsd\" }", &format!("token = {own}"));
        let text = text.replace("[audit]", &other(two, conf));
        let parsed = LOADER.parse(&text, "x.toml");
        assert!(parsed.is_ok(), "{own} {two}: {}", parsed.err().unwrap());
    }
}

#[test]
fn ten_faults_are_ten_reports_in_the_order_of_the_file() {
    let mut text = GOOD.to_owned();
    let changes = [
        ("allow_root = false", "allow_rot = false", 2),
        ("mode = \"0600\"", "mode = \"0606\"", 6),
        ("body = \"16KiB\"", "body = 16", 10),
        ("level = \"info\"", "level = \"loud\"", 20),
        ("module = \"/usr", "module = \"usr", 24),
        ("[key.access]\nbackend = \"hsm\"", "[key.access]\nbackend = \"\"", 30),
        ("typ = \"at+jwt\"", "typo = \"at+jwt\"", 40),
        ("max = \"15m\"", "max = \"1m\"", 43),
        ("scope = {", "jti = {", 49),
        ("rate = \"200/s\"", "rate = 200", 62),
    ];
    for (from, to, _) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replacen(from, to, 1);
    }
    let faults = LOADER.parse(&text, "x.toml").unwrap_err();
    let mut lines: Vec<usize> = faults.faults.iter().map(|fault| fault.line).collect();
    let shown = faults.to_string();
    // The misnamed `typ` is unknown where it stands and missing from its table.
    assert_eq!(lines.remove(6), 38, "{shown}");
    let expected: Vec<usize> = changes.iter().map(|(.., line)| *line).collect();
    assert_eq!(lines, expected, "{shown}");
    assert!(shown.ends_with("11 faults in x.toml"), "{shown}");
    assert_eq!(shown.matches(" --> x.toml:").count(), 11, "{shown}");
}

#[test]
fn what_does_not_end_is_one_slip() {
    let told = |edits: &[(&str, &str)]| -> Vec<(usize, bool)> {
        let text = edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text.replacen(from, to, 1)
        });
        let faults = LOADER.parse(&text, "x.toml").unwrap_err();
        faults.faults.iter().map(|fault| (fault.line, fault.message.ends_with("is not closed"))).collect()
    };
    let array = ("\"reports\"]", "\"reports\"");
    assert_eq!(told(&[array]), [(43, true)]);
    assert_eq!(told(&[("max = \"15m\" }", "max = \"15m\"")]), [(44, true)]);
    assert_eq!(told(&[("[1, 2, 3]", "[1 2, 3]")]), [(50, false)]);
    let two = [array, ("level = \"info\"", "level = info")];
    assert_eq!(told(&two), [(20, false), (43, true)], "two slips are two");
}

/// The text of a condition is not what stands in the file when that has escapes in it.
#[test]
fn a_part_of_a_condition_is_found_among_escapes() {
    let marked = |condition: &str| {
        let text = GOOD.replacen("nbf = false", &format!("condition = {condition}"), 1);
        let shown = LOADER.parse(&text, "x.toml").unwrap_err().to_string();
        let line = shown.lines().find(|line| line.contains('^')).unwrap().to_owned();
        (line.find('^').unwrap() - "44 | ".len(), line.matches('^').count(), shown)
    };
    let (column, length, shown) = marked(r#""claims.sub == \"x\" && now < request.tttl""#);
    assert_eq!(
        (column, length),
        (r#"condition = "claims.sub == \"x\" && now < request"#.len(), 5),
        "{shown}"
    );
    // Which of two it is cannot be told.
    let both = r#""request.tttl == \"x\" || now < request.tttl""#;
    let (column, length, shown) = marked(both);
    assert_eq!((column, length), ("condition = ".len(), both.len()), "{shown}");
}

#[test]
fn a_pin_in_the_file_is_told_but_not_shown() {
    for pin in [
        "pin = \"271828\"",
        "pin = 271828",
        "pin = { value = \"271828\" }",
        "pin = \"271828",
        "pin = [\"271828\"]",
        "uri = \"pkcs11:?pin-value=271828\"",
        "uri = \"pkcs11:?pin-value=%32271828&pin-source=file:/p\"",
        "uri = \"pkcs11:pin-value=#271828\"",
        "uri = \"pkcs11:?pin-value='271828;pin=\"",
        "uri = \"pkcs11:?pin-value= 271828",
    ] {
        let text = GOOD.replace("pin = { credential = \"hsm-pin\" }", pin);
        let shown = LOADER.parse(&text, "x.toml").unwrap_err().to_string();
        assert!(!shown.contains("271828"), "{shown}");
        assert!(shown.contains("x.toml:26"), "{shown}");
    }
}
