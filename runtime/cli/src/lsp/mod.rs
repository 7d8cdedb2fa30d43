//! What an editor needs to know of Quadlet files.

pub(crate) mod files;
