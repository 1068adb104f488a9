//! The table agrees with itself.

use super::*;
use crate::profile::{RESERVED_CLAIMS, is_claim_name};

#[test]
fn the_table_agrees_with_itself_and_with_what_is_written() {
    for kind in Kind::ALL {
        let spec = kind.spec();
        assert_eq!(serde_json::to_value(kind).unwrap(), spec.name);
        assert!(spec.ceiling <= LONGEST && spec.backdate < spec.ceiling, "{kind:?}");
        let names = spec.claims.iter().map(|own| own.name).chain(spec.either.iter().copied());
        for name in names {
            assert!(is_claim_name(name) && !kind.forbids(name), "{kind:?} {name}");
        }
        for reserved in RESERVED_CLAIMS {
            assert!(!kind.brings(reserved), "{kind:?} {reserved}");
        }
        assert_eq!(spec.subject == Subject::Issuer, kind.forbids("sub") && spec.name == "client-assertion");
    }
}

#[test]
fn a_typ_of_its_own_tells_the_kind() {
    for (typ, kind) in [
        ("at+jwt", Some(Kind::AccessToken)),
        ("AT+JWT", Some(Kind::AccessToken)),
        ("secevent+jwt", Some(Kind::SecurityEvent)),
        ("logout+jwt", Some(Kind::LogoutToken)),
        ("client-authentication+jwt", Some(Kind::ClientAssertion)),
        ("webhook+jwt", Some(Kind::Webhook)),
        ("JWT", None),
        ("jwt", None),
        ("session+jwt", None),
        ("", None),
    ] {
        assert_eq!(Kind::of_typ(typ), kind, "{typ}");
    }
}

/// Whatever any other kind needs besides a subject is forbidden, or needed in another form.
#[test]
fn what_another_kind_lives_by_is_forbidden() {
    for kind in Kind::ALL {
        for other in Kind::ALL.into_iter().filter(|other| other.spec().typ != kind.spec().typ) {
            for own in other.spec().claims.iter().filter(|own| own.needed && own.name != "sub") {
                let mine = kind.spec().claims.iter().find(|mine| mine.name == own.name);
                let differs = mine.is_some_and(|mine| mine.form != own.form);
                assert!(kind.forbids(own.name) || differs, "{kind:?} {other:?} {}", own.name);
            }
        }
    }
}
