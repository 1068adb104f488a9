//! `condition` and `condition_message` of a profile.

use super::{Path, Resolver};
use crate::config::file;
use crate::profile::{ClaimRule, Condition};
use std::collections::BTreeMap;

/// Longest `condition_message`, characters.
const MESSAGE: usize = 256;

impl Resolver<'_> {
    /// Over the claims that the profile lists. `None` if there is none, or after a fault.
    pub(super) fn condition(
        &mut self,
        path: &Path,
        written: &file::Profile,
        claims: &BTreeMap<String, ClaimRule>,
    ) -> Option<Condition> {
        let (path, beside) = (path.key("condition"), path.key("condition_message"));
        let message = written.condition_message.clone();
        let fits =
            |text: &String| (1..=MESSAGE).contains(&text.chars().count()) && !text.contains(char::is_control);
        if message.as_ref().is_some_and(|text| !fits(text)) {
            self.fault(&beside, format!("write one line of 1 to {MESSAGE} characters"));
        }
        let Some(text) = &written.condition else {
            if message.is_some() {
                self.fault(&beside, "there is no `condition` to speak of: write one, or remove this");
            }
            return None;
        };
        match Condition::compile(text, &claims.keys().map(String::as_str).collect()) {
            Ok(mut condition) => {
                condition.message = message;
                Some(condition)
            }
            Err(faults) => {
                for fault in faults {
                    self.fault_within(&path, text, fault.at, fault.message);
                }
                None
            }
        }
    }
}
