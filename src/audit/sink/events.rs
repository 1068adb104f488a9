//! Events that a sink can ask for: each by its name, or a family of them. Pure.

use crate::audit::Event;
use serde_json::Value;

macro_rules! all {
    ($($event:ident)*) => {
        const ALL: &[Event] = &[$(Event::$event),*];
        // Does not compile while one of them is not in the list.
        const _: fn(Event) = |event| match event {
            $(Event::$event)|* => {}
        };
    };
}

all! {
    DaemonStarted DaemonStopped JwtIssued JwtFailed JwtRetried JwtUndelivered JwtIntrospected JwtRevoked
    JwtDenied RequestRejected PolicyChecked PolicyLoaded PolicyReloaded PolicyRefused KeyGenerated
    KeyAdopted KeyRotated KeyPublished KeyActivated KeyRetired KeyRemoved KeyRevoked KeyDestroyed KeyTested
    KeyWanted KeyOrphaned AdminProposed AdminApproved AdminWithdrawn PinRefused PinCleared KeyQuarantined
    BackendQuarantined BreakerOpened BreakerClosed QuarantineLifted ClockJumped ClockUntrusted ClockTrusted
    ClockAccepted AlertRaised BackendDown BackendUp SubjectErased SubjectSearched RecipientReloaded
    RecipientRefused LogRecovered LogResumed LogSealed LogKey LogAccepted LogArchived SinkLost LogCosigned
}

/// All that `events` can say: names (`jwt.issued`), and families (`jwt.*`) each after its first name.
pub fn selectors() -> Vec<String> {
    let mut selectors = Vec::new();
    for event in ALL {
        // A unit variant, which is its name.
        let Ok(Value::String(name)) = serde_json::to_value(event) else { continue };
        let family = name.split_once('.').map(|(family, _)| format!("{family}.*"));
        selectors.push(name);
        selectors.extend(family.filter(|family| !selectors.contains(family)));
    }
    selectors
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn they_are_the_documented_ones() {
        let document = include_str!("../../../docs/audit.md");
        let table = document.split_once("| event | means |").unwrap().1.split_once("\n\n").unwrap().0;
        let cells = table.lines().filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
        let documented: BTreeSet<&str> =
            cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect();
        let selectors = selectors();
        let names: BTreeSet<&str> =
            selectors.iter().map(String::as_str).filter(|selector| !selector.ends_with(".*")).collect();
        assert_eq!(names, documented);
        let families: BTreeSet<String> =
            names.iter().map(|name| format!("{}.*", name.split_once('.').unwrap().0)).collect();
        assert_eq!(selectors.len(), names.len() + families.len());
        assert!(families.iter().all(|family| selectors.contains(family)));
    }
}
