//! What all pages have in common: a head that lets a browser run and fetch nothing, one style, and the verdict on the log.

use std::fmt::Display;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Verification;
use super::markup::{Markup, number};
use crate::jose::Digest;

const STYLE: &str = include_str!("page.css");

/// Up to the body.
pub(super) fn begin(markup: &mut Markup, title: impl Display) {
    let style = BASE64_STANDARD.encode(Digest::Sha256.hash(STYLE.as_bytes()));
    markup.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // Even if something slipped through, a browser runs and fetches nothing.
    markup
        .raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-");
    markup.text(style).raw("'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    markup.text(title).raw("</title>\n<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n");
}

/// The whole page.
pub(super) fn end(mut markup: Markup) -> String {
    markup.raw("</body>\n</html>\n");
    markup.finish()
}

/// What checking the log came to, before anything else.
pub(super) fn verdict(markup: &mut Markup, checked: &Verification) {
    if checked.sound {
        markup.raw("<div class=\"verdict\"><p><strong>The log verifies.</strong> ");
    } else {
        markup.raw("<div class=\"verdict unsound\" role=\"alert\"><p><strong>The log does not verify: ");
        markup
            .text(number(checked.problem_count))
            .raw(" problems.</strong></p><p>What follows may be forged or ");
        markup.raw("incomplete. ");
    }
    let (records, segments) = (number(checked.records), number(checked.segments));
    let (first, last, bytes) = (checked.first, checked.last, number(checked.bytes));
    markup.text(format_args!(
        "{records} records, {first} to {last}, in {segments} segments of {bytes} bytes. "
    ));
    markup.text(&checked.extent).raw("</p>\n");
    let lines = checked.problems.iter().chain(&checked.declared);
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        markup.raw("<ul>");
        for line in lines {
            markup.raw("<li>").text(line).raw("</li>\n");
        }
        markup.raw("</ul>");
    }
    markup.raw("</div>\n");
}
