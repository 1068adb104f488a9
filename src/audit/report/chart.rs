//! Requests over time as inline SVG: a row of bars for each kind, all over the same hours, days or weeks.

use super::figures::{Bucket, Figures, Tally};
use super::markup::{Markup, moment, number};

const LEFT: usize = 84;
const WIDTH: usize = 860;
const HEIGHT: usize = 64;
const GAP: usize = 18;
/// Dates under the bars.
const DATES: usize = 6;

/// A kind of record: its name and its number in a bucket.
type Kind = (&'static str, fn(&Tally) -> u64);
const KINDS: [Kind; 4] = [
    ("issued", |tally| tally.issued),
    ("denied", |tally| tally.denied),
    ("failed", |tally| tally.failed),
    ("checked", |tally| tally.checked),
];

/// How long a bucket is, in words.
pub(super) fn width(figures: &Figures) -> String {
    match figures.bucket_seconds {
        3600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        604_800 => "week".to_owned(),
        seconds => format!("{} weeks", seconds / 604_800),
    }
}

/// Draws it.
pub(super) fn draw(markup: &mut Markup, figures: &Figures) {
    let buckets = figures.buckets.as_slice();
    let height = KINDS.len() * (HEIGHT + GAP) + GAP;
    markup.raw("<svg class=\"chart\" role=\"img\" aria-label=\"Requests over time\" viewBox=\"0 0 ");
    markup.text(LEFT + WIDTH + 16).raw(" ").text(height).raw("\">\n");
    for (place, kind) in KINDS.into_iter().enumerate() {
        row(markup, buckets, kind, place * (HEIGHT + GAP) + GAP);
    }
    let shown = DATES.min(buckets.len());
    for date in 0..shown {
        let place = date * buckets.len() / shown;
        let Some(bucket) = buckets.get(place) else { continue };
        let from = moment(&bucket.from.to_string());
        let from = if figures.bucket_seconds < 86_400 { from.get(5..16) } else { from.get(..10) };
        markup
            .raw("<text class=\"date\" x=\"")
            .text(left(place, buckets.len()))
            .raw("\" y=\"")
            .text(height - 4);
        markup.raw("\">").text(from.unwrap_or_default()).raw("</text>\n");
    }
    markup.raw("</svg>\n");
}

fn row(markup: &mut Markup, buckets: &[Bucket], (name, count): Kind, top: usize) {
    let most = buckets.iter().map(|bucket| count(&bucket.tally)).max().unwrap_or(0);
    let base = top + HEIGHT;
    markup.raw("<text class=\"kind\" x=\"0\" y=\"").text(base - 14).raw("\">").text(name).raw("</text>");
    markup.raw("<text class=\"most\" x=\"0\" y=\"").text(base - 1).raw("\">at most ").text(number(most));
    markup.raw("</text><line class=\"base\" x1=\"").text(LEFT).raw("\" x2=\"").text(LEFT + WIDTH);
    markup.raw("\" y1=\"").text(base).raw("\" y2=\"").text(base).raw("\"/>\n");
    for (place, bucket) in buckets.iter().enumerate() {
        let value = count(&bucket.tally);
        if value == 0 {
            continue;
        }
        let (x, end) = (left(place, buckets.len()), left(place + 1, buckets.len()));
        // A bar that is there can be seen.
        let tall = (value as f64 / most as f64 * HEIGHT as f64).max(1.0);
        let wide = ((end - x) * 0.86).min(40.0);
        markup.raw("<rect class=\"").text(name).raw("\" x=\"").text(format_args!("{x:.2}")).raw("\" y=\"");
        markup
            .text(format_args!("{:.2}", base as f64 - tall))
            .raw("\" width=\"")
            .text(format_args!("{wide:.2}"));
        markup.raw("\" height=\"").text(format_args!("{tall:.2}")).raw("\"><title>");
        markup.text(moment(&bucket.from.to_string())).raw(" UTC: ").text(number(value)).raw(" ").text(name);
        markup.raw("</title></rect>\n");
    }
}

fn left(place: usize, all: usize) -> f64 {
    LEFT as f64 + WIDTH as f64 * place as f64 / all.max(1) as f64
}
