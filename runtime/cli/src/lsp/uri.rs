//! URIs of files (RFC 8089), as editors name documents.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;

/// The path that a document has here: absolute, links in its folder resolved, so that it is the
/// same however the client came to it. A document that is no file of this machine gets its URI as a
/// relative path: its name still tells what kind of file it will be.
pub(crate) fn path_of(uri: &Uri) -> PathBuf {
    let Some(rest) = uri.0.strip_prefix("file://") else { return PathBuf::from(&uri.0) };
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return PathBuf::from(&uri.0);
    }
    let path = PathBuf::from(OsString::from_vec(decode(path)));
    match (path.parent().and_then(|folder| fs::canonicalize(folder).ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// The URI of an absolute path.
pub(crate) fn uri_of(path: &Path) -> Uri {
    let mut uri = String::from("file://");
    for byte in OsStr::as_bytes(path.as_os_str()) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    Uri(uri)
}

/// Resolves `%41`; what is no such thing stays as it is.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let number = escape
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(number.unwrap_or(bytes[at]));
        at += if number.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back_from_their_uris() {
        for path in ["/nowhere/a b/web@1.container", "/nowhere/ü%41/100%.pod", "/x"] {
            assert_eq!(path_of(&uri_of(Path::new(path))), Path::new(path));
        }
        assert_eq!(uri_of(Path::new("/a b/ü@x")).0, "file:///a%20b/%C3%BC%40x");
    }

    #[test]
    fn other_spellings_are_understood() {
        let path = |uri: &str| path_of(&Uri(uri.to_owned()));
        assert_eq!(path("file://localhost/nowhere/x"), Path::new("/nowhere/x"));
        assert_eq!(path("file:///nowhere/%zz%4"), Path::new("/nowhere/%zz%4"));
        assert_eq!(path("untitled:web.container"), Path::new("untitled:web.container"));
        assert_eq!(path("file://server/x"), Path::new("file://server/x"));
    }

    #[test]
    fn links_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.join("alias")).unwrap();
        assert_eq!(path_of(&uri_of(&base.join("alias/new.pod"))), base.join("real/new.pod"));
    }
}
