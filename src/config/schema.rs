//! The JSON Schemas of the files, made from their types: one list of keys for reading, for faults and for editors.

use super::file::File;
use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::Value;
use std::sync::LazyLock;

/// The schema of one kind of file.
pub(super) struct FileSchema {
    pub(super) text: Value,
    /// Compiled; `None` would be a defect of ours, which reading into the types makes up for.
    pub(super) validator: Option<Validator>,
}
/// Of the configuration; made from [`File`] on first use.
pub(super) static SCHEMA: LazyLock<FileSchema> = LazyLock::new(|| FileSchema::of::<File>("jwsd.toml"));

impl FileSchema {
    /// Made from the type that the file is read into.
    pub(super) fn of<T: JsonSchema>(title: &str) -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        // Without references, the place of a rule in the schema is also the place of its neighbours.
        settings.inline_subschemas = true;
        let settings = settings.with_transform(simplify);
        let mut schema = settings.into_generator().into_root_schema_for::<T>();
        schema.insert("title".to_owned(), Value::from(title));
        let text = schema.to_value();
        let validator = jsonschema::options().build(&text).ok();
        Self { text, validator }
    }
}

/// Says in the plainest way what schemars says in several: faults and editors show it to people.
fn simplify(schema: &mut Schema) {
    // TOML has no null: an optional key is left out.
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    // The defaults of a table are those of its keys.
    if schema.get("default").is_some_and(|value| value.is_null() || value.is_object()) {
        schema.remove("default");
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (keyword, value) in only {
                // What is said of this key goes before what is said of its type.
                if schema.get(&keyword).is_none() {
                    schema.insert(keyword, value);
                }
            }
        }
    }
    // Choices of words are one list, whether or not each has a comment.
    if let Some(Value::Array(choices)) = schema.get("oneOf") {
        let words = |choice: &Value| match (choice.get("enum"), choice.get("const")) {
            (Some(Value::Array(words)), _) => Some(words.clone()),
            (_, Some(word)) => Some(vec![word.clone()]),
            _ => None,
        };
        let words: Option<Vec<Vec<Value>>> = choices.iter().map(words).collect();
        if let Some(words) = words {
            schema.remove("oneOf");
            schema.insert("type".to_owned(), Value::from("string"));
            schema.insert("enum".to_owned(), Value::from(words.concat()));
        }
    }
    // Formats of Rust's integers, which nobody else knows.
    let most = match schema.get("format").and_then(Value::as_str) {
        Some("uint16") => Some(u32::from(u16::MAX)),
        Some("uint32") => Some(u32::MAX),
        _ => None,
    };
    if let Some(most) = most {
        schema.remove("format");
        schema.insert("maximum".to_owned(), Value::from(most));
    }
    transform_subschemas(&mut simplify, schema);
}
