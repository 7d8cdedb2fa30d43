//! Mounts of artifacts (podman-run(1), `--mount type=artifact`): each file of it is a read-only mount.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use oci_spec::runtime::{Mount, MountBuilder};
use sampan_container::state::UserMount;
use sampan_image::{ArtifactFile, is_file_name};

use super::mounts::Artifact as Asked;
use super::tree;
use super::volumes::Ground;

/// The mounts for what is asked of an artifact. Where the image has a file at the destination, one file of the
/// artifact takes its place; else the destination is a directory with the files in it.
///
/// # Errors
/// No such artifact, or no such file of it; a name that leads elsewhere.
pub(super) fn place(
    asked: &Asked,
    destination: &Path,
    ground: &Ground<'_>,
) -> anyhow::Result<Vec<(Mount, UserMount)>> {
    let artifact = (ground.artifacts)(&asked.name)?;
    let files = chosen(asked, &artifact.files)?;
    let places = if tree::is_file(ground.root, destination)? {
        ensure!(
            files.len() == 1,
            "{} is a file in the image, and {} has {} files: choose one by digest= or title=",
            destination.display(),
            asked.name,
            files.len()
        );
        vec![destination.to_owned()]
    } else {
        names(asked, &files)?.iter().map(|name| destination.join(name)).collect::<Vec<PathBuf>>()
    };
    let options = ["bind", "ro", "rprivate", "nosuid", "nodev"].map(str::to_owned).to_vec();
    files.iter().zip(places).map(|(file, place)| mount(file, &place, asked, &options)).collect()
}

fn mount(
    file: &ArtifactFile,
    place: &Path,
    asked: &Asked,
    options: &[String],
) -> anyhow::Result<(Mount, UserMount)> {
    let mount = MountBuilder::default().destination(place).typ("bind").source(&file.path);
    let record = UserMount {
        kind: "artifact".to_owned(),
        name: Some(asked.name.clone()),
        source: file.path.display().to_string(),
        destination: place.display().to_string(),
        options: options.to_vec(),
    };
    Ok((mount.options(options.to_vec()).build()?, record))
}

/// The files that `digest=` and `title=` leave.
fn chosen<'a>(asked: &Asked, files: &'a [ArtifactFile]) -> anyhow::Result<Vec<&'a ArtifactFile>> {
    let fits = |file: &&ArtifactFile| {
        asked
            .digest
            .as_ref()
            .is_none_or(|digest| file.digest.to_string() == *digest || file.digest.hex() == *digest)
            && asked.title.as_ref().is_none_or(|title| file.title() == Some(title))
    };
    let chosen: Vec<_> = files.iter().filter(fits).collect();
    if chosen.is_empty() {
        let all: Vec<_> = files.iter().map(|file| file.title().unwrap_or("without a title")).collect();
        bail!("the artifact {} has no such file; it has: {}", asked.name, all.join(", ").escape_debug());
    }
    Ok(chosen)
}

/// What each file is called in the directory. Titles come from the registry: see [`ArtifactFile::file_name`].
fn names(asked: &Asked, files: &[&ArtifactFile]) -> anyhow::Result<Vec<String>> {
    let Some(name) = &asked.file else {
        let names: Vec<String> =
            files.iter().map(|file| file.file_name()).collect::<Result<_, _>>().context("Mount=")?;
        for (position, name) in names.iter().enumerate() {
            ensure!(
                !names[..position].contains(name),
                "the artifact {} has two files {name:?}: choose one by digest=",
                asked.name
            );
        }
        return Ok(names);
    };
    ensure!(is_file_name(name), "name={name}: write the name of a file, without directories");
    // Of several files each gets a number, as Podman does it.
    Ok(match files.len() {
        1 => vec![name.clone()],
        count => (0..count).map(|number| format!("{name}-{number}")).collect(),
    })
}

#[cfg(test)]
mod tests {
    use sampan_image::Digest;

    use super::*;

    fn asked(digest: Option<&str>, title: Option<&str>, file: Option<&str>) -> Asked {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Asked { name: "a".into(), digest: own(digest), title: own(title), file: own(file) }
    }

    fn file(title: Option<&str>) -> ArtifactFile {
        let annotation = |title: &str| ("org.opencontainers.image.title".to_owned(), title.to_owned());
        ArtifactFile {
            digest: Digest::of(title.unwrap_or_default().as_bytes()),
            size: 1,
            media_type: String::new(),
            annotations: title.map(annotation).into_iter().collect(),
            path: PathBuf::from("/blob"),
        }
    }

    #[test]
    fn files_are_chosen_and_named() {
        let files = [file(Some("a.txt")), file(Some("b.txt")), file(None)];
        let all: Vec<_> = files.iter().collect();
        let none = asked(None, None, None);
        assert_eq!(chosen(&none, &files).unwrap().len(), 3);
        assert_eq!(names(&none, &all[..2]).unwrap(), ["a.txt", "b.txt"]);
        assert_eq!(chosen(&asked(None, Some("b.txt"), None), &files).unwrap()[0].title(), Some("b.txt"));
        let digest = files[2].digest.to_string();
        assert_eq!(chosen(&asked(Some(&digest), None, None), &files).unwrap()[0].title(), None);
        assert!(chosen(&asked(None, Some("c.txt"), None), &files).is_err());
        assert_eq!(names(&asked(None, None, Some("x")), &all).unwrap(), ["x-0", "x-1", "x-2"]);
        assert!(names(&asked(None, None, Some("../x")), &all[..1]).is_err());
        assert!(names(&none, &[&files[0], &files[0]]).is_err(), "one name for two files");
        let hostile = file(Some("../../etc/passwd"));
        assert!(names(&none, &[&hostile]).is_err());
        assert_eq!(names(&asked(None, None, Some("tame")), &[&hostile]).unwrap(), ["tame"]);
    }
}
