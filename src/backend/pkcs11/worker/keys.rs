//! Finding keys and judging them: exactly one match, made never to leave the token, for signing only.

use super::super::key::public_key;
use super::super::protocol::{Material, Which};
use super::super::recovery::login_lost;
use super::Fault;
use super::fault::fault;
use super::mechanism::Plan;
use super::names;
use super::point::{describe, ec, ed25519, fits, ml_dsa};
use super::token::Token;
use crate::backend::NO_COPY;
use crate::backend::{Class, Listed};
use crate::jose::{Algorithm, PublicKey, hex};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::sync::{PoisonError, RwLock};

/// One opened key: what a session needs to sign with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) handle: ObjectHandle,
    pub(super) plan: Plan,
    /// The handle was looked for again, and no signature came since.
    pub(super) renewed: bool,
}

/// A key, and what it has to be when it is found again.
struct Entry {
    key: Key,
    id: Vec<u8>,
    algorithm: Algorithm,
    public: Material,
}

/// The keys opened so far, by index. A handle may become stale and be renewed; the index stays.
#[derive(Default)]
pub(super) struct Keys(RwLock<Vec<Entry>>);

impl Keys {
    pub(super) fn get(&self, index: u16) -> Option<Key> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(usize::from(index)).map(|entry| entry.key)
    }

    /// Finds and judges the key, and gives it an index.
    pub(super) fn open(
        &self,
        token: &Token,
        session: &Session,
        id: &[u8],
        algorithm: Algorithm,
    ) -> Result<(u16, String, Material), Fault> {
        let (key, label, public) = check(token, session, id, algorithm)?;
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = keys
            .iter()
            .position(|known| known.id == id && known.algorithm == algorithm && known.public == public);
        let index = known.unwrap_or(keys.len());
        match keys.get_mut(index) {
            Some(known) => known.key = key,
            None => keys.push(Entry { key, id: id.to_vec(), algorithm, public: public.clone() }),
        }
        let index = u16::try_from(index).map_err(|_| Fault::bug("too many keys were opened"))?;
        Ok((index, label, public))
    }

    /// Finds the handle of a key again, which must be the same key.
    pub(super) fn renew(&self, token: &Token, session: &Session, index: u16) -> Result<(), Fault> {
        let index = usize::from(index);
        let (id, algorithm, public) = {
            let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let entry = keys.get(index).ok_or_else(|| Fault::bug(format!("no key has index {index}")))?;
            (entry.id.clone(), entry.algorithm, entry.public.clone())
        };
        let lost =
            |why: String| Fault::new(Class::Untrusted, format!("{why}; find out who changed the token"));
        let (key, _, found) = check(token, session, &id, algorithm).map_err(|fault| match fault.row() {
            Some(_) => fault,
            None => lost(fault.message),
        })?;
        if found != public {
            return Err(lost(format!("key {}: the token shows another public key than before", hex(&id))));
        }
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = keys.get_mut(index) {
            entry.key = Key { renewed: true, ..key };
        }
        Ok(())
    }

    /// A signature came from the renewed handle.
    pub(super) fn proven(&self, index: u16) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = keys.get_mut(usize::from(index)) {
            entry.key.renewed = false;
        }
    }
}

/// The `CKA_ID` of the key that is meant.
pub(super) fn locate(token: &Token, session: &Session, which: &Which) -> Result<Vec<u8>, Fault> {
    match which {
        Which::Id(id) => Ok(id.clone()),
        Which::Name(name) => names::locate(token, session, name),
        Which::Public(jwk) => {
            let wanted = PublicKey::from_jwk(jwk).map_err(|error| Fault::bug(error.to_string()))?;
            with_public(session, &wanted)
        }
    }
}

