//! What repeats may cost: a share of what is asked, so that a fault of KMS is not answered with a flood.
//!
//! Pure, in quarters of a request: every request earns one, and allowing one repeat costs five: the repeat itself and
//! what it will earn.

/// Repeats that may be allowed out of nothing, so that a daemon with little work can repeat at all.
const RESERVE: u32 = 10;
const EARNED: u32 = 1;
const COST: u32 = 5;

/// How much may still be repeated. At most one repeat for four requests, besides the reserve.
#[derive(Debug)]
pub(super) struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(RESERVE * COST)
    }
}

impl Budget {
    /// A request is made, the first or a repeat.
    pub(super) fn earn(&mut self) {
        self.0 = (self.0 + EARNED).min(RESERVE * COST);
    }

    /// Whether a repeat may follow.
    pub(super) fn spend(&mut self) -> bool {
        let Some(rest) = self.0.checked_sub(COST) else { return false };
        self.0 = rest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_everything_fails_a_quarter_is_repeated() {
        let (mut budget, mut sent, asked) = (Budget::default(), 0, 10_000);
        for _ in 0..asked {
            budget.earn();
            sent += 1;
            let mut repeats = 0;
            while repeats < 2 && budget.spend() {
                budget.earn();
                sent += 1;
                repeats += 1;
            }
        }
        // What the reserve pays for earns a little more.
        let most = asked + asked / 4 + RESERVE * COST / (COST - EARNED);
        assert!((asked * 5 / 4..=most).contains(&sent), "{sent} for {asked}");
    }

    #[test]
    fn few_faults_are_all_repeated_and_rest_earns_no_more_than_the_reserve() {
        let mut budget = Budget::default();
        for at in 0..1000 {
            budget.earn();
            assert!(at % 5 != 0 || budget.spend(), "request {at}");
        }
        for _ in 0..1000 {
            budget.earn();
        }
        assert_eq!((0..100).filter(|_| budget.spend()).count(), usize::try_from(RESERVE).unwrap());
    }
}
