//! Any frame from a network with a DHCP server: it is read to its end without a panic, what isn't the answer to our
//! own question is none, what is granted makes sense, and nobody owns an address who doesn't say so.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sampan_network::fuzzing::frame(bytes));
