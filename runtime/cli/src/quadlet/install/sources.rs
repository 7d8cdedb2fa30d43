//! What `sampan install` was given, and where each file goes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use sampan_generator::keys::UnitType;

use crate::quadlet::applications::{is_manifest, manifest_name};

/// Folders of version control are no part of an application.
const LEFT_OUT: [&str; 3] = [".git", ".hg", ".svn"];

/// One file to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The file or link that it comes from.
    pub(super) from: PathBuf,
    /// Where it goes.
    pub(super) to: PathBuf,
    /// What it will hold.
    pub(super) content: Content,
}

/// What an installed file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// What the source holds.
    Copy,
    /// The same link.
    Link(PathBuf),
    /// This text, a part of the source.
    Text(String),
    /// The list of an application's files.
    Manifest(String),
}

impl Item {
    /// The unit file's name, if it is one.
    pub(super) fn unit_name(&self) -> Option<&str> {
        let name = self.to.file_name()?.to_str()?;
        UnitType::of(name).map(|_| name)
    }

    /// Its text, if the generator reads it: unit files and drop-ins.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn text(&self) -> anyhow::Result<Option<String>> {
        let drop_in =
            self.to.extension().is_some_and(|end| end == "conf") && self.to.parent().is_some_and(is_drop_ins);
        if self.unit_name().is_none() && !drop_in {
            return Ok(None);
        }
        match &self.content {
            Content::Text(text) => Ok(Some(text.clone())),
            Content::Copy | Content::Link(_) | Content::Manifest(_) => {
                let bytes = fs::read(&self.from).with_context(|| format!("read {}", self.from.display()))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    }

    /// The mode of the installed file: the source's, writable by its owner alone.
    ///
    /// # Errors
    /// The source is gone.
    pub(super) fn mode(&self) -> anyhow::Result<u32> {
        if matches!(self.content, Content::Text(_) | Content::Manifest(_)) {
            return Ok(0o644);
        }
        let metadata =
            fs::metadata(&self.from).with_context(|| format!("look at {}", self.from.display()))?;
        Ok(metadata.permissions().mode() & 0o755)
    }
}

/// All files that the words of the command line mean, with their places in `folder`.
///
/// # Errors
/// One is no file that can be installed, or two have the same place.
pub(super) fn gather(words: &[String], folder: &Path) -> anyhow::Result<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    let mut plain: Vec<Item> = Vec::new();
    for word in words {
        ensure!(
            !word.starts_with("http://") && !word.starts_with("https://"),
            "{word} is a URL: fetch it, read it, and install the file: curl -fLO {word}"
        );
        let path = Path::new(word);
        let name = name_of(path)?;
        let metadata = fs::metadata(path).with_context(|| format!("look at {word}"))?;
        if metadata.is_dir() && is_drop_ins(Path::new(&name)) {
            below(path, &real(path)?, &folder.join(&name), &mut items)?;
        } else if metadata.is_dir() {
            application(path, &name, folder, &mut items)?;
        } else if let Some(stem) = name.strip_suffix(".quadlets") {
            several(path, stem, folder, &mut items)?;
        } else {
            ensure!(metadata.is_file(), "{word} is neither a file nor a folder");
            plain.push(Item { from: path.to_owned(), to: folder.join(&name), content: Content::Copy });
        }
    }
    items.extend(companions(plain, folder)?);
    let mut places: Vec<_> = items.iter().map(|item| &item.to).collect();
    places.sort();
    if let Some(twice) = places.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two of the files would become {}; rename one", twice[0].display());
    }
    Ok(items)
}

/// The last part of a path; `.` is the folder's own name.
fn name_of(path: &Path) -> anyhow::Result<String> {
    let whole = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().with_context(|| format!("find {}", path.display()))?,
    };
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} has no name that could be kept", path.display()))
}

/// Whether a folder holds drop-ins: `web.container.d`, `container.d`.
fn is_drop_ins(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".d").is_some_and(|name| UnitType::of(&format!(".{name}")).is_some())
}

/// Files that were named one by one; those that are no unit files belong to the first unit file.
fn companions(plain: Vec<Item>, folder: &Path) -> anyhow::Result<Vec<Item>> {
    let Some(other) = plain.iter().find(|item| item.unit_name().is_none()) else { return Ok(plain) };
    let Some(first) = plain.iter().find_map(Item::unit_name) else {
        let known: Vec<_> = UnitType::ALL.iter().map(|kind| format!(".{}", kind.extension())).collect();
        bail!("{} is no unit file: the names of those end in {}", other.from.display(), known.join(", "));
    };
    let names: Vec<_> = plain.iter().filter_map(|item| item.to.file_name()?.to_str()).collect();
    let manifest = Item {
        from: other.from.clone(),
        to: folder.join(manifest_name(first)),
        content: Content::Manifest(names.join("\n") + "\n"),
    };
    Ok(plain.into_iter().chain([manifest]).collect())
}

