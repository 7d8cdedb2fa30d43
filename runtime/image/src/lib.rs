//! Container images: from a name to a stack of directories ready for overlayfs.
//!
//! The way through it, in the order in which a pull uses the modules:
//!
//! 1. [`Source::parse`] turns what a unit file says into a [`Source`]; names without a registry go
//!    through [`Registries`] (`registries.conf`), which also knows mirrors, blocked and insecure
//!    registries. [`Reference`] is a complete name.
//! 2. [`Policy`] (`policy.json`) decides whether the image may be used at all. Where it requires a signature,
//!    `signature` knows where those are, and what they prove.
//! 3. [`pull()`] opens the source: `registry` is the client for registries (with `auth` for
//!    `auth.json`), `transport` reads directories and archives. Both hand out manifests and blobs;
//!    `manifest` chooses the platform and parses.
//! 4. Each layer runs through `fetch` (decompress, and verify both digests while streaming) into
//!    `unpack`, which writes it below a directory descriptor as if the archive were hostile.
//! 5. [`Store`] makes the result visible by renames, finds it again and removes it.
//!
//! The other way, [`save_archive`] makes the archives of layers again (`export`); [`load()`] reads what
//! it wrote, or what other tools did. `remote` asks a registry without fetching anything.
//!
//! Artifacts (`artifact`) are blobs that are kept as they came.
//!
//! Nothing is visible before it is verified, and a process killed at any moment leaves nothing that
//! the next one has to repair. The crate has no unsafe code, no async runtime and no global state.

#![forbid(unsafe_code)]

mod artifact;
mod auth;
mod compression;
mod digest;
mod error;
mod export;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod healthcheck;
mod json;
mod load;
mod manifest;
mod platform;
mod policy;
mod progress;
mod pull;
mod reference;
mod registries;
mod registry;
mod remote;
mod signature;
mod source;
mod store;
mod transport;
mod unpack;

pub use artifact::{Artifact, ArtifactFile, is_file_name, pull_artifact};
pub use auth::{Login, LoginKey};
pub use digest::{Digest, InvalidDigest};
pub use error::{Error, Result};
pub use export::{SaveFormat, SaveOptions, Saved, save_archive, save_directory};
pub use healthcheck::Healthcheck;
pub use load::{Input, Loaded, load};
pub use platform::Platform;
pub use policy::Policy;
pub use progress::Progress;
pub use pull::{Credentials, PullOptions, pull};
pub use reference::Reference;
pub use registries::Registries;
pub use remote::{tag_digest, tags};
pub use source::{ArchiveSelect, Source, StorageName};
pub use store::{
    Broken, Checked, Collected, DEFAULT_ROOT, Depth, Fault, Hold, Image, Prune, Pruned, Removal, Removed,
    Repaired, Store, Trial, Usage,
};
