//! JWS compact form (RFC 7515 section 3.1). Splits and joins; never verifies and never reads what is inside.

use super::base64url::{decode, encode_into, encoded_len};

/// `BASE64URL(header) . BASE64URL(payload)`: the exact bytes that are signed.
pub fn signing_input(header: &[u8], payload: &[u8]) -> String {
    let len = encoded_len(header.len()) + 1 + encoded_len(payload.len());
    let mut input = String::with_capacity(len);
    encode_into(header, &mut input);
    input.push('.');
    encode_into(payload, &mut input);
    input
}
/// A signing input and its signature, joined.
pub fn seal(signing_input: &str, signature: &super::Signature) -> String {
    let len = signing_input.len() + 1 + encoded_len(signature.as_bytes().len());
    let mut token = String::with_capacity(len);
    token.push_str(signing_input);
    token.push('.');
    encode_into(signature.as_bytes(), &mut token);
    token
}

/// The parts of a compact JWS, decoded, not verified.
pub struct Parts<'a> {
    /// The text that was signed: header, full stop, payload.
    pub signing_input: &'a str,
    /// The header's bytes.
    pub header: Vec<u8>,
    /// The payload's bytes.
    pub payload: Vec<u8>,
    /// The signature's bytes, of any length but zero.
    pub signature: Vec<u8>,
}
/// Why a text is not a compact JWS.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a JWS in compact form: {0}")]
pub struct NotCompact(pub &'static str);
/// Splits and decodes.
///
/// # Errors
/// Whatever is not exactly three parts of canonical base64url, none of them empty (RFC 8725bis section 3.14). So
/// unsigned, detached and JSON-serialized forms are refused here.
pub fn split(token: &str) -> Result<Parts<'_>, NotCompact> {
    let (signing_input, signature) = token.rsplit_once('.').ok_or(NotCompact("it has no full stop"))?;
    let (header, payload) =
        signing_input.split_once('.').ok_or(NotCompact("it has two parts where three are due"))?;
    if payload.contains('.') {
        return Err(NotCompact("it has more than three parts"));
    }
    let part = |text: &str, fault| match decode(text) {
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(NotCompact(fault)),
    };
    Ok(Parts {
        signing_input,
        header: part(header, "the header is empty or not canonical base64url")?,
        payload: part(payload, "the payload is empty or not canonical base64url")?,
        signature: part(signature, "the signature is empty or not canonical base64url")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_it_joins() {
        let input = signing_input(br#"{"alg":"ES256"}"#, b"{}");
        assert_eq!(input, "eyJhbGciOiJFUzI1NiJ9.e30");
        let token = format!("{input}.AAEC");
        let parts = split(&token).unwrap();
        assert_eq!(parts.signing_input, input);
        assert_eq!(parts.header, br#"{"alg":"ES256"}"#);
        assert_eq!(parts.payload, b"{}");
        assert_eq!(parts.signature, [0, 1, 2]);
    }

    #[test]
    fn refuses_every_other_form() {
        for bad in [
            "",
            ".",
            "..",
            "e30",
            "e30.e30",
            "e30.e30.",
            "e30..AAEC",
            ".e30.AAEC",
            "e30.e30.AAEC.",
            "e30.e30.AAEC.AAEC",
            "e30.e30.AAEC.AAEC.AAEC",
            "e30.e30.AAEC=",
            "e30=.e30.AAEC",
            "e30.e30.AAE+",
            "e30.e30.AB",
            "e31.e30.AAEC",
            " e30.e30.AAEC",
            "e30.e30.AAEC\n",
            "e30.e 30.AAEC",
            r#"{"payload":"e30","signatures":[]}"#,
        ] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }
}
