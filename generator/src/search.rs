//! Where Quadlet files are looked for, and what lies there.
//!
//! [`roots`] names the directories of an engine; `walk` goes through them once, depth first, and
//! lists the Quadlet files and drop-in directories in the order in which they count: the first
//! file of a name wins. Symbolic links are followed, hidden directories are read, directories that
//! end in `.d` hold drop-ins only.

use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::neighbour;
use crate::overlay::Overlay;
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, openat};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where sampan's own files are, which no other program reads.
const OWN: &str = "/etc/sampan/systemd";
/// Where Podman's Quadlet reads files, the first counts most.
const SHARED: [&str; 3] =
    ["/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd"];

/// What of the process's environment decides where files are looked for.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The directory that the system's own directories are below: empty for `/`.
    pub root: PathBuf,
    /// `$QUADLET_UNIT_DIRS`: directories, separated by colons, that are read instead of all others.
    pub unit_dirs: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<OsString>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
    /// The user's number.
    pub uid: u32,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            root: PathBuf::new(),
            unit_dirs: variable("QUADLET_UNIT_DIRS"),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            config_home: variable("XDG_CONFIG_HOME"),
            home: variable("HOME"),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// A path of the system, such as `/etc`, below the root.
    pub fn below(&self, path: &str) -> PathBuf {
        if self.root.as_os_str().is_empty() {
            return path.into();
        }
        self.root.join(path.trim_start_matches('/'))
    }

    fn config(&self) -> Option<PathBuf> {
        let config = self.config_home.as_ref().map(PathBuf::from);
        config
            .or_else(|| self.home.as_ref().map(|home| Path::new(home).join(".config")))
            .filter(|path| path.is_absolute())
    }
}

/// A directory to read, with all below it but what the filter leaves out.
#[derive(Clone, Debug)]
pub struct Root {
    /// The directory.
    pub path: PathBuf,
    filter: Filter,
}

impl Root {
    /// A directory that is read with everything below it.
    pub fn whole(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), filter: Filter::Nothing }
    }

    /// A directory of which only the files in itself are read, with their drop-ins.
    pub fn flat(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { filter: Filter::Below(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())), path }
    }
}

/// What is left out below a root. The path is that of the `users` directory or, for
/// [`Filter::Below`], of the root; links resolved.
#[derive(Clone, Debug)]
enum Filter {
    Nothing,
    /// All but the directory itself.
    Below(PathBuf),
    /// The files for users' own systemd.
    Users(PathBuf),
    /// The files of single users, whose directories are named by number.
    SingleUsers(PathBuf),
}

impl Filter {
    fn leaves_out(&self, path: &Path) -> bool {
        match self {
            Self::Nothing => false,
            Self::Below(root) => path != root,
            Self::Users(users) => path.starts_with(users),
            Self::SingleUsers(users) => path
                .strip_prefix(users)
                .ok()
                .and_then(|below| below.components().next())
                .is_some_and(|first| first.as_os_str().as_encoded_bytes().iter().all(u8::is_ascii_digit)),
        }
    }
}

/// The directories that an engine's units come from, those that count most first.
pub fn roots(engine: Engine, user: bool, environment: &Environment) -> (Vec<Root>, Vec<Diagnostic>) {
    if let Some(list) = &environment.unit_dirs {
        return explicit(list);
    }
    let mut notes = Vec::new();
    let shared = if user {
        shared_of_user(environment, &mut notes)
    } else {
        SHARED.iter().map(|path| system(path, SHARED[1], environment)).collect()
    };
    if engine == Engine::Podman {
        return (shared, notes);
    }
    let mut found = if user { own_of_user(environment) } else { vec![system(OWN, OWN, environment)] };
    if neighbour::is_active(&environment.below("/"), user) {
        let theirs = walk(&shared, &Overlay::new());
        let left: Vec<_> = theirs.files.iter().map(|file| theirs.path_of(file)).collect();
        (found, neighbour::note(&left).into_iter().collect())
    } else {
        found.extend(shared);
        (found, notes)
    }
}

