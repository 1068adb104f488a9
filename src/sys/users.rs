//! Names of users and groups, and their numbers.
//!
//! Asked while a configuration loads and for display; never while a request is judged, where only numbers count.

use nix::unistd::{Group, Uid, User};
use std::io;

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
    fn nobody_of_that_name_is_an_answer() {
        assert_eq!(System.uid("no-such-user-here").unwrap(), None);
        assert_eq!(System.gid("no-such-group-here").unwrap(), None);
        assert_eq!(user_name(u32::MAX - 7), None);
    }
}
