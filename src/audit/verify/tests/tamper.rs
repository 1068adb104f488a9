//! Every change of a sealed log is found.

/// The line with the checksum that it should have.
pub(super) fn with_crc(line: &[u8]) -> Vec<u8> {
    let covered = &line[..line.len() - 18];
    [covered, format!(",\"crc\":\"{:08x}\"}}", crc32fast::hash(covered)).as_bytes()].concat()
}
