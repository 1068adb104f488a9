//! The module and the one token in it: load, find, log in, open sessions.

use super::super::TokenSelector;
use super::super::recovery::token_absent;
use super::super::uri::{Attribute, Uri};
use super::Fault;
use super::fault::{code, fault};
use crate::backend::Class;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use secrecy::SecretString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Before a session is opened again that was refused for no reason.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// An initialized module and the token that was asked for.
pub(super) struct Token {
    module: Pkcs11,
    slot: Slot,
    /// `LABEL (serial SERIAL)`.
    pub(super) name: String,
    /// What names it among all tokens.
    pub(super) uri: Uri,
    mechanisms: Vec<MechanismType>,
    /// The token has no read-only sessions.
    read_write: AtomicBool,
    /// Its sessions say whether there is a login.
    shows_login: AtomicBool,
    /// Held around every call when the module cannot lock for itself.
    gate: Option<Mutex<()>>,
}

impl Token {
    /// Loads the module and finds the token. Nothing here can cost a PIN attempt.
    pub(super) fn find(path: &Path, wanted: &TokenSelector) -> Result<Self, Fault> {
        let module = Pkcs11::new(path).map_err(|error| {
            Fault::misconfigured(format!("the module {} cannot be loaded: {error}", path.display()))
        })?;
        let gate = initialize(&module)?;
        let (slot, info) = select(&module, wanted)?;
        let mechanisms =
            module.get_mechanism_list(slot).map_err(|error| fault("C_GetMechanismList", &error))?;
        Ok(Self {
            name: format!("{} (serial {})", info.label().trim_end(), info.serial_number().trim_end()),
            uri: uri(&info),
            module,
            slot,
            mechanisms,
            read_write: AtomicBool::new(false),
            shows_login: AtomicBool::new(true),
            gate,
        })
    }

