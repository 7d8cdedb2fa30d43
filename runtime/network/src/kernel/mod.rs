//! The kernel's side of a network: everything said over netlink, and the few
//! settings that only `/proc/sys` has.
//!
//! - [`netlink`]: one socket, batches of messages, and the kernel's own words
//!   when it refuses one;
//! - [`link`]: links, addresses and routes (rtnetlink(7)), [`dynamic`]: those that change;
//!   [`macvlan`]: links that are on others; [`interface`]: those that there are;
//! - [`namespace`]: sockets that live in another network namespace;
//! - [`sysctl`]: packet forwarding, router advertisements.

pub(crate) mod dynamic;
pub(crate) mod interface;
pub(crate) mod link;
pub(crate) mod macvlan;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod sysctl;
