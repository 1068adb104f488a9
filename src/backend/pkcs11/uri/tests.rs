//! The examples of RFC 7512 section 3, what is refused, and the way there and back.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Uri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_examples_of_the_rfc() {
    use Attribute::{
        LibraryDescription, LibraryManufacturer, Manufacturer, Model, ModuleName, ModulePath, Object,
        PinSource, Serial, SlotDescription, Token,
    };
    type Row = (
        &'static str,
        &'static [(Attribute, &'static str)],
        Option<ObjectType>,
        Option<&'static [u8]>,
        Option<(u8, u8)>,
    );
    let rows: [Row; 11] = [
        ("pkcs11:", &[], None, None, None),
        (
            "pkcs11:object=my-pubkey;type=public",
            &[(Object, "my-pubkey")],
            Some(ObjectType::Public),
            None,
            None,
        ),
        (
            "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
            &[(Object, "my-key"), (PinSource, "file:/etc/token")],
            Some(ObjectType::Private),
            None,
            None,
        ),
        (
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
             object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
            &[
                (Token, "The Software PKCS#11 Softtoken"),
                (Manufacturer, "Snake Oil, Inc."),
                (Serial, ""),
                (Model, "1.0"),
                (Object, "my-certificate"),
                (PinSource, "file:/etc/token_pin"),
            ],
            Some(ObjectType::Cert),
            Some(&[0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91]),
            None,
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
            &[(Object, "my-sign-key"), (ModuleName, "mypkcs11")],
            Some(ObjectType::Private),
            None,
            None,
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            &[(Object, "my-sign-key"), (ModulePath, "/mnt/libmypkcs11.so.1")],
            Some(ObjectType::Private),
            None,
            None,
        ),
        ("pkcs11:slot-description=Sun%20Metaslot", &[(SlotDescription, "Sun Metaslot")], None, None, None),
        (
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;\
             library-version=1.23",
            &[(LibraryManufacturer, "Snake Oil, Inc."), (LibraryDescription, "Soft Token Library")],
            None,
            None,
            Some((1, 23)),
        ),
        (
            "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
            &[(Token, "My token% created by Joe")],
            None,
            Some(&[1, 2, 3, 0xba, 0xdd, 0xca, 0xfe, 4, 5, 6]),
            Some((3, 0)),
        ),
        (
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
            &[(Token, "A name with a substring %;"), (Object, "my-certificate")],
            Some(ObjectType::Cert),
            None,
            None,
        ),
        (
            "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
            &[(Token, "Name with a small A with acute: \u{e1}"), (Object, "my-certificate")],
            Some(ObjectType::Cert),
            None,
            None,
        ),
    ];
    for (text, texts, object_type, id, library_version) in rows {
        let expected = Uri {
            texts: texts.iter().map(|(attribute, text)| (*attribute, (*text).to_owned())).collect(),
            library_version,
            object_type,
            id: id.map(<[u8]>::to_vec),
        };
        assert_eq!(parse(text), expected, "{text}");
        assert_eq!(parse(&expected.to_string()), expected, "{text}");
    }
    // The two that are refused: one has a PIN in it, the other says something that nobody here can check.
    let pin =
        "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin";
    let vendor = "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin&vendor-bbb=value-b";
    for (text, word) in [(pin, "does not belong"), (vendor, "\"vendor-aaa\"")] {
        let error = text.parse::<Uri>().unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains("the-pin"), "{error}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let unknown = |name: &str, place| matches!(format!("pkcs11:{place}{name}=x").parse::<Uri>(), Err(UriError::Unknown { name: told, .. }) if told == name);
    assert!(unknown("tokem", "") && unknown("x-vendor", "") && unknown("max-sessions", "?"));
    assert_eq!(parse("pkcs11:token=a?x-hint=b&x-hint=c"), parse("pkcs11:token=a"));
    assert_eq!(parse("PKCS11:token=a"), parse("pkcs11:token=a"), "RFC 3986 section 3.1");
    let rows = [
        ("", UriError::Scheme),
        ("pkcs11", UriError::Scheme),
        ("http:token=a", UriError::Scheme),
        ("pkcs11:token", UriError::Form),
        ("pkcs11:;token=a", UriError::Form),
        ("pkcs11:token=a;", UriError::Form),
        ("pkcs11:=a", UriError::Form),
        ("pkcs11:to%6ben=a", UriError::Form),
        ("pkcs11:token=a?&", UriError::Form),
        ("pkcs11:token=a?pin-source=file:/p;module-path=/m", UriError::Encoding("pin-source")),
        ("pkcs11:token=a;token=b", UriError::Duplicate("token")),
        ("pkcs11:id=%01;id=%01", UriError::Duplicate("id")),
        ("pkcs11:?module-path=/a&module-path=/a", UriError::Duplicate("module-path")),
        ("pkcs11:token=a b", UriError::Encoding("token")),
        ("pkcs11:token=a/b", UriError::Encoding("token")),
        ("pkcs11:token=a#b", UriError::Encoding("token")),
        ("pkcs11:token=\u{e1}", UriError::Encoding("token")),
        ("pkcs11:token=%", UriError::Encoding("token")),
        ("pkcs11:token=%4", UriError::Encoding("token")),
        ("pkcs11:token=%zz", UriError::Encoding("token")),
        ("pkcs11:token=%+1", UriError::Encoding("token")),
        ("pkcs11:token=%ff", UriError::Utf8("token")),
        ("pkcs11:type=key", UriError::Type),
        ("pkcs11:type=Private", UriError::Type),
        ("pkcs11:library-version=", UriError::LibraryVersion),
        ("pkcs11:library-version=1.", UriError::LibraryVersion),
        ("pkcs11:library-version=%2B1", UriError::LibraryVersion),
        ("pkcs11:library-version=256", UriError::LibraryVersion),
        ("pkcs11:slot-id=0", UriError::SlotId),
        ("pkcs11:pin-value=1", UriError::PinValue),
        ("pkcs11:?pin-value=1", UriError::PinValue),
        ("pkcs11:module-path=a", UriError::Misplaced { name: "module-path", place: "after the '?'" }),
        ("pkcs11:?token=a", UriError::Misplaced { name: "token", place: "before the '?'" }),
    ];
    for (text, error) in rows {
        assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
    }
}

