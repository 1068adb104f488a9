//! What parent and worker say to each other. Pure bytes; never logged, because one control frame is the PIN.
//!
//! Control socket: `u32` length, JSON; strictly one answer per request. The first two frames from the parent are
//! [`Init`] and the bare PIN. Session sockets: `u32` length, `u32` id, `u16` key index, data; answers are `u32`
//! length, `u32` id, one status byte, then the signature or the fault as JSON. Integers are little endian. An index
//! stands for one key together with one algorithm, both checked when it was opened.

use super::{Fault, TokenSelector};
use crate::backend::Listed;
use crate::jose::{Algorithm, MlDsa};
use bytes::{Buf as _, BytesMut};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Largest control frame, bytes: room for a list of thousands of keys.
pub(super) const MAX_CONTROL: usize = 8 << 20;
/// Largest signing input, bytes. Far above any JWT.
pub(super) const MAX_INPUT: usize = 1 << 20;
/// Bytes of a request frame before its data, length included.
pub(super) const REQUEST_HEAD: usize = 4 + 4 + 2;
/// Room for one read from a session socket.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// First control frame: what the worker serves.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Init {
    pub name: String,
    pub module: PathBuf,
    pub token: TokenSelector,
    pub sessions: u16,
    pub marker_dir: PathBuf,
}

/// A control request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Request {
    Open {
        key: Which,
        algorithm: Algorithm,
    },
    Generate {
        id: Vec<u8>,
        label: String,
        algorithm: Algorithm,
        rsa_bits: u32,
    },
    FindMade {
        id: Vec<u8>,
    },
    /// `thumbprint` is that of the public half (RFC 7638).
    Destroy {
        id: Vec<u8>,
        thumbprint: String,
    },
    List,
    Stats,
}

/// Which key is to be opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Which {
    Id(Vec<u8>),
    /// A PKCS#11 URI or a hex `CKA_ID`, as an operator writes it.
    Name(String),
    /// The one with this public half, a JWK.
    Public(serde_json::Value),
}

/// A control answer. `Ready` answers [`Init`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// `wrong_pin`: the token counted a wrong one between the last good login and this one.
    Ready {
        token: String,
        sessions: u16,
        wrong_pin: bool,
    },
    Opened {
        id: Vec<u8>,
        label: String,
        index: u16,
        public: Material,
    },
    Generated {
        public: Material,
    },
    FoundMade {
        made: bool,
    },
    Destroyed,
    Listed {
        keys: Vec<Listed>,
    },
    Stats {
        signs: u64,
    },
    Failed {
        fault: Fault,
        pin_refused: bool,
    },
}

/// A public key as the token gave it, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { point: Vec<u8> },
    P384 { point: Vec<u8> },
    P521 { point: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    MlDsa { set: MlDsa, key: Vec<u8> },
}

/// A length that no honest peer sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes, which is outside the protocol")]
pub(super) struct BadFrame(pub usize);

/// Writes one control frame (worker's side).
pub(super) fn write_control(socket: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    seal(&mut frame);
    socket.write_all(&frame)
}

/// Reads one control frame (worker's side).
pub(super) fn read_control(socket: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_CONTROL {
        return Err(io::Error::other(BadFrame(length)));
    }
    // Allocated once, so that the PIN is not left behind in a buffer that grew.
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok(body)
}

/// Sets the length that the first four bytes of a frame are for.
pub(super) fn seal(frame: &mut [u8]) {
    let length = u32::try_from(frame.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(head) = frame.first_chunk_mut() {
        *head = length.to_le_bytes();
    }
}

/// A request frame for `input`, with id and key index still to be set by [`address`].
pub(super) fn sign_request(input: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(REQUEST_HEAD + input.len());
    frame.extend_from_slice(&[0; REQUEST_HEAD]);
    frame.extend_from_slice(input);
    seal(&mut frame);
    frame
}

/// Sets id and key index of a request frame.
pub(super) fn address(frame: &mut [u8], id: u32, index: u16) {
    if let Some(head) = frame.first_chunk_mut::<REQUEST_HEAD>() {
        head[4..8].copy_from_slice(&id.to_le_bytes());
        head[8..].copy_from_slice(&index.to_le_bytes());
    }
}

/// Takes the next complete frame (without its length) out of what was read so far.
pub(super) fn take_frame(buffer: &mut BytesMut) -> Result<Option<BytesMut>, BadFrame> {
    let Some(length) = buffer.first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if !(5..=MAX_INPUT + REQUEST_HEAD).contains(&length) {
        return Err(BadFrame(length));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length)))
}

