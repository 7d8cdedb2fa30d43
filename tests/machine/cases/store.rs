//! The image store over time: updates, what is removed and what stays, damage, power cuts.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, Shared, busybox, install, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let on_shared = |name: &str, case| shared(&MACHINE, &format!("store::{name}"), case);
    vec![
        on_shared("an_image_of_128_layers_runs", many_layers),
        on_shared("the_image_before_and_those_in_use_are_kept", updates),
        on_shared("images_that_unit_files_name_are_kept", named_by_units),
        on_shared("damage_is_found_told_and_mended", damage),
        on_shared("after_a_power_cut_a_container_starts_afresh", power_cut),
        on_shared("the_timer_is_there_and_not_enabled", timer),
    ]
}

/// Writes a layout of an image on top of busybox with a file `/word` that says `$2`, in `$3` layers, as `/srv/$1`; its
/// tag is `$1`.
const LAYOUT: &str = r#"
set -- NAME WORD COUNT
base=$(mktemp -d); rm -rf /srv/$1; mkdir -p /srv/$1/blobs/sha256; cd /srv/$1
curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://localhost:5000/v2/busybox/manifests/latest >$base/manifest
for hex in $(grep -o 'sha256:[0-9a-f]*' $base/manifest | cut -d: -f2); do curl -sf http://localhost:5000/v2/busybox/blobs/sha256:$hex >blobs/sha256/$hex; done
layers=$(sed 's/.*"layers":\[\(.*\)\].*/\1/' $base/manifest)
config=$(sed 's/.*"config":{[^}]*"digest":"sha256:\([0-9a-f]*\)".*/\1/' $base/manifest)
ids=$(tr -d '\n' <blobs/sha256/$config | sed 's/.*"diff_ids":\[\([^]]*\)\].*/\1/')
mkdir $base/layer
for n in $(seq $3); do
  echo $2 $n >$base/layer/word; echo $n >$base/layer/own-$n
  tar -C $base/layer -cf $base/tar word own-$n; rm $base/layer/*
  hex=$(sha256sum <$base/tar | cut -d' ' -f1); size=$(stat -c %s $base/tar); mv $base/tar blobs/sha256/$hex
  layers="$layers,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:$hex\",\"size\":$size}"
  ids="$ids,\"sha256:$hex\""
done
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
printf '{"created":"2024-01-01T00:00:00Z","architecture":"%s","os":"linux","config":{"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' $arch "$ids" >$base/config
hex=$(sha256sum <$base/config | cut -d' ' -f1); size=$(stat -c %s $base/config); mv $base/config blobs/sha256/$hex
printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' $hex $size "$layers" >$base/new
hex=$(sha256sum <$base/new | cut -d' ' -f1); size=$(stat -c %s $base/new); mv $base/new blobs/sha256/$hex
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' $hex $size $1 >index.json
echo '{"imageLayoutVersion":"1.0.0"}' >oci-layout; rm -r $base
"#;

/// Makes the image and pulls it; returns its id.
fn pull(machine: &Machine, name: &str, word: &str, layers: usize) -> Result<String> {
    let script = LAYOUT.replace("NAME WORD COUNT", &format!("{name} {word} {layers}"));
    machine.shell(&format!("bash -ec '{}'", script.replace('\'', r"'\''")))?;
    Ok(machine.ok(&["sampan", "pull", &format!("oci:/srv/{name}")])?.trim().to_owned())
}

fn ids(machine: &Machine) -> Result<Vec<String>> {
    let text = machine.ok(&["sampan", "images", "--quiet", "--no-trunc"])?;
    Ok(text.lines().map(|line| line.trim_start_matches("sha256:").to_owned()).collect())
}

fn many_layers(machine: &Machine) -> Result<()> {
    // One of them is busybox's own.
    pull(machine, "many", "deep", 127)?;
    let text = "[Container]\nImage=localhost/many\nPull=never\nExec=sleep 1000\n";
    install(machine, &[("many.container", text)])?;
    start(machine, "many")?;
    let exec = |command: &str| machine.ok(&["sampan", "exec", "systemd-many", "sh", "-c", command]);
    ensure!(exec("cat /word /own-1 /own-64 /own-127")? == "deep 127\n1\n64\n127\n", "the layers' files");
    machine.ok(&["systemctl", "stop", "many"])?;
    uninstall(machine, &["many.container"])?;
    machine.shell("sampan rmi --all --force").map(drop)
}

fn updates(machine: &Machine) -> Result<()> {
    let first = pull(machine, "app", "one", 1)?;
    let text = "[Container]\nImage=localhost/app\nPull=never\nExec=sleep 1000\n";
    install(machine, &[("app.container", text)])?;
    start(machine, "app")?;
    let second = pull(machine, "app", "two", 1)?;
    let third = pull(machine, "app", "three", 1)?;
    ensure!(ids(machine)?.len() == 3, "a pull removed something");
    // The first is in use, the second was there before.
    machine.ok(&["sampan", "image", "prune", "--force"])?;
    let kept = ids(machine)?;
    ensure!([&first, &second, &third].iter().all(|id| kept.contains(id)), "{kept:?}");
    ensure!(machine.ok(&["sampan", "exec", "systemd-app", "cat", "/word"])? == "one 1\n", "its files");
    machine.ok(&["systemctl", "restart", "app"])?;
    ensure!(machine.ok(&["sampan", "exec", "systemd-app", "cat", "/word"])? == "three 1\n", "the new image");
    let said = machine.run(&["sampan", "image", "prune", "--force"])?;
    ensure!(said.stdout.trim() == first && said.text().contains("1 image was kept"), "{}", said.text());
    // The third is bad: back.
    machine.ok(&["sampan", "tag", &second[..12], "localhost/app"])?;
    machine.ok(&["systemctl", "restart", "app"])?;
    ensure!(machine.ok(&["sampan", "exec", "systemd-app", "cat", "/word"])? == "two 1\n", "back");
    let table = machine.ok(&["sampan", "system", "df"])?;
    ensure!(table.contains("Images") && table.contains("Local Volumes"), "{table}");
    machine.ok(&["systemctl", "stop", "app"])?;
    uninstall(machine, &["app.container"])?;
    machine.ok(&["sampan", "system", "prune", "--all", "--force"])?;
    ensure!(ids(machine)?.is_empty(), "something is left");
    let layers = machine.shell("ls /var/lib/sampan/layers /var/lib/sampan/trash /var/lib/sampan/tmp")?;
    ensure!(!layers.contains(".json"), "{layers}");
    Ok(())
}

fn named_by_units(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", BUSYBOX])?;
    let other = pull(machine, "other", "x", 1)?;
    busybox(machine, "idle", "sleep 1000", "")?;
    machine.ok(&["sampan", "image", "prune", "--all", "--force"])?;
    let names = machine.ok(&["sampan", "images", "--format", "{{.Repository}}"])?;
    ensure!(names.trim() == "localhost:5000/busybox", "{names}");
    ensure!(!ids(machine)?.contains(&other), "an image that nobody names is there");
    uninstall(machine, &["idle.container"])?;
    machine.shell("sampan rmi --all --force").map(drop)
}

fn damage(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", BUSYBOX])?;
    let fsck = |options: &[&str]| machine.run(&[&["sampan", "system", "fsck"], options].concat());
    let well = fsck(&["--check", "--full"])?;
    ensure!(well.success() && well.text().contains("all is well"), "{}", well.text());

    // A file cut short, as after a power cut on a disk that lies.
    machine.shell("truncate -s 1000 $(find /var/lib/sampan/layers -name busybox -type f)")?;
    machine.shell("mkdir /var/lib/sampan/tmp/left /var/lib/sampan/containers/lost -p")?;
    let found = fsck(&["--check"])?;
    ensure!(!found.success(), "the exit status of --check");
    for words in [
        "of localhost:5000/busybox:latest differs from what was unpacked",
        "the writable layer of lost, a container that is gone",
    ] {
        ensure!(found.text().contains(words), "{words}: {}", found.text());
    }
    let mended = fsck(&["--repair"])?;
    ensure!(mended.success(), "{}", mended.text());
    ensure!(mended.text().contains("fetched what localhost:5000/busybox:latest lacked"), "{}", mended.text());
    ensure!(fsck(&["--check", "--full", "--quiet"])?.text().is_empty(), "it is not well");
    busybox(machine, "well", "sleep 1000", "Pull=never")?;
    start(machine, "well")?;

    // In use: told and left alone. Without a registry: removed, and the next start fetches it.
    machine.shell("touch $(dirname $(find /var/lib/sampan/layers -name busybox -type f))/more")?;
    let left = fsck(&[])?;
    ensure!(!left.success() && left.text().contains("is damaged and in use"), "{}", left.text());
    ensure!(machine.property("well", "ActiveState")? == "active", "it was disturbed");
    machine.ok(&["systemctl", "stop", "well"])?;
    let removed = fsck(&[])?;
    ensure!(removed.success(), "{}", removed.text());
    ensure!(
        removed.text().contains("`sampan pull localhost:5000/busybox:latest` brings it again"),
        "{}",
        removed.text()
    );
    ensure!(fsck(&["--check"])?.success(), "a second check finds something");
    busybox(machine, "well", "sleep 1000", "")?;
    start(machine, "well")?;
    machine.ok(&["systemctl", "stop", "well"])?;
    uninstall(machine, &["well.container"])
}

fn power_cut(machine: &Machine) -> Result<()> {
    // What is left when the power fails: no state, and a volatile overlay's directories.
    machine.shell("cd /var/lib/sampan; mkdir -p containers/systemd-cut; cd containers/systemd-cut; mkdir -p upper work; cd work; mkdir -p work/incompat/volatile; echo x >../upper/stale")?;
    busybox(machine, "cut", "sleep 1000", "")?;
    start(machine, "cut")?;
    let stale = machine.run(&["sampan", "exec", "systemd-cut", "cat", "/stale"])?;
    ensure!(!stale.success(), "it began with the files of another: {}", stale.text());
    machine.ok(&["systemctl", "stop", "cut"])?;
    uninstall(machine, &["cut.container"])
}

fn timer(machine: &Machine) -> Result<()> {
    let enabled = machine.run(&["systemctl", "is-enabled", "sampan-prune.timer"])?;
    ensure!(enabled.stdout.trim() == "disabled", "{}", enabled.text());
    // What other tests have left.
    machine.shell("sampan rmi --all --force")?;
    pull(machine, "app", "one", 1)?;
    pull(machine, "app", "two", 1)?;
    pull(machine, "app", "three", 1)?;
    machine.ok(&["systemctl", "start", "sampan-prune.service"])?;
    let left = machine.ok(&["sampan", "images", "--all", "--no-trunc"])?;
    ensure!(ids(machine)?.len() == 2, "the current one and the one before, not {left}");
    machine.shell("sampan rmi --all --force").map(drop)
}
