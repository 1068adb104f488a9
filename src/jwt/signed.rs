//! A JWT whose signature verified.

use crate::jose::Kid;
use crate::keyring::Leaving;

/// Made only by [`super::Draft::seal`]. No `Debug`, no `Display`: a JWT is a bearer secret.
pub struct SignedJwt {
    pub(super) token: String,
    pub(super) jti: String,
    pub(super) kid: Kid,
    pub(super) iat: i64,
    pub(super) exp: i64,
    pub(super) _leaving: Leaving,
}
impl SignedJwt {
    /// The compact form: a JWS, with the disclosures of an SD-JWT behind it, or a JWE around it.
    pub fn expose(&self) -> &str {
        &self.token
    }
    /// Its `jti` claim.
    pub fn jti(&self) -> &str {
        &self.jti
    }
    /// Its `kid` header.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }
    /// Its `iat` claim, seconds since 1970.
    pub fn iat(&self) -> i64 {
        self.iat
    }
    /// When it expires, seconds since 1970: its `exp` claim, where its kind has one.
    pub fn exp(&self) -> i64 {
        self.exp
    }
}
