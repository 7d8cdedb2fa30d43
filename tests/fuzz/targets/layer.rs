//! Any layer, compressed or not: unpacking it ends, and nothing appears outside of its directory.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// A directory of this process alone, in memory.
static SANDBOX: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
    let path = Path::new("/dev/shm").join(format!("sampan-fuzz-{}", std::process::id()));
    // Left by a process of the same number.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).expect("a directory in memory");
    path
});

fuzz_target!(|input: &[u8]| sampan_image::fuzzing::layer(input, &SANDBOX));
