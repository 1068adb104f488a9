//! The reader: a serde visitor that refuses where `serde_json::Value` would be lenient.
//!
//! A fault is kept in the shared [`Reader`], with the way to it collected while the calls return, so that a good
//! document pays nothing for pointers.

use super::{JsonError, Limits, Pointer};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::cell::RefCell;

/// The largest integer up to which a double holds every one: 2^53-1.
const MAX_INTEGER: u64 = (1 << 53) - 1;

pub(super) fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLarge { limit: limits.bytes });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|fault| JsonError::Syntax { offset: fault.valid_up_to(), reason: "not UTF-8" })?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::Syntax { offset: 0, reason: "it begins with a byte-order mark" });
    }
    let reader = RefCell::new(Reader { limits, nodes: 0, fault: None, way: Vec::new() });
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Node { reader: &reader, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|tree| deserializer.end().map(|()| tree))
        .map_err(|fault| reader.into_inner().explain(text, &fault))
}

/// What all nodes of one document share.
struct Reader {
    limits: Limits,
    nodes: usize,
    fault: Option<Fault>,
    /// Steps from the fault outwards.
    way: Vec<Step>,
}
#[derive(Clone, Copy)]
enum Fault {
    Duplicate,
    TooDeep,
    TooMany,
    Number,
    Control,
}
enum Step {
    Name(String),
    Index(usize),
}
impl Reader {
    fn pointer(&self) -> String {
        let outside_in = self.way.iter().rev();
        outside_in
            .fold(Pointer::default(), |pointer, step| match step {
                Step::Name(name) => pointer.name(name),
                Step::Index(index) => pointer.index(*index),
            })
            .into()
    }
    fn explain(&self, text: &str, error: &serde_json::Error) -> JsonError {
        let pointer = self.pointer();
        let syntax = match self.fault {
            Some(Fault::Duplicate) => return JsonError::Duplicate { pointer },
            Some(Fault::Number) => return JsonError::Number { pointer },
            Some(Fault::Control) => return JsonError::Control { pointer },
            Some(Fault::TooDeep) => {
                return JsonError::TooDeep { limit: self.limits.depth };
            }
            Some(Fault::TooMany) => {
                return JsonError::TooMany { limit: self.limits.nodes };
            }
            None => error.to_string(),
        };
        let reason = REASONS
            .iter()
            .find(|(library, _)| syntax.starts_with(library))
            .map_or("unexpected character", |(_, ours)| ours);
        match reason {
            OUT_OF_RANGE => JsonError::Number { pointer },
            RECURSION => JsonError::TooDeep { limit: 127 },
            _ => JsonError::Syntax { offset: offset(text, error), reason },
        }
    }
}

const OUT_OF_RANGE: &str = "number out of range";
const RECURSION: &str = "too deep";
/// How the library's messages begin, and what is said instead: its own texts are no interface.
const REASONS: [(&str, &str); 16] = [
    ("number out of range", OUT_OF_RANGE),
    ("recursion limit exceeded", RECURSION),
    ("EOF while parsing", "it ends too early"),
    ("expected value", "a value is expected"),
    ("expected ident", "a value is expected"),
    ("expected `:`", "a colon is expected"),
    ("expected `,` or `]`", "a comma or closing bracket is expected"),
    ("expected `,` or `}`", "a comma or closing brace is expected"),
    ("key must be a string", "a member name is expected"),
    ("trailing comma", "a comma before a closing bracket or brace"),
    ("trailing characters", "text after the end of the document"),
    ("invalid escape", "an unknown escape in a string"),
    ("invalid number", "a malformed number"),
    ("control character", "a control character in a string; escape it"),
    ("lone leading surrogate", "half of a surrogate pair"),
    ("unexpected end of hex escape", "half of a surrogate pair"),
];

/// The byte that the library's line and column stand for.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// One value; a seed and a visitor at once.
#[derive(Clone, Copy)]
struct Node<'r> {
    reader: &'r RefCell<Reader>,
    /// Containers around it.
    depth: usize,
}
impl Node<'_> {
    fn refuse<E: de::Error>(self, fault: Fault) -> E {
        self.reader.borrow_mut().fault = Some(fault);
        E::custom("refused")
    }
    /// Notes on the way out of a failed value where it was.
    fn at<E>(self, step: Step) -> impl FnOnce(E) -> E {
        move |error| {
            self.reader.borrow_mut().way.push(step);
            error
        }
    }
    /// A value inside this one.
    fn enter<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > self.reader.borrow().limits.depth {
            return Err(self.refuse(Fault::TooDeep));
        }
        Ok(Self { depth, ..self })
    }
    fn string<E: de::Error>(self, text: String) -> Result<Value, E> {
        if text.contains('\0') {
            return Err(self.refuse(Fault::Control));
        }
        Ok(Value::String(text))
    }
}
impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let over = {
            let mut reader = self.reader.borrow_mut();
            reader.nodes += 1;
            reader.nodes > reader.limits.nodes
        };
        if over {
            return Err(self.refuse(Fault::TooMany));
        }
        deserializer.deserialize_any(self)
    }
}
impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_INTEGER {
            return Err(self.refuse(Fault::Number));
        }
        Ok(Value::Number(value.into()))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_INTEGER {
            return Err(self.refuse(Fault::Number));
        }
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let minus_zero = value == 0.0 && value.is_sign_negative();
        if minus_zero || value.abs() > MAX_INTEGER as f64 {
            return Err(self.refuse(Fault::Number));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.refuse(Fault::Number))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.string(value.to_owned())
    }
    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.string(value)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.enter()?;
        let mut array = Vec::new();
        while let Some(value) = access.next_element_seed(inner).map_err(self.at(Step::Index(array.len())))? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.enter()?;
        let mut object = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if name.chars().any(char::is_control) {
                return Err(self.refuse(Fault::Control));
            }
            let Entry::Vacant(slot) = object.entry(name) else {
                return Err(self.refuse(Fault::Duplicate));
            };
            match access.next_value_seed(inner) {
                Ok(value) => slot.insert(value),
                Err(error) => return Err(self.at(Step::Name(slot.key().clone()))(error)),
            };
        }
        Ok(Value::Object(object))
    }
}