/// Where new files are put: the first of `$QUADLET_UNIT_DIRS`, else where an administrator or user
/// keeps those that this engine reads. `None` if a user has no home.
pub fn install_directory(engine: Engine, user: bool, environment: &Environment) -> Option<PathBuf> {
    if let Some(list) = &environment.unit_dirs {
        return std::env::split_paths(list).next().filter(|path| path.is_absolute());
    }
    let neighbour = engine == Engine::Sampan && neighbour::is_active(&environment.below("/"), user);
    match (user, neighbour) {
        (false, false) => Some(environment.below(SHARED[1])),
        (false, true) => Some(environment.below(OWN)),
        (true, false) => Some(environment.config()?.join("containers/systemd")),
        (true, true) => Some(environment.config()?.join("sampan/systemd")),
    }
}

fn explicit(list: &OsStr) -> (Vec<Root>, Vec<Diagnostic>) {
    let mut found = Vec::new();
    for path in std::env::split_paths(list) {
        if !path.is_absolute() {
            let reason =
                "this entry of QUADLET_UNIT_DIRS is no absolute path; it and all behind it are left out";
            let note = Diagnostic::whole(&rules::SEARCH_PATH, Severity::Warning, &path, reason)
                .help("write absolute paths, separated by colons");
            return (found, vec![note]);
        }
        found.push(Root::whole(path));
    }
    (found, Vec::new())
}

/// The `users` directory of a base directory, links resolved.
fn users_below(base: &str, environment: &Environment) -> PathBuf {
    let users = environment.below(base).join("users");
    fs::canonicalize(&users).unwrap_or(users)
}

fn system(path: &str, users_base: &str, environment: &Environment) -> Root {
    Root { path: environment.below(path), filter: Filter::Users(users_below(users_base, environment)) }
}

fn own_of_user(environment: &Environment) -> Vec<Root> {
    let mut found: Vec<_> =
        environment.config().map(|config| Root::whole(config.join("sampan/systemd"))).into_iter().collect();
    found.extend(for_all_users(OWN, OWN, environment));
    found
}

fn shared_of_user(environment: &Environment, notes: &mut Vec<Diagnostic>) -> Vec<Root> {
    let mut found = Vec::new();
    if let Some(runtime) = &environment.runtime_dir {
        found.push(Root::whole(Path::new(runtime).join("containers/systemd")));
    }
    // Without a home the directories for all users are not read either, as with Podman.
    let Some(config) = environment.config() else {
        let note = Diagnostic::whole(
            &rules::SEARCH_PATH,
            Severity::Warning,
            Path::new("~/.config"),
            "neither XDG_CONFIG_HOME nor HOME is set",
        );
        notes.push(note.help("set HOME; no further directory is read"));
        return found;
    };
    found.push(Root::whole(config.join("containers/systemd")));
    for base in &SHARED[1..] {
        found.extend(for_all_users(base, SHARED[1], environment));
    }
    found
}

fn for_all_users(base: &str, users_base: &str, environment: &Environment) -> [Root; 2] {
    let users = environment.below(base).join("users");
    let one = Root::whole(users.join(environment.uid.to_string()));
    [Root { path: users, filter: Filter::SingleUsers(users_below(users_base, environment)) }, one]
}

/// What lies in the directories.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The directories that files were found in.
    directories: Vec<PathBuf>,
    /// Quadlet files, those that count most first; a name may come several times.
    pub(crate) files: Vec<FoundFile>,
    /// Drop-in directories by name, those that count most first.
    pub(crate) dropins: HashMap<String, Vec<PathBuf>>,
    /// Directories that could not be read.
    pub(crate) notes: Vec<Diagnostic>,
    visited: HashSet<PathBuf>,
}

/// A Quadlet file that was found.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) kind: UnitType,
    pub(crate) name: String,
    /// Which of the directories it is in, see [`Found::directory_of`].
    pub(crate) directory: usize,
    /// Whether it is known to be a regular file, and no link.
    pub(crate) is_regular: bool,
}

