//! Keys by the names that operators give them: a PKCS#11 URI or a `CKA_ID` in hex. A name fits exactly one key, or
//! the fault says what there is.

use super::super::uri::{Attribute, ObjectType, Uri};
use super::Fault;
use super::fault::fault;
use super::token::Token;
use crate::jose::hex;
use cryptoki::object::{Attribute as Value, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// Keys that a fault lists at most.
const SHOWN: usize = 20;

/// The attributes of a token that its URI has.
const OF_TOKEN: [Attribute; 4] =
    [Attribute::Token, Attribute::Manufacturer, Attribute::Serial, Attribute::Model];

/// The `CKA_ID` of the one private key that `name` fits.
pub(super) fn locate(token: &Token, session: &Session, name: &str) -> Result<Vec<u8>, Fault> {
    let wanted = read(token, name)?;
    let all = [Value::Class(ObjectClass::PRIVATE_KEY), Value::Token(true)];
    let mut template = all.to_vec();
    template.extend(wanted.id.clone().map(Value::Id));
    template.extend(wanted.get(Attribute::Object).map(|label| Value::Label(label.into())));
    let found = session.find_objects(&template).map_err(|error| fault("C_FindObjects", &error))?;
    match found.as_slice() {
        [handle] => match id_and_label(session, *handle)?.0 {
            id if id.is_empty() => Err(Fault::misconfigured(
                "this key has no CKA_ID, by which it would be found again: give it one with the vendor's tool",
            )),
            id => Ok(id),
        },
        [] => Err(Fault::misconfigured(format!(
            "no private key has this name; the token has {}",
            shown(token, session, &all)
        ))),
        _ => Err(Fault::misconfigured(format!(
            "this name fits several private keys: {}; name the id too, and give each key its own",
            shown(token, session, &template)
        ))),
    }
}

/// What is said of the key, once all that is said of the token is found to be so.
fn read(token: &Token, name: &str) -> Result<Uri, Fault> {
    if let Some(id) = unhex(name) {
        let mut uri = Uri::default();
        uri.id = Some(id);
        return Ok(uri);
    }
    let wrong = |problem: String| Fault::misconfigured(format!("the key's name: {problem}"));
    if !name.contains(':') {
        return Err(wrong("write a PKCS#11 URI (pkcs11:object=LABEL) or the CKA_ID in hex".into()));
    }
    let uri: Uri = name.parse().map_err(|error: super::super::uri::UriError| wrong(error.to_string()))?;
    if let Some(other) = uri.beyond(&["token", "manufacturer", "serial", "model", "object", "type", "id"]) {
        return Err(wrong(format!("leave {other} out: the backend's configuration says where the token is")));
    }
    for attribute in OF_TOKEN {
        let own = token.uri.get(attribute).unwrap_or_default();
        if uri.get(attribute).is_some_and(|wanted| wanted != own) {
            return Err(wrong(format!("it is of another token: {} is {own:?} here", attribute.name())));
        }
    }
    if uri.object_type.is_some_and(|kind| kind != ObjectType::Private) {
        return Err(wrong("a signing key is of type=private".into()));
    }
    if uri.id.as_ref().is_none_or(Vec::is_empty) && uri.get(Attribute::Object).is_none_or(str::is_empty) {
        return Err(wrong("say which key: write object=LABEL or id=%..".into()));
    }
    Ok(uri)
}

/// The URI of a key. A label that is not text is left out; the id names the key without it.
pub(super) fn uri(token: &Token, id: &[u8], label: &str) -> Uri {
    let mut uri = token.uri.clone();
    if !label.is_empty() && !label.contains(char::REPLACEMENT_CHARACTER) {
        uri = uri.with(Attribute::Object, label);
    }
    uri.object_type = Some(ObjectType::Private);
    uri.id = (!id.is_empty()).then(|| id.to_vec());
    uri
}

/// The keys that a template fits, for people.
fn shown(token: &Token, session: &Session, template: &[Value]) -> String {
    let handles = match session.find_objects(template) {
        Ok(handles) if handles.is_empty() => return "none".into(),
        Ok(handles) => handles,
        Err(_) => return "keys that it does not show".into(),
    };
    let name = |handle: &ObjectHandle| match id_and_label(session, *handle) {
        Ok((id, label)) => format!("{label:?} (id {})", hex(&id)),
        Err(_) => "one that cannot be read".into(),
    };
    let names: Vec<String> = handles.iter().take(SHOWN).map(name).collect();
    let more = handles.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more} (token {})", names.join(", "), token.name)
}

fn id_and_label(session: &Session, handle: ObjectHandle) -> Result<(Vec<u8>, String), Fault> {
    let wanted = [AttributeType::Id, AttributeType::Label];
    let found =
        session.get_attributes(handle, &wanted).map_err(|error| fault("C_GetAttributeValue", &error))?;
    let (mut id, mut label) = (Vec::new(), String::new());
    for attribute in found {
        match attribute {
            Value::Id(value) => id = value,
            Value::Label(value) => label = String::from_utf8_lossy(&value).into_owned(),
            _ => {}
        }
    }
    Ok((id, label))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() % 2 == 1 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::unhex;

    #[test]
    fn hex_is_read_whole_or_not_at_all() {
        assert_eq!(unhex("00fFa1"), Some(vec![0, 0xff, 0xa1]));
        for text in ["", "0", "000", "+1", "0x01", "zz", "\u{e1}", "pkcs11:id=%01"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
