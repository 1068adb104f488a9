//! Faults of a configuration file, as people see them.
//!
//! Shows the line of each fault, but never what stands where a PIN or password was written by mistake.

use super::document::{Path, Place};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use regex::Regex;
use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::LazyLock;

/// One fault: where and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the key, such as `profile.access-token.lifetime.max`; empty for a fault of the file as a whole.
    pub path: String,
    /// 1-based; 0 when it has no place in the text.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub message: String,
    span: Option<Range<usize>>,
}
impl Fault {
    pub(super) fn new(path: &Path, message: impl Into<String>, place: Option<Place>) -> Self {
        let (line, span) = place.map_or((0, None), |place| (place.line, Some(place.span)));
        let (path, message) = (path.to_string(), message.into());
        Self { path, line, message, span }
    }
}

/// Whose the faults are, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The file may not be read, or others could have changed it: exit code 77.
    Permission,
    /// The file is missing or its content is wrong: exit code 78.
    Configuration,
}

/// All faults of one file, by line. `Display` prints each with file, line, excerpt and path.
#[derive(Debug)]
pub struct Faults {
    /// Never empty.
    pub faults: Vec<Fault>,
    kind: FaultKind,
    name: String,
    /// What was read, without what looks like a secret.
    text: String,
}
impl Faults {
    /// Faults in the text of the file `name`.
    pub(super) fn of_text(mut faults: Vec<Fault>, name: &str, text: &str) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.span.as_ref().map(|span| span.start)));
        let (name, text) = (name.to_owned(), mask(text));
        let kind = FaultKind::Configuration;
        Self { faults, kind, name, text }
    }
    /// The one fault of a file that was not read.
    pub(super) fn of_file(kind: FaultKind, message: String, name: &str) -> Self {
        let faults = vec![Fault::new(&Path::default(), message, None)];
        let (name, text) = (name.to_owned(), String::new());
        Self { faults, kind, name, text }
    }
    /// Whose they are.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
    fn report<'a>(&'a self, fault: &'a Fault) -> Group<'a> {
        let title = match fault.path.as_str() {
            "" => fault.message.clone(),
            path => format!("{path}: {}", fault.message),
        };
        let report = Level::ERROR.primary_title(title);
        let Some(span) = fault.span.clone() else {
            return report.element(Origin::path(self.name.as_str()));
        };
        let snippet = Snippet::source(self.text.as_str()).path(self.name.as_str());
        report.element(snippet.annotation(AnnotationKind::Primary.span(span)))
    }
}
impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        for fault in &self.faults {
            writeln!(f, "{}\n", renderer.render(&[self.report(fault)]))?;
        }
        let plural = if self.faults.len() == 1 { "" } else { "s" };
        write!(f, "{} fault{plural} in {}", self.faults.len(), self.name)
    }
}
impl std::error::Error for Faults {}

/// Overwrites values of keys that look like secrets, byte for byte, so that places stay true.
fn mask(text: &str) -> String {
    static SECRETS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let name = r#"(?:pin|pwd|pass\w*|secret\w*|value)["']?"#;
        let value = r#"(?:"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|[^\s{"'#][^\n]*)"#;
        // In a URI nothing is quoted, so all that follows on the line goes.
        Regex::new(&format!(r"(?i)(pin-value\s*=)([^\n]*)|({name}\s*=\s*)({value})")).ok()
    });
    let Some(secrets) = SECRETS.as_ref() else {
        return "*".repeat(text.len());
    };
    let masked = secrets.replace_all(text, |found: &regex::Captures<'_>| {
        let (name, value) = (found.get(1).or(found.get(3)), found.get(2).or(found.get(4)));
        let stars = "*".repeat(value.map_or(0, |value| value.len()));
        format!("{}{stars}", name.map_or("", |name| name.as_str()))
    });
    masked.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked_byte_for_byte() {
        for (text, masked) in [
            ("pin = \"1234\"\nx = 1", "pin = ******\nx = 1"),
            ("so-pin='12é4' # y", "so-pin=******* # y"),
            ("pin = 1234", "pin = ****"),
            ("\"PIN\" = \"a\\\"b\" }", "\"PIN\" = ****** }"),
            ("pin = { value = \"1234\" }", "pin = { value = ****** }"),
            ("uri = \"a?pin-value='1#2\" # z", "uri = \"a?pin-value=*********"),
            ("password = \"open", "password = *****"),
            ("pin = { credential = \"hsm-pin\" }", "pin = { credential = \"hsm-pin\" }"),
            ("pin = { file = \"/etc/jwsd/pin\" }", "pin = { file = \"/etc/jwsd/pin\" }"),
        ] {
            assert_eq!(mask(text), masked);
            assert_eq!(mask(text).len(), text.len());
        }
    }
    #[test]
    fn each_fault_is_shown_with_its_line_and_the_sum_at_the_end() {
        let text = "environment = \"x\"\nbody = 3\n";
        let path = Path::default().key("limits").key("body");
        let place = Place { line: 2, span: 25..26 };
        let faults = vec![
            Fault::new(&path, "write a size", Some(place)),
            Fault::new(&Path::default().key("state"), "no place", None),
        ];
        let shown = Faults::of_text(faults, "etc/jwsd.toml", text).to_string();
        let expected = "\
error: state: no place
--> etc/jwsd.toml

error: limits.body: write a size
 --> etc/jwsd.toml:2:8
  |
2 | body = 3
  |        ^

2 faults in etc/jwsd.toml";
        assert_eq!(shown, expected);
    }
}
