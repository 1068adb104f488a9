//! `jwsd`: policy-checked JSON Web Tokens, signed in an HSM, each one recorded.
//!
//! A daemon for one host. Applications ask it over a Unix socket for JWTs. It knows the caller from the kernel,
//! decides by written policy what that caller may have, has the key's backend sign, and answers only when the
//! record of it is on disk. Private keys never enter this process.
//!
//! # Words
//! | word | means |
//! | --- | --- |
//! | caller | a local process asking for something, as the kernel and our configuration identify it |
//! | profile | a kind of JWT that may be issued: key, `typ`, issuer, audiences, lifetimes, claim rules |
//! | grant, denial | what policy decided: a value that carries the limits, or the list of violations |
//! | key, version | a named signing key; its versions each have a `kid` |
//! | backend | where private keys live |
//! | JWT | what is issued; "token" alone is a PKCS#11 device, and only inside [`backend::pkcs11`] |
//! | record | one entry of the audit log |
//! | state | what must survive a restart and is not evidence |
//!
//! # The path of a request
//! Each station has one output type that only it can make, so leaving a step out does not compile:
//! [`transport::PeerCredentials`] → [`caller::Caller`] → [`policy::Grant`] → [`jwt::Draft`] → [`audit::Ticket`] →
//! [`jose::Signature`] → [`jwt::SignedJwt`] → [`audit::Recorded`]. [`issuer`] is the whole of it, in order.
//!
//! # Floors
//! Modules import from lower floors only, never sideways or up; `tests/architecture.rs` holds them to it.
//! ```text
//! 9 main   8 cli   7 daemon   6 config   5 api   4 issuer admin   3 jwt audit misuse   2 policy keyring
//! 1 caller profile backend state   0 jose transport telemetry clock sys
//! ```

pub mod admin;
pub mod api;
pub mod audit;
pub mod backend;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod issuer;
pub mod jose;
pub mod jwt;
pub mod keyring;
pub mod misuse;
pub mod policy;
pub mod profile;
pub mod revocation;
pub mod state;
pub mod subject;
pub mod sys;
pub mod telemetry;
pub mod transport;
