//! How a request ends without what it asked for.

use super::problem::Problem;
use crate::issuer::Refusal;

/// A problem, and whether `issuer` has recorded it already.
pub(super) struct Exit {
    pub(super) problem: Problem,
    pub(super) recorded: bool,
    /// Name of the caller, once known.
    pub(super) caller: Option<String>,
}

impl<P: Into<Problem>> From<P> for Exit {
    fn from(problem: P) -> Self {
        Self { problem: problem.into(), recorded: false, caller: None }
    }
}

impl Exit {
    /// A refusal by `issuer`, which records all of its own.
    pub(super) fn issuer(refusal: &Refusal) -> Self {
        Self { recorded: true, ..Self::from(refusal) }
    }

    pub(super) fn of(self, caller: &str) -> Self {
        Self { caller: Some(caller.to_owned()), ..self }
    }
}
