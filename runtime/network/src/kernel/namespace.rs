//! Stepping into another network namespace for a moment (setns(2)).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Result};

/// Runs `inside` with the calling thread in the network namespace `netns`, and
/// comes back.
///
/// Sockets that `inside` opens stay in that namespace for as long as they live.
///
/// # Errors
/// What `inside` returns; [`Error::Kernel`] if the thread can't go there or,
/// which only a vanished `/proc` can cause, can't come back: then it is no
/// longer where the caller thinks, and the caller should end.
pub(crate) fn within<T>(netns: BorrowedFd<'_>, inside: impl FnOnce() -> Result<T>) -> Result<T> {
    let network = Some(LinkNameSpaceType::Network);
    let home =
        File::open("/proc/thread-self/ns/net").map_err(Error::file("open", "/proc/thread-self/ns/net"))?;
    move_into_link_name_space(netns, network)
        .map_err(|e| Error::kernel("enter the container's network namespace")(e.into()))?;
    let result = inside();
    move_into_link_name_space(home.as_fd(), network)
        .map_err(|e| Error::kernel("return to the host's network namespace")(e.into()))?;
    result
}
