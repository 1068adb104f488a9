//! When a profile is used, how often, and on what condition.

use super::{Sentence, readable};
use crate::profile::{Action, Per, Profile};

pub(super) fn hours(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let Some(hours) = &profile.hours else { return };
    let (what, rules) = match hours.action {
        Action::Refuse => ("at other times it is refused", vec!["hours.open"]),
        Action::Warn => ("at other times an alert is raised", Vec::new()),
    };
    let text = format!("It is used {hours}; {what}.");
    sentences.push(Sentence { text, controls: &["acc.issue", "mon.reissue"], rules });
}

pub(super) fn rates(profile: &Profile, sentences: &mut Vec<Sentence>) {
    for rate in &profile.rates {
        let whose = match rate.per {
            Per::Caller => "to one caller",
            Per::Profile => "to all callers together",
            Per::Subject => "about one subject",
        };
        let within = readable(rate.threshold.window);
        let over = |most: u32, what: &str| {
            format!("{what} when more than {most} are issued {whose} within {within}")
        };
        let text = match (rate.threshold.warn, rate.threshold.refuse) {
            (None, None) => continue,
            (Some(warn), None) => format!("{}.", over(warn, "An alert is raised")),
            (None, Some(most)) => format!("{}.", over(most, "It is refused")),
            (Some(warn), Some(most)) => {
                format!("{}; more than {most} are refused.", over(warn, "An alert is raised"))
            }
        };
        sentences.push(Sentence { text, controls: &["mon.reissue"], rules: Vec::new() });
    }
}

pub(super) fn condition(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let Some(condition) = &profile.condition else { return };
    let told = condition.message.as_ref().map(|message| format!("; a caller is else told {message:?}"));
    sentences.push(Sentence {
        text: format!(
            "It is issued only where this is true: {}{}.",
            condition.text(),
            told.unwrap_or_default()
        ),
        controls: &["acc.issue"],
        rules: vec!["condition.holds", "condition.error"],
    });
}
