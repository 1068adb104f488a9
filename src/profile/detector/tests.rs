//! Names that tell of secrets and names that do not; sets; own detectors.

use super::*;
use proptest::prelude::*;

fn tells(name: &str) -> bool {
    Detectors::default().of_name(name).contains(Detector::NAME)
}

#[test]
fn names_of_secrets() {
    for name in [
        "password",
        "Password",
        "PASSWORD",
        "passwd",
        "pwd",
        "user_password",
        "userPassword",
        "userpassword",
        "password1",
        "new-password",
        "db.password",
        "secret",
        "client_secret",
        "clientSecret",
        "clientsecret",
        "api_key",
        "apiKey",
        "API-KEY",
        "APIKey",
        "apikey",
        "my_api_key_2",
        "private_key",
        "privateKey",
        "ssn",
        "SSN",
        "userSSN",
        "social_security_number",
        "socialSecurityNumber",
        "socialSecurity",
        "card_number",
        "cardNumber",
        "card number",
        "credit-card",
        "pan",
        "cvv",
        "cvv2",
        "cvc",
        "pin",
        "cardPin",
        "pin_code",
        "iban",
        "IBAN",
        "payee_iban",
        "passport",
        "passport_no",
        "passportNumber",
        "tax_id",
        "taxId",
        "TaxID",
        "national_id",
        "nationalId",
        "refresh_token",
        "accessToken",
        "https://example.com/password",
        "driver's license",
        "card_numbers",
        "credit_cards",
        "accessTokens",
        "refresh_tokens",
        "ibans",
        "passports",
        "SSNs",
        "PINs",
        "pins",
        "apiKeys",
        "private_keys",
        "userpasswords",
        "https://schemas.example.com/identity/claims/of/our/customers/2024/version/12/of/all/password",
        "a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q_r_s_pin",
        "password_that_is_followed_by_very_many_words_and_goes_on_and_on_and_on_to_the_end",
    ] {
        assert!(tells(name), "{name}");
    }
    for name in [
        "sub",
        "scope",
        "amr",
        "auth_time",
        "acr",
        "nonce",
        "cnf",
        "jkt",
        "x5t#S256",
        "client_id",
        "role",
        "shipping",
        "opinion",
        "spinning",
        "pinned",
        "company",
        "japan",
        "panel",
        "expand",
        "secretary",
        "spins",
        "pass",
        "tokens",
        "keys",
        "addresses",
        "secret_names",
        "8f14e45f-ceea-467f-a8e8-3b1c4a1f2c3d",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08f86d081884c7d659",
        "https://schemas.example.com/identity/claims/of/our/customers/2024/version/12/of/all/shipping",
        "session_number",
        "classname",
        "session",
        "syntaxid",
        "bypass",
        "compass",
        "passed",
        "pass",
        "password_changed_at",
        "passwordChangedAt",
        "pwd_exp",
        "pwd_url",
        "secret_name",
        "pin_verified",
        "birthdate",
        "date_of_birth",
        "phone_number",
        "email",
        "address",
        "given_name",
        "key",
        "key_id",
        "token",
        "token_type",
        "id_token_hint",
        "cardinality",
        "card_type",
        "account_number",
        "",
        "_",
        "é",
        "ＰＩＮ",
        "123",
        "https://example.com/roles",
        "urn:example:shopping:cart",
    ] {
        assert!(!tells(name), "{name}");
    }
}

#[test]
fn a_set_holds_what_was_put_in() {
    let set: DetectorSet = [Detector::EMAIL, Detector::NAME].into_iter().collect();
    assert_eq!(set.iter().collect::<Vec<_>>(), [Detector::NAME, Detector::EMAIL]);
    assert!(set.contains(Detector::NAME) && !set.contains(Detector::JWT));
    assert!(set.without(set).is_empty() && set.and(DetectorSet::ALL) == set);
    assert_eq!(DetectorSet::ALL.iter().count(), BUILT_IN.len() + MAX_OWN);
    assert_eq!(DetectorSet::when(true, Detector::JWT).or(set).iter().count(), 3);
    assert!(DetectorSet::when(false, Detector::JWT).is_empty());
}

#[test]
fn own_detectors_have_names_and_patterns() {
    let own = |name: &str, pattern: Option<&str>, names: &[&str]| OwnDetector {
        name: name.into(),
        pattern: pattern.map(str::to_owned),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let own = OwnDetectors::new(vec![
        own("ward", None, &["Ward-Number", "bed"]),
        own("customer", Some("C-[0-9]{6}"), &[]),
        own("both", Some("B[0-9]{3}"), &["ward number"]),
    ])
    .unwrap();
    assert_eq!(own.all().count(), 11);
    for name in own.all() {
        assert_eq!(own.name(own.find(name).unwrap()), name);
    }
    assert_eq!(own.find("Card"), None);
    let customer = own.find("customer").unwrap();
    assert!(customer.is_own() && !own.find("jwt").unwrap().is_own());
    assert_eq!(own.in_text("see C-123456").iter().collect::<Vec<_>>(), [customer]);
    assert_eq!(own.in_text("C-123456 B777").iter().count(), 2);
    assert!(own.in_text("C-12345").is_empty());
    let both = own.find("both").unwrap();
    let detectors = Detectors { own: Arc::new(own), ..Detectors::default() };
    assert_eq!(detectors.of_name("patient_wardNumber").iter().collect::<Vec<_>>(), [both], "the last one");
    assert!(detectors.of_name("bedding").is_empty());
    let off = Detectors { off: [both, Detector::NAME].into_iter().collect(), ..detectors };
    assert!(off.of_name("ward_number_password").is_empty());
    assert_eq!(off.names_off().collect::<Vec<_>>(), ["name", "both"]);
    assert!(
        OwnDetectors::new(vec![OwnDetector { pattern: Some("(".into()), ..OwnDetector::default() }]).is_err()
    );
    let many = OwnDetectors::new(vec![OwnDetector::default(); MAX_OWN + 1]).unwrap();
    assert_eq!(many.known.len(), MAX_OWN);
}

proptest! {
    #[test]
    fn no_name_panics(name in "\\PC*") {
        tells(&name);
    }
    #[test]
    fn any_spelling_of_words_is_found(words in Just(["social", "security", "number"]), style in 0..4usize) {
        let name = match style {
            0 => words.join("_"),
            1 => words.join("-").to_uppercase(),
            2 => words.concat(),
            _ => words.map(|word| word[..1].to_uppercase() + &word[1..]).concat(),
        };
        prop_assert!(tells(&name), "{}", name);
    }
}
