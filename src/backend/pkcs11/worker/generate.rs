//! Making keys. Every attribute that protects a key is set explicitly, and read back afterwards: the defaults differ
//! between tokens, and some are dangerous.

use super::super::protocol::Material;
use super::Fault;
use super::fault::fault;
use super::keys;
use super::mechanism::Plan;
use super::point;
use super::token::Token;
use crate::jose::hex;
use crate::jose::{Algorithm, KeyType};
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// Makes a key pair under `id`, which must be free, and returns its public half.
pub(super) fn generate(
    token: &Token,
    id: &[u8],
    label: &str,
    algorithm: Algorithm,
    rsa_bits: u32,
) -> Result<Material, Fault> {
    if id.is_empty() {
        return Err(Fault::bug("a key needs an id"));
    }
    if Plan::choose(algorithm, |mechanism| token.offers(mechanism)).is_none() {
        return Err(Fault::misconfigured(format!(
            "the token does not know {}: choose another algorithm or token",
            algorithm.name()
        )));
    }
    let session = token.open_rw_session()?;
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        if !keys::find(&session, class, id)?.is_empty() {
            return Err(Fault::misconfigured(format!(
                "the token already has a key with CKA_ID {}: choose another id",
                hex(id)
            )));
        }
    }
    let made =
        make(&session, id, label, algorithm, rsa_bits).map_err(|error| fault("C_GenerateKeyPair", &error))?;
    match keys::check(token, &session, id, algorithm) {
        Ok((_, _, public)) => Ok(public),
        Err(fault) => {
            // A key that may not be used is not left behind under a name that will be wanted again.
            for object in made {
                let _ = session.destroy_object(object);
            }
            Err(fault)
        }
    }
}

fn make(
    session: &Session,
    id: &[u8],
    label: &str,
    algorithm: Algorithm,
    rsa_bits: u32,
) -> Result<[ObjectHandle; 2], Error> {
    let pair = |mechanism: &Mechanism<'_>, kind: Vec<Attribute>| {
        let public = [public_template(id, label), kind].concat();
        session
            .generate_key_pair(mechanism, &public, &private_template(id, label))
            .map(|(public, private)| [public, private])
    };
    match algorithm.key_type() {
        KeyType::Rsa => pair(
            &Mechanism::RsaPkcsKeyPairGen,
            vec![
                Attribute::ModulusBits(u64::from(rsa_bits).into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ],
        ),
        KeyType::Ec(curve) => {
            pair(&Mechanism::EccKeyPairGen, vec![Attribute::EcParams(point::curve_oid(curve).to_vec())])
        }
        // Tokens want either the one or the other; nothing says which beforehand.
        KeyType::Ed25519 => {
            let named = |name: &[u8]| vec![Attribute::EcParams(name.to_vec())];
            pair(&Mechanism::EccEdwardsKeyPairGen, named(point::ED25519_NAME))
                .or_else(|_| pair(&Mechanism::EccEdwardsKeyPairGen, named(point::ED25519_OID)))
        }
        KeyType::MlDsa(set) => {
            pair(&Mechanism::MlDsaKeyPairGen, vec![Attribute::ParameterSet(point::parameter_set(set))])
        }
    }
}

fn public_template(id: &[u8], label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

fn private_template(id: &[u8], label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::SignRecover(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}
