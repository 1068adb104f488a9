//! Where one request ends and the next begins, judged more strictly than hyper does.
//!
//! hyper reads a bare line feed as a line end and drops a repeated `Content-Length` before anyone can see it. Both are
//! allowed to a lenient reader (RFC 9112 sections 2.2 and 6.3) and both are how two readers come to disagree on where a
//! request ends. This follows the same bytes, keeps only counts, and says what is wrong. It must never be more lenient
//! than hyper; where it is ignorant (a chunked body, a malformed number) the gate or hyper refuses the request.

use super::Rejection;

const CONTENT_LENGTH: &[u8] = b"content-length:";

/// The framing of one direction of one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    at: At,
    /// Bytes of the line so far, its end not counted.
    column: usize,
    /// How much of [`CONTENT_LENGTH`] the line has matched; all of it once it is such a line.
    matched: usize,
    last: u8,
    lengths: u8,
    length: u64,
    whole: u64,
    fault: Option<Rejection>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing of the next request has come.
    #[default]
    Between,
    Head,
    /// This many bytes of the body are to come.
    Body(u64),
}

impl Framing {
    /// Follows bytes as they arrive, in pieces of any size.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.at {
                At::Body(left) => self.body(left, bytes),
                At::Between | At::Head if self.ignoring() => self.skip_line(bytes),
                At::Between | At::Head => {
                    self.head(byte);
                    rest
                }
            };
        }
    }

    /// Requests that have come in whole.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    /// Part of a request has come, but not all.
    pub(super) fn mid_request(&self) -> bool {
        self.at != At::Between
    }

    /// The first fault of this connection. It stays: after one, nothing that follows can be trusted to start where it seems to.
    pub(super) fn fault(&self) -> Option<Rejection> {
        self.fault
    }

    /// The rest of the line cannot matter.
    fn ignoring(&self) -> bool {
        self.column > self.matched
    }

    fn skip_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let skip = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
        let (skipped, rest) = bytes.split_at(skip);
        if let Some(&last) = skipped.last() {
            self.last = last;
        }
        match rest.split_first() {
            Some((&byte, rest)) => {
                self.head(byte);
                rest
            }
            None => rest,
        }
    }

    fn head(&mut self, byte: u8) {
        if self.at == At::Between {
            self.at = At::Head;
            // A head begins with a request line, so an empty first line is a fault and not its end.
            if byte == b'\r' || byte == b'\n' {
                self.fault.get_or_insert(Rejection::Malformed);
                self.column = 1;
            }
        }
        match byte {
            b'\n' => self.line_end(),
            b'\r' => {}
            _ => self.text(byte),
        }
        self.last = byte;
    }

    fn text(&mut self, byte: u8) {
        match CONTENT_LENGTH.get(self.matched) {
            Some(&wanted) if wanted == byte.to_ascii_lowercase() => {
                self.matched += 1;
                self.column += 1;
                if self.matched == CONTENT_LENGTH.len() {
                    self.lengths = self.lengths.saturating_add(1);
                    self.length = 0;
                }
            }
            Some(_) => self.column += 1,
            // hyper refuses a value that is not digits alone, so the digits are all that is needed.
            None if byte.is_ascii_digit() => {
                let digit = u64::from(byte - b'0');
                self.length = self.length.saturating_mul(10).saturating_add(digit);
            }
            None => {}
        }
    }

    fn line_end(&mut self) {
        if self.last != b'\r' {
            self.fault.get_or_insert(Rejection::Malformed);
        }
        let empty = self.column == 0;
        self.column = 0;
        self.matched = 0;
        if !empty {
            return;
        }
        if self.lengths > 1 {
            self.fault.get_or_insert(Rejection::ContentLength);
        }
        self.at = At::Body(self.length);
        if self.length == 0 {
            self.request_end();
        }
        self.lengths = 0;
        self.length = 0;
    }

    fn body<'a>(&mut self, left: u64, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - here as u64;
        self.at = At::Body(left);
        if left == 0 {
            self.request_end();
        }
        bytes.get(here..).unwrap_or_default()
    }

    fn request_end(&mut self) {
        self.at = At::Between;
        self.whole += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(bytes: &[u8], piece: usize) -> Framing {
        let mut framing = Framing::default();
        for piece in bytes.chunks(piece) {
            framing.follow(piece);
        }
        framing
    }

    #[test]
    fn counts_whole_requests_whatever_the_pieces() {
        let two = b"GET / HTTP/1.1\r\nHost: jwsd\r\n\r\nPOST /v1/sign HTTP/1.1\r\nconTent-lenGth: 12\r\nContent-Length-Not: 4\r\n\r\n\r\n\r\nContent-";
        for piece in 1..=two.len() {
            let framing = followed(two, piece);
            assert_eq!((framing.whole(), framing.fault()), (2, None), "in pieces of {piece}");
            assert!(!framing.mid_request(), "in pieces of {piece}");
            assert!(followed(&two[..two.len() - 1], piece).mid_request());
        }
    }

    #[test]
    fn finds_what_hyper_lets_through() {
        let cases: [(&[u8], Rejection); 8] = [
            (b"GET / HTTP/1.1\nHost: jwsd\r\n\r\n", Rejection::Malformed),
            (b"GET / HTTP/1.1\r\nHost: jwsd\n\r\n", Rejection::Malformed),
            (b"GET / HTTP/1.1\r\nHost: jwsd\r\n\n", Rejection::Malformed),
            (b"GET / HTTP/1.1\r\nContent-Length: 0\n\r\n", Rejection::Malformed),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", Rejection::Malformed),
            (b"\nGET / HTTP/1.1\r\n\r\n", Rejection::Malformed),
            (
                b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
                Rejection::ContentLength,
            ),
            (
                b"POST / HTTP/1.1\r\nContent-Length:2\r\nA: b\r\ncontent-length:\t2\r\n\r\n{}",
                Rejection::ContentLength,
            ),
        ];
        for (bytes, fault) in cases {
            for piece in 1..=bytes.len() {
                assert_eq!(
                    followed(bytes, piece).fault(),
                    Some(fault),
                    "{:?} in {piece}",
                    bytes.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn a_fault_stays() {
        let framing = followed(b"GET / HTTP/1.1\n\nGET / HTTP/1.1\r\n\r\n", 7);
        assert_eq!(framing.fault(), Some(Rejection::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_agrees_with_itself(bytes in proptest::collection::vec(proptest::sample::select(b"content-length: 19\r\n\r\nX\0".to_vec()), 0..400), piece in 1usize..50) {
            let whole = followed(&bytes, bytes.len().max(1));
            let pieces = followed(&bytes, piece);
            proptest::prop_assert_eq!(whole.whole(), pieces.whole());
            proptest::prop_assert_eq!(whole.fault(), pieces.fault());
            proptest::prop_assert_eq!(whole.mid_request(), pieces.mid_request());
        }
    }
}
