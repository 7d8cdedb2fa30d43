//! What `tests/fuzz` calls: everything that reads what a machine of the network may have sent.
//! Nothing of the host is opened or changed here.

use crate::dhcp;

/// A frame from the network of a container that gets its address by DHCP. The first byte says whether
/// headers are put right first, which chance would not do: those of an answer to our own question (1), or
/// those of ARP (2).
///
/// # Panics
/// If something is taken for an answer that isn't one to our question, or if what a server grants could do more
/// harm than a wrong network.
pub fn frame(input: &[u8]) {
    let Some((flags, bytes)) = input.split_first() else { return };
    dhcp::fuzz(*flags, bytes);
}
