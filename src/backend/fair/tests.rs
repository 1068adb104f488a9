//! Turns, room and order; nothing is lost, whatever happens.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn drained(queue: &mut FairQueue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn flows_take_turns() {
    let mut queue = FairQueue::new(100);
    for item in 10..15 {
        queue.push(1, item).unwrap();
    }
    for item in 20..22 {
        queue.push(2, item).unwrap();
    }
    queue.push(3, 30).unwrap();
    assert_eq!((queue.len(), queue.held(1), queue.held(4)), (8, 5, 0));
    assert_eq!(drained(&mut queue), [10, 20, 30, 11, 21, 12, 13, 14]);
    assert!(queue.is_empty() && queue.flows.is_empty() && queue.turns.is_empty());
}

#[test]
fn a_newcomer_waits_for_one_turn_of_each() {
    let mut queue = FairQueue::new(100);
    for item in 0..50 {
        queue.push(1, item).unwrap();
    }
    assert_eq!((queue.ahead(1), queue.ahead(2)), (50, 1));
    queue.push(2, 60).unwrap();
    assert_eq!((queue.ahead(1), queue.ahead(2), queue.ahead(3)), (51, 3, 2));
    assert_eq!(queue.ahead(Ask::OWN), 0);
}

/// Two that have one item at a time take two of three turns, also those of the items that have not come yet.
#[test]
fn those_who_come_again_are_counted() {
    let mut queue = FairQueue::new(1000);
    for _ in 0..300 {
        queue.push(1, 1).unwrap();
    }
    assert_eq!(queue.ahead(1), 300);
    for flow in [2, 3] {
        queue.push(flow, flow).unwrap();
    }
    for _ in 0..300 {
        let flow = queue.pop().unwrap();
        queue.push(flow, flow).unwrap();
    }
    let ahead = queue.ahead(1);
    assert!((870..=900).contains(&ahead), "{ahead}");
    assert_eq!(queue.ahead(4), 3, "a newcomer's turn is next");
    for flow in [2, 3] {
        queue.remove(flow, |_| true).unwrap();
    }
    for _ in 0..250 {
        queue.pop();
        queue.push(1, 1).unwrap();
    }
    let ahead = queue.ahead(1);
    assert!((300..=320).contains(&ahead), "{ahead}");
}

#[test]
fn own_work_goes_first() {
    let mut queue = FairQueue::new(3);
    for (flow, item) in [(1, 10), (2, 20), (Ask::OWN, 98)] {
        queue.push(flow, item).unwrap();
    }
    assert_eq!(queue.pop(), Some(98));
    queue.push(Ask::OWN, 99).unwrap();
    assert_eq!(drained(&mut queue), [99, 10, 20]);
}

#[test]
fn when_full_the_longest_flow_makes_room() {
    let mut queue = FairQueue::new(4);
    for item in 10..14 {
        queue.push(1, item).unwrap();
    }
    assert_eq!(queue.push(1, 14), Err(14), "it has the whole queue already");
    assert_eq!(queue.push(2, 20), Ok(Some(13)));
    assert_eq!(queue.push(2, 21), Ok(Some(12)));
    assert_eq!(queue.push(2, 22), Err(22), "two of four are its share");
    assert_eq!(queue.push(3, 30).map(|evicted| evicted.is_some()), Ok(true));
    assert_eq!(queue.push(3, 31), Err(31), "one of four among three");
    assert_eq!(queue.len(), 4);
    let mut nothing = FairQueue::new(0);
    assert_eq!(nothing.push(1, 1), Err(1));
}

