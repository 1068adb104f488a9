//! Strict JSON (RFC 8259, RFC 7493 I-JSON): what is checked here is what is signed later.
//!
//! Refuses duplicate member names at any depth (compared after escape decoding), depth, node and size over the
//! limits, invalid UTF-8, a byte-order mark, lone surrogates, control characters in member names, U+0000 in strings,
//! numbers outside ±(2^53-1) and -0. Never repeats text of the document, except member names in a pointer.

mod strict;
#[cfg(test)]
mod tests;

use serde_json::Value;
use std::fmt::Write as _;

/// Bounds on one document.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of the text, bytes.
    pub bytes: usize,
    /// Arrays and objects inside each other; a lone scalar has depth 0. At most 127 has an effect.
    pub depth: usize,
    /// Values of every kind, at every level, the document itself included.
    pub nodes: usize,
}

/// Why a document was refused. Never holds text of the document itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Found before parsing.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// Not JSON, or not UTF-8.
    #[error("the body is not valid JSON at byte {offset}: {reason}")]
    Syntax {
        /// Where the fault was noticed, counted from 0.
        offset: usize,
        /// What was wrong there.
        reason: &'static str,
    },
    /// RFC 7519 section 4: claim names must be unique.
    #[error("a member name appears twice in the object at {pointer:?}")]
    Duplicate {
        /// JSON pointer of the object.
        pointer: String,
    },
    /// Found before the level is entered.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// Found as soon as it is passed.
    #[error("more than {limit} values")]
    TooMany {
        /// The limit, values.
        limit: usize,
    },
    /// RFC 7493 section 2.2, and -0, which readers do not agree on.
    #[error("the number at {pointer:?} is -0 or outside -(2^53-1)..2^53-1; send it as a string")]
    Number {
        /// JSON pointer of the number.
        pointer: String,
    },
    /// A C0 or C1 control character in a name, or U+0000 in a string.
    #[error("a control character in a member name, or U+0000 in a string, at {pointer:?}")]
    Control {
        /// JSON pointer of the object that has the name, or of the string.
        pointer: String,
    },
}
impl JsonError {
    /// Its pointer ends before the first name that is `hidden`.
    #[must_use]
    pub fn without(mut self, hidden: impl Fn(&str) -> bool) -> Self {
        match &mut self {
            Self::Duplicate { pointer } | Self::Number { pointer } | Self::Control { pointer } => {
                end_before(pointer, hidden);
            }
            Self::TooLarge { .. } | Self::Syntax { .. } | Self::TooDeep { .. } | Self::TooMany { .. } => {}
        }
        self
    }
    /// Stable code for problem details and audit records, such as `json.duplicate`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "json.too_large",
            Self::Syntax { .. } => "json.syntax",
            Self::Duplicate { .. } => "json.duplicate",
            Self::TooDeep { .. } => "json.too_deep",
            Self::TooMany { .. } => "json.too_many",
            Self::Number { .. } => "json.number",
            Self::Control { .. } => "json.control",
        }
    }
}

/// Parses `bytes` into a tree. Never recurses deeper than `limits.depth`.
///
/// # Errors
/// The first fault found; see [`JsonError`].
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    strict::parse(bytes, limits)
}

/// Whether a member name may be shown to people: printable ASCII, 1 to 64 characters.
pub fn is_showable(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Ends a JSON pointer before the first name that is `hidden`, if there is one, and tells whether.
pub fn end_before(pointer: &mut String, hidden: impl Fn(&str) -> bool) -> bool {
    let mut end = 0;
    for step in pointer.split('/').skip(1) {
        if hidden(&step.replace("~1", "/").replace("~0", "~")) {
            pointer.truncate(end);
            return true;
        }
        end += 1 + step.len();
    }
    false
}

/// A place in a document (RFC 6901), built from the outside in. It ends early, at the enclosing value, when a name
/// on the way is not [showable](is_showable), so that it is always short and harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    ended: bool,
}
impl Pointer {
    /// Goes to a member of an object.
    pub fn name(mut self, name: &str) -> Self {
        self.ended |= !is_showable(name);
        if !self.ended {
            self.text.push('/');
            self.text.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        self
    }
    /// Goes to an element of an array.
    pub fn index(mut self, index: usize) -> Self {
        if !self.ended {
            // Writing to a `String` cannot fail.
            let _ = write!(self.text, "/{index}");
        }
        self
    }
    /// Follows a pointer that is written out already, such as one that a JSON Schema validator returns.
    pub fn follow(self, pointer: &str) -> Self {
        let names = pointer.split('/').skip(1);
        names.fold(self, |at, name| at.name(&name.replace("~1", "/").replace("~0", "~")))
    }
}
impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.text
    }
}
