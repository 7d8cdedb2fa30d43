//! Groups of the resource control file system, for caches and memory bandwidth (`linux.intelRdt`; the kernel's
//! "User Interface for Resource Control feature", resctrl).
//!
//! A class of service is a directory with a file `schemata` of what it may use, and `tasks` of who is in it. Without
//! a `closID` the container has one of its own, named after it, which goes when the container is deleted; with one it
//! is the administrator's, is made if it isn't there, and stays. A group for monitoring is always the container's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;

use crate::error::{Call, Error, Result};
use crate::rootfs::procfs::Procfs;

/// `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
const MAGIC: i64 = 0x0765_5821;

/// Where resctrl is mounted by everyone.
const USUAL: &str = "/sys/fs/resctrl";

/// The class of service and the group for monitoring of one container.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    class: PathBuf,
    own: bool,
    monitor: Option<PathBuf>,
}

/// The mount of resctrl.
fn mount_point() -> Result<PathBuf> {
    if rustix::fs::statfs(USUAL).is_ok_and(|fs| fs.f_type == MAGIC) {
        return Ok(USUAL.into());
    }
    let text = fs::read_to_string("/proc/self/mountinfo").call(|| "read(/proc/self/mountinfo)".into())?;
    let found = text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("resctrl ").then(|| left.split(' ').nth(4)).flatten()
    });
    found.map(PathBuf::from).ok_or_else(|| Error::Unsupported {
        what: "linux.intelRdt".into(),
        reason:
            "no file system of type resctrl is mounted; the CPU and the kernel need RDT, MPAM or the like"
                .into(),
    })
}

fn invalid(what: &'static str, value: &str, reason: &str) -> Error {
    Error::Invalid { what, value: value.to_owned(), reason: reason.to_owned() }
}

/// A name that is one directory below another.
fn check_name(what: &'static str, name: &str) -> Result<()> {
    match name.is_empty() || name == "." || name == ".." || name.contains(['/', '\n', '\0']) {
        true => Err(invalid(what, name, "it is the name of a directory")),
        false => Ok(()),
    }
}

/// All lines for `schemata`, in the order in which they are written.
fn schemata(rdt: &LinuxIntelRdt) -> Result<Vec<&str>> {
    let single =
        |text: &'_ Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(odd) = single(rdt.mem_bw_schema()).filter(|text| !text.starts_with("MB:")) {
        return Err(invalid("linux.intelRdt.memBwSchema", &odd, "it begins with MB:"));
    }
    let lines: Vec<&str> = [rdt.l3_cache_schema(), rdt.mem_bw_schema()]
        .into_iter()
        .flatten()
        .chain(rdt.schemata().iter().flatten())
        .map(String::as_str)
        .filter(|line| !line.is_empty())
        .collect();
    match lines.iter().find(|line| line.contains('\n')) {
        Some(line) => Err(invalid("linux.intelRdt.schemata", line, "each is one line")),
        None => Ok(lines),
    }
}

/// What a line of `schemata` says about one resource: its name and the value of each domain. The kernel writes
/// numbers with leading zeros and more spaces than others.
fn meaning(line: &str) -> Option<(String, Vec<(u32, String)>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let domain = |text: &str| {
        let (id, value) = text.trim().split_once('=')?;
        Some((id.trim().parse().ok()?, value.trim().trim_start_matches('0').to_lowercase()))
    };
    let domains: Option<Vec<_>> =
        domains.split(';').filter(|text| !text.trim().is_empty()).map(domain).collect();
    Some((resource.trim().to_owned(), domains?))
}

/// Whether all that `wanted` says stands in `there`.
fn is_contained(wanted: &str, there: &str) -> bool {
    let Some((resource, domains)) = meaning(wanted) else { return false };
    let known = there.lines().filter_map(meaning).find(|(name, _)| *name == resource);
    known.is_some_and(|(_, known)| domains.iter().all(|domain| known.contains(domain)))
}

impl Groups {
    /// Makes the groups of the container `id`, or finds its class of service.
    ///
    /// # Errors
    /// No resctrl here; a class that isn't there or says something else; what the kernel refuses.
    pub(crate) fn create(rdt: &LinuxIntelRdt, id: &str) -> Result<Self> {
        Self::create_below(&mount_point()?, rdt, id)
    }