#[test]
fn the_written_form_needs_no_guesses() {
    let uri = Uri {
        object_type: Some(ObjectType::Private),
        id: Some(b"a\xff".to_vec()),
        library_version: Some((3, 2)),
        ..Uri::default()
    };
    let uri = uri
        .with(Attribute::PinSource, "file:/etc/jwsd/pin")
        .with(Attribute::Object, "a;b")
        .with(Attribute::Token, "jwsd #1");
    let written = "pkcs11:token=jwsd%20%231;object=a%3Bb;library-version=3.2;type=private;id=%61%FF\
                   ?pin-source=file:/etc/jwsd/pin";
    assert_eq!(uri.to_string(), written);
    assert_eq!(uri.beyond(&["token", "object", "pin-source", "library-version", "type"]), Some("id"));
    assert_eq!(parse("pkcs11:token=a;serial=b").beyond(&["token", "serial"]), None);
}

fn any_uri() -> impl Strategy<Value = Uri> {
    let texts = prop::collection::btree_map(prop::sample::select(&Attribute::ALL[..]), any::<String>(), 0..6);
    let class = prop::option::of(prop::sample::select(&ObjectType::ALL[..]));
    let id = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
    (texts, any::<Option<(u8, u8)>>(), class, id).prop_map(|(texts, library_version, object_type, id)| Uri {
        texts,
        library_version,
        object_type,
        id,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_reads_back_to_the_same(uri in any_uri()) {
        let written = uri.to_string();
        prop_assert!(written.is_ascii());
        prop_assert_eq!(written.parse::<Uri>(), Ok(uri));
    }
    #[test]
    fn no_text_panics(text in "\\PC{0,40}|pkcs11:[a-z%=;?&0-9/-]{0,40}|pkcs11:(token|id|type)=(%[0-9a-fA-F]{0,2}|.){0,20}") {
        if let Ok(uri) = text.parse::<Uri>() {
            prop_assert_eq!(uri.to_string().parse::<Uri>(), Ok(uri));
        }
    }
}
