//! The names of a container's scope and slice.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Longest name of a unit (`UNIT_NAME_MAX` of systemd, with its final zero).
const NAME_MAX: usize = 255;

/// What stands before the container's id in a scope's name, if nothing else is asked for.
const DEFAULT_PREFIX: &str = "sampan";

/// A scope and the slice that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) unit: String,
    pub(crate) slice: String,
}

/// Reads `linux.cgroupsPath`, which for this driver is `slice:prefix:name`, as in runc. Without one, and for empty
/// parts: `system.slice` (a user's systemd: `user.slice`), `sampan` and the container's id.
pub(crate) fn scope(path: Option<&Path>, id: &str, user: bool) -> Result<Scope> {
    let default_slice = if user { "user.slice" } else { "system.slice" };
    let path = path.filter(|p| !p.as_os_str().is_empty());
    let (slice, prefix, name) = match path {
        None => ("", DEFAULT_PREFIX, id),
        Some(path) => {
            let text = path.to_str().context("linux.cgroupsPath is not UTF-8")?;
            let parts: Vec<&str> = text.split(':').collect();
            let [slice, prefix, name] = parts[..] else {
                bail!(
                    "linux.cgroupsPath {text:?}: for the systemd cgroup driver it is slice:prefix:name, such as \"system.slice:sampan:{id}\""
                );
            };
            (slice, prefix, if name.is_empty() { id } else { name })
        }
    };
    let slice = if slice.is_empty() { default_slice } else { slice };
    check_slice(slice)?;
    if name.ends_with(".slice") {
        bail!("linux.cgroupsPath: {name:?} is a slice: a container is a scope in one");
    }
    let unit = match prefix {
        "" => format!("{}.scope", escape(name)),
        prefix => format!("{}-{}.scope", escape(prefix), escape(name)),
    };
    if unit.len() > NAME_MAX {
        bail!("linux.cgroupsPath: {unit:?} is longer than a unit's name may be ({NAME_MAX} bytes)");
    }
    Ok(Scope { unit, slice: slice.to_owned() })
}

/// A slice's name says where it is: `a-b.slice` is in `a.slice`. systemd makes those that don't exist.
fn check_slice(slice: &str) -> Result<()> {
    let name = slice.strip_suffix(".slice").filter(|n| !n.is_empty());
    let good = |name: &str| {
        name == "-" || (name.bytes().all(is_plain) && name.split('-').all(|part| !part.is_empty()))
    };
    if !name.is_some_and(good) || slice.len() > NAME_MAX {
        bail!(
            "linux.cgroupsPath: {slice:?} is no name of a slice, such as \"machine.slice\" or \"a-b.slice\""
        );
    }
    Ok(())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

/// What can't stand in a unit's name becomes `\xNN`, as systemd-escape(1) writes it. Dashes stay: they mean nothing
/// in a scope's name.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match is_plain(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped += &format!("\\x{byte:02x}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, user: bool) -> Result<(String, String)> {
        scope(Some(Path::new(path)), "ID", user).map(|s| (s.slice, s.unit))
    }

    #[test]
    fn names_of_scopes_and_slices() {
        for (path, slice, unit) in [
            ("", "system.slice", "sampan-ID.scope"),
            ("machine.slice:libpod:0123", "machine.slice", "libpod-0123.scope"),
            (
                "kubepods-besteffort-podx.slice:cri-containerd:c",
                "kubepods-besteffort-podx.slice",
                "cri-containerd-c.scope",
            ),
            (":runc:c", "system.slice", "runc-c.scope"),
            ("-.slice::c", "-.slice", "c.scope"),
            ("a.slice:p:", "a.slice", "p-ID.scope"),
            ("a.slice:p:x+y/z", "a.slice", "p-x\\x2by\\x2fz.scope"),
        ] {
            assert_eq!(names(path, false).unwrap(), (slice.to_owned(), unit.to_owned()), "{path}");
        }
        assert_eq!(names("", true).unwrap().0, "user.slice");
        assert_eq!(scope(None, "ID", false).unwrap().unit, "sampan-ID.scope");
    }

    #[test]
    fn what_names_no_scope_is_refused() {
        let long = format!("a.slice:p:{}", "x".repeat(256));
        for path in [
            "/a/path",
            "a:b",
            "a.slice:b:c:d",
            "a:b:c",
            ".slice:b:c",
            "a--b.slice:b:c",
            "-a.slice:b:c",
            "a/b.slice:b:c",
            "../a.slice:b:c",
            "a b.slice:b:c",
            "a.slice:b:c.slice",
            "a\n.slice:b:c",
            &long,
        ] {
            assert!(names(path, false).is_err(), "{path}");
        }
    }
}
