//! config.md: Linux mount options, each of the table's MUST and SHOULD by what the kernel says of the mount.

use std::collections::BTreeSet;

use crate::bundle::Bundle;
use crate::harness::{Case, case};

type Words = &'static [&'static str];

/// An option: its name, those that come before it, words that `mountinfo` must have, and must not have.
type Row = (&'static str, Words, Words, Words);

/// Options of one mount. Nothing to have or not to have means: it is accepted.
const PLAIN: &[Row] = &[
    ("async", &["sync"], &[], &["sync"]),
    ("atime", &["noatime"], &[], &["noatime"]),
    ("defaults", &[], &["rw"], &["ro"]),
    ("dev", &["nodev"], &[], &["nodev"]),
    ("diratime", &["nodiratime"], &[], &["nodiratime"]),
    ("dirsync", &[], &["dirsync"], &[]),
    ("exec", &["noexec"], &[], &["noexec"]),
    ("iversion", &[], &[], &[]),
    ("lazytime", &[], &["lazytime"], &[]),
    ("loud", &[], &[], &[]),
    ("noatime", &[], &["noatime"], &[]),
    ("nodev", &[], &["nodev"], &[]),
    ("nodiratime", &[], &["nodiratime"], &[]),
    ("noexec", &[], &["noexec"], &[]),
    ("noiversion", &[], &[], &[]),
    ("nolazytime", &["lazytime"], &[], &["lazytime"]),
    ("norelatime", &["noatime"], &[], &["relatime"]),
    ("nostrictatime", &["strictatime"], &["relatime"], &[]),
    ("nosuid", &[], &["nosuid"], &[]),
    ("nosymfollow", &[], &["nosymfollow"], &[]),
    ("relatime", &[], &["relatime"], &[]),
    ("ro", &[], &["ro"], &["rw"]),
    ("rw", &["ro"], &["rw"], &["ro"]),
    ("silent", &[], &[], &[]),
    ("strictatime", &[], &[], &["relatime", "noatime"]),
    ("suid", &["nosuid"], &[], &["nosuid"]),
    ("symfollow", &["nosymfollow"], &[], &["nosymfollow"]),
    ("sync", &[], &["sync"], &[]),
];

/// The same for a bind mount and the mount below it, with the options that both have on the host.
const RECURSIVE: &[Row] = &[
    ("rro", &[], &["ro"], &["rw"]),
    ("rrw", &["ro"], &["rw"], &["ro"]),
    ("rnosuid", &[], &["nosuid"], &[]),
    ("rsuid", &["nosuid"], &[], &["nosuid"]),
    ("rnodev", &[], &["nodev"], &[]),
    ("rdev", &["nodev"], &[], &["nodev"]),
    ("rnoexec", &[], &["noexec"], &[]),
    ("rexec", &["noexec"], &[], &["noexec"]),
    ("rnodiratime", &[], &["nodiratime"], &[]),
    ("rdiratime", &["nodiratime"], &[], &["nodiratime"]),
    ("rnoatime", &[], &["noatime"], &[]),
    ("ratime", &["noatime"], &[], &["noatime"]),
    ("rrelatime", &["noatime"], &["relatime"], &[]),
    ("rnorelatime", &[], &[], &[]),
    ("rstrictatime", &[], &[], &["relatime", "noatime"]),
    ("rnostrictatime", &[], &[], &[]),
    ("rnosymfollow", &[], &["nosymfollow"], &[]),
    ("rsymfollow", &["nosymfollow"], &[], &["nosymfollow"]),
];

/// Propagation: the option, what it says of the mount, and what of the one below.
const PROPAGATION: &[(&str, &str, &str)] = &[
    ("private", "", "shared"),
    ("rprivate", "", ""),
    ("slave", "master", "shared"),
    ("rslave", "master", "master"),
    ("shared", "shared", "shared"),
    ("rshared", "shared", "shared"),
    ("unbindable", "unbindable", "shared"),
    ("runbindable", "unbindable", "unbindable"),
];

const SECTION: &str = "config.md#linux-mount-options";

pub(crate) fn cases() -> Vec<Case> {
    let name = |option: &str| format!("config/mounts/option/{option}");
    let plain = PLAIN.iter().map(|&(option, before, has, hasnt)| {
        case(name(option), SECTION, move |bundle| plain(bundle, option, before, has, hasnt))
    });
    let recursive = RECURSIVE.iter().map(|&(option, before, has, hasnt)| {
        case(name(option), SECTION, move |bundle| recursive(bundle, option, before, has, hasnt))
    });
    let propagation = PROPAGATION.iter().map(|&(option, top, below)| {
        case(name(option), SECTION, move |b| propagation(b, option, top, below))
    });
    plain.chain(recursive).chain(propagation).collect()
}

/// What `mountinfo` says of a mount: its own options and its file system's, and its optional fields.
fn entry(mountinfo: &str, point: &str) -> (BTreeSet<String>, String) {
    let line = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some(point));
    let line = line.unwrap_or_else(|| panic!("{point} isn't mounted: {mountinfo}"));
    let (own, rest) = line.split_once(" - ").unwrap();
    let fields: Vec<&str> = own.split(' ').collect();
    // A read-only file system would hide what its mount is.
    let options =
        fields[5].split(',').chain(rest.rsplit(' ').next().unwrap().split(',').filter(|o| *o != "rw"));
    let words: Vec<&str> = fields[6..].iter().map(|f| f.split(':').next().unwrap()).collect();
    (options.map(str::to_owned).collect(), words.join(" "))
}