/// A name in a directory.
struct Name {
    text: String,
    kind: FileType,
}

/// Goes through all directories.
pub(crate) fn walk(roots: &[Root], overlay: &Overlay) -> Found {
    let mut found = Found::default();
    for root in roots {
        if let Ok(path) = fs::canonicalize(&root.path) {
            found.directory(path, &root.filter);
        }
        found.overlaid(root, overlay);
    }
    found
}

impl Found {
    /// The directory that a file is in.
    pub(crate) fn directory_of(&self, file: &FoundFile) -> &Path {
        &self.directories[file.directory]
    }

    /// The path of a file.
    pub(crate) fn path_of(&self, file: &FoundFile) -> PathBuf {
        self.directory_of(file).join(&file.name)
    }

    /// Reads a directory whose path has no links, unless it was read before.
    fn directory(&mut self, path: PathBuf, filter: &Filter) {
        if path.as_os_str().as_encoded_bytes().ends_with(b".d")
            || filter.leaves_out(&path)
            || self.visited.contains(&path)
        {
            return;
        }
        let names = match list(&path) {
            Ok(names) => names,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotADirectory {
                    let reason = format!("the directory can't be read: {error}");
                    self.notes.push(Diagnostic::whole(&rules::UNREADABLE, Severity::Warning, &path, reason));
                }
                return;
            }
        };
        let mut below = Vec::new();
        self.directories.push(path.clone());
        for name in names {
            self.entry(&path, name, &mut below);
        }
        self.visited.insert(path);
        for directory in below {
            self.directory(directory, filter);
        }
    }

    /// Adds the files of an overlay that would be found below a root if they were on disk.
    fn overlaid(&mut self, root: &Root, overlay: &Overlay) {
        let base = fs::canonicalize(&root.path).unwrap_or_else(|_| root.path.clone());
        for path in overlay.paths() {
            let Some(directory) = path.parent().filter(|directory| directory.starts_with(&base)) else {
                continue;
            };
            let (Some(name), Some(folder)) = (name_of(path), name_of(directory)) else { continue };
            let is_dropin = folder.ends_with(".d") && directory != base;
            let holder = directory.parent().filter(|_| is_dropin).unwrap_or(directory);
            if root.filter.leaves_out(holder) {
                continue;
            }
            if is_dropin {
                let directories = self.dropins.entry(folder.to_owned()).or_default();
                if !directories.iter().any(|known| known == directory) {
                    directories.push(directory.to_owned());
                }
            } else if let Some(kind) = UnitType::of(name)
                && self.files.iter().all(|file| self.path_of(file) != path)
            {
                self.directories.push(directory.to_owned());
                let directory = self.directories.len() - 1;
                self.files.push(FoundFile { kind, name: name.to_owned(), directory, is_regular: true });
            }
        }
    }

    /// Takes a name in the last of the directories.
    fn entry(&mut self, directory: &Path, name: Name, below: &mut Vec<PathBuf>) {
        if name.kind == FileType::RegularFile {
            return self.file(name.text, true);
        }
        let path = directory.join(&name.text);
        // Not every file system says in its directories what a name is.
        let kind = match name.kind {
            FileType::Unknown => fs::symlink_metadata(&path).map_or(name.kind, |own| kind_of(&own)),
            kind => kind,
        };
        let target = if kind.is_symlink() { fs::metadata(&path).ok() } else { None };
        match target.as_ref().map_or(kind, kind_of) {
            FileType::Unknown => {} // it is gone
            FileType::Directory => {
                if name.text.ends_with(".d") {
                    self.dropins.entry(name.text).or_default().push(path.clone());
                }
                below.push(if target.is_some() { fs::canonicalize(&path).unwrap_or(path) } else { path });
            }
            _ => self.file(name.text, false),
        }
    }

    fn file(&mut self, name: String, is_regular: bool) {
        if let Some(kind) = UnitType::of(&name) {
            self.files.push(FoundFile { kind, name, directory: self.directories.len() - 1, is_regular });
        }
    }
}

