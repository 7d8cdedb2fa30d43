//! Unpacking real and hostile archives. Every test looks afterwards whether anything appeared or
//! changed outside the layer's directory.

use std::fs::{self, File};
use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

mod hostile;
mod kept;

/// An archive under construction; names are raw bytes, nothing is checked.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        self.header(kind, name, link, content.len() as u64, |_| ());
        self.content(content);
        self
    }

    fn with(mut self, kind: u8, name: &[u8], change: impl FnOnce(&mut tar::Header)) -> Self {
        self.header(kind, name, b"", 0, change);
        self
    }

    fn header(
        &mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        size: u64,
        change: impl FnOnce(&mut tar::Header),
    ) {
        let mut header = tar::Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name);
        gnu.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(size);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn content(&mut self, content: &[u8]) {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name.as_bytes(), b"", content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), b"", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut length = body.len() + 1;
            while length.to_string().len() + body.len() != length {
                length = length.to_string().len() + body.len();
            }
            bytes.extend_from_slice(length.to_string().as_bytes());
            bytes.extend_from_slice(&body);
        }
        self.entry(b'x', b"pax", b"", &bytes)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A layer directory with a canary beside it.
struct Layer {
    directory: tempfile::TempDir,
    is_used: AtomicBool,
}

impl Layer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["root", "trash", "outside"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("outside/canary"), "untouched").unwrap();
        Self { directory, is_used: AtomicBool::new(false) }
    }

    fn unpack_with(&self, archive: &[u8], limits: &Limits) -> Result<Unpacked, Failure> {
        let root = File::open(self.directory.path().join("root")).unwrap();
        let trash = File::open(self.directory.path().join("trash")).unwrap();
        let result = unpack(Cursor::new(archive), root.as_fd(), trash.as_fd(), limits, &mut Vec::new());
        if let (Ok(unpacked), false) = (&result, self.is_used.swap(true, Ordering::Relaxed)) {
            // What was noted on the way is what whoever looks later finds.
            let found = survey(root.as_fd(), &Known::nothing(true)).unwrap();
            assert_eq!(unpacked.contents, found);
        }
        let outside = self.directory.path().join("outside");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something appeared outside");
        let canary = fs::metadata(outside.join("canary")).unwrap();
        assert_eq!((canary.nlink(), canary.mode() & 0o777), (1, 0o644), "the canary was changed");
        assert_eq!(fs::read(outside.join("canary")).unwrap(), b"untouched");
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), 3);
        result
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, Failure> {
        self.unpack_with(archive, &Limits::for_layer(archive.len() as u64))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn kind(&self, path: &str) -> fs::FileType {
        fs::symlink_metadata(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}")).file_type()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path))
            .is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
    }

    fn is_opaque(&self, path: &str) -> bool {
        let name = if is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        let mut value = [0; 8];
        rustix::fs::getxattr(self.path(path), name, &mut value).is_ok_and(|length| &value[..length] == b"y")
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn refused(archive: Vec<u8>) -> String {
    match Layer::new().unpack(&archive) {
        Err(failure @ Failure::Hostile(_)) => failure.to_string(),
        other => panic!("not refused as hostile: {other:?}"),
    }
}
