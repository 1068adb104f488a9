//! The hours in which a profile is open. Where they are only watched, `misuse` does that.

use super::findings::Findings;
use super::judge::Case;
use crate::jose::json::Pointer;
use crate::profile::Action;

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let refusing = case.profile.hours.as_ref().filter(|hours| hours.action == Action::Refuse);
    let Some(hours) = refusing else { return };
    let at = || Pointer::default().name("profile");
    findings.check("hours.open", hours.is_open(case.now), at, || {
        format!("profile \"{}\" is closed now; ask again within its hours, {hours}", case.profile.name)
    });
}
