//! The recovery table: what follows each fault of a PKCS#11 module, as data and in one place.
//!
//! A row says what is renewed before the next attempt, whether there is one and where, and who is not used again.
//! The worker applies the remedy, the supervisor replaces workers, [`crate::backend::Replicas`] repeats requests: none
//! of them knows a code. Two rules hold for every row: a session is closed after any failure, since nobody knows what
//! it is left in; and a request makes two attempts at most.

use super::Fault;
use crate::backend::Class::{self, Bug, Busy, Deadline, Down, Misconfigured, Untrusted};
use crate::backend::{Advice, Scope};
use std::time::Duration;

/// What must be renewed before the next attempt, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remedy {
    /// The session: the least that follows any failure (action S, and all that F costs).
    Session,
    /// The session, and from now on read-write ones are opened, which some tokens insist on.
    ReadWrite,
    /// The session, and those that nobody uses at the moment: the token is out of memory.
    Room,
    /// The session stays closed for a while; its thread borrows those of the others.
    Shrink,
    /// The session and the handle of the key, which is looked for again and compared with its public half (action H).
    Handles,
    /// The worker, as only a new process can initialize a module anew (action W).
    Worker,
    /// The worker, because the login is lost: a new one logs in once (action L).
    Login,
    /// The worker, as often as it takes until the token is back (action T for a token that is gone).
    Token,
}

/// Whether an operator has to release what is to blame before it is used again (action Q).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quarantine {
    Never,
    AtOnce,
    /// When the remedy was of no use: the handle was renewed and no signature came since; or [`super::history`] has
    /// seen so many workers in a row end by it without one.
    WhenUseless,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// `CK_RV`; 0 for what is no code.
    pub(super) code: u64,
    /// As PKCS#11 writes it.
    pub(super) name: &'static str,
    pub(super) class: Class,
    pub(super) remedy: Remedy,
    /// So many within ten seconds are not the session's fault but the worker's; 0 is never.
    pub(super) limit: u8,
    /// Attempts that may follow.
    pub(super) retries: u8,
    /// Whether they may be made here, else on another backend with the key only.
    pub(super) here: bool,
    /// Who is to blame. Where a worker is replaced this is nobody: the supervisor blames the backend once for each
    /// worker, not once for each request that it had in hand, so that those may be tried again.
    pub(super) scope: Scope,
    pub(super) quarantine: Quarantine,
}

impl Row {
    /// Whether the worker has to go.
    pub(super) fn replaces(&self) -> bool {
        self.remedy >= Remedy::Worker
    }

    pub(super) fn advice(&self) -> Advice {
        // Long enough for one signature to end and leave its session free.
        let pause = if self.remedy == Remedy::Shrink { Duration::from_millis(20) } else { Duration::ZERO };
        Advice {
            retries: self.retries,
            here: self.here,
            pause,
            scope: self.scope,
            quarantine: self.quarantine == Quarantine::AtOnce,
        }
    }

    /// The fault that this row is about.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            class: self.class,
            message: message.into(),
            code: self.name.to_owned(),
            advice: self.advice(),
            retry_after: None,
        }
    }
}

/// What a row says besides code, name and class.
#[derive(Clone, Copy)]
struct Action {
    remedy: Remedy,
    limit: u8,
    retries: u8,
    here: bool,
    scope: Scope,
    quarantine: Quarantine,
}

impl Action {
    const fn here(remedy: Remedy) -> Self {
        Self {
            remedy,
            limit: 0,
            retries: 1,
            here: true,
            scope: Scope::Request,
            quarantine: Quarantine::Never,
        }
    }
    const fn of(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }
    const fn elsewhere(self) -> Self {
        Self { here: false, ..self }
    }
    const fn once(self) -> Self {
        Self { retries: 0, here: false, ..self }
    }
    const fn limit(self, limit: u8) -> Self {
        Self { limit, ..self }
    }
    const fn quarantine(self, quarantine: Quarantine) -> Self {
        Self { quarantine, ..self }
    }
}

