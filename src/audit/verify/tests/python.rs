//! The second implementation.
