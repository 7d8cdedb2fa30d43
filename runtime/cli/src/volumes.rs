//! The named volumes: a directory each, with the data in `_data` and what is known in `volume.json`.
//!
//! A volume is made under a name that no volume can have and renamed when it is complete, so a
//! half-made one is never seen. The driver is `local`: a directory, or, with the options `type`,
//! `device` and `o` of mount(8), something that is mounted in the container alone when it starts.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

/// What is in the directory of a volume beside its data.
const RECORD: &str = "volume.json";

/// The volumes below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    root: PathBuf,
}

/// How a volume is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// Letters, digits, `_`, `.` and `-`, the first a letter or digit.
    pub(crate) name: String,
    /// Empty means `local`.
    pub(crate) driver: String,
    /// Free text for the user.
    pub(crate) labels: BTreeMap<String, String>,
    /// `type`, `device`, `o`, `copy`, `nocopy`.
    pub(crate) options: BTreeMap<String, String>,
    /// Who owns the data; absent means root.
    pub(crate) uid: Option<u32>,
    /// Which group owns the data; absent means root's.
    pub(crate) gid: Option<u32>,
}

/// A volume as `volume.json` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    driver: String,
    created: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    uid: u32,
    gid: u32,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    name: String,
    path: PathBuf,
    record: Record,
}

/// What is mounted in the container instead of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backing {
    /// The type of the file system, or `bind`.
    pub(crate) kind: String,
    /// The device, directory or export.
    pub(crate) source: PathBuf,
    /// Options of mount(8).
    pub(crate) options: Vec<String>,
}

impl Volumes {
    /// The volumes below `root`, which need not exist yet.
    pub(crate) fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// There is one of this name already, the name or an option is wrong, or the directory can't
    /// be made.
    pub(crate) fn create(&self, config: &Config) -> anyhow::Result<Volume> {
        check_name(&config.name)?;
        let record = Record::new(config)?;
        let place = self.root.join(&config.name);
        // A leading dot is in no volume's name; the process id keeps two makers apart.
        let draft = self.root.join(format!(".{}.{}", config.name, std::process::id()));
        let made = make(&draft, &record).with_context(|| format!("making the volume {}", place.display()));
        let placed = made.and_then(|()| match fs::rename(&draft, &place) {
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {
                bail!("volume with name {} already exists: volume already exists", config.name)
            }
            other => other.with_context(|| format!("renaming {} to {}", draft.display(), place.display())),
        });
        if placed.is_err() {
            // The first error is the one to show.
            let _ = fs::remove_dir_all(&draft);
        }
        placed.map(|()| Volume { name: config.name.clone(), path: place, record })
    }

    /// The volume of this name, or the only one whose name begins so.
    ///
    /// # Errors
    /// There is none or more than one.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<Volume> {
        if let Some(volume) = self.find(name)? {
            return Ok(volume);
        }
        let mut alike: Vec<Volume> = self.list()?;
        alike.retain(|volume| volume.name.starts_with(name));
        match alike.len() {
            1 => Ok(alike.remove(0)),
            0 => bail!("no volume with name {name:?} found: no such volume"),
            _ => bail!("more than one volume has a name that begins with {name:?}: say more of it"),
        }
    }

    /// The volume of exactly this name, if there is one.
    ///
    /// # Errors
    /// Its record can't be read.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<Option<Volume>> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let path = self.root.join(name);
        let file = path.join(RECORD);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        let record =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
        Ok(Some(Volume { name: name.to_owned(), path, record }))
    }

    /// The volume of this name, made if there is none: what `--volume NAME:…` means.
    ///
    /// # Errors
    /// As [`Volumes::create`].
    pub(crate) fn open_or_create(&self, name: &str) -> anyhow::Result<Volume> {
        if let Some(volume) = self.find(name)? {
            return Ok(volume);
        }
        let config = Config { name: name.to_owned(), ..Config::default() };
        match self.create(&config) {
            Ok(volume) => Ok(volume),
            // Two containers start at once, and the other was first.
            Err(error) => self.find(name)?.ok_or(error),
        }
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// The directory or a record can't be read.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<Volume>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("listing {}", self.root.display())),
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("listing {}", self.root.display()))?.file_name();
            volumes.extend(name.to_str().map(|name| self.find(name)).transpose()?.flatten());
        }
        volumes.sort_by(|a: &Volume, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Removes a volume with all its data. The caller knows that nobody uses it.
    ///
    /// # Errors
    /// Something in it can't be removed; what is left is no volume any more.
    pub(crate) fn remove(&self, volume: &Volume) -> anyhow::Result<()> {
        let gone = self.root.join(format!(".{}.removed.{}", volume.name, std::process::id()));
        fs::rename(&volume.path, &gone)
            .with_context(|| format!("renaming {} to remove it", volume.path.display()))?;
        // Symbolic links are removed, not followed, also if they are exchanged meanwhile (std's promise).
        fs::remove_dir_all(&gone).with_context(|| format!("removing {}", gone.display()))
    }
}

