//! Finding SoftHSM and making a token in it, for `jwsd dev`. Nothing here is used in production.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret, SecretString};

use super::output::{BUG, Failure, UNAVAILABLE};

/// Where distributions put the module.
const CANDIDATES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// The module's path.
pub(super) fn find() -> Result<PathBuf, Failure> {
    CANDIDATES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        Failure::new(UNAVAILABLE, "SoftHSM is not installed; on Debian: apt-get install softhsm2")
    })
}

/// Makes a token labelled `label` in a process of its own, which gets the PINs on its standard input.
pub(super) fn make_token(
    module: &Path,
    configuration: &Path,
    label: &str,
    so_pin: &SecretString,
    pin: &SecretString,
) -> Result<(), Failure> {
    let failed =
        |what: &dyn std::fmt::Display| Failure::new(UNAVAILABLE, format_args!("making the token: {what}"));
    let program = std::env::current_exe().map_err(|error| Failure::new(BUG, error))?;
    let mut child = Command::new(program)
        .args(["pkcs11-init-token", label])
        .arg(module)
        .env_clear()
        .env("SOFTHSM2_CONF", configuration)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        for secret in [so_pin, pin] {
            writeln!(input, "{}", secret.expose_secret()).map_err(|error| failed(&error))?;
        }
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() { Ok(()) } else { Err(failed(&status)) }
}
