//! What can go wrong with the store: which operation, on what, and what to do.

use std::io;
use std::path::PathBuf;

/// A fault of the state store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its directory cannot be used.
    #[error("state: cannot {operation} {path}", path = .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could read or change it.
    #[error("state: {path}: {problem}", path = .path.display())]
    Insecure {
        /// File or directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A statement failed.
    #[error("state: cannot {operation}; is the disk full or {file} damaged?", file = .file.display())]
    Sql {
        /// What was being done.
        operation: &'static str,
        /// The database.
        file: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Made by a later version of this program.
    #[error("state: {file} has schema {found}, this jwsd knows schemas up to {known}: start the newer jwsd again, or restore the copy made before it", file = .file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema we know.
        known: u32,
    },
    /// It belongs to another environment.
    #[error("state: {file} belongs to environment {found:?}, the configuration says {wanted:?}: correct `environment` or give this one its own [state] dir", file = .file.display())]
    Environment {
        /// The database.
        file: PathBuf,
        /// What it was made for.
        found: String,
        /// What the configuration says.
        wanted: String,
    },
    /// A defect; it was rolled back.
    #[error("state: a change was broken off; see the log")]
    Interrupted,
    /// A rule of the tables forbids it.
    #[error("state: cannot {operation} {what}: it exists already, or its key has an active version")]
    Conflict {
        /// What was being done.
        operation: &'static str,
        /// To what.
        what: String,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl Error {
    /// A broken uniqueness rule, told as what it means.
    pub(super) fn or_conflict(self, what: &str) -> Self {
        match self {
            Self::Sql { operation, source, .. } if is_unique_violation(&source) => {
                Self::Conflict { operation, what: what.to_owned(), source }
            }
            other => other,
        }
    }
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    error
        .sqlite_error()
        .is_some_and(|e| [SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY].contains(&e.extended_code))
}
