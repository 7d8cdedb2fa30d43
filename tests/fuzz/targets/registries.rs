//! Any name and any `registries.conf`: what a name means keeps its tag and digest, wherever it leads.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| sampan_image::fuzzing::names_and_registries(text));
