//! What a process did to the store: its system calls, as strace(1) notes them.
//!
//! `-y` says which path each descriptor leads to at that moment, and `-xx` writes all text in hexadecimal, so lines are
//! cut at commas and brackets without any quoting to care for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A call that changed something, or made a change durable, or marked a step of the test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Create(PathBuf),
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    Truncate(PathBuf, u64),
    MakeDirectory(PathBuf),
    Symlink {
        target: Vec<u8>,
        path: PathBuf,
    },
    Node {
        path: PathBuf,
        kind: String,
    },
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Mode(PathBuf, u32),
    /// Time of the last change, in seconds and nanoseconds.
    Time(PathBuf, i64, u32),
    Attribute {
        path: PathBuf,
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Sync(PathBuf),
    SyncAll,
    /// The name of a file below [`super::MARKS`] that was asked for.
    Mark(String),
}

/// The calls that matter.
pub(super) const TRACED: &str = "trace=open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,link,\
    linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,write,pwrite64,ftruncate,fchmod,fchmodat,chmod,setxattr,\
    lsetxattr,fsetxattr,utimensat,fsync,fdatasync,syncfs,sync,stat,statx,newfstatat";

/// Reads strace's log. Calls that failed changed nothing.
pub(super) fn calls(log: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(begin) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, begin.trim_end().to_owned());
            continue;
        }
        let whole = match text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => unfinished.remove(thread).unwrap_or_default() + end,
            None => text.to_owned(),
        };
        calls.extend(call(&whole));
    }
    calls
}

fn call(text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = split(arguments.trim_end().strip_suffix(')')?);
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    if matches!(name, "stat" | "statx" | "newfstatat") {
        let path = arguments.iter().find_map(|argument| Some(as_path(&quoted(argument)?)))?;
        return Some(Call::Mark(path.strip_prefix(super::MARKS).ok()?.to_str()?.to_owned()));
    }
    if result.starts_with('-') {
        return None;
    }
    let number = |text: &str, radix| u64::from_str_radix(text, radix).ok();
    let path = |index| descriptor(argument(index));
    Some(match name {
        "open" | "openat" | "openat2" | "creat" => {
            // An unnamed file has no place in the store.
            if !text.contains("O_CREAT") || text.contains("O_TMPFILE") {
                return None;
            }
            Call::Create(descriptor(result)?)
        }
        "write" => Call::Write { path: path(0)?, offset: None, bytes: quoted(argument(1))? },
        "pwrite64" => {
            Call::Write { path: path(0)?, offset: number(argument(3), 10), bytes: quoted(argument(1))? }
        }
        "ftruncate" => Call::Truncate(path(0)?, number(argument(1), 10)?),
        "mkdir" => Call::MakeDirectory(as_path(&quoted(argument(0))?)),
        "mkdirat" => Call::MakeDirectory(at(argument(0), argument(1))?),
        "mknodat" => Call::Node { path: at(argument(0), argument(1))?, kind: argument(2).to_owned() },
        "mknod" => Call::Node { path: as_path(&quoted(argument(0))?), kind: argument(1).to_owned() },
        "symlinkat" => Call::Symlink { target: quoted(argument(0))?, path: at(argument(1), argument(2))? },
        "symlink" => Call::Symlink { target: quoted(argument(0))?, path: as_path(&quoted(argument(1))?) },
        "linkat" => Call::Link(at(argument(0), argument(1))?, at(argument(2), argument(3))?),
        "link" => Call::Link(as_path(&quoted(argument(0))?), as_path(&quoted(argument(1))?)),
        "rename" => Call::Rename(as_path(&quoted(argument(0))?), as_path(&quoted(argument(1))?)),
        "renameat" | "renameat2" => {
            Call::Rename(at(argument(0), argument(1))?, at(argument(2), argument(3))?)
        }
        "unlink" | "rmdir" => Call::Remove(as_path(&quoted(argument(0))?)),
        "unlinkat" => Call::Remove(at(argument(0), argument(1))?),
        "fchmod" => Call::Mode(path(0)?, number(argument(1), 8)? as u32),
        "fchmodat" => Call::Mode(at(argument(0), argument(1))?, number(argument(2), 8)? as u32),
        "chmod" => Call::Mode(as_path(&quoted(argument(0))?), number(argument(1), 8)? as u32),
        "utimensat" => {
            let path = match argument(1) {
                "NULL" => path(0)?,
                name => at(argument(0), name)?,
            };
            let field = |name: &str| {
                let digits = argument(2).rsplit_once(name)?.1;
                digits[..digits.find(|c: char| !c.is_ascii_digit() && c != '-')?].parse::<i64>().ok()
            };
            Call::Time(path, field("tv_sec=")?, field("tv_nsec=")? as u32)
        }
        "fsetxattr" => {
            Call::Attribute { path: path(0)?, name: quoted(argument(1))?, value: quoted(argument(2))? }
        }
        "setxattr" | "lsetxattr" => Call::Attribute {
            path: as_path(&quoted(argument(0))?),
            name: quoted(argument(1))?,
            value: quoted(argument(2))?,
        },
        "fsync" | "fdatasync" => Call::Sync(path(0)?),
        "syncfs" | "sync" => Call::SyncAll,
        _ => return None,
    })
}