const S: Action = Action::here(Remedy::Session);
/// The request fails, and the key's breaker counts it: a backend that refuses at once would look like the least busy one
/// and draw all the others' requests. Where the table marks the key, this is the mark.
const F: Action = S.once().of(Scope::Key);
/// The request itself may be to blame: what one caller sends must not rest the key for all.
const F_REQUEST: Action = F.of(Scope::Request);
const F_THEN_T: Action = S.elsewhere().of(Scope::Backend);
const S_THEN_W: Action = S.limit(2);
const S_THEN_W_THEN_Q: Action = S_THEN_W.quarantine(Quarantine::WhenUseless);
const H: Action = Action::here(Remedy::Handles).of(Scope::Key);
const H_THEN_Q_KEY: Action = H.quarantine(Quarantine::WhenUseless);
const W: Action = Action::here(Remedy::Worker);
const W_THEN_Q: Action = W.quarantine(Quarantine::WhenUseless);
const L: Action = Action::here(Remedy::Login);
const T: Action = Action::here(Remedy::Token).elsewhere();
const SHRINK: Action = Action::here(Remedy::Shrink);
const Q_KEY: Action = S.elsewhere().of(Scope::Key).quarantine(Quarantine::AtOnce);
const F_Q_KEY: Action = Q_KEY.once();
/// The worker ends with it: when an operator releases the backend, the module is initialized anew.
const Q: Action = W.elsewhere().of(Scope::Backend).quarantine(Quarantine::AtOnce);
const F_Q: Action = Q.once();

const fn row(code: u64, name: &'static str, class: Class, action: Action) -> Row {
    let Action { remedy, limit, retries, here, scope, quarantine } = action;
    Row { code, name, class, remedy, limit, retries, here, scope, quarantine }
}

/// Vendor codes (0x80000000 and up) and whatever else the table does not name. Seen after the reboot of an HSM, when
/// only initializing the module anew helps.
pub(super) const UNKNOWN: Row = row(0, "CKR_0x", Down, S_THEN_W_THEN_Q);
/// A call that never returned: recovery inside the process is undefined, so the worker is killed.
pub(super) const HANG: Row =
    row(0, "hang", Deadline, Action::here(Remedy::Worker).elsewhere().of(Scope::Backend));
/// The worker ended by itself, or its session was ended with it: the module crashed or called `exit`.
pub(super) const CRASH: Row = row(0, "worker lost", Down, W);
/// The binding refused before the module was asked.
pub(super) const BINDING: Row = row(0, "binding", Bug, F);

