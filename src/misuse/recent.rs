//! A map of bounded size that forgets what was not used for the longest time.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: what is used moves to the young one; when that is full, the old one is dropped and the young one is
/// old. So the half that was used last is always there, and nothing is sorted.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Keeps at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: most / 2 }
    }
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
    /// The value of `key`, made if there is none.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let kept = self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.entry(key).or_insert_with(|| kept.unwrap_or_else(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_that_was_used_last_is_kept_and_no_more_than_all() {
        let mut recent = Recent::new(8);
        for key in 0..1000 {
            *recent.entry(key % 3, || 0) += 1;
            *recent.entry(1000 + key, || 0) += 1;
            assert!(recent.len() <= 8);
        }
        for key in 0..3 {
            assert!(*recent.entry(key, || 0) >= 333, "used all the time");
        }
        assert_eq!(*recent.entry(1000, || 0), 0, "used once, long ago");
    }
}
