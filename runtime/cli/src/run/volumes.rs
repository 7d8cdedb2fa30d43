//! Requests become mounts of the Spec: volumes are made and filled, sources are checked.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use oci_spec::runtime::{Mount, MountBuilder};
use sampan_container::state::UserMount;

use super::mounts::{self, Relabel, Request, Source};
use super::options::Options;
use super::{artifacts, tree};
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;
use crate::volumes::Volumes;

/// Where `--read-only` leaves memory to write to; `/dev/shm` is memory anyway.
const WRITABLE: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

/// All that the user, the pod (`shared`), the image and `--read-only` want mounted, parents before children, each
/// place once.
///
/// # Errors
/// A malformed option.
pub(crate) fn requests(
    options: &Options,
    conf: &ContainersConf,
    shared: &[String],
    image_volumes: &[String],
    read_only: bool,
) -> anyhow::Result<Vec<Request>> {
    let mut all: Vec<Request> = Vec::new();
    for text in conf.containers.volumes.iter().chain(&options.volume) {
        all.push(mounts::volume(text).blame("Volume", text)?);
    }
    for text in &options.mount {
        all.push(mounts::mount(text).blame("Mount", text)?);
    }
    for text in &options.tmpfs {
        all.push(mounts::tmpfs(text).blame("Tmpfs", text)?);
    }
    for (position, request) in all.iter().enumerate() {
        ensure!(
            all[..position].iter().all(|earlier| earlier.destination != request.destination),
            "two volumes have the same place in the container, {}",
            request.destination.display()
        );
    }
    for text in shared {
        add_unless_taken(&mut all, mounts::volume(text).blame("Pod", "")?);
    }
    // The image's own wishes come last: a place that the user has filled is left alone.
    for place in image_volumes {
        let request =
            mounts::declared(place).with_context(|| format!("the image declares the volume {place}"))?;
        add_unless_taken(&mut all, request);
    }
    if read_only && options.read_only_tmpfs.unwrap_or(true) {
        for place in WRITABLE {
            add_unless_taken(&mut all, mounts::tmpfs(&format!("{place}:mode=1777"))?);
        }
    }
    all.sort_by_key(|request| request.destination.components().count());
    Ok(all)
}

fn add_unless_taken(all: &mut Vec<Request>, request: Request) {
    if all.iter().all(|other| other.destination != request.destination) {
        all.push(request);
    }
}

/// Where things are, for [`place`].
pub(crate) struct Ground<'a> {
    /// The container's root, for what an empty volume is filled with.
    pub(crate) root: BorrowedFd<'a>,
    pub(crate) volumes: &'a Volumes,
    /// Finds an artifact in the store.
    pub(crate) artifacts: &'a dyn Fn(&str) -> anyhow::Result<sampan_image::Artifact>,
    /// Anonymous volumes are made here and go with the container.
    pub(crate) anonymous: &'a Path,
    /// Who the files are handed to with `U`: the container's user and group, as the host sees them.
    pub(crate) user: (u32, u32),
}

/// Makes each request a mount, and notes what `inspect` shows of it.
///
/// # Errors
/// A source that isn't there, or a volume that can't be made or filled.
pub(crate) fn place(
    requests: &[Request],
    ground: &Ground<'_>,
) -> anyhow::Result<(Vec<Mount>, Vec<UserMount>)> {
    let mut mounts = Vec::new();
    let mut records = Vec::new();
    for (position, request) in requests.iter().enumerate() {
        warn_of_labels(request);
        if let Source::Artifact(asked) = &request.source {
            let placed = artifacts::place(asked, &request.destination, ground)
                .blame("Mount", request.destination.display().to_string())?;
            for (mount, record) in placed {
                mounts.push(mount);
                records.push(record);
            }
            continue;
        }
        let Placed { kind, source, options, volume } = placed(request, position, ground)
            .blame(key(request), request.destination.display().to_string())?;
        records.push(UserMount {
            kind: if volume.is_some() { "volume".to_owned() } else { kind.clone() },
            name: volume,
            source: source.display().to_string(),
            destination: request.destination.display().to_string(),
            options: options.clone(),
        });
        mounts.push(
            MountBuilder::default()
                .destination(&request.destination)
                .typ(kind)
                .source(source)
                .options(options)
                .build()?,
        );
    }
    Ok((mounts, records))
}

/// The key that a request most probably comes from.
fn key(request: &Request) -> &'static str {
    if matches!(request.source, Source::Tmpfs) { "Tmpfs" } else { "Volume" }
}

/// A request whose source is there.
struct Placed {
    kind: String,
    source: PathBuf,
    options: Vec<String>,
    volume: Option<String>,
}

impl Placed {
    fn new(kind: &str, source: impl Into<PathBuf>, request: &Request, defaults: &[&str]) -> Self {
        let options = with_defaults(request, defaults);
        Self { kind: kind.to_owned(), source: source.into(), options, volume: None }
    }
}

/// Volumes don't bring devices and set-user-ID programs of another origin.
const VOLUME: [&str; 4] = ["rbind", "rprivate", "nosuid", "nodev"];

