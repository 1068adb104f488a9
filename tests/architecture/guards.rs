//! The guards: each takes one source file and says what is wrong with it, one sentence per fault.
//!
//! A guard must never pass what it does not understand; a new top-level module is a fault until it has a floor.

use crate::lexer::{Token, tokens};
use crate::paths::{Path, paths};

/// Where every top-level module stands. Imports go down only.
const FLOORS: [&[&str]; 11] = [
    &["jose", "transport", "telemetry", "clock", "sys"],
    &["caller", "profile", "backend", "state"],
    &["policy", "keyring", "subject"],
    &["jwt", "audit", "misuse", "revocation"],
    &["issuer", "admin"],
    &["api"],
    &["config"],
    &["daemon"],
    &["cli"],
    &["main"],
    &["lib"],
];

/// Modules (and files) whose result depends on their arguments alone.
const PURE: [&str; 12] = [
    "policy",
    "profile",
    "jwt",
    "jose",
    "caller",
    "misuse",
    "keyring::machine",
    "clock::watch",
    "audit::tree",
    "audit::checkpoint",
    "audit::report::fold",
    "audit::report::page",
];

/// What a pure module may not name: a path that starts so, or contains `Type::now`.
const IMPURE: [&[&str]; 9] = [
    &["tokio"],
    &["rusqlite"],
    &["hyper"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["SystemTime", "now"],
    &["Instant", "now"],
    &["Timestamp", "now"],
];

/// The only places that may use a key: the issuing path, the key self-test, the audit log's seals, and the backends
/// themselves.
const SIGNERS: [&str; 5] =
    ["src/issuer.rs", "src/keyring/selftest.rs", "src/audit/seal.rs", "src/subject/epoch.rs", "src/backend/"];

const UNSAFE: &str = "src/sys/kernel.rs";
const VAGUE: [&str; 5] = ["utils", "common", "types", "prelude", "helpers"];
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];
const MAX_LINES: usize = 500;

/// One file, read and cut into tokens.
pub struct Source {
    /// Relative to the top, with `/`: `src/jwt/draft.rs`.
    pub name: String,
    text: String,
    tokens: Vec<Token>,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), tokens: tokens(text) }
    }

    /// `src/jwt/mod.rs` is `[jwt]`, `src/jwt/draft.rs` is `[jwt, draft]`.
    fn module(&self) -> Vec<String> {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
        module.pop_if(|last| last == "mod");
        module
    }

    /// Whether this is `#[cfg(test)] mod tests;`, by its name: `tests.rs` or a file in `tests/`.
    fn is_test(&self) -> bool {
        self.module().iter().any(|part| part == "tests")
    }

    /// In `lib.rs` and `main.rs` the module itself is the root.
    fn paths(&self) -> Vec<Path> {
        let mut module = self.module();
        module.pop_if(|last| last == "lib" || last == "main");
        paths(&module, &self.tokens)
    }

    fn fault(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.name)
    }

    /// The lines where these tokens follow each other.
    fn lines_with(&self, sequence: &[&str]) -> Vec<usize> {
        self.tokens
            .windows(sequence.len())
            .filter(|w| w.iter().zip(sequence).all(|(token, text)| token.text == *text))
            .map(|w| w[0].line)
            .collect()
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|names| names.contains(&module))
}

/// Imports between top-level modules go to a lower floor only: never up, never sideways.
pub fn floors(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(top) = module.first() else {
        return vec![source.fault(1, "is no module")];
    };
    let Some(own) = floor(top) else {
        return vec![source.fault(1, &format!("module `{top}` has no floor: give it one in FLOORS"))];
    };
    let mut faults = Vec::new();
    for path in source.paths().iter().filter(|p| p.segments[0] == "crate") {
        let target = path.segments.get(1).map_or("*", String::as_str);
        let what = match floor(target) {
            _ if target == top => continue,
            Some(below) if below < own => continue,
            Some(other) => format!(
                "`{top}` (floor {own}) uses `{target}` (floor {other}): only lower floors may be used"
            ),
            None if target == "*" => String::from("imports the whole crate: name what is used"),
            None => format!("uses `crate::{target}`, which has no floor"),
        };
        faults.push(source.fault(path.line, &what));
    }
    faults.dedup();
    faults
}

