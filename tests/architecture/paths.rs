//! Paths in a file's tokens, written out: `use crate::{a, b::c}` is `crate::a` and `crate::b::c`; `super` is resolved.
//!
//! Must never skip what it cannot read: a path that names everything (`crate::*`) is kept and judged by the guard.

use crate::lexer::Token;

/// One path as written out, with the line it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
}

/// Every path of two or more segments, and every single name that a `use` imports. Paths into this crate start with
/// `crate`, however they were written (`super::x`, `jwsd::x`); `self::x` stays, since it cannot leave its module.
pub fn paths(module: &[String], tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut inline = InlineModules::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        inline.see(tokens, at);
        let starts = is_name(token) && (at == 0 || tokens[at - 1].text != "::");
        let in_use = at > 0 && tokens[at - 1].text == "use";
        if !starts || !(in_use || text(tokens, at + 1) == "::") {
            at += 1;
            continue;
        }
        let mut leaves = Vec::new();
        let end = tree(tokens, at, &[], &mut leaves);
        let here: Vec<String> = module.iter().chain(&inline.names()).cloned().collect();
        found.extend(
            leaves.into_iter().map(|segments| Path { segments: absolute(&here, segments), line: token.line }),
        );
        at = end.max(at + 1);
    }
    found
}

/// Reads a use tree at `at` below `prefix`; returns where it ends. A path outside `use` is a tree without groups.
fn tree(tokens: &[Token], at: usize, prefix: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = at;
    loop {
        match text(tokens, at) {
            "{" => {
                at += 1;
                while !matches!(text(tokens, at), "}" | "") {
                    at = tree(tokens, at, &path, leaves);
                    at += usize::from(text(tokens, at) == ",");
                }
                return at + 1;
            }
            "*" => {
                path.push(String::from("*"));
                at += 1;
            }
            name if name.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                path.push(name.to_owned());
                at += 1;
            }
            // A turbofish or something that is no path: what was read so far counts.
            _ => {
                leaves.push(path);
                return at + 1;
            }
        }
        if text(tokens, at) == "::" {
            at += 1;
            continue;
        }
        if text(tokens, at) == "as" && prefix_is_crate_itself(&path) {
            path.push(String::from("*"));
        }
        while text(tokens, at) == "as" {
            at += 2;
        }
        leaves.push(path);
        return at;
    }
}

/// `use crate as x` and `use super as x` give another name to everything.
fn prefix_is_crate_itself(path: &[String]) -> bool {
    path.iter().all(|s| matches!(s.as_str(), "crate" | "super" | "self"))
}

fn absolute(here: &[String], segments: Vec<String>) -> Vec<String> {
    let ups = segments.iter().take_while(|s| *s == "super").count();
    let root = std::iter::once(String::from("crate"));
    match segments.first().map(String::as_str) {
        Some("super") => root
            .chain(here[..here.len().saturating_sub(ups)].iter().cloned())
            .chain(segments.into_iter().skip(ups))
            .collect(),
        Some("jwsd") => root.chain(segments.into_iter().skip(1)).collect(),
        _ => segments,
    }
}

/// The `mod name { ... }` that are open at a token.
#[derive(Default)]
struct InlineModules {
    depth: usize,
    open: Vec<(String, usize)>,
}

impl InlineModules {
    fn see(&mut self, tokens: &[Token], at: usize) {
        match text(tokens, at) {
            "{" => {
                self.depth += 1;
                if at >= 2 && text(tokens, at - 2) == "mod" {
                    self.open.push((text(tokens, at - 1).to_owned(), self.depth));
                }
            }
            "}" => {
                if self.open.last().is_some_and(|(_, depth)| *depth == self.depth) {
                    self.open.pop();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn names(&self) -> Vec<String> {
        self.open.iter().map(|(name, _)| name.clone()).collect()
    }
}

fn is_name(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |t| t.text.as_str())
}

#[test]
fn paths_are_written_out() {
    let source = "
        use crate::{a, b::{self, c as d}, e::*};
        use super::f;
        use {crate::g, std::{fs, io::Read}};
        mod tests { use super::*; use super::super::h; fn x() -> crate::i::J { super::k() } }
        pub(crate) fn l() { crate::m::<u8>(); jwsd::n::o(); if a { crate::p } else { super::q::r } }
    ";
    let module = [String::from("top"), String::from("child")];
    let found: Vec<String> =
        paths(&module, &crate::lexer::tokens(source)).into_iter().map(|p| p.segments.join("::")).collect();
    let expected = [
        "crate::a",
        "crate::b::self",
        "crate::b::c",
        "crate::e::*",
        "crate::top::f",
        "crate::g",
        "std::fs",
        "std::io::Read",
        "crate::top::child::*",
        "crate::top::h",
        "crate::i::J",
        "crate::top::child::k",
        "crate::m",
        "crate::n::o",
        "crate::p",
        "crate::top::q::r",
    ];
    assert_eq!(found, expected);
}