/// The labels of SELinux would follow a policy for our containers, which there is none of yet.
fn warn_of_labels(request: &Request) {
    if let Some(relabel) = request.relabel.filter(|_| Path::new("/sys/fs/selinux/enforce").exists()) {
        let option = if relabel == Relabel::Private { "Z" } else { "z" };
        log::warn!(
            "{}: the option {option} has no effect: containers run without a label of their own",
            request.destination.display()
        );
    }
}

fn placed(request: &Request, position: usize, ground: &Ground<'_>) -> anyhow::Result<Placed> {
    match &request.source {
        Source::Bind(path) => {
            ensure!(
                path.exists(),
                "{}: no such file or directory on this host; make it first (mkdir, or tmpfiles.d(5)), or name a \
                 volume instead of a path",
                path.display()
            );
            if request.chown && path.is_dir() {
                tree::chown(tree::open(path)?.as_fd(), ground.user.0, ground.user.1)?;
            }
            Ok(Placed::new("bind", path, request, &["rbind", "rprivate"]))
        }
        Source::Volume(name) => {
            let volume = ground.volumes.open_or_create(name)?;
            if let Some(backing) = volume.backing() {
                let mut placed = Placed::new(&backing.kind, backing.source, request, &["rprivate"]);
                placed.options.extend(backing.options);
                placed.volume = Some(name.clone());
                return Ok(placed);
            }
            fill(request, &volume.data(), ground).with_context(|| format!("preparing the volume {name}"))?;
            Ok(Placed { volume: Some(name.clone()), ..Placed::new("bind", volume.data(), request, &VOLUME) })
        }
        Source::Anonymous => {
            let data = ground.anonymous.join(position.to_string());
            std::fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
            fill(request, &data, ground)?;
            Ok(Placed::new("bind", data, request, &VOLUME))
        }
        Source::Tmpfs => Ok(Placed::new("tmpfs", "tmpfs", request, &["rprivate"])),
        // Becomes several mounts, before it comes to this.
        Source::Artifact(artifact) => bail!("{}: an artifact is no single mount", artifact.name),
        Source::DevPts => Ok(Placed::new(
            "devpts",
            "devpts",
            request,
            &["newinstance", "ptmxmode=0666", "nosuid", "noexec"],
        )),
    }
}

/// An empty volume begins with what the image has at its place, owner and mode included. One at a place that the image
/// doesn't have belongs to the container's user. A note beside the volume tells of a copy that was broken off.
fn fill(request: &Request, data: &Path, ground: &Ground<'_>) -> anyhow::Result<()> {
    let target = tree::open(data)?;
    let note = data.with_extension("filling");
    let lock = File::options().create(true).truncate(false).write(true).open(&note);
    let lock = lock.with_context(|| format!("opening {}", note.display()))?;
    lock.lock().with_context(|| format!("locking {}", note.display()))?;
    if lock.metadata()?.len() > 0 {
        tree::clear(target.as_fd()).context("emptying a volume whose first copy was broken off")?;
    }
    if tree::is_empty(target.as_fd())? {
        lock.set_len(1)?;
        match tree::open_in(ground.root, &request.destination)? {
            Some(below) if request.copy => tree::copy(below.as_fd(), target.as_fd())?,
            _ if tree::is_roots(target.as_fd())? => {
                tree::chown(target.as_fd(), ground.user.0, ground.user.1)?
            }
            _ => {}
        }
    }
    // First empty, then gone: whoever waits for the lock must not take it for a broken copy.
    lock.set_len(0)?;
    std::fs::remove_file(&note).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error).with_context(|| format!("removing {}", note.display())),
    })?;
    if request.chown {
        tree::chown(target.as_fd(), ground.user.0, ground.user.1)?;
    }
    Ok(())
}

/// The request's options, and each default that none of them contradicts.
fn with_defaults(request: &Request, defaults: &[&str]) -> Vec<String> {
    const CONTRADICTORY: [&[&str]; 4] = [
        &["bind", "rbind"],
        &["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"],
        &["suid", "nosuid"],
        &["dev", "nodev"],
    ];
    let mut options = request.options.clone();
    for default in defaults {
        let group = CONTRADICTORY.iter().find(|group| group.contains(default)).copied();
        let is_decided = options
            .iter()
            .any(|option| option == default || group.is_some_and(|group| group.contains(&option.as_str())));
        if !is_decided {
            options.push((*default).to_owned());
        }
    }
    if request.is_writable() && !matches!(request.source, Source::DevPts) {
        options.push("rw".to_owned());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_gives_way_to_the_users_word() {
        let request = mounts::volume("/a:/b:rslave,ro").unwrap();
        assert_eq!(with_defaults(&request, &["rbind", "rprivate"]), ["rslave", "ro", "rbind"]);
        let request = mounts::volume("v:/b:suid").unwrap();
        assert_eq!(with_defaults(&request, &["rbind", "nosuid", "nodev"]), ["suid", "rbind", "nodev", "rw"]);
    }
}
