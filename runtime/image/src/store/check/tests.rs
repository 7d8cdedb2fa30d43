//! Damage of every kind: found, told in words, mended, and nothing else touched.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::registries::Registries;
use crate::store::Store;
use crate::store::tests::{add_image, layers, store};

/// Two images with a layer of their own and one that both have.
fn two() -> (tempfile::TempDir, Store) {
    let (directory, store) = store();
    add_image(&store, 1, &["shared", "one"], "q.io/one");
    add_image(&store, 2, &["shared", "two"], "q.io/two");
    (directory, store)
}

fn faults(store: &Store, depth: Depth) -> Vec<String> {
    store.check(depth).unwrap().faults.iter().map(ToString::to_string).collect()
}

/// Checks that one thing is found, mends it without a registry, and checks that the store is whole then and that
/// the other image is untouched; returns what was found and what was done.
fn mended(store: &Store, depth: Depth) -> (String, String) {
    let checked = store.check(depth).unwrap();
    let found: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
    let removal = store.removal().unwrap();
    let mut done = removal.repair(&checked, &HashSet::new()).unwrap();
    for broken in &checked.broken {
        done.done.extend(removal.give_up(broken, &HashSet::new()).unwrap().done);
    }
    drop(removal);
    assert_eq!(done.left, [] as [String; 0]);
    store.collect_garbage().unwrap();
    assert_eq!(faults(store, Depth::Full), [] as [String; 0]);
    let other = store.find("q.io/two", &Registries::empty()).unwrap().expect("the other image is gone");
    assert_eq!(fs::read(other.layers[0].join("file")).unwrap(), b"two");
    (found.join("\n"), done.done.join("\n"))
}

fn layer(store: &Store, content: &str) -> std::path::PathBuf {
    store.layer_path(&Digest::of(content.as_bytes()))
}

#[test]
fn a_whole_store_has_no_faults() {
    let (_directory, store) = two();
    let checked = store.check(Depth::Full).unwrap();
    assert_eq!(checked.faults, []);
    assert_eq!((checked.images, checked.layers, checked.unsurveyed), (2, 3, 0));
}

#[test]
fn damaged_layers_are_found_and_their_images_given_up() {
    type Damage = fn(&Path);
    let cases: [(&str, Depth, Damage); 8] = [
        ("is missing", Depth::Quick, |path| fs::remove_dir_all(path).unwrap()),
        ("has no record", Depth::Quick, |path| fs::remove_file(path.with_extension("json")).unwrap()),
        ("can't be read", Depth::Quick, |path| fs::write(path.with_extension("json"), "{").unwrap()),
        ("of another layer", Depth::Quick, |path| {
            let record = fs::read_to_string(path.with_extension("json")).unwrap();
            let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
            record["diff_id"] = Digest::of(b"other").to_string().into();
            fs::write(path.with_extension("json"), record.to_string()).unwrap();
        }),
        ("has 0 files and directories, and had 1", Depth::Quick, |path| {
            fs::remove_file(path.join("file")).unwrap();
        }),
        ("has 2 files and directories, and had 1", Depth::Quick, |path| {
            fs::write(path.join("more"), "").unwrap();
        }),
        ("differs from what was unpacked in a name, size", Depth::Quick, |path| {
            fs::write(path.join("file"), "").unwrap();
        }),
        ("in the content of a file", Depth::Full, |path| {
            let time = fs::metadata(path.join("file")).unwrap().modified().unwrap();
            fs::write(path.join("file"), "ONE").unwrap();
            fs::File::open(path.join("file")).unwrap().set_modified(time).unwrap();
        }),
    ];
    for (words, depth, damage) in cases {
        let (_directory, store) = two();
        damage(&layer(&store, "one"));
        let (found, done) = mended(&store, depth);
        assert!(found.contains(words) && found.contains("of q.io/one:latest"), "{words}: {found}");
        assert!(done.contains("`sampan pull q.io/one:latest` brings it again"), "{words}: {done}");
        assert!(store.find("q.io/one", &Registries::empty()).unwrap().is_none(), "{words}");
        assert_eq!(layers(&store), 2, "{words}");
    }
}

#[test]
fn content_is_read_only_when_asked_to() {
    let (_directory, store) = two();
    let file = layer(&store, "one").join("file");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "ONE").unwrap();
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
    assert_eq!(faults(&store, Depth::Quick), [] as [String; 0]);
    assert_eq!(faults(&store, Depth::Full).len(), 1);
}

