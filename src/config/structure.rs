//! The shape of a file, judged by its own JSON Schema: unknown and missing keys, wrong types, unknown choices.
//!
//! Each faulty part is replaced by an empty one and its path remembered, so that what follows can look for further
//! faults without being misled.

use super::document::{Document, Path, Step};
use super::fault::Fault;
use super::schema::FileSchema;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The file as read, with what is wrong with its shape.
pub(super) struct Shape<T> {
    /// `None` only when `faults` says why.
    pub(super) file: Option<T>,
    pub(super) faults: Vec<Fault>,
    /// Paths whose values are not the operator's.
    pub(super) replaced: Vec<Path>,
}
/// Reads the tree into the type that `schema` was made from.
pub(super) fn read<T: DeserializeOwned>(document: &Document<'_>, schema: &'static FileSchema) -> Shape<T> {
    let (mut tree, unusable) = document.to_json();
    let mut repair = Repair { document, schema: &schema.text, faults: Vec::new(), replaced: Vec::new() };
    for (path, problem) in unusable {
        repair.fault(path, problem);
    }
    // Each round repairs one level of depth at least; the file has six.
    for _ in 0..8 {
        let errors: Vec<ValidationError<'static>> = match &schema.validator {
            Some(validator) => validator.iter_errors(&tree).map(|error| error.to_owned()).collect(),
            None => Vec::new(),
        };
        if errors.is_empty() {
            break;
        }
        for error in &errors {
            repair.apply(error, &mut tree);
        }
    }
    let Repair { mut faults, replaced, .. } = repair;
    let file = match serde_json::from_value(tree) {
        Ok(file) => Some(file),
        Err(error) => {
            if faults.is_empty() {
                faults.push(Fault::new(&Path::default(), error.to_string(), None));
            }
            None
        }
    };
    Shape { file, faults, replaced }
}

struct Repair<'d, 'a> {
    document: &'d Document<'a>,
    schema: &'static Value,
    faults: Vec<Fault>,
    replaced: Vec<Path>,
}
impl Repair<'_, '_> {
    /// A fault whose value is no longer the operator's; one inside such a value is our doing and not told.
    fn fault(&mut self, path: Path, message: impl Into<String>) {
        if !self.replaced.iter().any(|replaced| path.is_within(replaced)) {
            let place = self.document.locate(&path);
            self.faults.push(Fault::new(&path, message, place));
            self.replaced.push(path);
        }
    }
    /// The keys that the table may have in which `error` was found, with their descriptions.
    fn properties(&self, error: &ValidationError<'_>) -> Option<&'static Map<String, Value>> {
        let (table, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(table)?.get("properties")?.as_object()
    }
    fn apply(&mut self, error: &ValidationError<'_>, tree: &mut Value) {
        let pointer = error.instance_path().as_str();
        let path = path_of(tree, pointer);
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let accepted = self.properties(error);
                for name in unexpected {
                    let path = path.key(name);
                    let place = self.document.locate_key(&path);
                    let message = unknown_key(name, accepted);
                    self.faults.push(Fault::new(&path, message, place));
                    remove(tree, &format!("{pointer}/{}", escape(name)));
                }
            }
            Kind::Required { property: Value::String(name) } => {
                let what =
                    self.properties(error).and_then(|keys| keys.get(name)?.get("description")?.as_str());
                let what = what.and_then(|text| text.lines().next()).unwrap_or_default();
                self.fault(path.key(name), format!("missing: {what}"));
                if let Some(Value::Object(table)) = tree.pointer_mut(pointer) {
                    // The next round finds null to be of the wrong type, and knows the right one.
                    table.insert(name.clone(), Value::Null);
                }
            }
            Kind::Type { kind } => {
                let (what, empty) = empty(kind);
                self.fault(path, format!("wrong type: {what} is needed"));
                replace(tree, pointer, empty);
            }
            Kind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                let names: Vec<String> = options.iter().map(Value::to_string).collect();
                self.fault(path, format!("not one of the choices: write {}", names.join(", ")));
                replace(tree, pointer, options.first().cloned().unwrap_or_default());
            }
            Kind::Constant { expected_value } => {
                self.fault(path, format!("not one of the choices: write {expected_value}"));
                replace(tree, pointer, Value::clone(expected_value));
            }
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
                // The choice that fits best: whose `kind` is right, else the first.
                let kind = format!("{pointer}/kind");
                let of_kind = |error: &&ValidationError<'_>| error.instance_path().as_str() == kind;
                let fits = |errors: &&Vec<ValidationError<'_>>| !errors.iter().any(|error| of_kind(&error));
                let choices: Vec<String> =
                    context.iter().flatten().filter(of_kind).filter_map(constant).collect();
                if context.len() > 1 && choices.len() == context.len() {
                    self.fault(
                        path.key("kind"),
                        format!("not one of the choices: write {}", choices.join(", ")),
                    );
                }
                for error in context.iter().find(fits).or(context.first()).into_iter().flatten() {
                    self.apply(error, tree);
                }
            }
            Kind::Minimum { limit } => {
                self.fault(path, format!("too small: at least {limit} is needed"));
                replace(tree, pointer, limit.clone());
            }
            Kind::Maximum { limit } => {
                self.fault(path, format!("too large: at most {limit} is possible"));
                replace(tree, pointer, limit.clone());
            }
            other => {
                self.fault(path, format!("breaks the rule {:?} of the schema", other.keyword()));
                remove(tree, pointer);
            }
        }
    }
}

