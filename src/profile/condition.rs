//! Conditions: what a request must fulfil besides the rules for single claims, as one expression of CEL.
//!
//! Compiled and checked when the configuration is read: what an expression refers to is known then, and what `policy`
//! evaluates is a tree of operators over numbered values, bounded in size, depth and work. Never evaluates: `policy`
//! does. A condition can end in an error at any time (a claim that is missing, a number compared with a text), and
//! whoever evaluates it must take that for a no.

mod paths;
#[cfg(test)]
pub(crate) mod tests;

pub use paths::{CallerFact, Input};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::Type;
use cel::common::value::{StaticVal, Val};
use cel::parser::{ParseError, PrattParser};
use regex::{Regex, RegexBuilder};
use std::any::Any;
use std::collections::BTreeSet;
use std::ops::Range;

/// Longest expression, bytes. With this, [`NESTING`] and [`CHOICES`] the parser needs less than 1 MiB of stack, and half
/// of what a thread of the daemon has.
const TEXT: usize = 4096;
/// Brackets in brackets.
const NESTING: u16 = 24;
/// Question marks, wherever they stand: the parser recurses with each choice and counts none.
const CHOICES: usize = 64;
/// Operators, literals, calls and references.
const NODES: usize = 256;
/// Operators in operators: evaluation recurses as deep, and takes up to 35 KiB of stack for each without optimisations.
const DEPTH: usize = 16;
/// Each could join two texts or lists, and the result is as long as both.
const ADDITIONS: usize = 12;
/// Each looks through a text that a caller sends.
const MATCHES: usize = 8;
/// Compiled size of one pattern, bytes: matching takes time in proportion to it and to the text.
const PATTERN: usize = 64 << 10;

/// Functions that an expression may call: name, whether it stands behind a value, and the arguments.
const FUNCTIONS: [(&str, bool, usize); 10] = [
    ("size", false, 1),
    ("size", true, 0),
    ("contains", true, 1),
    ("startsWith", true, 1),
    ("endsWith", true, 1),
    ("matches", true, 1),
    ("int", false, 1),
    ("uint", false, 1),
    ("double", false, 1),
    ("string", false, 1),
];
/// Operators, with those that answer true or false first.
const OPERATORS: [&str; 18] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::CONDITIONAL,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    operators::INDEX,
];
const TRUTHS: usize = 10;

/// A checked expression. Its identifiers are `@0`, `@1`...: numbers of its [`inputs`](Self::inputs).
#[derive(Debug, Clone)]
pub struct Condition {
    /// As written.
    text: String,
    expression: IdedExpr,
    inputs: Vec<Input>,
    /// What callers are told when it does not hold.
    pub message: Option<String>,
}

/// What is wrong with an expression, and where in its text (bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionFault {
    /// The part of the text; empty for a place between two parts.
    pub at: Range<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Condition {
    /// Reads an expression that may refer to these claims.
    ///
    /// # Errors
    /// All faults that were found, by place; never none.
    pub fn compile(text: &str, claims: &BTreeSet<&str>) -> Result<Self, Vec<ConditionFault>> {
        if text.len() > TEXT {
            return Err(whole(text, format!("the condition is longer than {TEXT} bytes: make it shorter")));
        }
        if text.matches('?').count() > CHOICES {
            return Err(whole(
                text,
                format!("more than {CHOICES} question marks: make the condition simpler"),
            ));
        }
        // A defect of the parser must not take the daemon with it.
        let parsed = std::panic::catch_unwind(|| parser().parse(text));
        let tree = match parsed {
            Ok(Ok(tree)) => tree,
            Ok(Err(errors)) => return Err(errors.errors.iter().map(|error| syntax(text, error)).collect()),
            Err(_) => {
                return Err(whole(text, "the condition cannot be read: write it in another way".into()));
            }
        };
        let mut check =
            Check { claims, inputs: Vec::new(), nodes: 0, additions: 0, matches: 0, faults: Vec::new() };
        check.bound(&tree, 0);
        if check.faults.is_empty() && !is_truth(&tree) {
            check.fault(&tree, "this is neither true nor false: compare it with something");
        }
        let mut expression = tree;
        if check.faults.is_empty() {
            check.rewrite(&mut expression);
        }
        if check.faults.is_empty() {
            return Ok(Self {
                text: text.trim().to_owned(),
                expression,
                inputs: check.inputs,
                message: None,
            });
        }
        Err(place(text, check.faults))
    }

    /// As written, for sentences.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// What to evaluate.
    pub fn expression(&self) -> &IdedExpr {
        &self.expression
    }
    /// What its identifiers stand for.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }
    /// Whether it refers to this fact, which must then be found out when a caller connects.
    pub fn wants(&self, fact: CallerFact) -> bool {
        let is_it = |input: &Input| matches!(input.known(), Input::Caller(of) if *of == fact);
        self.inputs.iter().any(is_it)
    }
}