/// The `CKA_ID` of the public key that is `wanted`.
fn with_public(session: &Session, wanted: &PublicKey) -> Result<Vec<u8>, Fault> {
    let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Token(true)];
    let handles = session.find_objects(&template).map_err(|error| fault("C_FindObjects", &error))?;
    for handle in handles {
        // Another key that cannot be read is no obstacle.
        let public = public_of(session, handle).and_then(public_key);
        if public.is_ok_and(|public| public == *wanted)
            && let Ok(found) = session.get_attributes(handle, &[AttributeType::Id])
            && let Some(Attribute::Id(id)) = found.into_iter().next()
        {
            return Ok(id);
        }
    }
    let message = format!(
        "the token has no key with public half {}: replicate it with the vendor's tool",
        wanted.thumbprint()
    );
    Err(Fault { code: NO_COPY.to_owned(), ..Fault::misconfigured(message) })
}

/// Every check that a key must pass before it signs. Gives its label, too.
pub(super) fn check(
    token: &Token,
    session: &Session,
    id: &[u8],
    algorithm: Algorithm,
) -> Result<(Key, String, Material), Fault> {
    let of_key = |fault: Fault| Fault { message: format!("key {}: {}", hex(id), fault.message), ..fault };
    let wrong = |problem: String| of_key(Fault::misconfigured(problem));
    let handle = only(session, ObjectClass::PRIVATE_KEY, id).map_err(|fault| match fault.row() {
        // Private keys are invisible without it.
        None if !token.is_logged_in(session) => login_lost("the login is lost".into()),
        _ => of_key(fault),
    })?;
    let facts = Facts::read(session, handle).map_err(of_key)?;
    if !facts.problems.is_empty() {
        return Err(wrong(facts.problems.join("; ")));
    }
    let public = public(session, id, facts.kind).map_err(of_key)?;
    if !fits(&public, algorithm) {
        return Err(wrong(format!("a {} key cannot be used with {}", describe(&public), algorithm.name())));
    }
    let allowed = allowed_mechanisms(session, handle);
    let plan = Plan::choose(algorithm, |mechanism| {
        token.offers(mechanism) && allowed.as_ref().is_none_or(|list| list.contains(&mechanism))
    })
    .ok_or_else(|| wrong(format!("the token offers no mechanism for {} with it", algorithm.name())))?;
    Ok((Key { handle, plan, renewed: false }, facts.label, public))
}

/// All private keys of the token, with what is wrong with each.
pub(super) fn list(token: &Token, session: &Session) -> Result<Vec<Listed>, Fault> {
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
    let handles = session.find_objects(&template).map_err(|error| fault("C_FindObjects", &error))?;
    Ok(handles.into_iter().map(|handle| describe_key(token, session, handle)).collect())
}

fn describe_key(token: &Token, session: &Session, handle: ObjectHandle) -> Listed {
    let mut attributes = vec![format!("token {}", token.name), format!("slot {}", token.slot_id())];
    let facts = match Facts::read(session, handle) {
        Ok(facts) => facts,
        Err(fault) => {
            return Listed {
                id: String::new(),
                label: String::new(),
                kind: "unreadable".into(),
                attributes,
                name: String::new(),
                problems: vec![fault.message],
                pending_deletion: false,
            };
        }
    };
    attributes.extend(facts.set.iter().map(|name| (*name).to_owned()));
    if let Some(allowed) = allowed_mechanisms(session, handle) {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        attributes.push(format!("CKA_ALLOWED_MECHANISMS {}", allowed.join(" ")));
    }
    let mut problems = facts.problems;
    if let Err(fault) = only(session, ObjectClass::PRIVATE_KEY, &facts.id) {
        problems.push(fault.message);
    }
    let kind = match public(session, &facts.id, facts.kind) {
        Ok(public) => describe(&public),
        Err(fault) => {
            problems.push(fault.message);
            "unknown".into()
        }
    };
    let name = names::uri(token, &facts.id, &facts.label).to_string();
    let (id, label) = (hex(&facts.id), facts.label);
    Listed { id, label, kind, attributes, name, problems, pending_deletion: false }
}

