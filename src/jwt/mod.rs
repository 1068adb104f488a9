//! The JWT itself (RFC 7519): assembled from a grant, and sealed only by a signature that verifies.
//!
//! Pure. The header is built here from configuration alone; the caller's claims are the tree that policy judged.

mod draft;
mod selective;
mod signed;
#[cfg(test)]
mod tests;

pub use draft::{Draft, DraftError, Jti, SealError};
pub use signed::SignedJwt;
