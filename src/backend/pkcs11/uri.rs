//! PKCS#11 URIs (RFC 7512): how operators name modules, tokens and keys. Pure: text in, values out.
//!
//! Strict, because an attribute that is overlooked lets more match than was meant. Must never show a value in an
//! error: it might be a PIN.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Write as _};
use std::str::FromStr;

/// An attribute whose value is text. The order is that of the written form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// `CK_TOKEN_INFO.label`.
    Token,
    /// `CK_TOKEN_INFO.manufacturerID`.
    Manufacturer,
    /// `CK_TOKEN_INFO.serialNumber`.
    Serial,
    /// `CK_TOKEN_INFO.model`.
    Model,
    /// `CK_INFO.manufacturerID`.
    LibraryManufacturer,
    /// `CK_INFO.libraryDescription`.
    LibraryDescription,
    /// `CK_SLOT_INFO.manufacturerID`.
    SlotManufacturer,
    /// `CK_SLOT_INFO.slotDescription`.
    SlotDescription,
    /// `CKA_LABEL`.
    Object,
    /// File of the module.
    ModulePath,
    /// Name of the module, without path.
    ModuleName,
    /// Where the PIN is read from.
    PinSource,
}

impl Attribute {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Token,
        Self::Manufacturer,
        Self::Serial,
        Self::Model,
        Self::LibraryManufacturer,
        Self::LibraryDescription,
        Self::SlotManufacturer,
        Self::SlotDescription,
        Self::Object,
        Self::ModulePath,
        Self::ModuleName,
        Self::PinSource,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Manufacturer => "manufacturer",
            Self::Serial => "serial",
            Self::Model => "model",
            Self::LibraryManufacturer => "library-manufacturer",
            Self::LibraryDescription => "library-description",
            Self::SlotManufacturer => "slot-manufacturer",
            Self::SlotDescription => "slot-description",
            Self::Object => "object",
            Self::ModulePath => "module-path",
            Self::ModuleName => "module-name",
            Self::PinSource => "pin-source",
        }
    }

    fn in_query(self) -> bool {
        self >= Self::ModulePath
    }
}

/// `type`: the class of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectType {
    /// A public key.
    Public,
    /// A private key.
    Private,
    /// A certificate.
    Cert,
    /// A secret key.
    SecretKey,
    /// Data.
    Data,
}

impl ObjectType {
    const ALL: [Self; 5] = [Self::Public, Self::Private, Self::Cert, Self::SecretKey, Self::Data];

    fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Cert => "cert",
            Self::SecretKey => "secret-key",
            Self::Data => "data",
        }
    }
}

/// A PKCS#11 URI, taken apart. `Display` writes the one canonical form, which a shell needs to have in quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uri {
    texts: BTreeMap<Attribute, String>,
    /// `library-version`, major and minor.
    pub library_version: Option<(u8, u8)>,
    /// `type`.
    pub object_type: Option<ObjectType>,
    /// `id`: the bytes of `CKA_ID`.
    pub id: Option<Vec<u8>>,
}

impl Uri {
    /// A text attribute, decoded.
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        self.texts.get(&attribute).map(String::as_str)
    }

    /// The same with one attribute set.
    #[must_use]
    pub fn with(mut self, attribute: Attribute, text: impl Into<String>) -> Self {
        self.texts.insert(attribute, text.into());
        self
    }

    /// The first attribute that is none of `accepted`.
    pub fn beyond(&self, accepted: &[&str]) -> Option<&'static str> {
        let others = [
            ("library-version", self.library_version.is_some()),
            ("type", self.object_type.is_some()),
            ("id", self.id.is_some()),
        ];
        let others = others.into_iter().filter_map(|(name, is_given)| is_given.then_some(name));
        let mut given = self.texts.keys().map(|attribute| attribute.name()).chain(others);
        given.find(|name| !accepted.contains(name))
    }
}

