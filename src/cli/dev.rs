//! `jwsd dev`: everything that a developer or tester needs, in one directory, against a real PKCS#11 module.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secrecy::{ExposeSecret, SecretString};

use super::keys;
use super::output::{BUG, CONFIG, Failure, Outcome, PERMISSION, line};
use super::softhsm;
use crate::config;
use crate::daemon;
use crate::jose::hex;
use crate::sys::{secure_file, users};

/// Run a complete daemon for development: SoftHSM token, keys, configuration and audit log in one directory
///
/// Makes a SoftHSM token, keys, a configuration and an audit log in one directory, starts, and prints three curl
/// lines to copy. The next start finds what is there and uses it again. Remove the directory to begin anew.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where everything is kept
    #[arg(long, value_name = "DIRECTORY", default_value = "jwsd-dev")]
    dir: PathBuf,
}

const LABEL: &str = "jwsd-dev";
const TEMPLATE: &str = include_str!("../../config/dev.toml");

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let directory = &arguments.dir;
    secure_file::private_dir(directory).map_err(|error| Failure::because(PERMISSION, &error))?;
    let directory = directory
        .canonicalize()
        .map_err(|error| Failure::new(PERMISSION, format_args!("{}: {error}", directory.display())))?;
    let file = directory.join("jwsd.toml");
    if !file.exists() {
        prepare(&directory, &file)?;
    }
    let config = config::load(&file)?;
    let missing = missing_keys(&config)?;
    for key in missing {
        let (kid, _) = keys::generate(&config, &key)?;
        line(format_args!("made key {key}: {kid}"))?;
    }
    daemon::serve(config, &file, || {
        // A closed stdout is no reason to stop serving.
        let _ = greet(&directory);
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Everything but the keys. The configuration is written last; a directory that has a token but no configuration is
/// refused, because nobody knows what it is.
fn prepare(directory: &Path, file: &Path) -> Result<(), Failure> {
    let module = softhsm::find()?;
    let denied = |error: &secure_file::SecureFileError| Failure::because(PERMISSION, error);
    let at = |name: &str| directory.join(name);
    for name in ["tokens", "run", "state", "audit"] {
        secure_file::private_dir(&at(name)).map_err(|error| denied(&error))?;
    }
    if fs::read_dir(at("tokens")).is_ok_and(|mut entries| entries.next().is_some()) {
        let hint = "holds a token, but jwsd.toml is missing; move the directory away or restore the file";
        return Err(Failure::new(CONFIG, format_args!("{} {hint}", directory.display())));
    }
    let softhsm = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        at("tokens").display()
    );
    let (so_pin, pin) = (random_pin()?, random_pin()?);
    let write = |name: &str, text: &str| {
        secure_file::write_atomic(&at(name), text.as_bytes()).map_err(|error| denied(&error))
    };
    write("softhsm2.conf", &softhsm)?;
    write("so-pin", so_pin.expose_secret())?;
    write("pin", pin.expose_secret())?;
    softhsm::make_token(&module, &at("softhsm2.conf"), LABEL, &so_pin, &pin)?;

    let uid = nix::unistd::geteuid().as_raw();
    let (_, template) = TEMPLATE.split_once("\n#\n").unwrap_or_default();
    let text = template
        .replace("@DIR@", &directory.display().to_string())
        .replace("@MODULE@", &module.display().to_string())
        .replace(
            "\"@USER@\"",
            &users::user_name(uid).map_or_else(|| uid.to_string(), |name| format!("{name:?}")),
        );
    secure_file::write_atomic(file, text.as_bytes()).map_err(|error| denied(&error))?;
    line(format_args!("made {}", directory.display()))
}

/// 24 hex digits: 96 bits.
fn random_pin() -> Result<SecretString, Failure> {
    let mut bytes = [0_u8; 12];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::new(BUG, "the system's random generator failed"))?;
    Ok(hex(&bytes).into())
}

fn missing_keys(config: &config::Config) -> Result<Vec<String>, Failure> {
    let store = crate::state::Store::open(&config.state, &config.environment)
        .map_err(|error| Failure::because(super::output::UNAVAILABLE, &error))?;
    let rows =
        store.read_keys().map_err(|error| Failure::because(super::output::UNAVAILABLE, &error))?.versions;
    let missing = config.keys.keys().filter(|key| rows.iter().all(|row| row.key != **key));
    Ok(missing.cloned().collect())
}

fn greet(directory: &Path) -> Result<(), Failure> {
    let (sign, public) = (directory.join("run/sign.sock"), directory.join("run/public.sock"));
    let (sign, public) = (sign.display(), public.display());
    let (config, audit) = (directory.join("jwsd.toml"), directory.join("audit"));
    let admin = directory.join("run/admin.sock");
    line(format_args!(
        r#"ready; try, from another terminal:

  curl --unix-socket {sign} http://localhost/v1/sign -H 'Content-Type: application/json' -d '{{"profile":"access-token","claims":{{"sub":"alice","client_id":"web"}}}}'
  curl --unix-socket {sign} http://localhost/v1/check -H 'Content-Type: application/json' -d '{{"profile":"access-token","claims":{{"role":"admin"}}}}'
  curl --unix-socket {public} http://localhost/.well-known/jwks.json

configuration {}; after a change: jwsd reload --socket {}
audit log     jwsd audit tail -f {}
stop with Ctrl-C; the next `jwsd dev` goes on with the same keys"#,
        config.display(),
        admin.display(),
        audit.display(),
    ))
}

/// `jwsd pkcs11-init-token`: the child that [`softhsm::make_token`] starts. Reads SO PIN and PIN, a line each.
pub(super) fn init_token(label: &str, module: &Path) -> Outcome {
    let mut lines = io::stdin().lock().lines();
    let mut secret = || match lines.next() {
        Some(Ok(text)) => Ok(SecretString::from(text)),
        _ => Err(Failure::new(BUG, "two PINs are due on standard input")),
    };
    let (so_pin, pin) = (secret()?, secret()?);
    crate::backend::pkcs11::init_token(module, label, so_pin, pin)
        .map_err(|error| Failure::because(super::output::UNAVAILABLE, &error))?;
    Ok(ExitCode::SUCCESS)
}