/// Pure modules name no runtime, no file, no network, no environment and no clock; their tests may.
pub fn purity(source: &Source) -> Vec<String> {
    let module = source.module().join("::");
    let within = |name: &&str| module == **name || module.starts_with(&format!("{name}::"));
    if source.is_test() || !PURE.iter().any(within) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for path in source.paths() {
        let named = |banned: &&&[&str]| {
            let is_call = banned.last() == Some(&"now");
            let mut windows = path.segments.windows(banned.len());
            if is_call { windows.any(|w| w == **banned) } else { path.segments.starts_with(&owned(banned)) }
        };
        if let Some(banned) = IMPURE.iter().find(named) {
            faults.push(
                source
                    .fault(path.line, &format!("`{module}` is pure and may not use `{}`", banned.join("::"))),
            );
        }
    }
    faults
}

fn owned(segments: &[&str]) -> Vec<String> {
    segments.iter().map(|s| (*s).to_owned()).collect()
}

/// `.sign(` only where a key may be used; tests have keys of their own.
pub fn signing(source: &Source) -> Vec<String> {
    if source.is_test() || SIGNERS.iter().any(|place| source.name.starts_with(place)) {
        return Vec::new();
    }
    let calls: [&[&str]; 3] = [&[".", "sign", "("], &["SigningKey", "::", "sign"], &[">", "::", "sign"]];
    let lines = calls.iter().flat_map(|call| source.lines_with(call));
    lines
        .map(|line| {
            source.fault(
                line,
                "signs outside the issuing path, the key self-test, the log's seals and the backends",
            )
        })
        .collect()
}

/// `unsafe` in one file only.
pub fn no_unsafe(source: &Source) -> Vec<String> {
    if source.name == UNSAFE {
        return Vec::new();
    }
    let lines = source.lines_with(&["unsafe"]);
    lines.into_iter().map(|line| source.fault(line, &format!("`unsafe` outside {UNSAFE}"))).collect()
}

/// Nothing half done: no `todo!`, `unimplemented!` or `dbg!`.
pub fn finished(source: &Source) -> Vec<String> {
    let faults = UNFINISHED.iter().flat_map(|name| {
        let lines = source.lines_with(&[name, "!"]);
        lines.into_iter().map(move |line| source.fault(line, &format!("contains `{name}!`")))
    });
    faults.collect()
}

/// No file or inline module with a name that says nothing.
pub fn telling_names(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for name in VAGUE {
        if source.module().iter().any(|part| part == name) {
            faults.push(source.fault(1, &format!("`{name}` says nothing: name it after what it does")));
        }
        for line in source.lines_with(&["mod", name]) {
            faults
                .push(source.fault(line, &format!("`mod {name}` says nothing: name it after what it does")));
        }
    }
    faults
}

/// Every file opens with `//!`.
pub fn opens_with_docs(source: &Source) -> Vec<String> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![source.fault(1, "does not open with `//!`: say what it is for and what it must never do")]
}

/// No file of more than 500 lines.
pub fn short(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![source.fault(lines, &format!("has {lines} lines, more than {MAX_LINES}: split it"))]
}

/// At the top: these, dotfiles, and nothing else.
pub fn top_level(entries: &[String]) -> Vec<String> {
    const ALLOWED: [&str; 9] =
        ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "src", "config", "scripts", "tests", "docs"];
    let allowed = |entry: &str| ALLOWED.contains(&entry) || entry == "target" || entry.starts_with('.');
    let unknown = entries.iter().filter(|entry| !allowed(entry));
    unknown.map(|entry| format!("`{entry}` does not belong at the top level")).collect()
}