/// A folder becomes a folder, with a list of what was installed.
fn application(path: &Path, name: &str, folder: &Path, items: &mut Vec<Item>) -> anyhow::Result<()> {
    let to = folder.join(name);
    let first = items.len();
    below(path, &real(path)?, &to, items)?;
    ensure!(
        items[first..].iter().any(|item| item.unit_name().is_some()),
        "there is no unit file in {}",
        path.display()
    );
    items.push(manifest(path, name, &to, &items[first..]));
    Ok(())
}

fn manifest(from: &Path, name: &str, to: &Path, items: &[Item]) -> Item {
    let lines = items.iter().filter_map(|item| item.to.strip_prefix(to).ok()?.to_str());
    let text = lines.map(|line| format!("{line}\n")).collect();
    Item { from: from.to_owned(), to: to.join(manifest_name(name)), content: Content::Manifest(text) }
}

fn real(folder: &Path) -> anyhow::Result<PathBuf> {
    folder.canonicalize().with_context(|| format!("find {}", folder.display()))
}

/// All that is in a folder but lists of other applications' files, which would have those removed with this
/// one. `tree` is where the outermost folder really is.
fn below(path: &Path, tree: &Path, to: &Path, items: &mut Vec<Item>) -> anyhow::Result<()> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.with_context(|| format!("read the folder {}", path.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(|| format!("look at {}", from.display()))?;
        if kind.is_dir() {
            if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                below(&from, tree, &to, items)?;
            }
            continue;
        }
        if entry.file_name().to_str().is_some_and(is_manifest) {
            continue;
        }
        let content = if kind.is_symlink() { link(&from, tree)? } else { Content::Copy };
        ensure!(kind.is_file() || kind.is_symlink(), "{} is neither a file nor a folder", from.display());
        items.push(Item { from, to, content });
    }
    Ok(())
}

/// A link to a file of the same folder, such as an instance of a template, stays one; any other is
/// replaced by what it points to, which has to be in the tree: it would be copied with the rights of whoever
/// installs it.
fn link(path: &Path, tree: &Path) -> anyhow::Result<Content> {
    let target = fs::read_link(path).with_context(|| format!("read the link {}", path.display()))?;
    if target.components().count() == 1 && target.is_relative() && target.file_name().is_some() {
        return Ok(Content::Link(target));
    }
    let end = path.canonicalize().with_context(|| format!("follow the link {}", path.display()))?;
    ensure!(
        end.starts_with(tree),
        "{} is a link that leaves {}, to {}: put the file itself in its place",
        path.display(),
        tree.display(),
        target.display()
    );
    let metadata = fs::metadata(&end).with_context(|| format!("look at {}", end.display()))?;
    ensure!(metadata.is_file(), "{} is a link to something that is no file", path.display());
    Ok(Content::Copy)
}

/// A `.quadlets` file (podman-quadlet-install(1)): unit files, parted by lines `---`, each with a
/// comment `# FileName=NAME`; the section says of which kind it is.
fn several(path: &Path, name: &str, folder: &Path, items: &mut Vec<Item>) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let to = folder.join(name);
    let first = items.len();
    for (number, part) in parts(&text).into_iter().enumerate() {
        let place = || format!("{}, part {}", path.display(), number + 1);
        let file = file_name(&part).with_context(place)?;
        items.push(Item { from: path.to_owned(), to: to.join(file), content: Content::Text(part) });
    }
    ensure!(items.len() > first, "there is no unit file in {}", path.display());
    items.push(manifest(path, name, &to, &items[first..]));
    Ok(())
}

fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        match parts.last_mut() {
            Some(part) if line.trim() != "---" => part.extend([line, "\n"]),
            _ => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn file_name(part: &str) -> anyhow::Result<String> {
    let lines = || part.lines().map(str::trim);
    let kind = lines().find_map(|line| {
        let section = line.strip_prefix('[')?.strip_suffix(']')?;
        UnitType::ALL.into_iter().find(|kind| kind.section() == section)
    });
    let kind = kind.context("no section such as [Container] says of which kind it is")?;
    let name = lines().find_map(|line| line.strip_prefix('#')?.trim().strip_prefix("FileName="));
    let name = name.context("no line # FileName=NAME says what it is called")?.trim();
    ensure!(!name.is_empty() && !name.contains('/'), "\"{name}\" is no name for a file");
    Ok(format!("{name}.{}", kind.extension()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_in_one_are_told_apart() {
        let text = "# FileName=web\n[Container]\nImage=x\n---\n#FileName=data\n[Volume]\n---\n\n";
        let names: Vec<_> = parts(text).iter().map(|part| file_name(part).unwrap()).collect();
        assert_eq!(names, ["web.container", "data.volume"]);
        assert!(file_name("[Container]\n").unwrap_err().to_string().contains("FileName="));
        assert!(file_name("# FileName=../x\n[Pod]\n").is_err());
        assert!(file_name("# FileName=x\n[Service]\n").is_err());
    }

    #[test]
    fn folders_of_drop_ins_are_known_by_name() {
        for (name, is) in
            [("web.container.d", true), ("container.d", true), ("conf.d", false), ("web.container", false)]
        {
            assert_eq!(is_drop_ins(Path::new(name)), is, "{name}");
        }
    }
}
