//! The container's root file system, as its own process builds it: mounts, devices, masks, private procfs.
//!
//! Nothing in here names a file of the rootfs by an absolute path. [`Root`] resolves paths as if the rootfs
//! were `/`, by descriptors; whoever wants to do something to a file does it to the descriptor that comes back.

pub(crate) mod borrowed;
pub(crate) mod cgroupfs;
pub(crate) mod copyup;
pub(crate) mod covers;
pub(crate) mod devices;
pub(crate) mod idmap;
pub(crate) mod masks;
pub(crate) mod mounts;
mod nodes;
pub(crate) mod options;
mod path;
pub(crate) mod procfs;
mod remount;

pub(crate) use path::{Kind, Links, Root};
