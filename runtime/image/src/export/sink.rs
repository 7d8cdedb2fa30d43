//! Where saved files go: members of a tar stream, or files of a directory.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::own;
use crate::error::{Error, Result};

/// Takes files one after the other.
pub(super) trait Sink {
    /// A file of `size` bytes.
    fn stream(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()>;

    /// A small file.
    fn bytes(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.stream(name, content.len() as u64, &mut &*content)
    }
}

/// A tar stream. Nothing in it depends on when and where it is written.
pub(super) struct Tarball<'a>(tar::Builder<&'a mut dyn Write>);

impl<'a> Tarball<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self(tar::Builder::new(out))
    }

    pub(super) fn finish(self) -> Result<()> {
        let written = self.0.into_inner().and_then(|out| out.flush());
        written.map_err(|error| own("write", Path::new("the archive"), error))
    }
}

impl Sink for Tarball<'_> {
    fn stream(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        self.0
            .append_data(&mut header, name, content)
            .map_err(|error| own("write", Path::new("the archive"), error))
    }
}

/// A directory that is ours alone while it is filled.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Sink for Directory {
    fn stream(&mut self, name: &str, _size: u64, content: &mut dyn Read) -> Result<()> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Error::io("create", parent, error))?;
        }
        let written = File::create(&path).and_then(|mut file| std::io::copy(content, &mut file));
        written.map(drop).map_err(|error| own("write", &path, error))
    }
}