/// One row for each code of PKCS#11 3.2, by number.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // Of callbacks that we never give.
    row(0x001, "CKR_CANCEL", Down, S_THEN_W_THEN_Q),
    // A leak in the module, or its limit. The supervisor watches the worker's memory too.
    row(0x002, "CKR_HOST_MEMORY", Down, W_THEN_Q),
    // Slots are renumbered: a new worker finds the token again by label and serial.
    row(0x003, "CKR_SLOT_ID_INVALID", Down, W),
    // "Horrible, unrecoverable"; the only answer of some modules after a failed self-test.
    row(0x005, "CKR_GENERAL_ERROR", Down, W_THEN_Q),
    // A lost network, throttling: the same call may succeed.
    row(0x006, "CKR_FUNCTION_FAILED", Down, S.limit(3)),
    // Our defect. At C_OpenSession also a rate limit (CloudHSM): it is opened once more after a pause.
    row(0x007, "CKR_ARGUMENTS_BAD", Bug, F),
    row(0x008, "CKR_NO_EVENT", Down, S_THEN_W_THEN_Q),
    // At C_Initialize both lead to one call at a time; elsewhere they mean that it was not done.
    row(0x009, "CKR_NEED_TO_CREATE_THREADS", Misconfigured, F),
    row(0x00A, "CKR_CANT_LOCK", Misconfigured, F),
    // Templates, which only making a key has many of: ours do not suit this token.
    row(0x010, "CKR_ATTRIBUTE_READ_ONLY", Misconfigured, F),
    row(0x011, "CKR_ATTRIBUTE_SENSITIVE", Misconfigured, F),
    row(0x012, "CKR_ATTRIBUTE_TYPE_INVALID", Misconfigured, F),
    row(0x013, "CKR_ATTRIBUTE_VALUE_INVALID", Misconfigured, F),
    row(0x01B, "CKR_ACTION_PROHIBITED", Misconfigured, F),
    // Our defect: a digest in the wrong form. Never tried again.
    row(0x020, "CKR_DATA_INVALID", Bug, F),
    // As DATA_INVALID, or more than a token takes whose algorithm hashes by itself.
    row(0x021, "CKR_DATA_LEN_RANGE", Bug, F_REQUEST),
    // A reboot, a lost link: a new session, then a new worker.
    row(0x030, "CKR_DEVICE_ERROR", Down, S_THEN_W),
    // Sessions or objects that leak in the token: idle sessions are closed as well.
    row(0x031, "CKR_DEVICE_MEMORY", Busy, Action::here(Remedy::Room)),
    // Unplugged during the call.
    row(0x032, "CKR_DEVICE_REMOVED", Down, T),
    // Of decryption, which we never ask for.
    row(0x040, "CKR_ENCRYPTED_DATA_INVALID", Down, S_THEN_W_THEN_Q),
    row(0x041, "CKR_ENCRYPTED_DATA_LEN_RANGE", Down, S_THEN_W_THEN_Q),
    row(0x042, "CKR_AEAD_DECRYPT_FAILED", Down, S_THEN_W_THEN_Q),
    // The operator or the token's policy said no. Never tried again.
    row(0x050, "CKR_FUNCTION_CANCELED", Misconfigured, F),
    row(0x051, "CKR_FUNCTION_NOT_PARALLEL", Down, S_THEN_W_THEN_Q),
    row(0x054, "CKR_FUNCTION_NOT_SUPPORTED", Misconfigured, F),
    // Another login or another token: the handle is stale.
    row(0x060, "CKR_KEY_HANDLE_INVALID", Down, H),
    row(0x062, "CKR_KEY_SIZE_RANGE", Misconfigured, F),
    // The wrong object or attributes, unless the handle was stale.
    row(0x063, "CKR_KEY_TYPE_INCONSISTENT", Misconfigured, H_THEN_Q_KEY),
    // Of digesting, wrapping and unwrapping, which we never ask for.
    row(0x064, "CKR_KEY_NOT_NEEDED", Down, S_THEN_W_THEN_Q),
    row(0x065, "CKR_KEY_CHANGED", Down, S_THEN_W_THEN_Q),
    row(0x066, "CKR_KEY_NEEDED", Down, S_THEN_W_THEN_Q),
    row(0x067, "CKR_KEY_INDIGESTIBLE", Down, S_THEN_W_THEN_Q),
    // As KEY_TYPE_INCONSISTENT.
    row(0x068, "CKR_KEY_FUNCTION_NOT_PERMITTED", Misconfigured, H_THEN_Q_KEY),
    row(0x069, "CKR_KEY_NOT_WRAPPABLE", Down, S_THEN_W_THEN_Q),
    row(0x06A, "CKR_KEY_UNEXTRACTABLE", Down, S_THEN_W_THEN_Q),
    row(0x070, "CKR_MECHANISM_INVALID", Misconfigured, F),
    row(0x071, "CKR_MECHANISM_PARAM_INVALID", Misconfigured, F),
    row(0x082, "CKR_OBJECT_HANDLE_INVALID", Down, H),
    // A dirty session.
    row(0x090, "CKR_OPERATION_ACTIVE", Down, S),
    row(0x091, "CKR_OPERATION_NOT_INITIALIZED", Down, S),
    // A wrong or rotated PIN. Never tried again: the marker sees to it at login, quarantine anywhere else.
    row(0x0A0, "CKR_PIN_INCORRECT", Misconfigured, F_Q),
    row(0x0A1, "CKR_PIN_INVALID", Misconfigured, F_Q),
    row(0x0A2, "CKR_PIN_LEN_RANGE", Misconfigured, F_Q),
    row(0x0A3, "CKR_PIN_EXPIRED", Misconfigured, F_Q),
    row(0x0A4, "CKR_PIN_LOCKED", Misconfigured, F_Q),
    // Idle timeouts, or the token was gone. If the login went with it, the fresh session shows that, and L follows.
    row(0x0B0, "CKR_SESSION_CLOSED", Down, S),
    // Too many sessions, ours or others': not an outage.
    row(0x0B1, "CKR_SESSION_COUNT", Busy, SHRINK),
    row(0x0B3, "CKR_SESSION_HANDLE_INVALID", Down, S),
    // The other kind of session is wanted.
    row(0x0B4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", Down, Action::here(Remedy::ReadWrite)),
    row(0x0B5, "CKR_SESSION_READ_ONLY", Down, Action::here(Remedy::ReadWrite)),
    row(0x0B6, "CKR_SESSION_EXISTS", Down, S_THEN_W_THEN_Q),
    // Somebody is logged in as the security officer: another token meanwhile.
    row(0x0B7, "CKR_SESSION_READ_ONLY_EXISTS", Misconfigured, F_THEN_T),
    row(0x0B8, "CKR_SESSION_READ_WRITE_SO_EXISTS", Misconfigured, F_THEN_T),
    // Of verification, which we do ourselves.
    row(0x0C0, "CKR_SIGNATURE_INVALID", Down, S_THEN_W_THEN_Q),
    row(0x0C1, "CKR_SIGNATURE_LEN_RANGE", Down, S_THEN_W_THEN_Q),
    // Templates: see ATTRIBUTE_READ_ONLY.
    row(0x0D0, "CKR_TEMPLATE_INCOMPLETE", Misconfigured, F),
    row(0x0D1, "CKR_TEMPLATE_INCONSISTENT", Misconfigured, F),
    // Removed or out of reach.
    row(0x0E0, "CKR_TOKEN_NOT_PRESENT", Down, T),
    // A foreign token, maybe an attack. Never logged in to.
    row(0x0E1, "CKR_TOKEN_NOT_RECOGNIZED", Untrusted, Q),
    row(0x0E2, "CKR_TOKEN_WRITE_PROTECTED", Misconfigured, F),
    // Of unwrapping.
    row(0x0F0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", Down, S_THEN_W_THEN_Q),
    row(0x0F1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", Down, S_THEN_W_THEN_Q),
    row(0x0F2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", Down, S_THEN_W_THEN_Q),
    // At login as good as success; elsewhere it is of no sense.
    row(0x100, "CKR_USER_ALREADY_LOGGED_IN", Down, S),
    // The login is lost.
    row(0x101, "CKR_USER_NOT_LOGGED_IN", Down, L),
    // As PIN_INCORRECT.
    row(0x102, "CKR_USER_PIN_NOT_INITIALIZED", Misconfigured, F_Q),
    row(0x103, "CKR_USER_TYPE_INVALID", Bug, F),
    // Somebody is logged in as the security officer.
    row(0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Misconfigured, F_THEN_T),
    row(0x105, "CKR_USER_TOO_MANY_TYPES", Misconfigured, F_THEN_T),
    // Of wrapping.
    row(0x110, "CKR_WRAPPED_KEY_INVALID", Down, S_THEN_W_THEN_Q),
    row(0x112, "CKR_WRAPPED_KEY_LEN_RANGE", Down, S_THEN_W_THEN_Q),
    row(0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", Down, S_THEN_W_THEN_Q),
    row(0x114, "CKR_WRAPPING_KEY_SIZE_RANGE", Down, S_THEN_W_THEN_Q),
    row(0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", Down, S_THEN_W_THEN_Q),
    row(0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED", Down, S_THEN_W_THEN_Q),
    // No random numbers: an ECDSA signature would give the key away.
    row(0x121, "CKR_RANDOM_NO_RNG", Untrusted, Q),
    // The curve or its name does not suit this token; only making a key meets it.
    row(0x130, "CKR_DOMAIN_PARAMS_INVALID", Misconfigured, F),
    row(0x140, "CKR_CURVE_NOT_SUPPORTED", Misconfigured, F),
    // Our defect; the operation is still active, so the session must go.
    row(0x150, "CKR_BUFFER_TOO_SMALL", Bug, F),
    row(0x160, "CKR_SAVED_STATE_INVALID", Down, S_THEN_W_THEN_Q),
    row(0x170, "CKR_INFORMATION_SENSITIVE", Down, S_THEN_W_THEN_Q),
    row(0x180, "CKR_STATE_UNSAVEABLE", Down, S_THEN_W_THEN_Q),
    // The module reset itself.
    row(0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", Down, W),
    row(0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", Down, W),
    // The module's own locks: it is broken as after a vendor's code.
    row(0x1A0, "CKR_MUTEX_BAD", Down, S_THEN_W_THEN_Q),
    row(0x1A1, "CKR_MUTEX_NOT_LOCKED", Down, S_THEN_W_THEN_Q),
    // Of one-time passwords.
    row(0x1B0, "CKR_NEW_PIN_MODE", Down, S_THEN_W_THEN_Q),
    row(0x1B1, "CKR_NEXT_OTP", Down, S_THEN_W_THEN_Q),
    row(0x1B5, "CKR_EXCEEDED_MAX_ITERATIONS", Down, S_THEN_W_THEN_Q),
    // The token does not trust itself, and neither do we.
    row(0x1B6, "CKR_FIPS_SELF_TEST_FAILED", Untrusted, Q),
    row(0x1B7, "CKR_LIBRARY_LOAD_FAILED", Down, S_THEN_W_THEN_Q),
    // As PIN_INCORRECT.
    row(0x1B8, "CKR_PIN_TOO_WEAK", Misconfigured, F_Q),
    row(0x1B9, "CKR_PUBLIC_KEY_INVALID", Down, S_THEN_W_THEN_Q),
    // As FUNCTION_CANCELED.
    row(0x200, "CKR_FUNCTION_REJECTED", Misconfigured, F),
    // As SESSION_COUNT.
    row(0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", Busy, SHRINK),
    // A dirty session.
    row(0x202, "CKR_OPERATION_CANCEL_FAILED", Down, S),
    // The usage counter is spent: rotate.
    row(0x203, "CKR_KEY_EXHAUSTED", Misconfigured, Q_KEY),
    // We never ask for asynchronous calls.
    row(0x204, "CKR_PENDING", Bug, F),
    row(0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", Down, S_THEN_W_THEN_Q),
    row(0x206, "CKR_SEED_RANDOM_REQUIRED", Down, S_THEN_W_THEN_Q),
    // The token's policy forbids this use of the key.
    row(0x207, "CKR_OPERATION_NOT_VALIDATED", Misconfigured, F_Q_KEY),
    // Wiped, maybe by an attack. Never logged in to.
    row(0x208, "CKR_TOKEN_NOT_INITIALIZED", Untrusted, Q),
    row(0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED", Misconfigured, F),
];

/// The row of a number.
pub(super) fn by_code(code: u64) -> &'static Row {
    TABLE.iter().find(|row| row.code == code).unwrap_or(&UNKNOWN)
}

/// The row of a name, also of one that holds a number, as [`Fault`] carries it; `None` when no module said it.
pub(super) fn by_name(name: &str) -> Option<&'static Row> {
    let others: [&Row; 2] = [&HANG, &CRASH];
    let known = TABLE.iter().chain(others).find(|row| row.name == name);
    known.or_else(|| name.starts_with(UNKNOWN.name).then_some(&UNKNOWN))
}

/// A token that is not in any slot, or that the module does not show.
pub(super) fn token_absent(message: String) -> Fault {
    by_code(0x0E0).fault(message)
}

/// A session whose login is gone.
pub(super) fn login_lost(message: String) -> Fault {
    by_code(0x101).fault(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_is_found_by_number_and_name() {
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code), "by number, no number twice");
        for row in TABLE {
            assert_eq!((by_code(row.code), by_name(row.name)), (row, Some(row)));
        }
        for unknown in [0x999, 0x8000_0000, 0x8000_0384, u64::MAX] {
            assert_eq!(by_code(unknown), &UNKNOWN);
            assert_eq!(by_name(&format!("CKR_{unknown:#010x}")), Some(&UNKNOWN));
        }
        assert_eq!(by_name("backend.down"), None);
    }

    #[test]
    fn no_row_contradicts_itself() {
        for row in TABLE.iter().chain([&UNKNOWN, &HANG, &CRASH, &BINDING]) {
            assert!(row.retries <= 1, "{}: two attempts at most", row.name);
            assert!(row.retries > 0 || !row.here, "{}", row.name);
            if row.quarantine == Quarantine::AtOnce {
                assert!(!row.here && row.scope != Scope::Request, "{}: somebody is quarantined", row.name);
            }
            let refused = row.retries == 0 && row.name != "CKR_DATA_LEN_RANGE";
            assert!(!refused || row.scope != Scope::Request, "{}: who refuses at once rests", row.name);
            assert_eq!(row.class == Class::Deadline, row.name == "hang");
            assert!(row.class != Class::Bug || row.retries == 0, "{}: a defect of ours stays one", row.name);
        }
        assert!(
            TABLE
                .iter()
                .filter(|row| row.name.contains("PIN_"))
                .all(|row| row.retries == 0 || row.code == 0x1B0),
            "nothing is tried again after a PIN was refused"
        );
    }
}
