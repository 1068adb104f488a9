//! What the operating system offers, made safe: secure files, process hardening, users and groups, what only the kernel
//! can say.
//!
//! The only place that opens sensitive files and asks the user database. Knows nothing of callers, keys or policy.

pub mod kernel;
pub mod process;
pub mod secure_file;
pub mod users;