impl Volume {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `local`.
    pub(crate) fn driver(&self) -> &str {
        &self.record.driver
    }

    /// The directory with the data.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("_data")
    }

    /// When it was made, RFC 3339.
    pub(crate) fn created(&self) -> &str {
        &self.record.created
    }

    /// Labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.record.labels
    }

    /// Options of the driver.
    pub(crate) fn options(&self) -> &BTreeMap<String, String> {
        &self.record.options
    }

    /// User and group that own the data.
    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.record.uid, self.record.gid)
    }

    /// What is mounted instead of [`Volume::data`], if the options say so.
    pub(crate) fn backing(&self) -> Option<Backing> {
        let option = |name: &str| self.record.options.get(name).map(String::as_str).unwrap_or_default();
        let words = option("o").split(',').map(str::trim);
        let is_owner = |word: &str| word.starts_with("uid=") || word.starts_with("gid=");
        let tmpfs = option("type") == "tmpfs";
        // A tmpfs knows uid= and gid= itself; elsewhere they are ours.
        let mut options: Vec<String> =
            words.filter(|word| !word.is_empty() && (tmpfs || !is_owner(word))).map(str::to_owned).collect();
        let binds = options.iter().any(|word| word == "bind" || word == "rbind");
        match (option("type"), option("device")) {
            ("", "") => None,
            ("tmpfs", device) => {
                let source = if device.is_empty() { "tmpfs" } else { device };
                Some(Backing { kind: "tmpfs".into(), source: source.into(), options })
            }
            ("" | "none" | "bind", device) => {
                if !binds {
                    options.push("rbind".to_owned());
                }
                Some(Backing { kind: "bind".into(), source: device.into(), options })
            }
            (_, device) if binds => Some(Backing { kind: "bind".into(), source: device.into(), options }),
            (kind, device) => Some(Backing { kind: kind.into(), source: device.into(), options }),
        }
    }
}

impl Record {
    /// Checks what the user wants.
    fn new(config: &Config) -> anyhow::Result<Self> {
        ensure!(
            matches!(config.driver.as_str(), "" | "local"),
            "volume driver {:?} is not available: the driver is local",
            config.driver
        );
        let (mut uid, mut gid) = (config.uid.unwrap_or_default(), config.gid.unwrap_or_default());
        for (name, value) in &config.options {
            match name.as_str() {
                "type" | "device" | "copy" | "nocopy" => {}
                "o" => (uid, gid) = owner(value, (uid, gid))?,
                _ => bail!(
                    "invalid mount option {name} for driver 'local': there are type, device, o, copy and nocopy"
                ),
            }
        }
        let given = |name: &str| config.options.get(name).is_some_and(|value| !value.is_empty());
        ensure!(
            given("device") || !given("type") || config.options["type"] == "tmpfs",
            "the volume option type={} needs a device (--opt device=…, Device=)",
            config.options.get("type").map(String::as_str).unwrap_or_default()
        );
        Ok(Self {
            driver: "local".to_owned(),
            created: jiff::Timestamp::now().to_string(),
            labels: config.labels.clone(),
            options: config.options.clone(),
            uid,
            gid,
        })
    }
}

/// `uid=` and `gid=` among the options `o`.
fn owner(options: &str, default: (u32, u32)) -> anyhow::Result<(u32, u32)> {
    let (mut uid, mut gid) = default;
    for word in options.split(',').map(str::trim) {
        let number =
            |text: &str| text.parse().with_context(|| format!("volume option o={word}: not a number"));
        match word.split_once('=') {
            Some(("uid", text)) => uid = number(text)?,
            Some(("gid", text)) => gid = number(text)?,
            _ => {}
        }
    }
    Ok((uid, gid))
}

/// Makes the directory of a volume; the name is a draft's.
fn make(draft: &Path, record: &Record) -> anyhow::Result<()> {
    // Containers' files keep their own modes; nobody on the host but root gets this far.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(draft)?;
    let data = draft.join("_data");
    fs::DirBuilder::new().mode(0o755).create(&data)?;
    if (record.uid, record.gid) != (0, 0) {
        chown(&data, Some(record.uid), Some(record.gid))
            .with_context(|| format!("giving it to {}:{}", record.uid, record.gid))?;
    }
    let file = fs::File::create_new(draft.join(RECORD))?;
    serde_json::to_writer(&file, record)?;
    // The record is what makes the directory a volume: it must not be lost or empty after a crash.
    file.sync_all()?;
    Ok(())
}