    /// Waits for the module to be free when it cannot serve two threads.
    pub(super) fn enter(&self) -> Option<MutexGuard<'_, ()>> {
        self.gate.as_ref().map(|gate| gate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its slot now; another one after the next start, for many modules.
    pub(super) fn slot_id(&self) -> u64 {
        self.slot.id()
    }

    /// Whether the token lists the mechanism.
    pub(super) fn offers(&self, mechanism: MechanismType) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    /// A session to sign with: read-only, or read-write where the token has no other.
    pub(super) fn open_session(&self) -> Result<Session, Fault> {
        let open = || match self.read_write.load(Ordering::Relaxed) {
            true => self.module.open_rw_session(self.slot),
            false => self.module.open_ro_session(self.slot),
        };
        let mut opened = open();
        if matches!(opened, Err(Error::Pkcs11(RvError::ArgumentsBad, _))) {
            // What CloudHSM says when sessions are opened too quickly.
            std::thread::sleep(OPEN_PAUSE);
            opened = open();
        }
        if let Err(Error::Pkcs11(rv, _)) = &opened
            && wants_read_write(rv)
            && !self.read_write.swap(true, Ordering::Relaxed)
        {
            opened = open();
        }
        opened.map_err(|error| fault("C_OpenSession", &error))
    }

    /// From now on sessions are opened read-write.
    pub(super) fn insist_on_read_write(&self) {
        self.read_write.store(true, Ordering::Relaxed);
    }

    /// A session to create keys with.
    pub(super) fn open_rw_session(&self) -> Result<Session, Fault> {
        self.module.open_rw_session(self.slot).map_err(|error| fault("C_OpenSession", &error))
    }

    /// Whether the token counted a wrong PIN since the last good login, as far as it tells.
    ///
    /// # Errors
    /// When a login could lock the PIN or cannot succeed.
    pub(super) fn counts_wrong_pin(&self) -> Result<bool, Fault> {
        let info = self.module.get_token_info(self.slot).map_err(|error| fault("C_GetTokenInfo", &error))?;
        check_pin_flags(&info)?;
        Ok(info.user_pin_count_low())
    }

    /// One `C_Login`. To be logged in already is as good, if it is true.
    pub(super) fn log_in(&self, anchor: &Session, pin: &SecretString) -> Result<(), Error> {
        match anchor.login(UserType::User, Some(pin)) {
            Ok(()) => {
                self.shows_login.store(knows_login(anchor), Ordering::Relaxed);
                Ok(())
            }
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) if knows_login(anchor) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the login still holds: a token drops it together with its last session. One that did not show it right
    /// after the login is not asked.
    pub(super) fn is_logged_in(&self, session: &Session) -> bool {
        !self.shows_login.load(Ordering::Relaxed) || knows_login(session)
    }
}

fn knows_login(session: &Session) -> bool {
    let state = session.get_session_info().map(|info| info.session_state());
    !matches!(state, Ok(SessionState::RoPublic | SessionState::RwPublic))
}

fn initialize(module: &Pkcs11) -> Result<Option<Mutex<()>>, Fault> {
    let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match module.initialize(locking) {
        Ok(()) => Ok(None),
        Err(Error::Pkcs11(RvError::CantLock | RvError::NeedToCreateThreads, _)) => module
            .initialize(CInitializeArgs::new(CInitializeFlags::empty()))
            .map(|()| Some(Mutex::new(())))
            .map_err(|error| fault("C_Initialize", &error)),
        Err(error) => Err(fault("C_Initialize", &error)),
    }
}

fn select(module: &Pkcs11, wanted: &TokenSelector) -> Result<(Slot, TokenInfo), Fault> {
    let slots = module.get_slots_with_token().map_err(|error| fault("C_GetSlotList", &error))?;
    let mut seen = Vec::new();
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for slot in slots {
        // One odd slot must not hide the others.
        match module.get_token_info(slot) {
            Ok(info) if is_wanted(&info, wanted) => found.push((slot, info)),
            Ok(info) => seen.push(format!("{:?}", info.label().trim_end())),
            Err(error) => {
                seen.push(format!("unreadable: {}", code(&error)));
                unreadable.push(fault("C_GetTokenInfo", &error));
            }
        }
    }
    let any = |wanted: &Option<String>| format!("{:?}", wanted.as_deref().unwrap_or("any"));
    let mut name = format!("label {}, serial {}", any(&wanted.label), any(&wanted.serial));
    if wanted.manufacturer.is_some() || wanted.model.is_some() {
        let (manufacturer, model) = (any(&wanted.manufacturer), any(&wanted.model));
        name = format!("{name}, manufacturer {manufacturer}, model {model}");
    }
    match found.len() {
        // Absent and not misconfigured: a token that is unplugged or rebooting looks the same. What is wrong with
        // the only one there is says more.
        0 => Err(match (unreadable.pop(), seen.len()) {
            (Some(fault), 1) if fault.advice.quarantine => fault,
            _ => token_absent(format!(
                "no token with {name}; the module shows: {}",
                if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }
            )),
        }),
        1 => found.pop().ok_or_else(|| Fault::bug("one is not none")),
        count => Err(Fault::misconfigured(format!("{count} tokens with {name}: name the serial number too"))),
    }
}

/// What tokens say that have read-write sessions only.
fn wants_read_write(rv: &RvError) -> bool {
    matches!(rv, RvError::SessionReadOnly | RvError::SessionParallelNotSupported | RvError::ArgumentsBad)
}

fn is_wanted(info: &TokenInfo, wanted: &TokenSelector) -> bool {
    let matches = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end())
    };
    info.token_initialized()
        && matches(&wanted.label, info.label())
        && matches(&wanted.serial, info.serial_number())
        && matches(&wanted.manufacturer, info.manufacturer_id())
        && matches(&wanted.model, info.model())
}

fn uri(info: &TokenInfo) -> Uri {
    let texts = [
        (Attribute::Token, info.label()),
        (Attribute::Manufacturer, info.manufacturer_id()),
        (Attribute::Serial, info.serial_number()),
        (Attribute::Model, info.model()),
    ];
    texts.into_iter().map(|(attribute, text)| (attribute, text.trim_end())).fold(
        Uri::default(),
        |uri, (attribute, text)| if text.is_empty() { uri } else { uri.with(attribute, text) },
    )
}

/// Refuses a login that could lock the PIN or cannot succeed.
fn check_pin_flags(info: &TokenInfo) -> Result<(), Fault> {
    let problem = if info.user_pin_locked() {
        "the user PIN is locked: unlock it with the vendor's tool"
    } else if info.user_pin_final_try() {
        "one wrong PIN more would lock the token: log in once with the vendor's tool to reset the counter"
    } else if !info.user_pin_initialized() {
        "the token has no user PIN yet: set one with the vendor's tool"
    } else {
        return Ok(());
    };
    Err(Fault::new(Class::Misconfigured, problem))
}
