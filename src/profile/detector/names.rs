//! Names of members that say that a secret is in them, however they are written: `apiKey`, `API-KEY`, `my_api_key`.
//!
//! A name is compared word by word, so that `pin` is found in `cardPin` and not in `shipping`. Ordinary personal data
//! (`birthdate`, `phone_number`, `address`) is not here: verifiers have uses for it, and `personal` marks it.

use super::{Detector, DetectorSet};
use std::collections::BTreeMap;

/// Bytes of a name that is taken apart on the stack; few are longer.
const SHORT: usize = 64;
/// Words that one secret's name has at most, such as "social security number".
const PHRASE: usize = 4;

/// Lower case, and nothing but letters and digits.
pub(super) fn fold(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The built-in detector, and own ones by their folded names.
pub(super) fn look(name: &str, own: &BTreeMap<String, Detector>) -> DetectorSet {
    if name.len() <= SHORT {
        look_at(&Words::of(name, &mut [0; SHORT], &mut [0; SHORT]), own)
    } else {
        look_at(&Words::of(name, &mut vec![0; name.len()], &mut vec![0; name.len()]), own)
    }
}
fn look_at(words: &Words<'_>, own: &BTreeMap<String, Detector>) -> DetectorSet {
    let mut found = DetectorSet::default();
    // `userpassword`, without any sign where a word begins.
    if (words.letters.windows(5).any(|part| part == b"passw")
        || words.phrases().any(|phrase| one_or_more(phrase.text, is_secret)))
        // What is said about a secret is none: `password_changed_at`, `pwd_exp`, `secret_name`.
        && !words.phrases().any(|phrase| phrase.is_last && one_or_more(phrase.text, |text| ABOUT.contains(&text)))
    {
        found.insert(Detector::NAME);
    }
    if !own.is_empty() {
        for phrase in words.phrases() {
            let known = std::str::from_utf8(phrase.text).ok().and_then(|text| own.get(text));
            known.into_iter().for_each(|detector| found.insert(*detector));
        }
    }
    found
}

/// Last words of names that speak of a secret and do not hold it.
const ABOUT: [&[u8]; 26] = [
    b"age",
    b"arn",
    b"at",
    b"changed",
    b"count",
    b"date",
    b"enabled",
    b"exp",
    b"expired",
    b"expires",
    b"expiry",
    b"length",
    b"method",
    b"name",
    b"policy",
    b"ref",
    b"required",
    b"reset",
    b"set",
    b"status",
    b"time",
    b"updated",
    b"uri",
    b"url",
    b"verified",
    b"version",
];

/// Whether it `is` so itself, or as the plural of what is.
fn one_or_more(phrase: &[u8], is: impl Fn(&[u8]) -> bool) -> bool {
    is(phrase) || phrase.strip_suffix(b"s").is_some_and(is)
}
fn is_secret(phrase: &[u8]) -> bool {
    matches!(
        phrase,
        // What opens something.
        b"passwd" | b"pwd" | b"passphrase" | b"passcode" | b"pin" | b"pincode" | b"secret"
            | b"clientsecret" | b"secretkey" | b"sharedsecret" | b"apikey" | b"apitoken"
            | b"privatekey" | b"accesstoken" | b"refreshtoken" | b"sessiontoken"
            | b"bearertoken" | b"recoverycode" | b"backupcode"
        // PCI DSS 3.3 and 3.5: cards.
            | b"cardnumber" | b"cardno" | b"cardnum" | b"creditcard" | b"creditcardnumber" | b"debitcard"
            | b"ccnumber" | b"ccnum" | b"pan" | b"cvv" | b"cvc" | b"cvn" | b"cardverification"
            | b"cardsecuritycode" | b"iban" | b"bankaccount" | b"bankaccountnumber"
        // By which a state knows a person.
            | b"ssn" | b"socialsecurity" | b"socialsecuritynumber" | b"taxid" | b"taxnumber" | b"taxpayerid"
            | b"nationalid" | b"nationalidentifier" | b"nationalidnumber" | b"nationalinsurancenumber"
            | b"nino" | b"bsn" | b"dni" | b"pesel" | b"aadhaar" | b"cpf" | b"codicefiscale" | b"personnummer"
            | b"steuerid" | b"idcard" | b"idcardnumber" | b"identitycard" | b"passport" | b"passportnumber"
            | b"passportno" | b"driverslicense" | b"driverslicence" | b"driverlicense" | b"drivinglicence"
    )
}

/// A name in words, folded. In memory of the one who looks, because every member of every request comes here.
struct Words<'m> {
    letters: &'m [u8],
    /// Where each word begins in `letters`.
    starts: &'m [usize],
}
/// One to [`PHRASE`] words that follow each other, written as one.
struct Phrase<'w> {
    text: &'w [u8],
    /// It is the name's last word.
    is_last: bool,
}
impl<'m> Words<'m> {
    /// Both as long as the name at least.
    fn of(name: &str, letters: &'m mut [u8], starts: &'m mut [usize]) -> Self {
        let bytes = name.as_bytes();
        let (mut length, mut count) = (0, 0);
        let mut before = Class::Other;
        for (at, byte) in bytes.iter().enumerate() {
            let class = Class::of(*byte);
            if class != Class::Other {
                // `apiKey`, `APIKey`, `password1`: a word begins where the kind of letter changes.
                let next = bytes.get(at + 1).map_or(Class::Other, |next| Class::of(*next));
                let begins = match (before, class) {
                    (Class::Upper, Class::Upper) => next == Class::Lower,
                    (Class::Upper, Class::Lower) => false,
                    (before, class) => before != class,
                };
                if let Some(start) = starts.get_mut(count).filter(|_| begins) {
                    *start = length;
                    count += 1;
                }
                if let Some(letter) = letters.get_mut(length) {
                    *letter = byte.to_ascii_lowercase();
                    length += 1;
                }
            }
            before = class;
        }
        Self {
            letters: letters.get(..length).unwrap_or_default(),
            starts: starts.get(..count).unwrap_or_default(),
        }
    }
    fn phrases(&self) -> impl Iterator<Item = Phrase<'_>> {
        let count = self.starts.len();
        let start = |word: usize| self.starts.get(word).copied().unwrap_or(self.letters.len());
        (0..count).flat_map(move |first| {
            let last = (first + PHRASE).min(count);
            (first + 1..=last).map(move |end| Phrase {
                text: self.letters.get(start(first)..start(end)).unwrap_or_default(),
                is_last: end == count && first + 1 == end,
            })
        })
    }
}
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
    Other,
}
impl Class {
    fn of(byte: u8) -> Self {
        match byte {
            b'a'..=b'z' => Self::Lower,
            b'A'..=b'Z' => Self::Upper,
            b'0'..=b'9' => Self::Digit,
            _ => Self::Other,
        }
    }
}