/// The one object of `class` with `id`.
fn only(session: &Session, class: ObjectClass, id: &[u8]) -> Result<ObjectHandle, Fault> {
    let what = if class == ObjectClass::PRIVATE_KEY { "private" } else { "public" };
    match find(session, class, id)?.as_slice() {
        [handle] => Ok(*handle),
        [] => Err(Fault::misconfigured(format!("the token has no {what} key with this CKA_ID"))),
        many => Err(Fault::misconfigured(format!(
            "{} {what} keys share this CKA_ID: give each its own",
            many.len()
        ))),
    }
}

/// All token objects of `class` with `id`.
pub(super) fn find(session: &Session, class: ObjectClass, id: &[u8]) -> Result<Vec<ObjectHandle>, Fault> {
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Id(id.to_vec())];
    session.find_objects(&template).map_err(|error| fault("C_FindObjects", &error))
}

/// What a private key's attributes say.
struct Facts {
    id: Vec<u8>,
    label: String,
    kind: Option<KeyType>,
    /// The attributes that are true.
    set: Vec<&'static str>,
    problems: Vec<String>,
}

impl Facts {
    fn read(session: &Session, handle: ObjectHandle) -> Result<Self, Fault> {
        const MUST: [(AttributeType, &str); 5] = [
            (AttributeType::Sensitive, "CKA_SENSITIVE"),
            (AttributeType::AlwaysSensitive, "CKA_ALWAYS_SENSITIVE"),
            (AttributeType::NeverExtractable, "CKA_NEVER_EXTRACTABLE"),
            (AttributeType::Private, "CKA_PRIVATE"),
            (AttributeType::Sign, "CKA_SIGN"),
        ];
        // Tokens leave out what their key type does not know; that is as good as false.
        const MUST_NOT: [(AttributeType, &str); 6] = [
            (AttributeType::Extractable, "CKA_EXTRACTABLE"),
            (AttributeType::Wrap, "CKA_WRAP"),
            (AttributeType::Unwrap, "CKA_UNWRAP"),
            (AttributeType::Decrypt, "CKA_DECRYPT"),
            (AttributeType::Derive, "CKA_DERIVE"),
            (AttributeType::AlwaysAuthenticate, "CKA_ALWAYS_AUTHENTICATE"),
        ];
        // Keys that a vendor's tool copied to a second token were not made there.
        const MAY: [(AttributeType, &str); 1] = [(AttributeType::Local, "CKA_LOCAL")];
        let wanted: Vec<AttributeType> = MUST
            .iter()
            .chain(&MUST_NOT)
            .chain(&MAY)
            .map(|(kind, _)| *kind)
            .chain([AttributeType::KeyType, AttributeType::Id, AttributeType::Label])
            .collect();
        let found =
            session.get_attributes(handle, &wanted).map_err(|error| fault("C_GetAttributeValue", &error))?;
        let mut facts =
            Self { id: Vec::new(), label: String::new(), kind: None, set: Vec::new(), problems: Vec::new() };
        let mut flags = Vec::new();
        for attribute in found {
            match attribute {
                Attribute::Id(id) => facts.id = id,
                Attribute::Label(label) => {
                    facts.label = String::from_utf8_lossy(&label).into_owned();
                }
                Attribute::KeyType(kind) => facts.kind = Some(kind),
                other => flags.push(other),
            }
        }
        let all = MUST.iter().chain(&MUST_NOT).chain(&MAY);
        facts.set =
            all.filter(|(kind, _)| flag(&flags, *kind) == Some(true)).map(|(_, name)| *name).collect();
        for (kind, name) in MUST {
            if flag(&flags, kind) != Some(true) {
                facts.problems.push(format!("{name} is not true"));
            }
        }
        for (kind, name) in MUST_NOT {
            if flag(&flags, kind) == Some(true) {
                facts.problems.push(format!("{name} is not false"));
            }
        }
        Ok(facts)
    }
}

