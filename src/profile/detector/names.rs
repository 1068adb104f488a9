//! Names of members that say that a secret is in them, however they are written: `apiKey`, `API-KEY`, `my_api_key`.
//!
//! A name is compared word by word, so that `pin` is found in `cardPin` and not in `shipping`. Ordinary personal data
//! (`birthdate`, `phone_number`, `address`) is not here: verifiers have uses for it, and `personal` marks it.

use super::{Detector, DetectorSet};
use std::collections::BTreeMap;

/// Letters and digits of a name that are looked at; no claim's name has more.
const LETTERS: usize = 64;
/// Words of a name that are looked at.
const WORDS: usize = 16;
/// Words that one secret's name has at most, such as "social security number".
const PHRASE: usize = 4;

/// Lower case, and nothing but letters and digits.
pub(super) fn fold(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The built-in detector, and own ones by their folded names.
pub(super) fn look(name: &str, own: &BTreeMap<String, Detector>) -> DetectorSet {
    let words = Words::of(name);
    let mut found = DetectorSet::default();
    // `userpassword`, without any sign where a word begins.
    if (words.folded().windows(5).any(|part| part == b"passw")
        || words.phrases().any(|phrase| is_secret(phrase.text)))
        // What is said about a secret is none: `password_changed_at`, `pwd_exp`, `secret_name`.
        && !words.phrases().any(|phrase| phrase.is_last && ABOUT.contains(&phrase.text))
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

fn is_secret(phrase: &[u8]) -> bool {
    matches!(
        phrase,
        // What opens something.
        b"passwd" | b"pwd" | b"passphrase" | b"passcode" | b"pin" | b"pincode" | b"secret" | b"secrets"
            | b"clientsecret" | b"secretkey" | b"sharedsecret" | b"apikey" | b"apikeys" | b"apitoken"
            | b"privatekey" | b"privatekeys" | b"accesstoken" | b"refreshtoken" | b"sessiontoken"
            | b"bearertoken" | b"recoverycode" | b"recoverycodes" | b"backupcode" | b"backupcodes"
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

/// A name in words, folded. On the stack, because every member of every request comes here.
struct Words {
    letters: [u8; LETTERS],
    length: usize,
    /// Where each word begins in `letters`.
    starts: [usize; WORDS],
    count: usize,
}
/// One to [`PHRASE`] words that follow each other, written as one.
struct Phrase<'w> {
    text: &'w [u8],
    /// It is the name's last word.
    is_last: bool,
}
impl Words {
    fn of(name: &str) -> Self {
        let mut words = Self { letters: [0; LETTERS], length: 0, starts: [0; WORDS], count: 0 };
        let bytes = name.as_bytes();
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
                if !words.push(byte.to_ascii_lowercase(), begins) {
                    break;
                }
            }
            before = class;
        }
        words
    }
    /// `false` when it is full.
    fn push(&mut self, letter: u8, begins: bool) -> bool {
        if begins {
            let Some(start) = self.starts.get_mut(self.count) else { return false };
            *start = self.length;
            self.count += 1;
        }
        let Some(place) = self.letters.get_mut(self.length) else { return false };
        *place = letter;
        self.length += 1;
        true
    }
    fn folded(&self) -> &[u8] {
        self.letters.get(..self.length).unwrap_or_default()
    }
    fn phrases(&self) -> impl Iterator<Item = Phrase<'_>> {
        let start = |word: usize| match self.starts.get(word) {
            Some(start) if word < self.count => *start,
            _ => self.length,
        };
        (0..self.count).flat_map(move |first| {
            let last = (first + PHRASE).min(self.count);
            (first + 1..=last).map(move |end| Phrase {
                text: self.letters.get(start(first)..start(end)).unwrap_or_default(),
                is_last: end == self.count && first + 1 == end,
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
