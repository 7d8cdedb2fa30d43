//! `sampan fmt`: Quadlet files in one style.
//!
//! What the style is stands in the generator's `format`. A file is replaced in one step, so that
//! neither a full disk nor a generator that reads at the same moment sees half of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sampan_generator::format::format;
use sampan_generator::regular;

use crate::lsp::files;

/// `sampan fmt [--check] PATH…`
#[derive(Debug, clap::Args)]
#[command(after_help = "Blanks around keys and at the ends of lines are removed, further lines of a value \
                        indented, sections parted by one empty line. Comments, the order of keys and what \
                        a file means stay as they are.")]
pub(crate) struct Options {
    /// Change nothing; name the files that would change, and exit with 1 if there are any
    #[arg(long)]
    check: bool,
    /// Files, folders whose Quadlet files and drop-ins are meant, or - for standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// Formats each file, and names those that change.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut changed = false;
    for path in &options.paths {
        if path == Path::new("-") {
            changed |= standard_input(options.check)?;
            continue;
        }
        let files = if path.is_dir() { files::below([path.as_path()]).files } else { vec![path.clone()] };
        for file in files {
            changed |= one(&file, options.check)?;
        }
    }
    Ok(if changed && options.check { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Formats standard input to standard output; with `check` prints nothing.
fn standard_input(check: bool) -> anyhow::Result<bool> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    let formatted = format(&text);
    if !check {
        std::io::stdout().write_all(formatted.as_bytes()).context("write to standard output")?;
    }
    Ok(formatted != text)
}

/// Formats one file; tells whether it changes.
fn one(path: &Path, check: bool) -> anyhow::Result<bool> {
    let bytes = regular::read(path).with_context(|| format!("read {}", path.display()))?;
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("{} is not UTF-8 text: save it as UTF-8 first", path.display());
    };
    let formatted = format(&text);
    if formatted == text {
        return Ok(false);
    }
    if !check {
        replace(path, &formatted).with_context(|| format!("replace {}", path.display()))?;
    }
    println!("{}", path.display());
    Ok(true)
}

/// Replaces a file in one step; what a link points to, not the link. Mode and owner stay.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = fs::canonicalize(path)?;
    let before = fs::metadata(&path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    // The name has no extension of a Quadlet file, so that no generator reads it.
    let mut new = tempfile::Builder::new().prefix(".sampan-fmt-").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))?;
    let after = new.as_file().metadata()?;
    if (after.uid(), after.gid()) != (before.uid(), before.gid()) {
        std::os::unix::fs::fchown(new.as_file(), Some(before.uid()), Some(before.gid()))
            .context("give the new file the owner of the old one")?;
    }
    new.as_file().sync_all()?;
    new.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.container"), folder.path().join("b.container"));
        fs::write(&file, "[Container]\nImage = x\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.container", &link).unwrap();

        assert!(one(&link, true).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Container]\nImage = x\n");
        assert!(one(&link, false).unwrap());
        assert!(!one(&link, false).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Container]\nImage=x\n");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn text_that_is_not_utf_8_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.container");
        fs::write(&file, b"[Container]\nImage = \xff\n").unwrap();
        assert!(one(&file, false).unwrap_err().to_string().contains("not UTF-8"));
        assert_eq!(fs::read(&file).unwrap(), b"[Container]\nImage = \xff\n");
    }
}
