//! `sampan fmt`: Quadlet files in one style.
//!
//! What the style is stands in the generator's `format`.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sampan_generator::format::format;
use sampan_generator::regular;

use crate::lsp::files;
use crate::replacement::replace;

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
        let files = if path.is_dir() { inside(path)? } else { vec![path.clone()] };
        for file in files {
            changed |= one(&file, options.check)?;
        }
    }
    Ok(if changed && options.check { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The Quadlet files of a folder. Those that a link leads to outside of it are left out, and named: only what
/// is named on the command line is followed wherever it leads.
fn inside(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let real = fs::canonicalize(folder).with_context(|| format!("find {}", folder.display()))?;
    let (files, outside): (Vec<_>, Vec<_>) = files::below([folder])
        .files
        .into_iter()
        .partition(|file| fs::canonicalize(file).is_ok_and(|file| file.starts_with(&real)));
    for file in outside {
        eprintln!(
            "{} is left as it is: a link leads to it, or it to a place, outside of {}; name it to format it",
            file.display(),
            folder.display()
        );
    }
    Ok(files)
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
        replace(path, &formatted)?;
    }
    println!("{}", path.display());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.container"), folder.path().join("b.container"));
        fs::write(&file, "[Container]\nImage = x\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a.container", &link).unwrap();

        assert!(one(&link, true).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Container]\nImage = x\n");
        assert!(one(&link, false).unwrap());
        assert!(!one(&link, false).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Container]\nImage=x\n");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    /// A link in a checkout must not have files elsewhere rewritten.
    #[test]
    fn in_a_folder_links_that_leave_it_are_not_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = "[Container]\nImage = x\n";
        let (own, other) = (folder.path().join("a.container"), outside.path().join("a.container"));
        fs::write(&own, text).unwrap();
        fs::write(&other, text).unwrap();
        symlink(&other, folder.path().join("b.container")).unwrap();
        symlink(outside.path(), folder.path().join("sub")).unwrap();
        symlink("a.container", folder.path().join("c.container")).unwrap();
        let options = |paths: &[&Path]| Options {
            check: false,
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        };
        run(options(&[folder.path()])).unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), "[Container]\nImage=x\n");
        assert_eq!(fs::read_to_string(&other).unwrap(), text);
        run(options(&[&folder.path().join("b.container")])).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "[Container]\nImage=x\n");
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
