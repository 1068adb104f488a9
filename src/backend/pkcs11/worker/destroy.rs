//! What became of a pair that was to be made, and destroying one.
//!
//! Must never destroy what is not proven to be the key that is meant: one private key and the public half that is
//! expected, under one id.

use super::super::key::public_key;
use super::super::recovery::login_lost;
use super::Fault;
use super::fault::fault;
use super::keys;
use super::token::Token;
use crate::backend::Class;
use crate::jose::hex;
use cryptoki::object::{ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// The objects of one id.
struct Halves {
    private: Vec<ObjectHandle>,
    public: Vec<ObjectHandle>,
}

impl Halves {
    fn find(token: &Token, session: &Session, id: &[u8]) -> Result<Self, Fault> {
        if id.is_empty() {
            // It would fit every object without one.
            return Err(Fault::bug("a key needs an id"));
        }
        let private = keys::find(session, ObjectClass::PRIVATE_KEY, id)?;
        let public = keys::find(session, ObjectClass::PUBLIC_KEY, id)?;
        // Private keys are invisible without it.
        if private.is_empty() && !token.is_logged_in(session) {
            return Err(login_lost("the login is lost".into()));
        }
        Ok(Self { private, public })
    }

    /// What an operator is told of anything but one pair.
    fn wrong(&self, id: &[u8]) -> Fault {
        let (private, public) = (self.private.len(), self.public.len());
        Fault::misconfigured(format!(
            "key {}: the token has {private} private and {public} public keys with this CKA_ID where one pair is due: \
             find out with the vendor's tool which of them are nobody's, and delete those",
            hex(id)
        ))
    }
}

/// Whether there is one pair under `id`. Anything but that and nothing is a fault.
pub(super) fn is_made(token: &Token, session: &Session, id: &[u8]) -> Result<bool, Fault> {
    let halves = Halves::find(token, session, id)?;
    match (halves.private.len(), halves.public.len()) {
        (0, 0) => Ok(false),
        (1, 1) => Ok(true),
        _ => Err(halves.wrong(id)),
    }
}

/// Destroys the pair under `id` whose public half has this thumbprint (RFC 7638), and makes sure that it is gone.
pub(super) fn destroy(token: &Token, id: &[u8], thumbprint: &str) -> Result<(), Fault> {
    let session = token.open_rw_session()?;
    let halves = Halves::find(token, &session, id)?;
    let public = match (halves.private.as_slice(), halves.public.as_slice()) {
        ([], []) => return Ok(()),
        // Without its private half it was left behind by one who was killed in between.
        ([] | [_], [public]) => *public,
        _ => return Err(halves.wrong(id)),
    };
    let found = public_key(keys::public_of(&session, public)?)?.thumbprint();
    if found.as_str() != thumbprint {
        let message = format!(
            "key {}: the token shows public key {found} where {thumbprint} is to be destroyed; nothing was, find out \
             who replaced it",
            hex(id)
        );
        return Err(Fault::new(Class::Untrusted, message));
    }
    let mut failed = None;
    // The private half first: while the public one is there, what is left can be told apart from another's.
    for object in halves.private.iter().chain([&public]) {
        if let Err(error) = session.destroy_object(*object) {
            failed = Some(fault("C_DestroyObject", &error));
            break;
        }
    }
    // Some tokens take the other half along, and some say that it is done when it is not (SoftHSMv2#903).
    let left = Halves::find(token, &session, id)?;
    if left.private.is_empty() && left.public.is_empty() {
        return Ok(());
    }
    Err(failed.unwrap_or_else(|| {
        Fault::down(format!("key {}: the token still shows it after it was destroyed: do it again", hex(id)))
    }))
}
