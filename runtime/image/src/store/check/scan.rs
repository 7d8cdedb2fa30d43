//! Finding what is wrong. Nothing is changed, and pulls and starts go on meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{Broken, Checked, Depth, Fault, Kind, Of};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::store::garbage::{BLOB_NAME, LAYER_FILES, LAYER_NAME};
use crate::store::images::names_of;
use crate::store::record::{LayerRecord, read};
use crate::store::{ImageRecord, NameRecord, Store};
use crate::unpack::{Known, Mismatch, survey};

impl Store {
    /// Looks at everything in the store.
    ///
    /// # Errors
    /// [`Error::Io`]: a directory of the store that can't be read. What is wrong below is no error.
    pub fn check(&self, depth: Depth) -> Result<Checked> {
        let mut scan = Scan { store: self, depth, checked: Checked::default(), is_readable: true };
        // First, and under the lock: afterwards a pull may bring what looks like it.
        let garbage = scan.garbage()?;
        // Nothing of what is looked at is collected meanwhile.
        let _no_deletion = self.lock_shared()?;
        let names = scan.names()?;
        let images = scan.images(&names)?;
        let lost = scan.lost_layers(&images)?;
        for (record, names) in &images {
            scan.image(record, names, &lost);
        }
        scan.checked.images = images.len();
        scan.artifacts()?;
        scan.strangers()?;
        scan.checked.faults.extend(garbage);
        Ok(scan.checked)
    }
}

struct Scan<'a> {
    store: &'a Store,
    depth: Depth,
    checked: Checked,
    /// Whether every record of a name was readable: otherwise lists of names can't be compared.
    is_readable: bool,
}

