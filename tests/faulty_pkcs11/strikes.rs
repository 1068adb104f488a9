//! A token that locks its PIN: counts logins in the file `FAULTY_PKCS11_STATE`, across processes.
//!
//! The file says `logins N wrong M strikes K`: all calls of `C_Login` as the user, those with a wrong PIN, and wrong
//! ones since the last good one.
#![allow(unreachable_pub, reason = "a module of a program")]

use cryptoki_sys::{
    CK_FLAGS, CK_RV, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKR_OK,
    CKR_PIN_INCORRECT, CKR_PIN_LOCKED,
};
use std::path::PathBuf;

#[derive(Default, Clone, Copy)]
struct Count {
    logins: u64,
    wrong: u64,
    strikes: u64,
}

impl Count {
    fn read() -> Self {
        let text = path().and_then(|path| std::fs::read_to_string(path).ok());
        let text = text.unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        let value = |name: &str| {
            let place = words.iter().position(|word| *word == name)?;
            words.get(place + 1)?.parse().ok()
        };
        Self {
            logins: value("logins").unwrap_or(0),
            wrong: value("wrong").unwrap_or(0),
            strikes: value("strikes").unwrap_or(0),
        }
    }

    fn write(self) {
        if let Some(path) = path() {
            let Self { logins, wrong, strikes } = self;
            let text = format!("logins {logins} wrong {wrong} strikes {strikes}\n");
            std::fs::write(path, text).expect("the login count must be writable");
        }
    }
}

fn path() -> Option<PathBuf> {
    std::env::var_os("FAULTY_PKCS11_STATE").map(PathBuf::from)
}

/// One login: counted before it is tried, refused when the PIN is locked.
pub fn login(limit: Option<u64>, real: impl FnOnce() -> CK_RV) -> CK_RV {
    let mut count = Count::read();
    count.logins += 1;
    count.write();
    if limit.is_some_and(|limit| count.strikes >= limit) {
        return CKR_PIN_LOCKED;
    }
    let rv = real();
    if rv == CKR_PIN_INCORRECT {
        count.wrong += 1;
        count.strikes += 1;
    } else if rv == CKR_OK {
        count.strikes = 0;
    }
    count.write();
    rv
}

/// The token flags that such a token shows.
pub fn flags(limit: u64) -> CK_FLAGS {
    let strikes = Count::read().strikes;
    let mut flags = 0;
    if strikes > 0 {
        flags |= CKF_USER_PIN_COUNT_LOW;
    }
    if strikes + 1 == limit {
        flags |= CKF_USER_PIN_FINAL_TRY;
    }
    if strikes >= limit {
        flags |= CKF_USER_PIN_LOCKED;
    }
    flags
}
