//! Mounts whose files show other owners than they have on disk.

mod bundle;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use bundle::Bundle;
use serde_json::{Value, json};

/// A bundle with a directory `volume`, in it a file of user 5 and group 6.
fn bundle() -> Option<(Bundle, String)> {
    let bundle = Bundle::new()?;
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "text").unwrap();
    chown(volume.join("file"), Some(5), Some(6)).unwrap();
    let path = volume.to_str().unwrap().to_owned();
    Some((bundle, path))
}

fn add(bundle: &mut Bundle, mount: Value) {
    bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn add_users(bundle: &mut Bundle) {
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    for path in ["", "tmp", "bin"] {
        chown(bundle.rootfs(path), Some(100_000), Some(100_000)).unwrap();
    }
    // For the users of the container to come by.
    fs::set_permissions(bundle.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

const STAT: &str = "stat -c %u:%g /v/file";

#[test]
fn a_mount_has_its_own_mappings() {
    let Some((mut bundle, volume)) = bundle() else { return };
    let users =
        json!([{"containerID": 5, "hostID": 500, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}]);
    let groups =
        json!([{"containerID": 6, "hostID": 76, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}]);
    for options in [json!(["rbind", "idmap"]), json!(["rbind", "ridmap"]), json!(["bind"])] {
        add(
            &mut bundle,
            json!({"destination": "/v", "source": volume, "options": options, "uidMappings": users, "gidMappings": groups}),
        );
        assert_eq!(bundle.script(STAT).run().good(), "500:76\n", "{options}");
        bundle.drop_mount("/v");
    }
    // On disk nothing changes, and what is made there is of the one who the maker is on disk.
    add(
        &mut bundle,
        json!({"destination": "/v", "source": volume, "options": ["bind", "idmap"], "uidMappings": users, "gidMappings": groups}),
    );
    bundle.script("touch /v/new && chown 500:76 /v/new").run().good();
    let stat = fs::metadata(format!("{volume}/new")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (5, 6));
}

#[test]
fn the_words_of_crun_are_mappings() {
    let Some((mut bundle, volume)) = bundle() else { return };
    bundle.add_mount("bind", &volume, "/v", &["bind", "idmap=uids=5-1000-1;gids=0-70-3#6-2000-1"]);
    assert_eq!(bundle.script(STAT).run().good(), "1000:2000\n");
    bundle.drop_mount("/v");
    bundle.add_mount("bind", &volume, "/v", &["bind", "idmap=uids=5-x-1;gids=0-0-1"]);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("no mapping like"), "{ran:?}");
}

#[test]
fn without_mappings_it_is_the_containers_users() {
    let Some((mut bundle, volume)) = bundle() else { return };
    bundle.add_mount("bind", &volume, "/v", &["bind", "idmap"]);
    let ran = bundle.script(STAT).run();
    assert!(ran.status == 1 && ran.err.contains("it has none"), "{ran:?}");
    add_users(&mut bundle);
    assert_eq!(bundle.run().good(), "5:6\n");
    bundle.drop_mount("/v");
    bundle.add_mount("bind", &volume, "/v", &["bind", "idmap=uids=@5-7-1;gids=@6-8-1"]);
    assert_eq!(bundle.run().good(), "7:8\n");
    bundle.drop_mount("/v");
    bundle.add_mount("bind", &volume, "/v", &["bind"]);
    assert_eq!(bundle.run().good(), "65534:65534\n");
}

#[test]
fn mappings_of_one_kind_only_are_refused() {
    let Some((mut bundle, volume)) = bundle() else { return };
    let users = json!([{"containerID": 5, "hostID": 500, "size": 1}]);
    add(
        &mut bundle,
        json!({"destination": "/v", "source": volume, "options": ["bind", "idmap"], "uidMappings": users}),
    );
    let ran = bundle.script(STAT).run();
    assert!(ran.status == 1 && ran.err.contains("belong together"), "{ran:?}");
}

#[test]
fn a_file_system_that_cannot_map_says_so() {
    let Some((mut bundle, _)) = bundle() else { return };
    bundle.add_mount("bind", "/proc/sys", "/v", &["bind", "idmap=uids=0-1-1;gids=0-1-1"]);
    let ran = bundle.script("true").run();
    assert!(ran.status == 1 && ran.err.contains("has no ID-mapped mounts"), "{ran:?}");
}
