//! Bytes into `checks::condition`: a panic or a hang is a finding.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::condition(bytes);
});
