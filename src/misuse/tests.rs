//! Who is warned of, who is refused, for how long, and how often it is told.

use super::*;
use crate::caller::{Callers, Rule as CallerRule};
use crate::profile::{Hours, Rate};
use crate::transport::{PeerCredentials, ProcessFacts};
use jiff::{SignedDuration, tz::TimeZone};
use proptest::prelude::*;
use std::sync::Arc;

/// A Tuesday.
const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
const MINUTE: Duration = Duration::from_secs(60);
const NONE: Threshold = Threshold { window: MINUTE, warn: None, refuse: None };

fn after(seconds: i64) -> Timestamp {
    NOW.saturating_add(SignedDuration::from_secs(seconds)).unwrap()
}
fn caller_of(name: &str, uid: u32, exe: Option<&str>, by_exe: bool) -> Caller {
    let rule = CallerRule {
        name: name.into(),
        uid: Some(uid),
        gid: None,
        exe: exe.filter(|_| by_exe).map(Into::into),
        unit: None,
        profiles: Default::default(),
        rate: None,
        introspect: Default::default(),
    };
    let facts = ProcessFacts { exe: exe.map(Into::into), ..ProcessFacts::default() };
    Callers::new(vec![rule]).identify(Arc::new(PeerCredentials::assume(uid, 1, 1, facts))).unwrap()
}
fn caller(name: &str) -> Caller {
    caller_of(name, 1, None, false)
}
fn settings(denials: Threshold) -> Settings {
    Settings { denials, new_exe: true }
}
fn profile(name: &str, rates: &[(Per, Option<u32>, Option<u32>)]) -> Profile {
    let rate = |(per, warn, refuse): &(Per, _, _)| Rate {
        per: *per,
        threshold: Threshold { window: MINUTE, warn: *warn, refuse: *refuse },
    };
    Profile { rates: rates.iter().map(rate).collect(), ..Profile::sample(name, "k", "x+jwt") }
}
fn subject(number: u32) -> Option<SubjectTag> {
    let mut tag = SubjectTag::default();
    tag[..4].copy_from_slice(&number.to_be_bytes());
    Some(tag)
}
/// What is told of one JWT: alerts as `rule count`, and the refusal as `!rule seconds`.
fn told((alerts, admitted): (Vec<Alert>, Result<Counted<'_>, Refused>)) -> Vec<String> {
    let alerts = alerts.iter().map(|alert| format!("{} {}", alert.rule.id(), alert.count.unwrap_or(0)));
    let refused = admitted
        .map(Counted::keep)
        .err()
        .map(|refused| format!("!{} {}", refused.rule.id(), refused.wait.as_secs()));
    alerts.chain(refused).collect()
}

#[test]
fn more_than_the_warning_is_told_once_in_a_window_and_more_than_the_limit_refused() {
    let (misuse, profile) = (Misuse::default(), profile("p", &[(Per::Caller, Some(2), Some(4))]));
    let ask = |name: &str, second| told(misuse.admit(&caller(name), &profile, None, after(second)));
    let none: [&str; 0] = [];
    assert_eq!(ask("a", 0), none);
    assert_eq!(ask("a", 1), none);
    assert_eq!(ask("a", 2), ["rate.caller 3"]);
    assert_eq!(ask("a", 3), none);
    // The first part of 7.5 s ended at 2.5 s, and is forgotten a minute later.
    assert_eq!(ask("a", 4), ["rate.caller 4", "!rate.caller 58"]);
    assert_eq!(ask("a", 5), ["!rate.caller 57"]);
    assert_eq!(ask("b", 5), none, "another caller");
    assert_eq!(ask("a", 70), none, "what was refused did not count");
    assert_eq!(ask("a", 71), none);
    assert_eq!(ask("a", 71), ["rate.caller 3"], "another window");
    assert_eq!(ask("a", 72), none);
    assert_eq!(ask("a", 72)[0], "rate.caller 4");
    let report = serde_json::to_value(misuse.report()).unwrap();
    assert_eq!(report["alerts"]["rate.caller"], 4);
    assert_eq!((&report["alerts"]["exe.new"], &report["refused"]), (&0.into(), &3.into()));
}

#[test]
fn each_rate_counts_its_own() {
    let rates =
        [(Per::Caller, None, Some(3)), (Per::Profile, None, Some(5)), (Per::Subject, Some(1), Some(2))];
    let (misuse, profile) = (Misuse::default(), profile("p", &rates));
    let ask = |name, number| told(misuse.admit(&caller(name), &profile, subject(number), NOW)).join(", ");
    assert_eq!(ask("a", 1), "");
    assert_eq!(ask("b", 1), "rate.subject 2", "whoever asks");
    assert!(ask("a", 1).contains("!rate.subject"));
    assert_eq!(ask("a", 2), "");
    assert_eq!(ask("a", 3), "");
    assert!(ask("a", 4).contains("!rate.caller"), "nothing was counted of what was refused");
    assert_eq!(ask("b", 4), "");
    assert!(ask("c", 5).contains("!rate.profile"));
    assert!(ask("a", 1).contains("!rate."), "the longest wait is told");
    let other = super::tests::profile("q", &rates);
    assert_eq!(told(misuse.admit(&caller("a"), &other, subject(1), NOW)), [""; 0], "of another profile");
    let nobody = super::tests::profile("r", &[(Per::Subject, None, Some(1))]);
    for _ in 0..3 {
        assert_eq!(told(misuse.admit(&caller("a"), &nobody, None, NOW)), [""; 0], "about nobody");
    }
}

#[test]
fn a_caller_that_is_refused_again_and_again_is_not_answered_for_a_while() {
    let (misuse, settings) =
        (Misuse::default(), settings(Threshold { window: MINUTE, warn: Some(2), refuse: Some(4) }));
    let denied = |second| misuse.denied(settings, &caller("a"), after(second)).map(|alert| alert.count);
    assert_eq!([denied(0), denied(0), denied(0), denied(0)], [None, None, Some(Some(3)), None]);
    assert_eq!(misuse.may_ask(settings, &caller("a"), NOW), Ok(()));
    denied(0);
    let (refused, alert) = misuse.may_ask(settings, &caller("a"), NOW).unwrap_err();
    assert_eq!((refused.rule, alert.unwrap().count), (Rule::Denials, Some(5)));
    let (again, alert) = misuse.may_ask(settings, &caller("a"), after(10)).unwrap_err();
    assert!(alert.is_none() && again.wait < refused.wait);
    assert_eq!(misuse.may_ask(settings, &caller("b"), NOW), Ok(()));
    let seconds = i64::try_from(refused.wait.as_secs()).unwrap();
    assert!(misuse.may_ask(settings, &caller("a"), after(seconds - 1)).is_err());
    assert_eq!(misuse.may_ask(settings, &caller("a"), after(seconds + 1)), Ok(()));
}

#[test]
fn each_request_is_judged_by_its_own_settings() {
    let misuse = Misuse::default();
    let denied = |settings| misuse.denied(settings, &caller("a"), NOW);
    let may = |settings| misuse.may_ask(settings, &caller("a"), NOW).is_ok();
    let [one, two] = [1, 2].map(|most| settings(Threshold { refuse: Some(most), ..NONE }));
    denied(one);
    denied(one);
    assert_eq!((may(one), may(two)), (false, true));
    denied(two);
    assert!(!may(two), "what was counted stays");
    let longer = settings(Threshold { refuse: Some(2), window: MINUTE * 2, warn: None });
    assert!(may(longer), "another window begins empty");
    denied(longer);
    assert_eq!((may(two), may(longer)), (false, true), "and lets the other one be");
}

#[test]
fn what_was_not_signed_was_not_counted() {
    let profile = profile("p", &[(Per::Caller, None, Some(2)), (Per::Subject, None, Some(1))]);
    for (name, about, is_signed, expected) in [
        ("signed", 1, true, "!rate.subject"),
        ("not signed", 1, false, ""),
        ("signed, about somebody else", 2, true, ""),
        ("not signed, about somebody else", 2, false, ""),
    ] {
        let misuse = Misuse::default();
        let (_, admitted) = misuse.admit(&caller("a"), &profile, subject(about), NOW);
        if is_signed {
            admitted.unwrap().keep();
        } else {
            drop(admitted.unwrap());
        }
        let again = told(misuse.admit(&caller("a"), &profile, subject(1), NOW)).join(", ");
        assert!(again.contains(expected) && again.is_empty() == expected.is_empty(), "{name}: {again}");
    }
    // What was counted later still counts when an older one, which is over, is given back.
    let misuse = Misuse::default();
    let (_, old) = misuse.admit(&caller("a"), &profile, subject(1), NOW);
    assert_eq!(told(misuse.admit(&caller("a"), &profile, subject(1), after(120))), [""; 0]);
    drop(old.unwrap());
    let again = told(misuse.admit(&caller("a"), &profile, subject(1), after(120)));
    assert!(again.join(", ").contains("!rate.subject"), "{again:?}");
}

#[test]
fn another_order_of_rates_keeps_their_counts() {
    let (one, other) = ((Per::Caller, None, Some(1)), (Per::Profile, None, Some(5)));
    let misuse = Misuse::default();
    let ask = |rates: &[_]| told(misuse.admit(&caller("a"), &profile("p", rates), None, NOW)).join(", ");
    assert_eq!(ask(&[one, other]), "");
    assert!(ask(&[other, one]).contains("!rate.caller"));
    assert_eq!(ask(&[other]), "", "one of five");
}

#[test]
fn a_program_that_was_not_there_before_is_told_of_once() {
    let misuse = Misuse::default();
    let at = |second, uid, exe: Option<&str>| {
        misuse.see(settings(NONE), &caller_of("a", uid, exe, false), after(second)).map(|alert| alert.rule)
    };
    let see = |uid, exe| at(0, uid, exe);
    assert_eq!(see(1, None), None);
    assert_eq!(see(1, Some("/bin/a")), None, "the first is learnt");
    assert_eq!(see(1, Some("/bin/a")), None);
    assert_eq!(see(1, Some("/bin/b")), Some(Rule::NewExe));
    assert_eq!(see(1, Some("/bin/b")), None);
    assert_eq!(see(2, Some("/bin/b")), None, "another user");
    let named = caller_of("a", 1, Some("/bin/c"), true);
    assert_eq!(misuse.see(settings(NONE), &named, NOW), None, "the configuration names it");
    assert_eq!(at(3599, 1, Some("/bin/c")), None, "told of one an hour ago at most");
    assert_eq!(at(3600, 1, Some("/bin/c")), None, "known by now");
    for number in 1..100 {
        assert_eq!(at(number * 3600, 1, Some(&format!("/bin/{number}"))), Some(Rule::NewExe));
        assert_eq!(at(number * 3600 + 1800, 1, Some("/bin/a")), None, "used all the time");
    }
    assert_eq!(misuse.lock().programs.entry(1, Programs::default).known.len(), PROGRAMS);
    let off = Settings { new_exe: false, ..settings(NONE) };
    assert_eq!(misuse.see(off, &caller_of("a", 1, Some("/bin/z"), false), NOW), None);
}

#[test]
fn use_outside_the_hours_is_told_once_an_hour() {
    let misuse = Misuse::default();
    let with = |action| {
        let hours = Hours::new(crate::profile::days("sat-sun").unwrap(), (0, 1440), TimeZone::UTC, action);
        Profile { hours: Some(hours), ..profile("p", &[]) }
    };
    let ask = |name, action, second| told(misuse.admit(&caller(name), &with(action), None, after(second)));
    assert_eq!(ask("a", Action::Refuse, 0), [""; 0], "policy's matter");
    assert_eq!(ask("a", Action::Warn, 0), ["hours.outside 0"]);
    assert_eq!(ask("a", Action::Warn, 3599), [""; 0]);
    assert_eq!(ask("b", Action::Warn, 3599), ["hours.outside 0"]);
    assert_eq!(ask("a", Action::Warn, 3600), ["hours.outside 0"]);
    assert_eq!(ask("c", Action::Warn, 4 * 86_400), [""; 0], "it is Saturday");
}

#[test]
fn memory_is_bounded_whatever_is_asked() {
    let (misuse, profile) = (Misuse::default(), profile("p", &[(Per::Subject, None, Some(1))]));
    for number in 0..100_000 {
        assert_eq!(told(misuse.admit(&caller("a"), &profile, subject(number), NOW)), [""; 0]);
    }
    let known = misuse.lock().subjects.len();
    assert!((SUBJECTS / 2..=SUBJECTS).contains(&known), "{known}");
    assert!(
        !told(misuse.admit(&caller("a"), &profile, subject(99_999), NOW)).is_empty(),
        "the last are known"
    );
    assert!(told(misuse.admit(&caller("a"), &profile, subject(0), NOW)).is_empty(), "the first are not");
}

proptest! {
    /// In no window are there more than the limit, and nobody is refused who had less than it in a window and an eighth.
    #[test]
    fn a_limit_holds_in_every_window(
        steps in prop::collection::vec((0i64..30_000, 0u32..3), 1..300), most in 1u32..6,
    ) {
        let (misuse, profile) = (Misuse::default(), profile("p", &[(Per::Subject, None, Some(most))]));
        let (mut now, mut had) = (NOW.as_millisecond(), Vec::new());
        for (step, number) in steps {
            now += step;
            let at = Timestamp::from_millisecond(now).unwrap();
            let (_, admitted) = misuse.admit(&caller("a"), &profile, subject(number), at);
            let within = |length| had.iter().filter(|(then, of)| *of == number && now - then < length).count();
            match admitted {
                Ok(counted) => {
                    counted.keep();
                    prop_assert!(within(60_000) < most as usize);
                    had.push((now, number));
                }
                Err(_) => prop_assert!(within(67_500) >= most as usize),
            }
        }
    }
}
