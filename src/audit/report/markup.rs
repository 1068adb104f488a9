//! Markup that cannot be broken out of: its own words are constants, and everything else is escaped.

use std::fmt::{Display, Write};

/// HTML as it grows.
#[derive(Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Words of this program.
    pub(super) fn raw(&mut self, html: &'static str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Anything else: text or the value of an attribute in double quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push('\n'),
                // What cannot be seen, or turns text around it, is shown by its number.
                char if is_hidden(char) => write!(self.0, "\\u{{{:x}}}", u32::from(char))?,
                char => self.0.push(char),
            }
        }
        Ok(())
    }
}

fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// With its digits in groups of three.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `2026-11-24T08:00:00.123456Z` as `2026-11-24 08:00:00`.
pub(super) fn moment(text: &str) -> String {
    text.get(..19).unwrap_or(text).replace('T', " ")
}

/// A cell of a table.
pub(super) enum Cell {
    /// Aligned to the left.
    Text(String),
    /// Names that programs use: key versions, rules, digests.
    Code(String),
    /// Aligned to the right.
    Number(u64),
    /// Text that is a warning.
    Bad(String),
    /// Several lines.
    Lines(Vec<String>),
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
    pub(super) fn code(text: &str) -> Self {
        Self::Code(text.to_owned())
    }
    pub(super) fn time(text: &str) -> Self {
        Self::Text(moment(text))
    }
    pub(super) fn time_of(text: Option<&String>) -> Self {
        Self::Text(text.map(|text| moment(text)).unwrap_or_default())
    }
}

/// A table; columns whose first cell is a number are aligned so. Says that there is nothing when there are no rows.
pub(super) fn table(markup: &mut Markup, head: &[&'static str], rows: Vec<Vec<Cell>>) {
    let Some(first) = rows.first() else {
        markup.raw("<p class=\"none\">None.</p>\n");
        return;
    };
    markup.raw("<div class=\"wide\"><table>\n<thead><tr>");
    for (place, title) in head.iter().enumerate() {
        let is_number = matches!(first.get(place), Some(Cell::Number(_)));
        markup.raw(if is_number { "<th scope=\"col\" class=\"n\">" } else { "<th scope=\"col\">" });
        markup.text(title).raw("</th>");
    }
    markup.raw("</tr></thead>\n<tbody>\n");
    for row in rows {
        markup.raw("<tr>");
        for cell in row {
            match cell {
                Cell::Text(text) => markup.raw("<td>").text(text),
                Cell::Code(text) => markup.raw("<td><code>").text(text).raw("</code>"),
                Cell::Number(0) => markup.raw("<td class=\"n zero\">0"),
                Cell::Number(count) => markup.raw("<td class=\"n\">").text(number(count)),
                Cell::Bad(text) => markup.raw("<td class=\"bad\">").text(text),
                Cell::Lines(lines) => {
                    markup.raw("<td>");
                    for line in lines {
                        markup.raw("<p>").text(line).raw("</p>");
                    }
                    &mut *markup
                }
            }
            .raw("</td>");
        }
        markup.raw("</tr>\n");
    }
    markup.raw("</tbody></table></div>\n");
}