#[track_caller]
fn check(mountinfo: &str, point: &str, has: &[&str], hasnt: &[&str]) {
    let (options, _) = entry(mountinfo, point);
    for word in has {
        assert!(options.contains(*word), "{point} isn't {word}: {options:?}");
    }
    for word in hasnt {
        assert!(!options.contains(*word), "{point} is {word}: {options:?}");
    }
}

fn plain(bundle: &mut Bundle, option: &str, before: &[&str], has: &[&str], hasnt: &[&str]) {
    let options: Vec<&str> = before.iter().copied().chain([option]).collect();
    bundle.add_mount("tmpfs", "tmpfs", "/t", &options);
    check(&bundle.args(&["cat", "/proc/self/mountinfo"]).run().good(), "/t", has, hasnt);
}

/// Two mounts, one below the other, as a volume of the host. Shared, so that propagation has something to change.
fn volume(bundle: &mut Bundle, options: &[&str]) -> String {
    let volume = bundle.folder("volume").to_str().unwrap().to_owned();
    let remount: String = options
        .iter()
        .map(|o| format!("mount -o remount,bind,{o} {volume}; mount -o remount,bind,{o} {volume}/below;"))
        .collect();
    bundle.before = format!(
        "mount -t tmpfs above {volume}; mkdir {volume}/below; mount -t tmpfs below {volume}/below;
        {remount} mount --make-rshared {volume};"
    );
    volume
}

fn recursive(bundle: &mut Bundle, option: &str, before: &[&str], has: &[&str], hasnt: &[&str]) {
    let volume = volume(bundle, before);
    bundle.add_mount("bind", &volume, "/t", &["rbind", option]);
    let mountinfo = bundle.args(&["cat", "/proc/self/mountinfo"]).run().good();
    check(&mountinfo, "/t", has, hasnt);
    check(&mountinfo, "/t/below", has, hasnt);
}

fn propagation(bundle: &mut Bundle, option: &str, top: &str, below: &str) {
    let volume = volume(bundle, &[]);
    bundle.spec["linux"]["rootfsPropagation"] = serde_json::json!("shared");
    bundle.add_mount("bind", &volume, "/t", &["rbind", option]);
    let mountinfo = bundle.args(&["cat", "/proc/self/mountinfo"]).run().good();
    let found = [entry(&mountinfo, "/t").1, entry(&mountinfo, "/t/below").1];
    // A slave of the host's may be shared with others inside, and what is shared a slave of the host's.
    let right = |found: &str, wanted: &str| match wanted {
        "" => found.is_empty(),
        word => found.contains(word),
    };
    assert!(right(&found[0], top), "/t is {:?}, not {top:?}", found[0]);
    if option.starts_with('r') || top == "shared" {
        assert!(right(&found[1], below), "/t/below is {:?}, not {below:?}", found[1]);
    }
}
