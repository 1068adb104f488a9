//! Making a token in an uninitialized slot, for `jwsd dev`. Runs in a process of its own and never in the daemon.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use secrecy::SecretString;

/// The module did not make the token.
#[derive(Debug, thiserror::Error)]
pub enum InitTokenError {
    /// A call failed.
    #[error("the module did not make the token")]
    Module(#[from] cryptoki::error::Error),
    /// Every slot has a token, and none is overwritten.
    #[error("no free slot")]
    NoSlot,
}

/// Initializes the first slot without a token: label, SO PIN, user PIN.
///
/// # Errors
/// When the module refuses, or no slot is free.
pub fn init_token(
    module: &Path,
    label: &str,
    so_pin: SecretString,
    pin: SecretString,
) -> Result<(), InitTokenError> {
    let context = Pkcs11::new(module)?;
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let free = |slot: &_| context.get_token_info(*slot).is_ok_and(|token| !token.token_initialized());
    let slot = context.get_slots_with_token()?.into_iter().find(free).ok_or(InitTokenError::NoSlot)?;
    context.init_token(slot, &so_pin, label)?;
    let session = context.open_rw_session(slot)?;
    session.login(UserType::So, Some(&so_pin))?;
    Ok(session.init_pin(&pin)?)
}