impl Scan<'_> {
    fn fault(&mut self, kind: Kind) {
        self.checked.faults.push(Fault(kind));
    }

    /// Records of one directory; `file_name` is what a record's file must be called.
    fn records<T: serde::de::DeserializeOwned>(
        &mut self,
        of: Of,
        directory: &str,
        file_name: impl Fn(&T) -> Digest,
    ) -> Result<(Vec<T>, Vec<PathBuf>)> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for path in self.store.entries(directory)? {
            let reason = match read::<T>(&path) {
                // Removed meanwhile.
                Ok(None) => continue,
                Ok(Some(record))
                    if path.file_stem().is_some_and(|stem| *stem == *file_name(&record).hex()) =>
                {
                    good.push(record);
                    continue;
                }
                Ok(Some(_)) => "it is of another one".to_owned(),
                Err(Error::Corrupt { reason, .. }) => reason.split(';').next().unwrap_or_default().to_owned(),
                Err(error) => error.to_string(),
            };
            self.fault(Kind::Record { of, path: path.clone(), reason });
            bad.push(path);
        }
        Ok((good, bad))
    }

    fn names(&mut self) -> Result<Vec<NameRecord>> {
        let (mut names, bad) =
            self.records(Of::Name, "names", |record: &NameRecord| Digest::of(record.name.as_bytes()))?;
        self.is_readable = bad.is_empty();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// The images with the names that lead to them.
    fn images(&mut self, names: &[NameRecord]) -> Result<Vec<(ImageRecord, Vec<String>)>> {
        let (images, bad) = self.records(Of::Image, "images", |record: &ImageRecord| record.config)?;
        let bad: Vec<String> =
            bad.iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
        for id in &bad {
            let own: Vec<_> = names.iter().filter(|name| name.image.hex() == *id).collect();
            let repo_digests = own.iter().filter_map(|name| {
                let reference = Reference::parse(&name.name).ok()?;
                Some(reference.with_digest(name.digest?).to_string())
            });
            self.checked.broken.push(Broken {
                id: id.clone(),
                names: own.iter().map(|name| name.name.clone()).collect(),
                repo_digests: repo_digests.collect::<BTreeSet<_>>().into_iter().collect(),
                is_artifact: false,
                is_unusable: true,
            });
        }
        let there: HashSet<String> = images.iter().map(|image| image.config.hex()).chain(bad).collect();
        for name in names.iter().filter(|name| !there.contains(&name.image.hex())) {
            self.fault(Kind::Name { name: name.name.clone() });
        }
        Ok(images
            .into_iter()
            .map(|image| {
                let own = names_of(names, &image.config);
                if self.is_readable && own != image.names {
                    self.fault(Kind::Names { image: image.config });
                }
                (image, own)
            })
            .collect())
    }

    /// Checks each layer once; returns those that aren't whole.
    fn lost_layers(&mut self, images: &[(ImageRecord, Vec<String>)]) -> Result<HashSet<Digest>> {
        let mut layers: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (image, names) in images {
            for layer in &image.layers {
                layers.entry(*layer).or_default().push(shown(image, names));
            }
        }
        let mut lost = HashSet::new();
        for (diff_id, mut of) in layers {
            of.sort();
            self.checked.layers += 1;
            if let Some(wrong) = self.layer(&diff_id)? {
                self.fault(Kind::Layer { diff_id, wrong, of });
                lost.insert(diff_id);
            }
        }
        Ok(lost)
    }

    /// What is wrong with a layer.
    fn layer(&mut self, diff_id: &Digest) -> Result<Option<String>> {
        let path = self.store.layer_path(diff_id);
        let record = match LayerRecord::read(&path.with_extension("json")) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Some("has no record".to_owned())),
            Err(_) => return Ok(Some("has a record that can't be read".to_owned())),
        };
        if record.diff_id != *diff_id {
            return Ok(Some("has the record of another layer".to_owned()));
        }
        let directory = match File::open(&path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some("is missing".to_owned()));
            }
            Err(error) => return Ok(Some(format!("can't be opened: {error}"))),
        };
        let Some(noted) = record.contents else {
            self.checked.unsurveyed += 1;
            return Ok(None);
        };
        let found = match survey(directory.as_fd(), &Known::nothing(self.depth == Depth::Full)) {
            Ok(found) => found,
            Err(error) => return Ok(Some(format!("can't be read: {error}"))),
        };
        Ok(noted.differs(&found).map(|mismatch| match mismatch {
            Mismatch::Entries { noted, found } => {
                format!("has {found} files and directories, and had {noted} when it was unpacked")
            }
            Mismatch::Tree => {
                "differs from what was unpacked in a name, size, time, owner, mode or attribute".to_owned()
            }
            Mismatch::Data => "differs from what was unpacked in the content of a file".to_owned(),
        }))
    }

    fn image(&mut self, record: &ImageRecord, names: &[String], lost: &HashSet<Digest>) {
        let of = format!("image {}", shown(record, names));
        let has_config = self.blob("configuration", &record.config, &of);
        let has_manifest = self.blob("manifest", &record.manifest, &of);
        let is_unusable = !has_config || record.layers.iter().any(|layer| lost.contains(layer));
        if is_unusable || !has_manifest {
            self.checked.broken.push(Broken {
                id: record.config.hex(),
                names: names.to_vec(),
                repo_digests: record.repo_digests.clone(),
                is_artifact: false,
                is_unusable,
            });
        }
    }

    /// Whether a blob has its digest.
    fn blob(&mut self, what: &'static str, digest: &Digest, of: &str) -> bool {
        let wrong = match digest_of(&self.store.blob_path(digest)) {
            Ok(found) if found == *digest => return true,
            Ok(_) => "does not have its digest".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is missing".to_owned(),
            Err(error) => format!("can't be read: {error}"),
        };
        self.fault(Kind::Blob { what, digest: *digest, wrong, of: of.to_owned() });
        false
    }

    fn artifacts(&mut self) -> Result<()> {
        let (records, _) = self.records(Of::Artifact, "artifacts", |record: &crate::artifact::Record| {
            Digest::of(record.name.as_bytes())
        })?;
        for record in records {
            let of = format!("artifact {}", record.name);
            let mut is_whole = self.blob("manifest", &record.manifest, &of);
            for (digest, size) in self.store.artifact_files(&record).unwrap_or_default() {
                is_whole &= match (self.depth, self.store.has_blob(&digest, size)) {
                    // They may be large; their size is enough for a quick look.
                    (Depth::Quick, true) => true,
                    _ => self.blob("file", &digest, &of),
                };
            }
            if !is_whole {
                self.checked.broken.push(Broken {
                    id: record.name.clone(),
                    names: vec![record.name],
                    repo_digests: Vec::new(),
                    is_artifact: true,
                    is_unusable: true,
                });
            }
        }
        Ok(())
    }

    fn garbage(&mut self) -> Result<Vec<Fault>> {
        let Some(lock) = self.store.try_lock_exclusive()? else {
            self.checked.busy = true;
            return Ok(Vec::new());
        };
        let garbage = match self.store.garbage(&lock) {
            // Of an image that can't be read nobody knows what it needs.
            Err(Error::Corrupt { .. }) => return Ok(Vec::new()),
            garbage => garbage?,
        };
        let bytes = garbage.layers.iter().map(|(_, bytes)| bytes).sum();
        let kinds = [
            ("layers", garbage.layers.len(), bytes),
            ("records of layers", garbage.records.len(), 0),
            ("manifests, configurations or files", garbage.blobs.len(), 0),
            ("leftovers of interrupted work", garbage.leftovers.len(), 0),
        ];
        let some = kinds.into_iter().filter(|(_, count, _)| *count > 0);
        Ok(some.map(|(what, count, bytes)| Fault(Kind::Garbage { what, count, bytes })).collect())
    }

    /// Files that nothing here makes.
    fn strangers(&mut self) -> Result<()> {
        for (directory, length, extensions) in
            [("layers", LAYER_NAME, &LAYER_FILES[..]), ("blobs/sha256", BLOB_NAME, &[])]
        {
            for path in self.store.entries(directory)? {
                let stem = path.file_stem().map_or(0, |stem| stem.len());
                let extension = path.extension().map_or("", |extension| extension.to_str().unwrap_or("?"));
                if stem != length || !(extension.is_empty() || extensions.contains(&extension)) {
                    self.fault(Kind::Stranger { path });
                }
            }
        }
        Ok(())
    }
}

/// An image's first name, or its id.
fn shown(image: &ImageRecord, names: &[String]) -> String {
    names.first().cloned().unwrap_or_else(|| image.config.hex()[..12].to_owned())
}

fn digest_of(path: &Path) -> std::io::Result<Digest> {
    use std::io::Read as _;
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
