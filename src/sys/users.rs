//! Names of users and groups, and their numbers.
//!
//! Asked while a configuration loads and for display; never while a request is judged, where only numbers count.

use nix::unistd::{Group, Uid, User};
use std::io;
use std::sync::{Mutex, PoisonError};

/// A table of users and groups. A parameter, so that a configuration can be read against another machine's names.
pub trait Users {
    /// The uid of a user; `None` when there is no such user.
    ///
    /// # Errors
    /// The user database could not be asked.
    fn uid(&self, name: &str) -> io::Result<Option<u32>>;
    /// The gid of a group; `None` when there is no such group.
    ///
    /// # Errors
    /// The group database could not be asked.
    fn gid(&self, name: &str) -> io::Result<Option<u32>>;
}

/// This machine's users and groups (NSS: files, LDAP, systemd).
#[derive(Debug, Clone, Copy, Default)]
pub struct System;
impl Users for System {
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }
}

/// This machine's users and groups, and for each name that it does not have a number that nobody has: for reading a
/// configuration on a machine that it is not meant for. Never for a daemon.
#[derive(Debug, Default)]
pub struct Assumed {
    users: Mutex<Vec<String>>,
    groups: Mutex<Vec<String>>,
}
impl Users for Assumed {
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(Some(System.uid(name)?.unwrap_or_else(|| assume(&self.users, name))))
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(Some(System.gid(name)?.unwrap_or_else(|| assume(&self.groups, name))))
    }
}
/// The same number for the same name; above all that Linux distributions and systemd give away.
fn assume(names: &Mutex<Vec<String>>, name: &str) -> u32 {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let position = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    FIRST_ASSUMED.saturating_add(u32::try_from(position).unwrap_or(u32::MAX))
}
const FIRST_ASSUMED: u32 = 0xf000_0000;

/// The name of a user, for people; `None` when it has none or the database does not answer.
pub fn user_name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    Some(user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_zero_both_ways() {
        assert_eq!(System.uid("root").unwrap(), Some(0));
        assert_eq!(System.gid("root").unwrap(), Some(0));
        assert_eq!(user_name(0).as_deref(), Some("root"));
    }
    #[test]
    fn names_of_another_machine_have_numbers_of_their_own() {
        let assumed = Assumed::default();
        assert_eq!(assumed.uid("root").unwrap(), Some(0));
        let (one, other) = (assumed.uid("no-such-user-here").unwrap(), assumed.uid("nor-this").unwrap());
        assert_ne!(one, other);
        assert_eq!(assumed.uid("no-such-user-here").unwrap(), one);
        assert_eq!(assumed.gid("no-such-group-here").unwrap(), one, "groups are counted by themselves");
    }
    #[test]
    fn nobody_of_that_name_is_an_answer() {
        assert_eq!(System.uid("no-such-user-here").unwrap(), None);
        assert_eq!(System.gid("no-such-group-here").unwrap(), None);
        assert_eq!(user_name(u32::MAX - 7), None);
    }
}