/// Id, key index and data of a request frame from [`take_frame`].
pub(super) fn parse_request(frame: &[u8]) -> Result<(u32, u16, &[u8]), BadFrame> {
    let bad = BadFrame(frame.len());
    let Some((id, rest)) = frame.split_first_chunk() else {
        return Err(bad);
    };
    let Some((index, data)) = rest.split_first_chunk() else {
        return Err(bad);
    };
    Ok((u32::from_le_bytes(*id), u16::from_le_bytes(*index), data))
}

/// One answer of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub id: u32,
    /// Signature, or why there is none.
    pub result: Result<Vec<u8>, Fault>,
    /// The module needs to be initialized anew: replace the worker.
    pub replace: bool,
}

const FAULT: u8 = 1;
const REPLACE: u8 = 0x80;

/// Appends an answer frame to `out`.
pub(super) fn write_answer(out: &mut Vec<u8>, answer: &Answer) {
    let fault;
    let (status, payload) = match &answer.result {
        Ok(signature) => (0, signature.as_slice()),
        Err(why) => {
            // A struct of texts and numbers always serializes; the parent takes an empty text for a broken frame.
            fault = serde_json::to_vec(why).unwrap_or_default();
            (FAULT, fault.as_slice())
        }
    };
    let status = status | if answer.replace { REPLACE } else { 0 };
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&answer.id.to_le_bytes());
    out.push(status);
    out.extend_from_slice(payload);
    if let Some(frame) = out.get_mut(start..) {
        seal(frame);
    }
}

/// Reads an answer frame from [`take_frame`].
pub(super) fn parse_answer(frame: &[u8]) -> Result<Answer, BadFrame> {
    let bad = || BadFrame(frame.len());
    let (id, rest) = frame.split_first_chunk().ok_or_else(bad)?;
    let (status, payload) = rest.split_first().ok_or_else(bad)?;
    let result = match status & !REPLACE {
        0 => Ok(payload.to_vec()),
        _ => Err(serde_json::from_slice(payload).map_err(|_| bad())?),
    };
    Ok(Answer { id: u32::from_le_bytes(*id), result, replace: status & REPLACE != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Class;
    use proptest::prelude::*;

    #[test]
    fn requests_survive_the_way() {
        let mut buffer = BytesMut::new();
        for (id, index, data) in [(1, 0, b"abc".as_slice()), (u32::MAX, 65535, b"")] {
            let mut frame = sign_request(data);
            address(&mut frame, id, index);
            buffer.extend_from_slice(&frame);
        }
        buffer.extend_from_slice(&[9, 0, 0]);
        let first = take_frame(&mut buffer).unwrap().unwrap();
        assert_eq!(parse_request(&first).unwrap(), (1, 0, b"abc".as_slice()));
        let second = take_frame(&mut buffer).unwrap().unwrap();
        assert_eq!(parse_request(&second).unwrap(), (u32::MAX, 65535, b"".as_slice()));
        assert_eq!(take_frame(&mut buffer).unwrap(), None);
    }

    #[test]
    fn answers_survive_the_way() {
        let classes =
            [Class::Busy, Class::Down, Class::Deadline, Class::Misconfigured, Class::Untrusted, Class::Bug];
        let failures = classes.map(|class| Err(Fault::new(class, "why")));
        for (id, result) in (7..).zip(failures.into_iter().chain([Ok(vec![0, 1, 2])])) {
            for replace in [false, true] {
                let answer = Answer { id, result: result.clone(), replace };
                let mut out = Vec::new();
                write_answer(&mut out, &answer);
                let frame = take_frame(&mut BytesMut::from(&out[..])).unwrap().unwrap();
                assert_eq!(parse_answer(&frame).unwrap(), answer);
            }
        }
    }

    #[test]
    fn absurd_lengths_are_refused() {
        for length in [0u32, 4, u32::MAX] {
            let mut buffer = BytesMut::from(&length.to_le_bytes()[..]);
            assert_eq!(take_frame(&mut buffer), Err(BadFrame(length as usize)));
        }
        let mut huge: &[u8] = &u32::MAX.to_le_bytes();
        assert!(read_control(&mut huge).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_request(&bytes);
            let _ = parse_answer(&bytes);
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = take_frame(&mut buffer) {
                prop_assert!(frame.len() >= 5);
            }
        }
    }
}
