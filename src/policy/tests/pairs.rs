//! For every rule, two requests that differ in one place: one that it alone refuses, and one that is granted.

use super::*;

/// In how many places two values differ. A member that only one has, and a value of another type, is one place.
fn places(one: &Value, other: &Value) -> usize {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let place = |name| match (one.get(name), other.get(name)) {
                (Some(one), Some(other)) => places(one, other),
                _ => 1,
            };
            names.into_iter().map(place).sum()
        }
        (one, other) => usize::from(one != other),
    }
}

#[test]
fn every_rule_has_a_request_that_it_alone_refuses_and_one_beside_it_that_is_granted() {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let granted: Vec<Value> =
        table().filter(|(_, breaks)| *breaks == "ok").map(|(text, _)| parse(&text)).collect();
    let refused_by = |rule: &str| -> Vec<Value> {
        let only = |breaks: &str| breaks.split(", ").all(|broken| broken.split(' ').next() == Some(rule));
        table().filter(|(_, breaks)| only(breaks)).map(|(text, _)| parse(&text)).collect()
    };
    let paired =
        |rule: &str| refused_by(rule).iter().any(|one| granted.iter().any(|other| places(one, other) == 1));
    let without: Vec<&str> = RULES.iter().map(|(rule, _)| *rule).filter(|rule| !paired(rule)).collect();
    assert!(without.is_empty(), "add pairs to requests.txt for {without:?}");
}

#[test]
fn places_are_counted() {
    for (one, other, count) in [
        (json!({"a": 1}), json!({"a": 1}), 0),
        (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}), 1),
        (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 2}}), 2),
        (json!({"a": [1, 2]}), json!({"a": [3, 4, 5]}), 1),
        (json!([]), json!({"a": 1}), 1),
    ] {
        assert_eq!(places(&one, &other), count, "{one} {other}");
    }
}
