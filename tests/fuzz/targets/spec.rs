//! Any `config.json`: everything in it is read and checked without a panic, and refused in words.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| sampan_container::fuzzing::spec(text));
