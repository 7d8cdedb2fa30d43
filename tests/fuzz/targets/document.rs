//! Any manifest, index or configuration: it is read without a panic, or refused in words.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sampan_image::fuzzing::document(bytes));
