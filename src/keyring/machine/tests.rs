//! Every move from every stage, what is due when, and what holds over whole histories.

mod histories;

use super::*;

const DAY: i64 = 86_400;

fn rotation() -> Rotation {
    Rotation {
        every: Some(Duration::from_secs(1000)),
        after: None,
        publish_ahead: Duration::from_secs(100),
        stop: None,
        notice: Duration::ZERO,
        keep: Duration::from_secs(10),
        cache: Duration::from_secs(50),
    }
}

/// One that has come so far in the ordinary way: published at 0, active at 100, retired at 1100, removed at 1300.
fn life(kid: &str, stage: Stage) -> Life {
    let at = |stages: &[Stage], time| stages.contains(&stage).then_some(time);
    Life {
        stage,
        published: Some(0),
        activated: at(&[Stage::Active, Stage::Retired, Stage::Removed], 100),
        retired: at(&[Stage::Retired, Stage::Removed], 1100),
        ended: at(&[Stage::Removed, Stage::Revoked], 1300),
        exp_bound: at(&[Stage::Active, Stage::Retired, Stage::Removed], 1200),
        ..Life::new(kid.to_owned(), 0)
    }
}

/// One that was revoked while it signed.
fn torn_away(kid: &str) -> Life {
    Life { stage: Stage::Revoked, ended: Some(500), ..life(kid, Stage::Active) }
}

fn lives(all: impl Into<Vec<Life>>) -> Lives {
    Lives::restore(all.into())
}