    /// Those that the process `pid` is in, for a program that is executed beside it.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let text = Procfs::host()?.read(&format!("{pid}/cpu_resctrl_groups"))?;
        Ok(Self::parse(&mount_point()?, &text))
    }

    /// `res:` and `mon:` name the groups; `/`, or nothing, is the root of either.
    fn parse(mount: &Path, text: &str) -> Self {
        let name = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|name| name.trim_matches('/')).filter(|name| !name.is_empty())
        };
        let class = name("res:").map_or_else(|| mount.to_owned(), |class| mount.join(class));
        let monitor = name("mon:").map(|monitor| class.join("mon_groups").join(monitor));
        Groups { class, own: false, monitor }
    }

    fn find(mount: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<Self> {
        let class = rdt.clos_id().as_deref().filter(|class| !class.is_empty());
        let directory = match class {
            // The default class is the root.
            Some("/") => mount.to_owned(),
            Some(class) => {
                check_name("linux.intelRdt.closID", class)?;
                mount.join(class)
            }
            None => {
                check_name("container id", id)?;
                mount.join(id)
            }
        };
        let monitor = rdt.enable_monitoring() == &Some(true);
        let monitor = monitor.then(|| directory.join("mon_groups").join(id));
        Ok(Groups { class: directory, own: class.is_none(), monitor })
    }

    fn create_below(mount: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<Self> {
        let lines = schemata(rdt)?;
        let groups = Self::find(mount, rdt, id)?;
        let made = match (groups.class.is_dir(), groups.own) {
            (true, false) => {
                groups.compare(&lines)?;
                false
            }
            (false, false) if lines.is_empty() => {
                return Err(invalid(
                    "linux.intelRdt.closID",
                    &groups.class.display().to_string(),
                    "there is no such class of service, and nothing is said about what it would be",
                ));
            }
            // What is left of a container of this name is taken over.
            (there, _) => !there && make(&groups.class).map(|()| true)?,
        };
        let result = match made || groups.own {
            true => groups.write(&lines),
            false => Ok(()),
        };
        let result = result.and_then(|()| groups.monitor.iter().try_for_each(|monitor| make(monitor)));
        if let Err(error) = result {
            if made {
                remove(&groups.class)?;
            }
            return Err(error);
        }
        Ok(groups)
    }

    fn update_below(mount: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<()> {
        let groups = Self::find(mount, rdt, id)?;
        match groups.own {
            true => groups.write(&schemata(rdt)?),
            false => Err(invalid(
                "linux.intelRdt.closID",
                &groups.class.display().to_string(),
                "this class of service is not the container's alone: change it itself",
            )),
        }
    }

    fn compare(&self, lines: &[&str]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = self.class.join("schemata");
        let there = fs::read_to_string(&file).call(|| format!("read({})", file.display()))?;
        match lines.iter().find(|line| !is_contained(line, &there)) {
            None => Ok(()),
            Some(line) => Err(invalid(
                "linux.intelRdt",
                line,
                &format!("the class of service exists, and its {} says {:?}", file.display(), there.trim()),
            )),
        }
    }

    fn write(&self, lines: &[&str]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = self.class.join("schemata");
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        fs::write(&file, &text).call(|| format!("write({}, {text:?})", file.display()))
    }

    /// Puts a process in, which its children follow.
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        for directory in [Some(&self.class), self.monitor.as_ref()].into_iter().flatten() {
            let file = directory.join("tasks");
            fs::write(&file, pid.to_string()).call(|| format!("write({}, {pid})", file.display()))?;
        }
        Ok(())
    }

    /// Removes what is the container's.
    pub(crate) fn remove(&self) -> Result<()> {
        if let Some(monitor) = &self.monitor {
            remove(monitor)?;
        }
        match self.own {
            true => remove(&self.class),
            false => Ok(()),
        }
    }
}

/// Removes the groups of a container that is deleted. It is no error if there are none.
///
/// # Errors
/// rmdir(2)'s.
pub fn remove_groups(rdt: &LinuxIntelRdt, id: &str) -> Result<()> {
    // Without resctrl, and with names that are none, none were made.
    match mount_point().and_then(|mount| Groups::find(&mount, rdt, id)) {
        Ok(groups) => groups.remove(),
        Err(_) => Ok(()),
    }
}

/// Writes what `rdt` says now about the class of service of a running container.
///
/// # Errors
/// A class that has a name (`closID`), which others may be in, too; no resctrl; what the kernel refuses.
pub fn update_groups(rdt: &LinuxIntelRdt, id: &str) -> Result<()> {
    Groups::update_below(&mount_point()?, rdt, id)
}

fn make(directory: &Path) -> Result<()> {
    match fs::create_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.call(|| format!("mkdir({})", directory.display())),
    }
}

