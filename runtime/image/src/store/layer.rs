//! A layer's archive, made again of its directory and its recipe.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Store, open_directory};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::unpack::recipe::{Recipe, Step};

/// Extension of the recipes' names.
pub(crate) const RECIPE: &str = "recipe";

/// Reads the archive of a layer, byte by byte as it came. At its end the digest is compared: what
/// is not the original ends with an error.
pub(crate) struct LayerArchive {
    diff_id: Digest,
    root: OwnedFd,
    recipe: Recipe<File>,
    raw: VecDeque<u8>,
    content: Option<(File, u64, u64)>,
    hasher: Hasher,
    ended: bool,
}

impl Store {
    /// The archive of a layer, and its size in bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a layer that was unpacked before there were recipes.
    pub(crate) fn layer_archive(&self, diff_id: &Digest) -> Result<(LayerArchive, u64)> {
        let directory = self.layer_path(diff_id);
        let path = directory.with_extension(RECIPE);
        let open = || {
            File::open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::corrupt(
                    format!("layer {diff_id}"),
                    self.root.display().to_string(),
                    "it has no recipe, so its archive cannot be made again; remove the image and pull it again",
                ),
                _ => Error::io("open", &path, error),
            })
        };
        let bad = |error: io::Error| Error::io("read", &path, error);
        let size = Recipe::open(open()?).and_then(Recipe::total).map_err(bad)?;
        let archive = LayerArchive {
            diff_id: *diff_id,
            root: open_directory(&directory)?,
            recipe: Recipe::open(open()?).map_err(bad)?,
            raw: VecDeque::new(),
            content: None,
            hasher: Hasher::new(),
            ended: false,
        };
        Ok((archive, size))
    }
}

impl LayerArchive {
    /// Prepares the next step; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        match self.recipe.step()? {
            None => return Ok(false),
            Some(Step::Raw(bytes)) => self.raw = bytes.into(),
            Some(Step::Content { path, offset, count }) => {
                self.content = Some((self.open(&path)?, offset, count));
            }
        }
        Ok(true)
    }

    /// Opens a file as the layer sees it; what is in the layer cannot lead out of it.
    fn open(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let named = OsStr::from_bytes(path);
        let opened = loop {
            match rustix::fs::openat2(&self.root, named, flags, Mode::empty(), resolve) {
                // A rename elsewhere got in between, openat2(2).
                Err(rustix::io::Errno::AGAIN) => {}
                other => break other,
            }
        };
        let changed = |reason: String| {
            io::Error::other(Error::corrupt(
                format!("layer {}", self.diff_id),
                "the store",
                format!("\"{}\" {reason}: the archive cannot be made again", path.escape_ascii()),
            ))
        };
        let file = File::from(opened.map_err(|error| changed(format!("cannot be opened ({error})")))?);
        if !file.metadata()?.is_file() {
            return Err(changed("is no file any more".to_owned()));
        }
        Ok(file)
    }

    fn end(&mut self) -> io::Result<usize> {
        if !self.ended {
            self.ended = true;
            let got = std::mem::take(&mut self.hasher).finish();
            if got != self.diff_id {
                return Err(io::Error::other(Error::DigestMismatch {
                    what: "re-created layer",
                    location: "the store".to_owned(),
                    expected: self.diff_id,
                    got,
                }));
            }
        }
        Ok(0)
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = if !self.raw.is_empty() {
                self.raw.read(buffer)?
            } else if let Some((file, offset, left)) = &mut self.content {
                let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let count = file.read_at(&mut buffer[..wanted], *offset)?;
                (*offset, *left) = (*offset + count as u64, *left - count as u64);
                if *left == 0 || count == 0 {
                    // A file that became shorter shows in the digest.
                    self.content = None;
                }
                count
            } else if self.advance()? {
                0
            } else {
                return self.end();
            };
            if count > 0 {
                self.hasher.update(&buffer[..count]);
                return Ok(count);
            }
        }
    }
}
