//! Containers come to a pod and leave it: their names in its networks and in its hosts file.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use sampan_container::state::State;
use sampan_network::Holder;

use super::state::PodDir;
use crate::context::Context;
use crate::run::files::HOSTS;

/// The containers may write the hosts file: they won't fill our memory by it.
const HOSTS_MAX: u64 = 1 << 20;
const LOCK: &str = "hosts.lock";

/// Makes the container's name known in its pod: to its neighbours through the networks' name server, to itself and
/// the other containers of the pod also through their hosts file.
///
/// # Errors
/// The pod is gone; the network's.
pub(crate) fn join(context: &Context, directory: &PodDir, pod: &str, state: &State) -> anyhow::Result<()> {
    let name = &state.name;
    {
        let lock = directory.lock()?;
        ensure!(
            lock.is_some() && directory.read().is_ok_and(|now| now.id == pod && now.is_complete),
            "the pod {} was removed while {name} was being started",
            directory.name()
        );
        edit(&directory.path().join(HOSTS), name, Some(&format!("127.0.0.1\t{name}\n")))?;
    }
    let member = Holder { id: state.id.clone(), name: name.clone() };
    context.networks()?.add_member(pod, &member).with_context(|| format!("making the name {name} known"))
}

/// Forgets the container's name. It is no error if the pod is gone.
///
/// # Errors
/// The network's.
pub(crate) fn leave(context: &Context, state: &State) -> anyhow::Result<()> {
    let Some(pod) = &state.pod else { return Ok(()) };
    let directory = context.pods().list()?.into_iter().find(|directory| directory.name() == pod.name);
    // Without a lock: whoever removes the pod holds it while its containers are removed, and waits for us.
    if let Some(directory) = directory.filter(|directory| directory.read().is_ok_and(|now| now.id == pod.id))
    {
        edit(&directory.path().join(HOSTS), &state.name, None)?;
    }
    let removed = context.networks()?.remove_member(&pod.id, &state.id);
    removed.with_context(|| format!("forgetting the name {}", state.name))
}

/// Takes the line with exactly this name out of the hosts file, and puts another one at its end. In place: the
/// containers have this very file mounted.
fn edit(path: &Path, name: &str, line: Option<&str>) -> anyhow::Result<()> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.with_context(|| format!("opening {}", path.display()))?,
    };
    let mut change = || -> std::io::Result<()> {
        // Others that come and go at the same time. Not on the file itself, which a container could lock for ever.
        let lock =
            File::options().write(true).create(true).truncate(false).open(path.with_file_name(LOCK))?;
        lock.lock()?;
        let mut bytes = Vec::new();
        (&file).take(HOSTS_MAX).read_to_end(&mut bytes)?;
        let old = String::from_utf8_lossy(&bytes);
        let own = format!("127.0.0.1\t{name}");
        let kept = old.lines().filter(|old| *old != own).map(|old| format!("{old}\n"));
        let text: String = kept.chain(line.map(str::to_owned)).collect();
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    };
    change().with_context(|| format!("changing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_and_go_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(HOSTS);
        edit(&path, "web", Some("127.0.0.1\tweb\n")).unwrap();
        assert!(!path.exists(), "a pod without a hosts file has none made");
        std::fs::write(&path, "10.0.0.1\tx web\n").unwrap();
        for name in ["web", "db", "web"] {
            edit(&path, name, Some(&format!("127.0.0.1\t{name}\n"))).unwrap();
        }
        let text = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(text(), "10.0.0.1\tx web\n127.0.0.1\tdb\n127.0.0.1\tweb\n");
        edit(&path, "db", None).unwrap();
        assert_eq!(text(), "10.0.0.1\tx web\n127.0.0.1\tweb\n");
    }
}
