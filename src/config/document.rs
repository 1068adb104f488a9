//! The file as text and tree: where each key stands, and the tree as JSON values.
//!
//! Knows TOML and nothing of what the keys mean.

use super::fault::Fault;
use serde_json::{Map, Number, Value};
use std::fmt::{self, Display};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Words of the parser where it takes itself to be in an array or inline table, and stays there if that does not end.
const INSIDE: [&str; 3] = ["array", "inline table", "key-value pairs"];

/// The way to a key, such as `profile.access-token.audiences[2]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);
/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}
impl Path {
    /// The way to a key of a table at this path.
    pub(super) fn key(&self, name: impl Into<String>) -> Self {
        self.step(Step::Key(name.into()))
    }
    /// The way to an element of an array at this path.
    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }
    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
    /// Whether it is `other` or lies inside it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}
impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            let dot = if position == 0 { "" } else { "." };
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(name) if is_bare(name) => write!(f, "{dot}{name}")?,
                Step::Key(name) => write!(f, "{dot}{name:?}")?,
            }
        }
        Ok(())
    }
}
/// Where `part` begins in `text`, if it is there once.
fn only(text: &str, part: &str) -> Option<usize> {
    let mut places = text.match_indices(part).map(|(place, _)| place);
    let first = places.next()?;
    places.next().is_none().then_some(first)
}
/// Whether TOML lets the key stand without quotes.
fn is_bare(name: &str) -> bool {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.bytes().all(bare)
}

/// A parsed file.
pub(super) struct Document<'a> {
    text: &'a str,
    tree: DeTable<'a>,
}
impl<'a> Document<'a> {
    /// Parses TOML.
    ///
    /// # Errors
    /// All syntax faults, at most one per line, up to the first inside an array or inline table.
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<Fault>> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let tree = tree.into_inner();
            return Ok(Self { text, tree });
        }
        let fault = |error: toml::de::Error| {
            let place = Place::new(text, error.span().unwrap_or(0..0));
            Fault::new(&Path::default(), error.message().to_owned(), Some(place))
        };
        let mut faults: Vec<Fault> = errors.into_iter().map(fault).collect();
        faults.sort_by_key(|fault| fault.line);
        // What follows on the same line is mostly an echo of the first, and so is every line after an array that does
        // not end.
        faults.dedup_by_key(|fault| fault.line);
        let inside = |fault: &Fault| INSIDE.iter().any(|word| fault.message.contains(word));
        if let Some(first) = faults.iter().position(inside) {
            let echoes = faults.split_off(first + 1);
            if let Some(fault) = faults.last_mut().filter(|_| !echoes.is_empty()) {
                fault.message.push_str("; or the array or table around it is not closed");
            }
        }
        Err(faults)
    }
    /// Where the value of a key stands, or the nearest table around it that is written.
    pub(super) fn locate(&self, path: &Path) -> Option<Place> {
        Some(self.find(path)?.value)
    }
    /// Where a part (bytes) of a key's text stands, if the text is written just as it is meant or has the part in it
    /// once; else where the key's whole value does.
    pub(super) fn locate_part(&self, path: &Path, text: &str, part: Range<usize>) -> Option<Place> {
        let place = self.locate(path)?;
        let written = self.text.get(place.span.clone())?;
        let (wanted, length) = (text.get(part.clone())?, part.len());
        let whole = written.find(text).map(|start| start + part.start);
        let Some(within) = whole.or_else(|| only(written, wanted)) else { return Some(place) };
        let start = place.span.start + within;
        Some(Place::new(self.text, start..start + length))
    }
    /// Where the key itself stands.
    pub(super) fn locate_key(&self, path: &Path) -> Option<Place> {
        Some(self.find(path)?.key)
    }
    fn find(&self, path: &Path) -> Option<Entry<'_, 'a>> {
        let (Step::Key(first), rest) = path.0.split_first()? else {
            return None;
        };
        let mut found = self.entry(&self.tree, first)?;
        for step in rest {
            let next = match (step, found.tree) {
                (Step::Key(name), DeValue::Table(table)) => self.entry(table, name),
                (Step::Index(index), DeValue::Array(array)) => array.get(*index).map(|element| {
                    let place = Place::new(self.text, element.span());
                    Entry { key: place.clone(), value: place, tree: element.get_ref() }
                }),
                _ => None,
            };
            match next {
                Some(next) => found = next,
                None => break,
            }
        }
        Some(found)
    }
    fn entry<'t>(&self, table: &'t DeTable<'a>, name: &str) -> Option<Entry<'t, 'a>> {
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
        let tree = value.get_ref();
        let key = Place::new(self.text, key.span());
        // The span of a table says little; its key is what people look for.
        let value = if tree.is_table() { key.clone() } else { Place::new(self.text, value.span()) };
        Some(Entry { key, value, tree })
    }
    /// The tree as JSON values, and what JSON does not have.
    pub(super) fn to_json(&self) -> (Value, Vec<(Path, &'static str)>) {
        let mut faults = Vec::new();
        let tree = table_to_json(&self.tree, &Path::default(), &mut faults);
        (tree, faults)
    }
}
/// One key of the tree.
struct Entry<'t, 'a> {
    key: Place,
    value: Place,
    tree: &'t DeValue<'a>,
}
/// A place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// 1-based.
    pub(super) line: usize,
    /// Bytes.
    pub(super) span: Range<usize>,
}
impl Place {
    fn new(text: &str, span: Range<usize>) -> Self {
        let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Self { line, span }
    }
}

type Faults = Vec<(Path, &'static str)>;
fn table_to_json(table: &DeTable<'_>, path: &Path, faults: &mut Faults) -> Value {
    let member = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let value = to_json(value.get_ref(), &path.key(name.as_ref()), faults);
        (name.clone().into_owned(), value)
    };
    Value::Object(table.iter().map(member).collect::<Map<_, _>>())
}
fn to_json(value: &DeValue<'_>, path: &Path, faults: &mut Faults) -> Value {
    let read = match value {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Boolean(truth) => Ok(Value::Bool(*truth)),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Value::from)
            .map_err(|_| "number out of range: it must fit into 64 bits"),
        DeValue::Float(float) => (float.as_str().parse().ok())
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or("JSON has no such number: write a finite one"),
        DeValue::Datetime(_) => Err("JSON has no dates: write text in quotes, or seconds since 1970"),
        DeValue::Array(array) => Ok(array
            .iter()
            .enumerate()
            .map(|(index, value)| to_json(value.get_ref(), &path.index(index), faults))
            .collect()),
        DeValue::Table(table) => Ok(table_to_json(table, path, faults)),
    };
    read.unwrap_or_else(|problem| {
        faults.push((path.clone(), problem));
        Value::Null
    })
}