/// The one value that is possible there.
fn constant(error: &ValidationError<'_>) -> Option<String> {
    match error.kind() {
        Kind::Constant { expected_value } => Some(expected_value.to_string()),
        _ => None,
    }
}
fn unknown_key(name: &str, accepted: Option<&Map<String, Value>>) -> String {
    let accepted: Vec<&str> = accepted.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    match nearest(name, accepted.iter().copied()) {
        Some(near) => format!("unknown key: did you mean {near:?}?"),
        None => format!("unknown key: the keys here are {}", accepted.join(", ")),
    }
}
/// A word for a JSON type and an empty value of it.
fn empty(kind: &TypeKind) -> (&'static str, Value) {
    use jsonschema::JsonType;
    let types: Vec<JsonType> = match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    };
    match types.as_slice() {
        [JsonType::String] => ("text in quotes", Value::from("")),
        [JsonType::Integer] => ("a whole number", Value::from(0)),
        [JsonType::Number] => ("a number", Value::from(0)),
        [JsonType::Boolean] => ("true or false", Value::from(false)),
        [JsonType::Array] => ("a list in square brackets", Value::from(Vec::<Value>::new())),
        [JsonType::Object] => ("a table", Value::from(Map::new())),
        [JsonType::String, JsonType::Object] | [JsonType::Object, JsonType::String] => {
            ("a table, or JSON in quotes,", Value::from(Map::new()))
        }
        _ => ("a name in quotes or a whole number", Value::from("")),
    }
}
/// The candidate that `name` is most likely a slip of.
pub(super) fn nearest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = name.chars().count();
    let limit = (1 + length / 3).min(length.saturating_sub(1));
    let scored = candidates.map(|candidate| (distance(name, candidate), candidate));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}
/// Edit distance (insert, delete, replace).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(x != y));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn path_of(tree: &Value, pointer: &str) -> Path {
    let mut steps = Vec::new();
    let mut value = Some(tree);
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        match (value, name.parse()) {
            (Some(Value::Array(array)), Ok(index)) => {
                value = array.get(index);
                steps.push(Step::Index(index));
            }
            (table, _) => {
                value = table.and_then(|table| table.get(&name));
                steps.push(Step::Key(name));
            }
        }
    }
    Path(steps)
}
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
fn replace(tree: &mut Value, pointer: &str, new: Value) {
    if let Some(value) = tree.pointer_mut(pointer) {
        *value = new;
    }
}
fn remove(tree: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match tree.pointer_mut(parent) {
        Some(Value::Object(table)) => drop(table.shift_remove(&name)),
        Some(Value::Array(array)) => {
            if let Some(value) = name.parse::<usize>().ok().and_then(|index| array.get_mut(index)) {
                *value = Value::Null;
            }
        }
        _ => {}
    }
}