fn parser() -> PrattParser {
    PrattParser::new().max_recursion_depth(NESTING)
}
fn whole(text: &str, message: String) -> Vec<ConditionFault> {
    vec![ConditionFault { at: 0..text.len(), message }]
}
fn syntax(text: &str, error: &ParseError) -> ConditionFault {
    let info = error.source_info.as_ref();
    let at = info.and_then(|info| span(info.offset_for(error.expr_id))).unwrap_or(0..text.len());
    let at = inside(text, at);
    let reason = error.msg.trim_start_matches("Syntax error: ");
    ConditionFault { at, message: format!("not an expression of CEL: {reason}") }
}
fn span(offsets: Option<(u32, u32)>) -> Option<Range<usize>> {
    let (start, end) = offsets?;
    Some(usize::try_from(start).ok()?..usize::try_from(end.max(start)).ok()?)
}

/// Whole characters of the text: the parser takes each that it does not know, and the end, for one byte.
fn inside(text: &str, at: Range<usize>) -> Range<usize> {
    text.floor_char_boundary(at.start)..text.ceil_char_boundary(at.end)
}

/// By the parser's numbers of nodes, which it tells the places of beside a syntax error only: so it is given one.
fn place(text: &str, faults: Vec<(u64, String)>) -> Vec<ConditionFault> {
    let spoilt = parser().parse(&format!("{text}\n)")).err();
    let info = spoilt.and_then(|errors| errors.errors.into_iter().find_map(|error| error.source_info));
    let at = |id| {
        let span = info.as_ref().and_then(|info| span(info.offset_for(id)));
        span.map_or(0..text.len(), |span| with_name(text, inside(text, span)))
    };
    let mut faults: Vec<_> =
        faults.into_iter().map(|(id, message)| ConditionFault { at: at(id), message }).collect();
    faults.sort_by_key(|fault| fault.at.start);
    faults
}

/// A member is placed at its dot and a call at its parenthesis: its name belongs to it.
fn with_name(text: &str, at: Range<usize>) -> Range<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match (text.get(at.clone()), text.get(..at.start), text.get(at.end..)) {
        (Some("."), _, Some(after)) => at.start..text.len() - after.trim_start_matches(is_name).len(),
        (Some("("), Some(before), _) => before.trim_end_matches(is_name).len()..at.end,
        _ => at,
    }
}

/// Whether it can be true or false, as far as that can be seen without values.
fn is_truth(tree: &IdedExpr) -> bool {
    match &tree.expr {
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::Select(_) | Expr::Ident(_) => true,
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [_, yes, no]) => is_truth(yes) && is_truth(no),
            (operators::INDEX | "contains" | "startsWith" | "endsWith" | "matches", _) => true,
            // Told when functions are looked at.
            (name, _) if !name.contains('_') && name != operators::IN => {
                !FUNCTIONS.iter().any(|(known, ..)| *known == name)
            }
            (name, _) => OPERATORS.iter().take(TRUTHS).any(|operator| *operator == name),
        },
        // Refused by themselves.
        Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => true,
        Expr::List(_) | Expr::Map(_) => false,
    }
}

struct Check<'c> {
    claims: &'c BTreeSet<&'c str>,
    inputs: Vec<Input>,
    nodes: usize,
    additions: usize,
    matches: usize,
    /// By number of the node.
    faults: Vec<(u64, String)>,
}

