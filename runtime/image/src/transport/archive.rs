//! Random access to the members of a tar file on disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::compression;
use crate::error::{Error, Result};
use crate::store::Store;

/// Most members: an archive of an image has a handful per layer.
const MAX_MEMBERS: usize = 16384;
/// Most symbolic links from one member to the next (old `docker save` links equal layers).
const MAX_LINKS: usize = 8;

/// A tar file and where its members are.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    path: PathBuf,
    members: HashMap<String, Member>,
}

#[derive(Debug, Clone)]
enum Member {
    /// Offset and size in bytes.
    Content(u64, u64),
    /// Another member's name.
    Link(String),
}

impl Archive {
    /// Reads the table of members. A compressed archive is first unpacked into an unnamed file in
    /// the store.
    pub(crate) fn open(path: &Path, store: &Store) -> Result<Self> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound {
                reference: path.display().to_string(),
                location: "the file system".to_owned(),
                detail: "no such file".to_owned(),
            },
            _ => Error::io("open", path, error),
        })?;
        Self::read(file, path, store)
    }

    /// The same with an open file; `path` is what messages call it.
    pub(crate) fn read(mut file: File, path: &Path, store: &Store) -> Result<Self> {
        if compression::is_compressed(&file).map_err(|error| Error::io("read", path, error))? {
            file = decompress(file, path, store)?;
        }
        let members = scan(&mut file)
            .map_err(|error| Error::corrupt("archive", path.display().to_string(), error.to_string()))?;
        Ok(Self { file, path: path.to_owned(), members })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Size of a member in bytes; `None` if it is not there.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.find(name).map(|(_, size)| size)
    }

    /// A member's content.
    pub(super) fn member(&self, name: &str) -> Result<MemberReader<'_>> {
        let (offset, size) = self.find(name).ok_or_else(|| {
            let reason = format!("it has no member \"{}\"", name.escape_default());
            Error::corrupt("archive", self.path.display().to_string(), reason)
        })?;
        Ok(MemberReader { file: &self.file, offset, left: size })
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normalised(name);
        for _ in 0..=MAX_LINKS {
            match self.members.get(&name)? {
                Member::Content(offset, size) => return Some((*offset, *size)),
                Member::Link(target) => {
                    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    name = normalised(&format!("{directory}/{target}"));
                }
            }
        }
        None
    }
}

/// A name without empty, `.` and `..` components; it is only a key, never a path.
fn normalised(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn scan(file: &mut File) -> io::Result<HashMap<String, Member>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(io::BufReader::new(&*file));
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(io::Error::other("a member is cut off; the file is incomplete"));
        }
        if members.len() == MAX_MEMBERS {
            return Err(io::Error::other("it has too many members for an image"));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let member = match entry.header().entry_type() {
            tar::EntryType::Regular => Member::Content(offset, size),
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                Member::Link(String::from_utf8_lossy(&target).into_owned())
            }
            _ => continue,
        };
        members.insert(normalised(&name), member);
    }
    Ok(members)
}

fn decompress(file: File, path: &Path, store: &Store) -> Result<File> {
    let size = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
    let bound = (4 << 30) + size.saturating_mul(200);
    let mut plain = store.unnamed_file()?;
    let mut stream = compression::decoder(io::BufReader::with_capacity(1 << 17, file))
        .map_err(|error| Error::io("read", path, error))?
        .take(bound);
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = stream
            .read(&mut buffer)
            .map_err(|error| Error::corrupt("archive", path.display().to_string(), error.to_string()))?;
        if count == 0 {
            break;
        }
        plain
            .write_all(&buffer[..count])
            .map_err(|error| Error::io("unpack an archive in", store.root(), error))?;
    }
    if stream.limit() == 0 {
        return Err(Error::corrupt("archive", path.display().to_string(), "it unpacks to far too much"));
    }
    Ok(plain)
}

/// Reads one member without moving the file's position, so that threads can share the file.
#[derive(Debug)]
pub(super) struct MemberReader<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl MemberReader<'_> {
    pub(super) fn size(&self) -> u64 {
        self.left
    }
}

impl Read for MemberReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
