//! What `tests/fuzz` calls: everything that reads what a registry, an image or whoever wrote a name
//! may have sent. Only a layer touches the file system, below the directory that it is given.

use std::fs::{self, File};
use std::io::{self, Cursor};
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::image::ImageConfiguration;

use crate::artifact::{self, is_file_name};
use crate::digest::Digest;
use crate::error::Error;
use crate::healthcheck::Healthcheck;
use crate::manifest::Document;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registries::Registries;
use crate::unpack::{self, Failure, Limits};
use crate::{compression, pull, registry, store};

/// Bounds low enough that one input is quick, so that reaching them is part of what is fuzzed.
const LIMITS: Limits = Limits {
    entries: 300,
    bytes: 4 << 20,
    path: 4095,
    depth: 1000,
    header: 1 << 16,
    xattrs: 8,
    xattr: 65536,
    devices: 8,
    directories: 1 << 16,
};

/// A layer, as it comes from a registry, unpacked in `sandbox`: a directory of ours alone, on a
/// file system that may be filled. The first byte says whether the checksums of its headers are
/// put right first, which chance would not do.
///
/// # Panics
/// If anything appeared outside the layer's own directory, or far more in it than it may hold.
pub fn layer(input: &[u8], sandbox: &Path) {
    let Some((flags, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        put_right(&mut bytes);
    }
    for name in ["root", "trash"] {
        fs::create_dir(sandbox.join(name)).expect("a directory of the sandbox");
    }
    let outside = sandbox.join("outside");
    if !outside.exists() {
        fs::create_dir(&outside).expect("the directory beside the layer");
        fs::write(outside.join("canary"), "untouched").expect("the file beside the layer");
    }
    let open = |name: &str| File::open(sandbox.join(name)).expect("a directory of the sandbox");
    let (root, trash) = (open("root"), open("trash"));
    let unpacked = compression::decoder(Cursor::new(&bytes))
        .map_err(Failure::Read)
        .and_then(|plain| unpack::unpack(plain, root.as_fd(), trash.as_fd(), &LIMITS, &mut io::sink()));
    match unpacked {
        Ok(unpacked) => assert!(unpacked.bytes <= LIMITS.bytes),
        Err(failure) => one_line(&failure.to_string()),
    }
    assert_eq!(fs::read(outside.join("canary")).ok().as_deref(), Some(&b"untouched"[..]));
    assert_eq!(names(&outside), ["canary"], "something appeared outside");
    assert_eq!(names(sandbox), ["outside", "root", "trash"], "something appeared outside");
    for name in ["root", "trash"] {
        store::remove_all(&sandbox.join(name)).expect("what was unpacked can be removed");
    }
}

/// Writes the right checksum into what may be headers, block by block as a reader would walk.
fn put_right(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + 512) {
        at += 512;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = str::from_utf8(&block[124..135]).ok();
        let size = size.and_then(|digits| usize::from_str_radix(digits.trim_end_matches('\0'), 8).ok());
        at = at.saturating_add(size.unwrap_or(0).min(1 << 30).next_multiple_of(512));
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory of the sandbox").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Any document: a manifest, an index, an artifact's manifest or a configuration.
pub fn document(bytes: &[u8]) {
    match Document::parse(bytes, "the fuzzer") {
        Ok(Document::Manifest(manifest)) => {
            said(manifest.check("the fuzzer"));
            let digests: Vec<String> = manifest.layers.iter().map(|layer| layer.digest.to_string()).collect();
            for digest in &digests {
                assert_eq!(
                    digest.parse::<Digest>().map(|digest| digest.to_string()).ok().as_ref(),
                    Some(digest)
                );
            }
        }
        Ok(Document::Index(index)) => {
            for platform in ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "windows/386"] {
                let Ok(platform) = platform.parse::<Platform>() else { continue };
                said(index.choose(&platform, "x"));
            }
        }
        Err(error) => one_line(&error.to_string()),
    }
    match artifact::file_names(bytes) {
        Ok(names) => assert!(names.iter().all(|name| is_file_name(name)), "{names:?}"),
        Err(error) => one_line(&error.to_string()),
    }
    let _ = Healthcheck::of(bytes);
    if let Ok(config) = serde_json::from_slice::<ImageConfiguration>(bytes) {
        said(pull::diff_ids(&config, "the fuzzer"));
    }
}

/// A name in the first line, and a `registries.conf` after it.
pub fn names_and_registries(text: &str) {
    let (name, file) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(reference) = Reference::parse(name) {
        let printed = reference.to_string();
        assert_eq!(Reference::parse(&printed).as_ref().ok(), Some(&reference), "{printed}");
        assert!(printed.is_ascii() && !printed.contains("//"), "{printed}");
        assert!(
            !reference.path().contains("..") && !reference.manifest_selector().starts_with('.'),
            "{printed}"
        );
    }
    let registries = match Registries::of_text(file) {
        Ok(registries) => registries,
        Err(error) => {
            assert!(error.to_string().len() > 10);
            return;
        }
    };
    let Ok(references) = registries.resolve(name) else { return };
    assert!(!references.is_empty());
    for reference in references {
        let Ok(endpoints) = registries.endpoints(&reference) else { continue };
        assert!(!endpoints.is_empty());
        for endpoint in endpoints {
            // Mirrors have the same image under other names, never another image.
            assert_eq!(endpoint.reference.digest(), reference.digest());
            assert_eq!(endpoint.reference.tag(), reference.tag());
        }
    }
    let _ = registries.resolve_locally(name);
}

/// What stands in the headers of an answer, and in the answer of a token server.
pub fn answer(bytes: &[u8]) {
    registry::fuzz(bytes);
}

fn said<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        one_line(&error.to_string());
    }
}

/// An error says something, and says it in one line that does nothing to a terminal.
pub(crate) fn one_line(text: &str) {
    assert!(text.len() > 10, "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
