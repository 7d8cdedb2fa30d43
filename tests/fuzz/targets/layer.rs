//! Any layer, compressed or not: unpacking it ends, and nothing appears outside of its directory.
//!
//! It happens in `$SAMPAN_FUZZ_SANDBOX`, an empty directory, best in memory; without that in one
//! that is made in `/dev/shm` and stays there.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static SANDBOX: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("SAMPAN_FUZZ_SANDBOX").map(PathBuf::from).unwrap_or_else(|| {
        let path = PathBuf::from(format!("/dev/shm/sampan-fuzz-{}", std::process::id()));
        // Left by a process of the same number.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a directory in memory");
        path
    })
});

fuzz_target!(|input: &[u8]| sampan_image::fuzzing::layer(input, &SANDBOX));