#[test]
fn damaged_configurations_are_found() {
    for wrong in [None, Some(&b""[..]), Some(b"{}")] {
        let (_directory, store) = two();
        let image = store.find("q.io/one", &Registries::empty()).unwrap().unwrap();
        let path = store.blob_path(&Digest::from_hex(&image.id).unwrap());
        match wrong {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let (found, done) = mended(&store, Depth::Quick);
        assert!(found.contains("the configuration sha256:"), "{found}");
        assert!(done.contains("removed image q.io/one:latest, which lacks something"), "{done}");
    }
}

#[test]
fn an_image_without_its_manifest_stays_and_is_named() {
    let (_directory, store) = store();
    let image = add_image(&store, 1, &["a"], "q.io/x");
    let checked = store.check(Depth::Quick).unwrap();
    assert!(checked.broken.is_empty());
    fs::remove_file(store.blob_path(&image.digest)).unwrap();
    let checked = store.check(Depth::Quick).unwrap();
    assert!(checked.faults[0].to_string().contains("the manifest sha256:"), "{:?}", checked.faults);
    let removal = store.removal().unwrap();
    let repaired = removal.give_up(&checked.broken[0], &HashSet::new()).unwrap();
    assert!(repaired.left[0].contains("image q.io/x:latest runs, but lacks its manifest"), "{repaired:?}");
    assert!(store.has(&image));
}

#[test]
fn damaged_records_of_names_and_images_are_found() {
    let (_directory, store) = two();
    let image = store.find("q.io/one", &Registries::empty()).unwrap().unwrap();
    let name = store.name_record_path("q.io/one:latest");
    fs::write(&name, "{\"name\":").unwrap();
    let (found, done) = mended(&store, Depth::Quick);
    assert!(found.starts_with("the record of a name, "), "{found}");
    assert_eq!(done, "wrote the record of the name q.io/one:latest anew");
    assert_eq!(store.find("q.io/one", &Registries::empty()).unwrap().unwrap().id, image.id);

    fs::write(store.root().join("names/x.json"), "").unwrap();
    let (_, done) = mended(&store, Depth::Quick);
    assert!(done.contains("nobody knows whose name that was"), "{done}");

    fs::write(store.image_record_path(&Digest::from_hex(&image.id).unwrap()), "").unwrap();
    let checked = store.check(Depth::Quick).unwrap();
    assert_eq!(checked.broken[0].names, ["q.io/one:latest"]);
    let (found, done) = mended(&store, Depth::Quick);
    assert!(found.starts_with("the record of an image, "), "{found}");
    assert!(done.starts_with("removed image q.io/one:latest"), "{done}");
}

#[test]
fn names_that_lead_nowhere_and_wrong_lists_are_mended() {
    let (_directory, store) = two();
    let image = store.find("q.io/one", &Registries::empty()).unwrap().unwrap();
    let id = Digest::from_hex(&image.id).unwrap();
    let mut record = store.image_record(&id).unwrap().unwrap();
    record.names = vec!["q.io/other:1".into()];
    store.write_image_record(&record).unwrap();
    let (found, done) = mended(&store, Depth::Quick);
    assert!(found.contains("lists other names than lead to it"), "{found}");
    assert!(done.contains("listed the names of image"), "{done}");
    assert_eq!(store.find(&image.id, &Registries::empty()).unwrap().unwrap().names, image.names);

    fs::remove_file(store.image_record_path(&id)).unwrap();
    let (found, done) = mended(&store, Depth::Quick);
    assert!(found.contains("the name q.io/one:latest leads to no image"), "{found}");
    assert!(done.contains("removed the name q.io/one:latest, which led nowhere"), "{done}");
}

#[test]
fn what_nothing_refers_to_is_found_unless_a_pull_runs() {
    let (_directory, store) = two();
    crate::store::tests::add_layer(&store, "orphan");
    fs::write(layer(&store, "gone").with_extension("json"), "{}").unwrap();
    fs::write(store.blob_path(&Digest::of(b"gone")), "").unwrap();
    fs::create_dir(store.root().join("tmp/left")).unwrap();
    fs::create_dir(store.root().join("trash/left")).unwrap();
    let pull = store.lock_shared().unwrap();
    let checked = store.check(Depth::Quick).unwrap();
    assert!(checked.busy && checked.faults.is_empty());
    drop(pull);
    let (found, _) = mended(&store, Depth::Quick);
    assert_eq!(
        found,
        "1 layers that nothing refers to, with 6 bytes\n1 records of layers that nothing refers to\n\
         1 manifests, configurations or files that nothing refers to\n\
         2 leftovers of interrupted work that nothing refers to"
    );
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let (_directory, store) = two();
    let notes = store.root().join("layers/README");
    fs::write(&notes, "mine").unwrap();
    let checked = store.check(Depth::Quick).unwrap();
    assert!(checked.faults.iter().any(|fault| fault.to_string().contains("is not ours")));
    store.removal().unwrap().repair(&checked, &HashSet::new()).unwrap();
    store.collect_garbage().unwrap();
    assert_eq!(fs::read(&notes).unwrap(), b"mine");
}

#[test]
fn a_damaged_layer_in_use_stays() {
    let (_directory, store) = two();
    let image = store.find("q.io/one", &Registries::empty()).unwrap().unwrap();
    fs::write(layer(&store, "shared").join("more"), "").unwrap();
    let checked = store.check(Depth::Quick).unwrap();
    assert_eq!(checked.broken.len(), 2);
    let in_use = HashSet::from([image.id.clone()]);
    let removal = store.removal().unwrap();
    let repaired = removal.repair(&checked, &in_use).unwrap();
    assert!(
        repaired.left[0].contains("stop the containers of q.io/one:latest, q.io/two:latest"),
        "{repaired:?}"
    );
    for broken in &checked.broken {
        removal.give_up(broken, &in_use).unwrap();
    }
    drop(removal);
    store.collect_garbage().unwrap();
    assert!(layer(&store, "shared").join("more").exists() && store.has(&image));
    assert!(store.find("q.io/two", &Registries::empty()).unwrap().is_none());
}
