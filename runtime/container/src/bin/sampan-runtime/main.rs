//! `sampan-runtime`: the OCI runtime command line.
fn main() {}
