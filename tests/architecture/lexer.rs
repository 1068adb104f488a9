//! A small Rust lexer: identifiers, punctuation and lines, without comments and without the text of literals.
//!
//! It knows just enough to tell code from prose: nested comments, raw strings, lifetimes against characters. It must
//! never be taught to guess what code means; the guards do that on its tokens.

/// One token: an identifier, `::`, one punctuation character, or `""` for any literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// 1-based.
    pub line: usize,
}

/// All tokens of a source text, in order.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0, line: 1 };
    let mut out = Vec::new();
    while let Some((text, line)) = lexer.next_token() {
        out.push(Token { text, line });
    }
    out
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn next_token(&mut self) -> Option<(String, usize)> {
        loop {
            let line = self.line;
            let literal = Some((String::from("\"\""), line));
            match (self.peek(0)?, self.peek(1)) {
                ('/', Some('/')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.bump();
                    }
                }
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => {
                    self.string();
                    return literal;
                }
                ('\'', _) => {
                    if self.character() {
                        return literal;
                    }
                }
                (c, _) if c.is_alphanumeric() || c == '_' => {
                    let word = self.word();
                    if self.raw_or_byte_string(&word) {
                        return literal;
                    }
                    return Some((word, line));
                }
                (':', Some(':')) => {
                    self.at += 2;
                    return Some((String::from("::"), line));
                }
                (c, _) => {
                    self.bump();
                    if !c.is_whitespace() {
                        return Some((c.to_string(), line));
                    }
                }
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                (None, _) => return,
                _ => {
                    self.bump();
                }
            }
        }
    }

    /// Consumes `"..."` with escapes.
    fn string(&mut self) {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '\\' => {
                    self.bump();
                }
                '"' => return,
                _ => {}
            }
        }
    }

    /// Consumes a character literal and says true, or the quote of a lifetime and says false.
    fn character(&mut self) -> bool {
        if self.peek(1) != Some('\\') && self.peek(2) != Some('\'') {
            self.bump();
            return false;
        }
        self.bump();
        if self.bump() == Some('\\') {
            self.bump();
        }
        while self.bump().is_some_and(|c| c != '\'') {}
        true
    }

    /// After the word `b`, `c`, `r`, `br` or `cr`: consumes the literal it introduces, if it does.
    fn raw_or_byte_string(&mut self, prefix: &str) -> bool {
        match (prefix, self.peek(0)) {
            ("b" | "c", Some('"')) => self.string(),
            ("b", Some('\'')) => {
                self.character();
            }
            ("r" | "br" | "cr", Some('"' | '#')) => {
                let hashes = self.chars[self.at..].iter().take_while(|c| **c == '#').count();
                // `r#name` is an identifier.
                if self.peek(hashes) != Some('"') {
                    return false;
                }
                self.at += hashes + 1;
                while let Some(c) = self.bump() {
                    let closes = (0..hashes).all(|i| self.peek(i) == Some('#'));
                    if c == '"' && closes {
                        self.at += hashes;
                        break;
                    }
                }
            }
            _ => return false,
        }
        true
    }
}

#[test]
fn prose_is_not_code() {
    let source = r###"
        // unsafe crate::a
        /* unsafe /* crate::b */ unsafe */
        let s = "unsafe \" crate::c"; let r = r#"unsafe " crate::d"#; let b = b"unsafe"; let c = '"';
        fn f<'a>(x: &'a str) -> char { '\'' }
        let r#type = crate::e;
    "###;
    let words: Vec<String> = tokens(source).into_iter().map(|t| t.text).collect();
    assert!(!words.contains(&String::from("unsafe")), "{words:?}");
    let text = words.join(" ");
    assert!(text.contains("crate :: e"), "{text}");
    assert!(text.contains("fn f < a > ( x : & a str )"), "{text}");
    assert!(!text.contains("crate :: d"), "{text}");
}

#[test]
fn lines_are_counted_through_literals() {
    let found = tokens("let a = \"x\ny\";\n/* \n */ b");
    assert_eq!(found.last().map(|t| (t.text.as_str(), t.line)), Some(("b", 4)));
}
