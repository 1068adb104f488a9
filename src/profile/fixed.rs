//! What is fixed by who the caller is: texts with `{name}` and the caller's own `[caller.NAME.vars]` in them. Expanded
//! when the configuration is loaded, so that a request only looks the result up.

use serde_json::Value;
use std::collections::BTreeMap;

/// What one caller's JWTs of one profile always say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The `iss` claim.
    pub issuer: String,
    /// Claims with the one value that they have, all strings.
    pub claims: BTreeMap<String, Value>,
}

/// A text with names in braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// A text that is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("braces hold a name, such as {{client_id}}, and have no other meaning here")]
pub struct BadTemplate;

/// A template has a name in it that the caller gives no text for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no text for {0:?}")]
pub struct NoText(pub String);

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// [`BadTemplate`] when its braces hold anything but [names](is_var_name).
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            let (name, after) =
                after.strip_prefix('{').and_then(|inside| inside.split_once('}')).ok_or(BadTemplate)?;
            if !is_var_name(name) {
                return Err(BadTemplate);
            }
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));
        Ok(Self(parts))
    }

    /// Whether it is the same for every caller.
    pub fn is_plain(&self) -> bool {
        !self.0.iter().any(|part| matches!(part, Part::Name(_)))
    }

    /// The text for the caller `name` with these variables.
    ///
    /// # Errors
    /// [`NoText`] for the first name that there is none for.
    pub fn expand(&self, name: &str, vars: &BTreeMap<String, String>) -> Result<String, NoText> {
        let mut text = String::new();
        for part in &self.0 {
            text.push_str(match part {
                Part::Text(text) => text,
                Part::Name(var) if var == "name" => name,
                Part::Name(var) => vars.get(var).ok_or_else(|| NoText(var.clone()))?,
            });
        }
        Ok(text)
    }
}

/// Whether a variable may be named so: 1 to 32 of `a-z`, `0-9` and `_`, beginning with a letter. `name` is the caller's.
pub fn is_var_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= 32 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_replaced_and_nothing_else() {
        let vars = BTreeMap::from([("tenant".to_owned(), "{name}".to_owned())]);
        for (text, expanded) in [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("{name}", Ok("billing")),
            ("a{name}b{tenant}", Ok("abillingb{name}")),
            ("{tenant}{tenant}", Ok("{name}{name}")),
            ("x{other}", Err(NoText("other".to_owned()))),
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.expand("billing", &vars), expanded.map(str::to_owned), "{text}");
            assert_eq!(template.is_plain(), !text.contains('{'), "{text}");
        }
        for bad in ["{", "}", "{}", "{a", "a}", "{{a}}", "{A}", "{1}", "{a b}", "}{", "{a-b}"] {
            assert_eq!(Template::parse(bad), Err(BadTemplate), "{bad}");
        }
    }
}
