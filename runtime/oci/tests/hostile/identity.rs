//! Who a program runs as, and with what.

use super::*;

/// CVE-2026-30892: a user that can't be read becomes root.
#[test]
fn a_user_that_cannot_be_read_is_an_error() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    assert_eq!(running.exec(&["--user", "1"], &["id"]).good(), "uid=1 gid=0\n");
    for user in ["1:", ":", "x", "-1", "4294967295", "1:x"] {
        let ran = running.exec(&[&format!("--user={user}")], &["id"]);
        assert!(ran.status != 0 && ran.out.is_empty(), "{user}: {ran:?}");
    }
}

/// CVE-2026-57231: an entry of the environment without a value reads the host's.
#[test]
fn the_environment_is_not_the_hosts() {
    let Some(mut bundle) = Bundle::new() else { return };
    for entry in ["SECRET", "*"] {
        bundle.spec["process"]["env"] = json!(["PATH=/bin", entry]);
        let ran = bundle.args(&["env"]).run_after("export SECRET=host;");
        assert!(ran.status != 0 && ran.err.contains("KEY=VALUE"), "{ran:?}");
    }
}

/// CVE-2022-2989, CVE-2022-2990: supplementary groups are those of the configuration, no more and no less.
#[test]
fn groups_are_exactly_those_that_were_asked_for() {
    let Some(mut bundle) = Bundle::new() else { return };
    let caller = "set -- setpriv --groups 4,20,27 \"$@\";";
    let groups = ["grep", "Groups", "/proc/self/status"];
    assert_eq!(bundle.args(&groups).run_after(caller).good(), "Groups:\t \n");
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 100, "additionalGids": [5, 6]});
    assert_eq!(bundle.run_after(caller).good(), "Groups:\t5 6 \n");
    bundle.spec["process"]["user"] = json!({"uid": 0, "gid": 0});
    own_users(&mut bundle);
    assert_eq!(bundle.run_after(caller).good(), "Groups:\t \n");
}

/// CVE-2024-9676: the image's list of users is a FIFO, a link to the host's, or endless.
#[test]
fn the_list_of_users_is_a_file_of_the_image() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["env"] = json!(["PATH=/bin"]);
    fs::create_dir(bundle.rootfs("etc")).unwrap();
    let passwd = bundle.rootfs("etc/passwd");
    bundle.script("echo $HOME");
    rustix::fs::mknodat(CWD, &passwd, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    assert_eq!(run_with(&bundle, "", &[]).good(), "/\n");
    for target in ["/dev/zero", "/proc/self/environ", "/../../etc/passwd"] {
        fs::remove_file(&passwd).unwrap();
        symlink(target, &passwd).unwrap();
        assert_eq!(run_with(&bundle, "", &[]).good(), "/\n", "{target}");
    }
    fs::remove_file(&passwd).unwrap();
    fs::write(&passwd, "root:x:0:0::/home/of/root:/bin/sh\n").unwrap();
    assert_eq!(run_with(&bundle, "", &[]).good(), "/home/of/root\n");
}

/// A configuration that doesn't speak of capabilities gives none: those of the caller are the host's.
#[test]
fn no_word_about_capabilities_means_none() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"].as_object_mut().unwrap().remove("capabilities");
    let out = bundle.args(&["grep", "Cap", "/proc/self/status"]).run().good();
    assert!(out.lines().all(|line| line.ends_with("0000000000000000")), "{out}");
}
