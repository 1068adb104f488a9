//! What the operating system offers, made safe: secure files, process hardening, inherited descriptors, users and groups.
//!
//! The only place that opens sensitive files and asks the user database. Knows nothing of callers, keys or policy.

pub mod inherited;
pub mod process;
pub mod secure_file;
pub mod users;