/// A name becomes the name of a directory, so nothing else passes.
fn check_name(name: &str) -> anyhow::Result<()> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && name.len() <= 200;
    ensure!(
        good,
        "volume name {name:?}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]* and have at most 200 letters"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(&root.path().join("volumes"));
        (root, volumes)
    }

    fn config(name: &str, options: &[(&str, &str)]) -> Config {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config { name: name.to_owned(), options: options.collect(), ..Config::default() }
    }

    fn backing(options: &[(&str, &str)]) -> Option<Backing> {
        let (_root, volumes) = volumes();
        volumes.create(&config("v", options)).unwrap().backing()
    }

    #[test]
    fn volumes_are_made_found_and_removed() {
        let (_root, volumes) = volumes();
        assert!(volumes.list().unwrap().is_empty());
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let made = volumes.create(&Config { labels, ..config("data", &[]) }).unwrap();
        assert!(made.data().is_dir());
        assert_eq!(volumes.get("data").unwrap(), made);
        assert_eq!(volumes.get("da").unwrap().name(), "data");
        assert_eq!(volumes.open_or_create("data").unwrap(), made);
        assert_eq!(made.labels()["a"], "1");
        let again = volumes.create(&config("data", &[])).unwrap_err().to_string();
        assert!(again.contains("already exists"), "{again}");
        volumes.open_or_create("date").unwrap();
        assert!(volumes.get("da").unwrap_err().to_string().contains("more than one"));
        volumes.remove(&made).unwrap();
        let names: Vec<_> = volumes.list().unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(names, ["date"]);
        assert!(volumes.get("data").unwrap_err().to_string().contains("no such volume"));
        // Neither the failed nor the removed one has left anything.
        assert_eq!(fs::read_dir(&volumes.root).unwrap().count(), 1);
    }

    #[test]
    fn hostile_names_are_refused() {
        let (_root, volumes) = volumes();
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "a\0b", &"x".repeat(201)] {
            assert!(volumes.create(&config(name, &[])).is_err(), "{name:?}");
            assert!(volumes.get(name).is_err() || name.is_empty(), "{name:?}");
        }
    }

    #[test]
    fn the_data_belongs_to_the_owner() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: the_data_belongs_to_the_owner: only root gives files away");
            return;
        }
        let (_root, volumes) = volumes();
        let volume = volumes.create(&Config { uid: Some(12), gid: Some(34), ..config("a", &[]) }).unwrap();
        let data = fs::metadata(volume.data()).unwrap();
        assert_eq!((data.uid(), data.gid(), volume.owner()), (12, 34, (12, 34)));
        let volume = volumes.create(&config("b", &[("o", "uid=5,noatime,gid=6")])).unwrap();
        assert_eq!(volume.owner(), (5, 6));
    }

    #[test]
    fn options_say_what_is_mounted() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(backing(&[]), None);
        assert_eq!(backing(&[("o", "uid=0")]), None);
        assert_eq!(backing(&[("nocopy", "")]), None);
        let device = backing(&[("type", "ext4"), ("device", "/dev/x"), ("o", "rw,noatime,uid=0")]).unwrap();
        assert_eq!((device.kind.as_str(), device.options), ("ext4", words(&["rw", "noatime"])));
        let bind = backing(&[("type", "none"), ("device", "/srv"), ("o", "bind")]).unwrap();
        assert_eq!(bind, Backing { kind: "bind".into(), source: "/srv".into(), options: words(&["bind"]) });
        let bind = backing(&[("device", "/srv")]).unwrap();
        assert_eq!((bind.kind.as_str(), bind.options), ("bind", words(&["rbind"])));
        let tmpfs = backing(&[("type", "tmpfs"), ("o", "size=1m,uid=0")]).unwrap();
        assert_eq!((tmpfs.kind.as_str(), tmpfs.options), ("tmpfs", words(&["size=1m", "uid=0"])));
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        let (_root, volumes) = volumes();
        let fails = |config: &Config| volumes.create(config).unwrap_err().to_string();
        assert!(fails(&config("v", &[("size", "1g")])).contains("type, device, o"));
        assert!(fails(&config("v", &[("type", "ext4")])).contains("needs a device"));
        assert!(fails(&config("v", &[("o", "uid=me")])).contains("o=uid=me"));
        let driver = Config { driver: "nfs".into(), ..config("v", &[]) };
        assert!(fails(&driver).contains("the driver is local"));
        assert!(volumes.list().unwrap().is_empty());
    }
}
