//! Any profile in the format of containers-common: as a filter, once its conditions are resolved.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| sampan_container::fuzzing::profile(text));