impl Check<'_> {
    fn fault(&mut self, at: &IdedExpr, message: impl Into<String>) {
        self.faults.push((at.id, message.into()));
    }

    /// Counts, and refuses the first thing that is too much: the tree may be as deep as the text is long.
    fn bound(&mut self, node: &IdedExpr, depth: usize) {
        self.nodes += 1;
        if self.faults.is_empty() && depth > DEPTH {
            self.fault(
                node,
                format!("more than {DEPTH} operators in each other: make the condition simpler"),
            );
        }
        if self.faults.is_empty() && self.nodes > NODES {
            self.fault(node, format!("the condition has more than {NODES} parts: make it simpler"));
        }
        if !self.faults.is_empty() {
            return;
        }
        match &node.expr {
            Expr::Call(call) => {
                self.additions += usize::from(call.func_name == operators::ADD);
                if self.additions > ADDITIONS {
                    self.fault(node, format!("more than {ADDITIONS} additions: make the condition simpler"));
                }
                self.matches += usize::from(call.func_name == "matches");
                if self.matches > MATCHES {
                    self.fault(node, format!("more than {MATCHES} matches: join patterns with |, or use fewer"));
                }
                call.target.iter().for_each(|target| self.bound(target, depth + 1));
                call.args.iter().for_each(|argument| self.bound(argument, depth + 1));
            }
            Expr::Select(select) => self.bound(&select.operand, depth + 1),
            Expr::List(list) => list.elements.iter().for_each(|element| self.bound(element, depth + 1)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.bound(&entry.key, depth + 1);
                        self.bound(&entry.value, depth + 1);
                    }
                }
            }
            // The time that they take grows with what a caller sends, and with its powers when they are nested.
            Expr::Comprehension(_) => self.fault(
                node,
                "all, exists, exists_one, map and filter are not allowed, because their time has no bound: use `in`, or a JSON Schema",
            ),
            Expr::Struct(_) | Expr::Unspecified => self.fault(node, "a condition makes no messages: remove this"),
            Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }

    /// Puts numbered identifiers in the place of everything that has its value from outside, and finds fault with what
    /// is not known.
    fn rewrite(&mut self, node: &mut IdedExpr) {
        let id = node.id;
        match paths::input(node, self.claims) {
            Some(Ok(input)) => return node.expr = self.number(input),
            Some(Err(message)) => return self.faults.push((id, message)),
            None => {}
        }
        match &mut node.expr {
            Expr::Call(call) => {
                let shape = (call.func_name.as_str(), call.target.is_some(), call.args.len());
                let operator = call.target.is_none() && OPERATORS.contains(&shape.0);
                if !operator && !FUNCTIONS.contains(&shape) {
                    let message = unknown_function(&call.func_name);
                    return self.faults.push((id, message));
                }
                if let ("matches", [pattern]) = (call.func_name.as_str(), call.args.as_mut_slice()) {
                    self.pattern(pattern);
                } else {
                    call.args.iter_mut().for_each(|argument| self.rewrite(argument));
                }
                call.target.iter_mut().for_each(|target| self.rewrite(target));
            }
            Expr::Select(select) => self.rewrite(&mut select.operand),
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.rewrite(element)),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.rewrite(&mut entry.key);
                        self.rewrite(&mut entry.value);
                    }
                }
            }
            Expr::Literal(_) => {}
            // Not here: a reference, or refused before.
            Expr::Ident(_) | Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.faults.push((id, "this cannot stand here: remove it".into()));
            }
        }
    }

    fn number(&mut self, input: Input) -> Expr {
        self.inputs.push(input);
        Expr::Ident(format!("@{}", self.inputs.len() - 1))
    }

    /// Compiled once, and none is made out of what a caller sends.
    fn pattern(&mut self, node: &mut IdedExpr) {
        let Expr::Literal(LiteralValue::String(text)) = &node.expr else {
            return self
                .fault(node, "the pattern of matches stands in quotes here, and nothing else: write it so");
        };
        match RegexBuilder::new(text.inner()).size_limit(PATTERN).build() {
            Ok(regex) => node.expr = self.number(Input::Pattern(Pattern(regex))),
            Err(regex::Error::CompiledTooBig(_)) => {
                self.fault(node, "the pattern is too large when compiled: make its repetitions smaller");
            }
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.faults.push((node.id, format!("not a regular expression: {reason}")));
            }
        }
    }
}

fn unknown_function(name: &str) -> String {
    let known: BTreeSet<_> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
    let list = known.into_iter().collect::<Vec<_>>().join(", ");
    if FUNCTIONS.iter().any(|(known, ..)| *known == name) {
        return format!(
            "{name} is called in another way: size(x), int(x), x.contains(\"y\"), x.matches(\"y\")"
        );
    }
    format!("there is no function {name:?} here: use has, {list} and operators")
}

/// The type of a [`Pattern`] in an expression.
pub static PATTERN_TYPE: Type = Type::new_unspecified_type("pattern");

/// A regular expression as a value, so that `matches` need not compile one.
#[derive(Debug, Clone)]
pub struct Pattern(pub Regex);
impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }
    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}
impl StaticVal for Pattern {}
