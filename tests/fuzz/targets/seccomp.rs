//! Any filter of a `Spec`: it is refused in words, or becomes the same program each time.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| sampan_container::fuzzing::filter(text));
