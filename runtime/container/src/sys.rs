//! The system calls that no crate wraps safely, and the only `unsafe` code of this crate.