/// A group of resctrl goes with rmdir(2) alone; who is in it falls back to the default.
fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.call(|| format!("rmdir({})", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(json: &str) -> LinuxIntelRdt {
        serde_json::from_str(json).unwrap()
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_container_has_a_class_of_its_own() {
        let mount = tempfile::tempdir().unwrap();
        let text = r#"{"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=1"]}"#;
        let groups = Groups::create_below(mount.path(), &rdt(text), "one").unwrap();
        assert_eq!(read(mount.path().join("one/schemata")), "L3:0=f\nMB:0=20\nL2:0=1\n");
        Groups::update_below(mount.path(), &rdt(r#"{"l3CacheSchema": "L3:0=1"}"#), "one").unwrap();
        assert_eq!(read(mount.path().join("one/schemata")), "L3:0=1\n");
        let named = rdt(r#"{"closID": "one", "l3CacheSchema": "L3:0=1"}"#);
        assert!(Groups::update_below(mount.path(), &named, "two").is_err());
        groups.add(7).unwrap();
        assert_eq!(read(mount.path().join("one/tasks")), "7");
        for file in ["schemata", "tasks"] {
            fs::remove_file(mount.path().join("one").join(file)).unwrap();
        }
        groups.remove().unwrap();
        assert!(!mount.path().join("one").exists());
        groups.remove().unwrap();
    }

    #[test]
    fn a_named_class_stays_and_must_say_the_same() {
        let mount = tempfile::tempdir().unwrap();
        let create = |text: &str| Groups::create_below(mount.path(), &rdt(text), "one");
        let error = create(r#"{"closID": "gold"}"#).unwrap_err().to_string();
        assert!(error.contains("no such class"), "{error}");
        let groups = create(r#"{"closID": "gold", "schemata": ["L3:0=f;1=3"]}"#).unwrap();
        groups.remove().unwrap();
        assert!(mount.path().join("gold").exists());
        // As the kernel writes it.
        fs::write(mount.path().join("gold/schemata"), "    MB:0=100;1=100\n    L3:0=000f;1=0003\n").unwrap();
        create(r#"{"closID": "gold", "schemata": ["L3:0=f;1=3"]}"#).unwrap();
        create(r#"{"closID": "gold", "l3CacheSchema": "L3:1=3"}"#).unwrap();
        create(r#"{"closID": "gold"}"#).unwrap();
        for other in ["L3:0=e", "L3:2=f", "L2:0=f", "nonsense"] {
            let text = format!(r#"{{"closID": "gold", "schemata": ["{other}"]}}"#);
            assert!(create(&text).is_err(), "{other}");
        }
    }

    #[test]
    fn monitoring_is_in_a_group_of_its_own() {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir(mount.path().join("mon_groups")).unwrap();
        let text = r#"{"closID": "/", "enableMonitoring": true}"#;
        let groups = Groups::create_below(mount.path(), &rdt(text), "one").unwrap();
        groups.add(9).unwrap();
        assert_eq!(read(mount.path().join("mon_groups/one/tasks")), "9");
        assert_eq!(read(mount.path().join("tasks")), "9");
        fs::remove_file(mount.path().join("mon_groups/one/tasks")).unwrap();
        groups.remove().unwrap();
        assert!(!mount.path().join("mon_groups/one").exists());
    }

    #[test]
    fn the_groups_of_a_process_are_found() {
        let paths = |text: &str| {
            let groups = Groups::parse(Path::new("/r"), text);
            (groups.class.display().to_string(), groups.monitor.map(|m| m.display().to_string()))
        };
        assert_eq!(paths("res:/\nmon:\n"), ("/r".into(), None));
        assert_eq!(paths("res:a\nmon:b\n"), ("/r/a".into(), Some("/r/a/mon_groups/b".into())));
        assert_eq!(paths("res:/\nmon:b\n"), ("/r".into(), Some("/r/mon_groups/b".into())));
    }

    #[test]
    fn names_and_lines_are_checked() {
        let mount = tempfile::tempdir().unwrap();
        for text in [
            r#"{"closID": "../x", "schemata": ["L3:0=f"]}"#,
            r#"{"closID": "..", "schemata": ["L3:0=f"]}"#,
            r#"{"memBwSchema": "L3:0=f"}"#,
            r#"{"schemata": ["L3:0=f\nMB:0=1"]}"#,
        ] {
            assert!(Groups::create_below(mount.path(), &rdt(text), "one").is_err(), "{text}");
        }
        assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
    }
}
