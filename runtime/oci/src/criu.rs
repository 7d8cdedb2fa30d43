//! `checkpoint` and `restore`.
pub(crate) mod dump;
pub(crate) mod restore;
