//! Checking the store (fsck), and mending it.
//!
//! Nothing of ours makes a store that needs this: see the rules in [`super`]. But disks forget what they said was
//! written, and people remove and edit files. `scan` finds what is wrong and changes nothing; `repair` mends what can
//! be mended here, without touching what is good or in use, and says of each thing what it did. What is left are
//! images and artifacts that lack something ([`Broken`]): those are fetched again, or forgotten.

mod repair;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use crate::digest::Digest;

pub use repair::Repaired;

/// How closely a store is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All records, manifests and configurations; the names, owners, modes, sizes and times of all files of layers.
    Quick,
    /// Also the content of all files.
    Full,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Images and artifacts that lack something.
    pub broken: Vec<Broken>,
    /// Images that were looked at.
    pub images: usize,
    /// Layers that were looked at.
    pub layers: usize,
    /// Of these, layers of which nothing was noted when they were unpacked: only their presence was checked.
    pub unsurveyed: usize,
    /// A pull was running: what it brings looks like leftovers, so none were looked for.
    pub busy: bool,
}

/// An image or artifact that lacks something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Id of the image; the name of an artifact.
    pub id: String,
    /// Names that lead to it.
    pub names: Vec<String>,
    /// `registry/path@digest` names by which a registry has it.
    pub repo_digests: Vec<String>,
    /// Whether it is an artifact.
    pub is_artifact: bool,
    /// Whether it can't be used as it is. An image without its manifest runs.
    pub is_unusable: bool,
}

impl Broken {
    /// What people call it.
    pub fn shown(&self) -> &str {
        self.names.first().or(self.repo_digests.first()).unwrap_or(&self.id)
    }
}

/// One thing that is wrong. Printed, it is a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A record that can't be read.
    Record { of: Of, path: PathBuf, reason: String },
    /// A manifest, configuration or file of an artifact.
    Blob { what: &'static str, digest: Digest, wrong: String, of: String },
    /// An unpacked layer.
    Layer { diff_id: Digest, wrong: String, of: Vec<String> },
    /// A name that leads nowhere.
    Name { name: String },
    /// An image whose record lists other names than those that lead to it.
    Names { image: Digest },
    /// What nothing refers to.
    Garbage { what: &'static str, count: usize, bytes: u64 },
    /// What doesn't belong here.
    Stranger { path: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Name,
    Image,
    Artifact,
}

impl Fault {
    /// Whether it is only something that nobody needs, or that nobody knows.
    pub fn is_harmless(&self) -> bool {
        matches!(self.0, Kind::Garbage { .. } | Kind::Stranger { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Record { of, path, reason } => {
                let of = match of {
                    Of::Name => "a name",
                    Of::Image => "an image",
                    Of::Artifact => "an artifact",
                };
                write!(f, "the record of {of}, {}, can't be read: {reason}", path.display())
            }
            Kind::Blob { what, digest, wrong, of } => write!(f, "the {what} {digest} of {of} {wrong}"),
            Kind::Layer { diff_id, wrong, of } => {
                write!(f, "the layer {diff_id} of {} {wrong}", of.join(", "))
            }
            Kind::Name { name } => write!(f, "the name {name} leads to no image"),
            Kind::Names { image } => {
                write!(f, "the record of image {} lists other names than lead to it", &image.hex()[..12])
            }
            Kind::Garbage { what, count, bytes: 0 } => write!(f, "{count} {what} that nothing refers to"),
            Kind::Garbage { what, count, bytes } => {
                write!(f, "{count} {what} that nothing refers to, with {bytes} bytes")
            }
            Kind::Stranger { path } => write!(f, "{} is not ours and is left alone", path.display()),
        }
    }
}
