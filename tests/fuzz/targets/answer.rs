//! Any answer of a registry: its challenge, its redirect, its pause, its token, its error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sampan_image::fuzzing::answer(bytes));