fn flag(flags: &[Attribute], kind: AttributeType) -> Option<bool> {
    flags.iter().find(|flag| flag.attribute_type() == kind).and_then(|flag| match flag {
        Attribute::Sensitive(on)
        | Attribute::AlwaysSensitive(on)
        | Attribute::NeverExtractable(on)
        | Attribute::Private(on)
        | Attribute::Sign(on)
        | Attribute::Extractable(on)
        | Attribute::Wrap(on)
        | Attribute::Unwrap(on)
        | Attribute::Decrypt(on)
        | Attribute::Derive(on)
        | Attribute::Local(on)
        | Attribute::AlwaysAuthenticate(on) => Some(*on),
        _ => None,
    })
}

/// `CKA_ALLOWED_MECHANISMS` where the token has it and restricts anything.
fn allowed_mechanisms(
    session: &Session,
    handle: ObjectHandle,
) -> Option<Vec<cryptoki::mechanism::MechanismType>> {
    let found = session.get_attributes(handle, &[AttributeType::AllowedMechanisms]).ok()?;
    found.into_iter().find_map(|attribute| match attribute {
        Attribute::AllowedMechanisms(list) if !list.is_empty() => Some(list),
        _ => None,
    })
}

/// The public half, from the one public object with the same id. Private objects do not show it on every token.
fn public(session: &Session, id: &[u8], kind: Option<KeyType>) -> Result<Material, Fault> {
    let handle = only(session, ObjectClass::PUBLIC_KEY, id)?;
    public_half(session, handle, kind)
}

/// What one public object holds.
pub(super) fn public_of(session: &Session, handle: ObjectHandle) -> Result<Material, Fault> {
    let found = session
        .get_attributes(handle, &[AttributeType::KeyType])
        .map_err(|error| fault("C_GetAttributeValue", &error))?;
    let kind = found.into_iter().find_map(|attribute| match attribute {
        Attribute::KeyType(kind) => Some(kind),
        _ => None,
    });
    public_half(session, handle, kind)
}

/// What one public object holds, if it is of the type that is due.
fn public_half(session: &Session, handle: ObjectHandle, kind: Option<KeyType>) -> Result<Material, Fault> {
    // Only what its type has: a token may stumble over attributes that are newer than itself.
    let own: &[AttributeType] = match kind {
        Some(KeyType::RSA) => &[AttributeType::Modulus, AttributeType::PublicExponent],
        Some(KeyType::EC | KeyType::EC_EDWARDS) => &[AttributeType::EcParams, AttributeType::EcPoint],
        Some(KeyType::ML_DSA) => &[AttributeType::ParameterSet, AttributeType::Value],
        _ => &[],
    };
    let found = session
        .get_attributes(handle, &[&[AttributeType::KeyType], own].concat())
        .map_err(|error| fault("C_GetAttributeValue", &error))?;
    let (mut public_kind, mut n, mut e, mut params, mut point, mut set, mut value) = Default::default();
    for attribute in found {
        match attribute {
            Attribute::KeyType(known) => public_kind = Some(known),
            Attribute::Modulus(bytes) => n = bytes,
            Attribute::PublicExponent(bytes) => e = bytes,
            Attribute::EcParams(bytes) => params = bytes,
            Attribute::EcPoint(bytes) => point = bytes,
            Attribute::ParameterSet(known) => set = Some(known),
            Attribute::Value(bytes) => value = bytes,
            _ => {}
        }
    }
    if public_kind != kind {
        return Err(Fault::misconfigured("private and public key are of different types"));
    }
    match kind {
        Some(KeyType::RSA) => Ok(Material::Rsa { n, e }),
        Some(KeyType::EC) => ec(&params, &point).map_err(Fault::misconfigured),
        Some(KeyType::EC_EDWARDS) => ed25519(&params, &point).map_err(Fault::misconfigured),
        Some(KeyType::ML_DSA) => ml_dsa(set, value).map_err(Fault::misconfigured),
        _ => Err(Fault::misconfigured("its type is none of RSA, EC, Ed25519 and ML-DSA")),
    }
}