fn kind_of(metadata: &fs::Metadata) -> FileType {
    FileType::from_raw_mode(metadata.mode())
}

/// What a directory holds, sorted by name; names that are no UTF-8 are left out.
fn list(directory: &Path) -> io::Result<Vec<Name>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(32768);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if let Ok(text) = entry.file_name().to_str()
            && !matches!(text, "." | "..")
        {
            names.push(Name { text: text.to_owned(), kind: entry.file_type() });
        }
    }
    names.sort_unstable_by(|a, b| a.text.cmp(&b.text));
    Ok(names)
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(found: &Found) -> Vec<&str> {
        found.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn walks_depth_first_through_links_and_hidden_directories_once() {
        let root = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(root.path()).unwrap();
        for directory in ["b", ".hidden", "b/x.container.d", "z.d", "dir.container"] {
            fs::create_dir_all(base.join(directory)).unwrap();
        }
        for file in ["z.container", "b/a.network", ".hidden/h.volume", "z.d/no.container", "b/readme"] {
            fs::write(base.join(file), "").unwrap();
        }
        symlink("b", base.join("c")).unwrap();
        symlink("..", base.join("b/loop")).unwrap();
        symlink("nowhere", base.join("y.pod")).unwrap();
        let found = walk(&[Root::whole(&base)], &Overlay::new());
        assert_eq!(names(&found), ["y.pod", "z.container", "h.volume", "a.network"]);
        assert_eq!(found.dropins["x.container.d"], [base.join("b/x.container.d")]);
    }

    #[test]
    fn filters_look_at_whole_names() {
        let users = Filter::Users("/e/users".into());
        assert!(users.leaves_out(Path::new("/e/users/1")));
        assert!(!users.leaves_out(Path::new("/e/users2")));
        let single = Filter::SingleUsers("/e/users".into());
        assert!(!single.leaves_out(Path::new("/e/users")));
        assert!(single.leaves_out(Path::new("/e/users/1000/sub")));
        assert!(!single.leaves_out(Path::new("/e/users/group/1000")));
    }

    #[test]
    fn a_flat_root_is_read_without_what_is_below() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["x.container.d", "sub"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        for file in ["x.container", "sub/y.container"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        let found = walk(&[Root::flat(root.path())], &Overlay::new());
        assert_eq!(names(&found), ["x.container"]);
        assert!(found.dropins.contains_key("x.container.d"));
    }

    #[test]
    fn files_are_installed_where_the_engine_reads_them() {
        let root = tempfile::tempdir().unwrap();
        let mut environment = Environment {
            root: root.path().to_owned(),
            home: Some("/home/me".into()),
            ..Environment::default()
        };
        let directory = |engine, user, environment: &Environment| {
            let directory = install_directory(engine, user, environment).unwrap();
            let (roots, _) = roots(engine, user, environment);
            assert!(roots.iter().any(|root| root.path == directory), "{}", directory.display());
            directory
        };
        let below = |path: &str| root.path().join(path);
        assert_eq!(directory(Engine::Sampan, false, &environment), below("etc/containers/systemd"));
        let podman = below("usr/lib/systemd/system-generators");
        fs::create_dir_all(&podman).unwrap();
        fs::write(podman.join("podman-system-generator"), "#!").unwrap();
        assert_eq!(directory(Engine::Sampan, false, &environment), below("etc/sampan/systemd"));
        assert_eq!(directory(Engine::Podman, false, &environment), below("etc/containers/systemd"));
        let home = Path::new("/home/me/.config/containers/systemd");
        assert_eq!(directory(Engine::Sampan, true, &environment), home);
        environment.unit_dirs = Some("/a:/b".into());
        assert_eq!(directory(Engine::Sampan, false, &environment), Path::new("/a"));
    }

    #[test]
    fn a_relative_entry_ends_the_list() {
        let (found, notes) = explicit(OsStr::new("/a:b:/c"));
        assert_eq!(found.len(), 1);
        assert_eq!(notes.len(), 1);
    }
}
