//! Compiled filters on disk.
//!
//! A file's name is the hash of everything that the filter was made of. The file carries a hash of its own
//! contents, and counts only if it belongs to the caller and nobody else can write it: a filter that someone
//! else could have put there would let a container do anything.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libseccomp::ScmpVersion;
use sha2::{Digest, Sha256};

use super::Filter;
use crate::error::{Error, Result};

/// First bytes of a file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"SAMPBPF1";

/// Magic, flags, hash.
const HEADER: usize = 8 + 8 + 32;

/// The kernel takes at most 4096 instructions of 8 bytes from the unprivileged, 32768 from root.
const MAX_SIZE: u64 = 32768 * 8 + HEADER as u64;

/// The name of a filter.
pub(super) struct Key(String);

impl Key {
    /// The key of a filter made of `parts` by the installed libseccomp for this architecture.
    pub(super) fn new(parts: &[&[u8]]) -> Result<Self> {
        let version = ScmpVersion::current()
            .map_err(|e| Error::Unsupported { what: "a system call filter".into(), reason: e.to_string() })?;
        let version = format!("{}.{}.{}", version.major, version.minor, version.micro);
        let mut hash = Sha256::new();
        for part in parts.iter().copied().chain([
            MAGIC.as_slice(),
            env!("CARGO_PKG_VERSION").as_bytes(),
            version.as_bytes(),
            std::env::consts::ARCH.as_bytes(),
        ]) {
            hash.update((part.len() as u64).to_ne_bytes());
            hash.update(part);
        }
        Ok(Key(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()))
    }

    fn path(&self, cache: &Path) -> PathBuf {
        cache.join(format!("{}.bpf", self.0))
    }
}

/// The stored filter; `None` if there is none or it isn't sound.
pub(super) fn find(cache: &Path, key: &Key) -> Option<Filter> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(key.path(cache))
        .ok()?;
    let metadata = file.metadata().ok()?;
    let mine = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    if !metadata.is_file() || !mine || metadata.len() > MAX_SIZE {
        return None;
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(MAX_SIZE).read_to_end(&mut bytes).ok()?;
    let (header, program) = bytes.split_at_checked(HEADER)?;
    let sound = &header[..8] == MAGIC && header[16..] == seal(&header[8..16], program);
    let flags = u64::from_ne_bytes(header[8..16].try_into().ok()?);
    sound.then(|| Filter { program: program.to_vec(), flags, unknown: Vec::new() })
}

fn seal(flags: &[u8], program: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(flags).chain_update(program).finalize().into()
}

/// Stores a filter. Failing to is no error: the next start compiles it again.
pub(super) fn store(cache: &Path, key: &Key, filter: &Filter) {
    if let Err(error) = try_store(cache, key, filter) {
        log::debug!("seccomp filter not cached in {}: {error}", cache.display());
    }
}

fn try_store(cache: &Path, key: &Key, filter: &Filter) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(cache)?;
    let path = key.path(cache);
    // Several starts may compile the same filter at once: each writes its own file, the last rename stays.
    let new = cache.join(format!(".{}.{}", key.0, std::process::id()));
    let write = |file: &mut File| {
        let flags = filter.flags.to_ne_bytes();
        file.write_all(MAGIC)?;
        file.write_all(&flags)?;
        file.write_all(&seal(&flags, &filter.program))?;
        file.write_all(&filter.program)
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    write(&mut file)
        .and_then(|()| std::fs::rename(&new, &path))
        .inspect_err(|_| drop(std::fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_sound_files_count() {
        let cache = tempfile::tempdir().unwrap();
        let key = Key::new(&[b"test"]).unwrap();
        let filter = Filter { program: vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f], flags: 4, unknown: Vec::new() };
        store(cache.path(), &key, &filter);
        assert_eq!(find(cache.path(), &key).as_ref(), Some(&filter));
        let path = key.path(cache.path());
        let good = std::fs::read(&path).unwrap();
        for at in [0, 8, 20, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert_eq!(find(cache.path(), &key), None, "byte {at}");
        }
        std::fs::write(&path, &good[..30]).unwrap();
        assert_eq!(find(cache.path(), &key), None);
        std::fs::write(&path, &good).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o622)).unwrap();
        assert_eq!(find(cache.path(), &key), None);
    }

    #[test]
    fn parts_have_edges() {
        let (a, b) = (Key::new(&[b"ab", b"c"]).unwrap(), Key::new(&[b"a", b"bc"]).unwrap());
        assert_ne!(a.0, b.0);
    }
}