/// Arguments, cut at commas outside of structures.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0, 0);
    let mut arguments = Vec::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                arguments.push(text[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    arguments.push(text[start..].trim());
    arguments
}

/// `\x2f\x74` as bytes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

/// `"\x2f"`; text that strace cut short (`...`) would be lost data, so that is none.
fn quoted(text: &str) -> Option<Vec<u8>> {
    unescape(text.strip_prefix('"')?.strip_suffix('"')?)
}

/// `5<\x2f>`: where a descriptor leads; nowhere if the file is removed.
fn descriptor(text: &str) -> Option<PathBuf> {
    let text = text.split_once('<')?.1.strip_suffix('>')?;
    Some(as_path(&unescape(text)?))
}

/// A path relative to a descriptor.
fn at(directory: &str, name: &str) -> Option<PathBuf> {
    Some(descriptor(directory)?.join(as_path(&quoted(name)?)))
}

fn as_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned()
}

#[test]
fn lines_of_strace_are_understood() {
    let log = r#"12 openat(3<\x2f\x64>, "\x66", O_WRONLY|O_CREAT|O_CLOEXEC, 0644) = 4<\x2f\x64\x2f\x66>
12 write(4<\x2f\x64\x2f\x66>, "\x61\x2c", 2 <unfinished ...>
13 unlinkat(3<\x2f\x64>, "\x67", 0) = -1 ENOENT (No such file or directory)
13 renameat2(3<\x2f\x64>, "\x66", 5<\x2f>, "\x67", RENAME_NOREPLACE) = 0
12 <... write resumed>) = 2
12 openat(AT_FDCWD<\x2f>, "\x2f\x64", O_RDWR|O_TMPFILE|O_CREAT, 0600) = 9<\x2f\x64\x2f\x23\x31>(deleted)
12 mknodat(3<\x2f\x64>, "\x77", S_IFCHR|000, makedev(0, 0)) = 0
12 fsync(4<\x2f\x64\x2f\x66>) = 0
12 syncfs(3<\x2f\x64>) = 0
12 +++ exited with 0 +++
"#;
    let path = PathBuf::from;
    assert_eq!(
        calls(log),
        [
            Call::Create(path("/d/f")),
            Call::Rename(path("/d/f"), path("/g")),
            Call::Write { path: path("/d/f"), offset: None, bytes: b"a,".to_vec() },
            Call::Node { path: path("/d/w"), kind: "S_IFCHR|000".into() },
            Call::Sync(path("/d/f")),
            Call::SyncAll,
        ]
    );
}