type Move = (&'static str, fn(&mut Lives) -> Result<(), IllegalMove>, [Result<Stage, Stage>; 5]);

#[test]
fn every_move_from_every_stage() {
    use Stage::{Active, Prepared, Removed, Retired, Revoked};
    // Where each leads to from prepared, active, retired, removed and revoked; or what it does not lead to.
    let moves: [Move; 6] = [
        (
            "publish",
            |l| l.publish("v", 5000),
            [Ok(Prepared), Ok(Active), Ok(Retired), Err(Prepared), Err(Prepared)],
        ),
        ("want", |l| l.want("v"), [Ok(Prepared), Err(Active), Err(Active), Err(Active), Err(Active)]),
        (
            "activate",
            |l| l.activate("v", 5000, &rotation(), false),
            [Ok(Active), Err(Active), Err(Active), Err(Active), Err(Active)],
        ),
        (
            "retire",
            |l| l.retire("v", 5000),
            [Err(Retired), Ok(Retired), Err(Retired), Err(Retired), Err(Retired)],
        ),
        (
            "remove",
            |l| l.remove("v", 5000, &rotation()),
            [Err(Removed), Err(Removed), Ok(Removed), Err(Removed), Err(Removed)],
        ),
        (
            "revoke",
            |l| l.revoke("v", 5000),
            [Ok(Revoked), Ok(Revoked), Ok(Revoked), Ok(Revoked), Err(Revoked)],
        ),
    ];
    for (name, make, outcomes) in moves {
        for (from, outcome) in Stage::ALL.into_iter().zip(outcomes) {
            let before = lives([life("v", from), life("other", Removed)]);
            let mut after = before.clone();
            let made = make(&mut after);
            match outcome {
                Ok(to) => {
                    assert_eq!(made, Ok(()), "{name} from {from:?}");
                    assert_eq!(after.get("v").unwrap().stage, to, "{name} from {from:?}");
                    assert_eq!(after.get("other"), before.get("other"), "{name} from {from:?}");
                }
                Err(to) => {
                    assert_eq!(made, Err(IllegalMove::Stage { kid: "v".into(), from, to }), "{name}");
                    assert_eq!(after, before, "{name} from {from:?} is half made");
                }
            }
            let unknown = make(&mut lives([life("other", from)]));
            assert_eq!(unknown, Err(IllegalMove::Unknown { kid: "v".into() }), "{name}");
        }
    }
}

#[test]
fn one_version_is_prepared_at_a_time() {
    let mut all = Lives::default();
    all.add("a", 7).unwrap();
    assert_eq!(all.all(), [Life::new("a".into(), 7)]);
    let before = all.clone();
    assert_eq!(all.add("a", 8), Err(IllegalMove::Known { kid: "a".into() }));
    assert_eq!(all.add("b", 8), Err(IllegalMove::Prepared { kid: "a".into() }));
    assert_eq!(all, before);
    for stage in [Stage::Active, Stage::Retired, Stage::Removed, Stage::Revoked] {
        lives([life("a", stage)]).add("b", 8).unwrap();
    }
}

#[test]
fn what_was_published_first_stays() {
    let mut all = lives([Life::new("a".into(), 0)]);
    all.publish("a", 30).unwrap();
    all.publish("a", 40).unwrap();
    assert_eq!(all.get("a").unwrap().published, Some(30));
}

#[test]
fn a_version_signs_when_verifiers_know_it() {
    let next = Life { published: Some(1000), ..life("b", Stage::Prepared) };
    let at = |now, rotation: &Rotation, early| {
        let mut all = lives([life("a", Stage::Active), next.clone()]);
        all.activate("b", now, rotation, early).map(|()| all)
    };
    let too_early = |at| IllegalMove::TooEarly { kid: "b".into(), at };
    assert_eq!(at(1099, &rotation(), false), Err(too_early(1100)));
    // Verifiers that keep the key set for longer count.
    let slow = Rotation { cache: Duration::from_secs(101), ..rotation() };
    assert_eq!(at(1100, &slow, false), Err(too_early(1101)));
    for (now, early) in [(1100, false), (1000, true)] {
        let all = at(now, &rotation(), early).unwrap();
        let (a, b) = (all.get("a").unwrap(), all.get("b").unwrap());
        assert_eq!((a.stage, a.retired, a.ended), (Stage::Retired, Some(now), None));
        assert_eq!((b.stage, b.activated), (Stage::Active, Some(now)));
    }
    // Not in any key set: not even in an emergency.
    let mut all = lives([life("a", Stage::Active), Life::new("b".into(), 1000)]);
    assert_eq!(all.activate("b", 9000, &rotation(), true), Err(too_early(i64::MAX)));
}

#[test]
fn nothing_is_waited_for_if_nothing_signs_that_should() {
    let next = || Life { published: Some(1000), ..life("b", Stage::Prepared) };
    let prepared_revoked = Life { activated: None, ..torn_away("a") };
    let stopped = Life { ended: Some(900), ..life("a", Stage::Retired) };
    let stopped_and_revoked = Life { stage: Stage::Revoked, ..stopped.clone() };
    let replaced = Life { retired: Some(900), ..torn_away("a") };
    for (what, before, urgent) in [
        ("the first one", vec![], true),
        ("after one that never signed", vec![prepared_revoked], true),
        ("after one that was revoked while it signed", vec![torn_away("a")], true),
        ("beside an active one", vec![life("a", Stage::Active)], false),
        ("after one that was stopped", vec![stopped], false),
        ("after one that was stopped, then revoked", vec![stopped_and_revoked], false),
        ("when another has taken over since", vec![replaced.clone(), life("c", Stage::Active)], false),
        ("when that one was stopped", vec![life("c", Stage::Retired), replaced], false),
    ] {
        let mut all = lives([before, vec![next()]].concat());
        assert_eq!(all.activate("b", 1001, &rotation(), false).is_ok(), urgent, "{what}");
    }
}

#[test]
fn whoever_takes_over_settles_what_was_revoked() {
    // The clock was set back meanwhile.
    let mut all = lives([torn_away("a"), Life { published: Some(20), ..life("b", Stage::Prepared) }]);
    all.activate("b", 60, &rotation(), false).unwrap();
    let a = all.get("a").unwrap();
    assert_eq!((a.stage, a.retired, a.ended), (Stage::Revoked, Some(100), Some(500)));
    all.retire("b", 70).unwrap();
    assert_eq!(all.next(80, &rotation()).map(|due| due.step), Some(Step::Remove("b".into())));
}

#[test]
fn no_version_stops_before_it_began() {
    let mut all = lives([life("a", Stage::Active)]);
    all.retire("a", 99).unwrap();
    assert_eq!(all.get("a").unwrap().retired, Some(100));
    let mut all = lives([life("a", Stage::Active), life("b", Stage::Prepared)]);
    all.activate("b", 99, &rotation(), true).unwrap();
    assert_eq!(all.get("a").unwrap().retired, Some(100));
}

#[test]
fn a_version_is_published_until_no_jwt_of_it_can_be_valid() {
    let gone = |life: Life, now| lives([life]).remove("a", now, &rotation());
    let in_use = |at| Err(IllegalMove::InUse { kid: "a".into(), at });
    assert_eq!(gone(life("a", Stage::Retired), 1259), in_use(1260));
    assert_eq!(gone(life("a", Stage::Retired), 1260), Ok(()));
    // It has never signed, or its JWTs expired before it stopped.
    for exp_bound in [None, Some(1000)] {
        let idle = Life { exp_bound, ..life("a", Stage::Retired) };
        assert_eq!(gone(idle.clone(), 1159), in_use(1160));
        assert_eq!(gone(idle, 1160), Ok(()));
    }
    let mut all = lives([life("a", Stage::Retired)]);
    all.remove("a", 1260, &rotation()).unwrap();
    assert_eq!(all.get("a").unwrap().ended, Some(1260));
}

#[test]
fn a_revoked_version_is_not_wanted_and_stays_revoked() {
    let mut all = lives([Life { wanted: true, ..life("a", Stage::Prepared) }]);
    all.revoke("a", 700).unwrap();
    let a = all.get("a").unwrap();
    assert_eq!((a.stage, a.ended, a.wanted), (Stage::Revoked, Some(700), false));
    let mut all = lives([Life { wanted: true, ..life("a", Stage::Prepared) }]);
    all.activate("a", 700, &rotation(), false).unwrap();
    assert!(!all.get("a").unwrap().wanted);
}

#[test]
fn a_version_signs_in_its_time_only() {
    let stop = Rotation { stop: Some(Duration::from_secs(900)), ..rotation() };
    let stopped = |ended| Life { retired: Some(1100), ended, ..life("a", Stage::Retired) };
    for (what, life, rotation, now, window) in [
        ("prepared", life("a", Stage::Prepared), rotation(), 500, None),
        ("active", life("a", Stage::Active), rotation(), 500, Some((100, i64::MAX))),
        ("active, with a last day", life("a", Stage::Active), stop.clone(), 500, Some((100, 1000))),
        ("about to give way", stopped(None), rotation(), 1099, Some((100, 1100))),
        ("about to give way, after its last day", stopped(None), stop, 1099, Some((100, 1000))),
        ("has given way", stopped(None), rotation(), 1100, None),
        ("stopped by an operator, clock set back", stopped(Some(1100)), rotation(), 1000, None),
        ("removed", life("a", Stage::Removed), rotation(), 500, None),
        ("revoked", torn_away("a"), rotation(), 400, None),
    ] {
        assert_eq!(life.window(now, &rotation), window, "{what}");
    }
}

#[test]
fn what_is_due_next() {
    let plan = |step: fn(String) -> Step, kid: &str, at| Some(Due { step: step(kid.to_owned()), at });
    let prepare = |at| Some(Due { step: Step::Prepare, at });
    let (publish, activate, remove) =
        (Step::Publish as fn(_) -> _, Step::Activate as fn(_) -> _, Step::Remove as fn(_) -> _);
    let by_hand = Rotation { every: None, ..rotation() };
    let count = |after, every: Option<u64>| Rotation {
        after: Some(after),
        every: every.map(Duration::from_secs),
        ..rotation()
    };
    let slow = Rotation { cache: Duration::from_secs(300), ..rotation() };
    let stop = Rotation { stop: Some(Duration::from_secs(500)), ..by_hand.clone() };
    let active = || life("a", Stage::Active);
    let signed = |signatures| Life { signatures, ..active() };
    let prepared = |published| Life { published, ..life("b", Stage::Prepared) };
    let wanted = |published| Life { wanted: true, ..prepared(published) };
    let retired = || life("a", Stage::Retired);
    let b_active = || Life { activated: Some(1100), ..life("b", Stage::Active) };
    let cases = [
        ("no version", vec![], rotation(), 500, None),
        ("first version", vec![Life::new("b".into(), 0)], by_hand.clone(), 500, plan(publish, "b", 500)),
        (
            "first version, published",
            vec![prepared(Some(499))],
            by_hand.clone(),
            500,
            plan(activate, "b", 500),
        ),
        ("by age", vec![active()], rotation(), 500, prepare(1000)),
        ("by age, overdue", vec![active()], rotation(), 9000, prepare(1000)),
        ("by age, slow verifiers", vec![active()], slow.clone(), 500, prepare(800)),
        ("by age, unpublished", vec![active(), prepared(None)], rotation(), 1000, plan(publish, "b", 1000)),
        ("by age, in time", vec![active(), prepared(Some(950))], rotation(), 1000, plan(activate, "b", 1100)),
        ("by age, late", vec![active(), prepared(Some(1050))], rotation(), 1060, plan(activate, "b", 1150)),
        ("by age, late, slow", vec![active(), prepared(Some(1050))], slow, 1060, plan(activate, "b", 1350)),
        ("by hand", vec![active()], by_hand.clone(), 9000, None),
        ("by hand, prepared", vec![active(), prepared(Some(0))], by_hand.clone(), 9000, None),
        (
            "by hand, wanted",
            vec![active(), wanted(Some(300))],
            by_hand.clone(),
            310,
            plan(activate, "b", 400),
        ),
        (
            "wanted before its time",
            vec![active(), wanted(Some(300))],
            rotation(),
            310,
            plan(activate, "b", 400),
        ),
        ("wanted, unpublished", vec![active(), wanted(None)], by_hand.clone(), 310, plan(publish, "b", 310)),
        ("with a last day", vec![active()], stop, 590, None),
        ("by count, few", vec![signed(89)], count(100, None), 500, None),
        ("by count, soon", vec![signed(90)], count(100, None), 500, prepare(500)),
        ("by count, few at all", vec![signed(4)], count(5, None), 500, None),
        ("by count, few at all, reached", vec![signed(5)], count(5, None), 500, prepare(500)),
        ("by count, waiting", vec![signed(99), prepared(Some(300))], count(100, None), 500, None),
        (
            "by count, reached",
            vec![signed(100), prepared(Some(300))],
            count(100, None),
            500,
            plan(activate, "b", 500),
        ),
        (
            "by count, late",
            vec![signed(100), prepared(Some(450))],
            count(100, None),
            500,
            plan(activate, "b", 550),
        ),
        ("by age before count", vec![signed(89)], count(100, Some(1000)), 500, prepare(1000)),
        ("by count before age", vec![signed(90)], count(100, Some(1000)), 500, prepare(500)),
        ("emergency", vec![torn_away("a")], by_hand.clone(), 600, prepare(600)),
        ("emergency, made", vec![torn_away("a"), prepared(None)], rotation(), 600, plan(publish, "b", 600)),
        (
            "emergency, known",
            vec![torn_away("a"), prepared(Some(599))],
            rotation(),
            600,
            plan(activate, "b", 600),
        ),
        ("stopped", vec![retired()], rotation(), 1110, plan(remove, "a", 1260)),
        ("stopped, prepared", vec![retired(), prepared(Some(0))], rotation(), 1110, plan(remove, "a", 1260)),
        ("stopped, wanted", vec![retired(), wanted(Some(1100))], rotation(), 1110, plan(activate, "b", 1200)),
        ("after a rotation", vec![retired(), b_active()], rotation(), 1110, plan(remove, "a", 1260)),
        ("later", vec![life("a", Stage::Removed), b_active()], rotation(), 1300, prepare(2000)),
        ("nothing left", vec![life("a", Stage::Removed)], rotation(), 9000, None),
    ];
    for (what, all, rotation, now, due) in cases {
        assert_eq!(lives(all).next(now, &rotation), due, "{what}");
    }
}

#[test]
fn when_a_version_stops() {
    let stop = Rotation { stop: Some(Duration::from_secs(397 * DAY.unsigned_abs())), ..rotation() };
    assert_eq!(life("a", Stage::Active).stops(&stop), Some(100 + 397 * DAY));
    assert_eq!(life("a", Stage::Active).stops(&rotation()), None);
    assert_eq!(life("a", Stage::Prepared).stops(&stop), None);
}

/// Times at both ends of time neither overflow nor wrap around.
#[test]
fn the_ends_of_time() {
    let ends = [i64::MIN, -1, 0, i64::MAX];
    let durations = [Duration::ZERO, Duration::from_secs(1), Duration::MAX];
    for (time, now) in ends.into_iter().flat_map(|time| ends.map(|now| (time, now))) {
        for duration in durations {
            let all_of = Some(duration);
            let rotation = Rotation {
                every: all_of,
                after: Some(u64::MAX),
                publish_ahead: duration,
                stop: all_of,
                notice: duration,
                keep: duration,
                cache: duration,
            };
            for stage in Stage::ALL {
                let at = Some(time);
                let life = Life {
                    stage,
                    created: time,
                    published: at,
                    activated: at,
                    retired: at,
                    exp_bound: at,
                    signatures: u64::MAX - 1,
                    ..Life::new("a".into(), time)
                };
                let all =
                    lives([life.clone(), Life { kid: "b".into(), stage: Stage::Prepared, ..life.clone() }]);
                let due = all.next(now, &rotation).map(|due| due.at);
                // Whatever waits for ever is due at the end of time, and not before the beginning.
                if duration == Duration::MAX && stage == Stage::Retired {
                    assert_eq!(due, Some(time.saturating_add(i64::MAX).saturating_add(i64::MAX)));
                }
                let _ = (life.window(now, &rotation), lives([life.clone()]).next(now, &rotation));
                let mut all = lives([life]);
                let _ = all.remove("a", now, &rotation);
                let _ = all.retire("a", now);
                let _ = all.activate("a", now, &rotation, false);
            }
        }
    }
}

#[test]
fn stages_have_names() {
    for stage in Stage::ALL {
        assert_eq!(Stage::from_name(stage.name()), Some(stage));
        assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
    }
    assert_eq!(Stage::from_name("Active"), None);
}