#[test]
fn what_is_removed_is_not_served() {
    let mut queue = FairQueue::new(9);
    for (flow, item) in [(1, 10), (1, 11), (2, 20), (3, 30)] {
        queue.push(flow, item).unwrap();
    }
    assert_eq!(queue.remove(1, |item| *item == 20), None, "another flow's");
    assert_eq!(queue.remove(1, |item| *item == 10), Some(10));
    assert_eq!(queue.remove(2, |item| *item == 20), Some(20));
    assert_eq!(queue.remove(2, |_| true), None);
    assert_eq!(drained(&mut queue), [11, 30]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Pop,
    Remove(u32, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let flow = || prop_oneof![0..5_u32, Just(Ask::OWN)];
    prop_oneof![
        4 => flow().prop_map(Step::Push),
        2 => Just(Step::Pop),
        1 => (flow(), 0..4_usize).prop_map(|(flow, place)| Step::Remove(flow, place)),
    ]
}

proptest! {
    /// Every item comes out exactly once: served, refused, evicted or removed; each flow's in its own order.
    #[test]
    fn nothing_is_lost_or_doubled(capacity in 0..12_usize, steps in prop::collection::vec(step(), 0..200)) {
        let mut queue = FairQueue::new(capacity);
        let mut inside: BTreeSet<(u32, usize)> = BTreeSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(flow) => match queue.push(flow, (flow, number)) {
                    Ok(evicted) => {
                        inside.insert((flow, number));
                        if let Some(evicted) = evicted {
                            prop_assert!(inside.remove(&evicted));
                            prop_assert!(!inside.iter().any(|other| other.0 == evicted.0 && other.1 > evicted.1));
                        }
                    }
                    Err(refused) => prop_assert_eq!(refused, (flow, number)),
                },
                Step::Pop => match queue.pop() {
                    Some(item) => {
                        prop_assert!(inside.remove(&item));
                        prop_assert!(!inside.iter().any(|other| other.0 == item.0 && other.1 < item.1));
                        prop_assert!(item.0 == Ask::OWN || !inside.iter().any(|other| other.0 == Ask::OWN));
                    }
                    None => prop_assert!(inside.is_empty()),
                },
                Step::Remove(flow, place) => {
                    let meant = inside.iter().filter(|item| item.0 == flow).nth(place).copied();
                    prop_assert_eq!(queue.remove(flow, |item| Some(*item) == meant), meant);
                    meant.map(|meant| inside.remove(&meant));
                }
            }
            prop_assert!(queue.len() <= capacity);
            prop_assert_eq!(queue.len(), inside.len());
            prop_assert_eq!(queue.turns.len(), queue.flows.len());
        }
        while let Some(item) = queue.pop() {
            prop_assert!(inside.remove(&item));
        }
        prop_assert!(inside.is_empty());
    }

    /// While two flows have work, neither is served more than one item ahead of the other.
    #[test]
    fn turns_are_equal(lengths in prop::collection::vec(1..30_usize, 2..6), before in 0..20_usize) {
        let mut queue = FairQueue::new(1000);
        for _ in 0..before {
            queue.push(0, 0).unwrap();
        }
        for _ in 0..before / 2 {
            queue.pop();
        }
        for (flow, length) in (0..).zip(&lengths) {
            for _ in 0..*length {
                queue.push(flow, flow).unwrap();
            }
        }
        let mut served = vec![0_i64; lengths.len()];
        while let Some(flow) = queue.pop() {
            served[flow as usize] += 1;
            let backlogged = (0..).zip(&served).filter(|(flow, _)| queue.held(*flow) > 0);
            let counts: Vec<_> = backlogged.map(|(_, count)| *count).collect();
            if let (Some(least), Some(most)) = (counts.iter().min(), counts.iter().max()) {
                prop_assert!(most - least <= 1, "{:?}", served);
            }
        }
    }

    /// `ahead` is never less than what is really served before, and not more than all while nobody has come and gone.
    #[test]
    fn the_wait_is_not_more_than_said(pushes in prop::collection::vec(0..4_u32, 0..60), pops in 0..20_usize, flow in 0..5_u32) {
        let mut queue = FairQueue::new(1000);
        for other in pushes {
            queue.push(other, false).unwrap();
        }
        prop_assert!(queue.ahead(flow) <= queue.len());
        for _ in 0..pops {
            queue.pop();
        }
        let said = queue.ahead(flow);
        queue.push(flow, true).unwrap();
        let served = std::iter::from_fn(|| queue.pop()).take_while(|mine| !mine).count();
        prop_assert!(served <= said, "{} {}", served, said);
    }
}