/// Why text is not a PKCS#11 URI that is accepted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum UriError {
    #[error("a PKCS#11 URI begins with \"pkcs11:\" (RFC 7512)")]
    Scheme,
    #[error("write NAME=VALUE, with ';' between attributes, and '&' between those after the '?' (RFC 7512)")]
    Form,
    #[error("unknown attribute {name:?}: the attributes {place} are {known}")]
    Unknown { name: String, place: &'static str, known: String },
    #[error("the attribute {name} stands {place}")]
    Misplaced { name: &'static str, place: &'static str },
    #[error("the attribute {0} stands there twice: remove one")]
    Duplicate(&'static str),
    #[error("write each character of {0} that is not a letter, digit or one of -._~ as %XX")]
    Encoding(&'static str),
    #[error("the value of {0} is not UTF-8")]
    Utf8(&'static str),
    #[error("write type=public, private, cert, secret-key or data")]
    Type,
    #[error("write library-version=MAJOR or MAJOR.MINOR, each at most 255")]
    LibraryVersion,
    #[error("a PIN does not belong in a URI: remove pin-value, and say where the PIN is read from")]
    PinValue,
    #[error("remove slot-id, because modules renumber slots: name the token by token and serial")]
    SlotId,
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("pkcs11") {
            return Err(UriError::Scheme);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut seen = BTreeSet::new();
        for (part, separator, in_query) in [(path, ';', false), (query, '&', true)] {
            for pair in part.split(separator).filter(|_| !part.is_empty()) {
                uri.take(pair, in_query, &mut seen)?;
            }
        }
        Ok(uri)
    }
}

/// Attributes of the path that are not text.
const OTHERS: [&str; 3] = ["library-version", "type", "id"];

impl Uri {
    fn take(
        &mut self,
        pair: &str,
        in_query: bool,
        seen: &mut BTreeSet<&'static str>,
    ) -> Result<(), UriError> {
        let (name, value) = pair.split_once('=').ok_or(UriError::Form)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(UriError::Form);
        }
        match name {
            "pin-value" => return Err(UriError::PinValue),
            "slot-id" => return Err(UriError::SlotId),
            // A vendor's hint on how to get there. In the path it would narrow what is meant, which nobody checks here.
            _ if in_query && name.starts_with("x-") => return Ok(()),
            _ => {}
        }
        let text = Attribute::ALL.into_iter().find(|attribute| attribute.name() == name);
        let other = OTHERS.into_iter().find(|other| *other == name);
        let known = text.map(Attribute::name).or(other).ok_or_else(|| unknown(name, in_query))?;
        if text.is_some_and(Attribute::in_query) != in_query {
            let place = if in_query { "before the '?'" } else { "after the '?'" };
            return Err(UriError::Misplaced { name: known, place });
        }
        if !seen.insert(known) {
            return Err(UriError::Duplicate(known));
        }
        let bytes = decode(value, in_query).ok_or(UriError::Encoding(known))?;
        if known == "id" {
            self.id = Some(bytes);
            return Ok(());
        }
        let value = String::from_utf8(bytes).map_err(|_| UriError::Utf8(known))?;
        if let Some(attribute) = text {
            self.texts.insert(attribute, value);
        } else if known == "type" {
            let class = ObjectType::ALL.into_iter().find(|class| class.name() == value);
            self.object_type = Some(class.ok_or(UriError::Type)?);
        } else {
            self.library_version = Some(version(&value).ok_or(UriError::LibraryVersion)?);
        }
        Ok(())
    }
}

fn unknown(name: &str, in_query: bool) -> UriError {
    let texts = Attribute::ALL.into_iter().filter(|attribute| attribute.in_query() == in_query);
    let others = OTHERS.into_iter().filter(|_| !in_query);
    let known: Vec<&str> = texts.map(Attribute::name).chain(others).collect();
    let place = if in_query { "after the '?'" } else { "before the '?'" };
    UriError::Unknown { name: name.to_owned(), place, known: known.join(", ") }
}

fn version(text: &str) -> Option<(u8, u8)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    match text.split_once('.') {
        Some((major, minor)) => Some((number(major)?, number(minor)?)),
        None => Some((number(text)?, 0)),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `pk11-pchar` and `pk11-qchar` of RFC 7512 section 2.3.
fn decode(text: &str, in_query: bool) -> Option<Vec<u8>> {
    let plain = |byte: u8| {
        let more: &[u8] = if in_query { b"/?|" } else { b"&" };
        is_unreserved(byte) || b":[]@!$'()*+,=".contains(&byte) || more.contains(&byte)
    };
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            byte if plain(byte) => byte,
            _ => return None,
        });
    }
    Some(decoded)
}

impl Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (query, path): (Vec<_>, Vec<_>) =
            self.texts.iter().partition(|(attribute, _)| attribute.in_query());
        let text = |(attribute, text): (&Attribute, &String)| {
            format!("{}={}", attribute.name(), encode(text.as_bytes(), attribute.in_query()))
        };
        let version = self.library_version.map(|(major, minor)| format!("library-version={major}.{minor}"));
        let class = self.object_type.map(|class| format!("type={}", class.name()));
        // RFC 7512 section 2.3: the whole id is percent-encoded.
        let id = self.id.as_ref().map(|id| {
            id.iter().fold("id=".to_owned(), |mut id, byte| {
                // Writing to a string cannot fail.
                let _ = write!(id, "%{byte:02X}");
                id
            })
        });
        let path: Vec<String> = path.into_iter().map(text).chain(version).chain(class).chain(id).collect();
        let query: Vec<String> = query.into_iter().map(text).collect();
        write!(f, "pkcs11:{}", path.join(";"))?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

fn encode(bytes: &[u8], in_query: bool) -> String {
    bytes.iter().fold(String::new(), |mut encoded, byte| {
        // Writing to a string cannot fail.
        let _ = match *byte {
            plain if is_unreserved(plain) || plain == b':' || (in_query && plain == b'/') => {
                encoded.write_char(plain.into())
            }
            other => write!(encoded, "%{other:02X}"),
        };
        encoded
    })
}
