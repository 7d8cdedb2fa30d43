//! Bad input: what is wrong is said where administrators look, with the file, its line, and what to
//! do; and nothing half-made stays behind.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::leftovers::Inventory;
use sampan_machine_tests::registry::STORAGE;

use crate::fixture::{BUSYBOX, Shared, UNITS, busybox, install, shared, start, start_fails, test, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let on_shared = |name: &str, case| shared(&MACHINE, &format!("failures::{name}"), case);
    let alone = |name: &str, case| test(&format!("failures::{name}"), case);
    vec![
        on_shared("unknown_key_warns_and_the_unit_stays", unknown_key),
        on_shared("wrong_value_is_shown_by_status", wrong_value),
        on_shared("missing_image_key_is_shown_by_status", missing_image_key),
        on_shared("image_that_is_not_in_the_registry", missing_image),
        on_shared("registry_that_cannot_be_reached", unreachable_registry),
        on_shared("digest_that_no_image_has", absent_digest),
        alone("blob_that_is_not_what_its_digest_says", wrong_digest),
        on_shared("layer_that_is_no_archive", corrupt_layer),
        on_shared("port_that_a_host_process_has", port_of_a_process),
        on_shared("port_that_another_container_has", port_of_a_container),
        on_shared("subnet_that_another_network_has", subnet_overlap),
        on_shared("volume_source_that_is_missing", missing_volume_source),
        on_shared("program_that_is_missing", missing_program),
        alone("disk_that_is_full", full_disk),
    ]
}

/// The text must hold each of `words`, whatever their case.
fn says(text: &str, words: &[&str]) -> Result<()> {
    let lower = text.to_lowercase();
    for word in words {
        ensure!(lower.contains(&word.to_lowercase()), "nothing says {word:?} in:\n{text}");
    }
    Ok(())
}

/// Starts `unit`, which must fail, say `words`, and leave nothing that wasn't there.
fn fails(machine: &Machine, unit: &str, words: &[&str]) -> Result<()> {
    // One good start first: what lies ready for all containers (bridge table, locks) may stay.
    busybox(machine, "good", "sleep 1000", "")?;
    start(machine, "good")?;
    machine.ok(&["systemctl", "stop", "good"])?;
    let before = Inventory::take(machine)?;
    let text = start_fails(machine, unit)?;
    says(&text, words)?;
    ensure!(!text.contains("Status: \"fetching"), "it still fetches, it says: {text}");
    machine.ok(&["systemctl", "reset-failed"])?;
    let left = Inventory::take(machine)?.since(&before);
    ensure!(left.is_empty(), "left behind: {left:#?}");
    uninstall(machine, &["good.container"])
}

fn unknown_key(machine: &Machine) -> Result<()> {
    // A fresh log: each reload overwrites it from its start.
    machine.write("/dev/kmsg", "")?;
    busybox(machine, "typo", "sleep 1000", "PublishPrt=80")?;
    start(machine, "typo")?;
    let log = machine.ok(&["cat", "/dev/kmsg"])?;
    says(&log, &[&format!("{UNITS}/typo.container:4"), "PublishPrt", "PublishPort"])?;
    machine.ok(&["systemctl", "stop", "typo"])?;
    uninstall(machine, &["typo.container"])
}

fn wrong_value(machine: &Machine) -> Result<()> {
    install(
        machine,
        &[("wrong.container", "[Unit]\nDescription=x\n[Container]\nImage=busybox\nReadOnly=perhaps\n")],
    )?;
    let said = start_fails(machine, "wrong")?;
    says(&said, &[&format!("{UNITS}/wrong.container:5"), "ReadOnly", "perhaps", "yes"])?;
    uninstall(machine, &["wrong.container"])
}

fn missing_image_key(machine: &Machine) -> Result<()> {
    install(machine, &[("noimage.container", "[Container]\nExec=sleep 1\n")])?;
    let said = start_fails(machine, "noimage")?;
    says(&said, &[&format!("{UNITS}/noimage.container:1"), "Image="])?;
    uninstall(machine, &["noimage.container"])
}

fn missing_image(machine: &Machine) -> Result<()> {
    install(machine, &[("absent.container", "[Container]\nImage=localhost:5000/no-such:1.0\n")])?;
    fails(machine, "absent", &["absent.container:2", "localhost:5000/no-such:1.0", "not found"])?;
    uninstall(machine, &["absent.container"])
}

fn unreachable_registry(machine: &Machine) -> Result<()> {
    install(machine, &[("nobody.container", "[Container]\nImage=localhost:5999/x:latest\n")])?;
    fails(machine, "nobody", &["nobody.container:2", "localhost:5999", "refused"])?;
    uninstall(machine, &["nobody.container"])
}

fn absent_digest(machine: &Machine) -> Result<()> {
    let image = format!("localhost:5000/busybox@sha256:{}", "0".repeat(64));
    install(machine, &[("digest.container", &format!("[Container]\nImage={image}\n"))])?;
    fails(machine, "digest", &["digest.container:2", &image])?;
    uninstall(machine, &["digest.container"])
}

fn wrong_digest(machine: &Machine) -> Result<()> {
    // The registry hands out whatever lies in its storage: one byte of each large blob changes.
    machine.shell(&format!(
        "for blob in $(find {STORAGE} -name data -size +500k); do \
           printf X | dd of=$blob bs=1 seek=1000 conv=notrunc status=none; done"
    ))?;
    install(machine, &[("forged.container", "[Container]\nImage=localhost:5000/redis\n")])?;
    let before = Inventory::take(machine)?;
    let said = start_fails(machine, "forged")?;
    says(&said, &["forged.container:2", "localhost:5000/redis", "sha256:", "digest"])?;
    let files = machine.shell("find /var/lib/sampan -type f -size +4k 2>/dev/null || :")?;
    ensure!(files.is_empty(), "left of the download: {files}");
    machine.ok(&["systemctl", "reset-failed"])?;
    let left: Vec<_> =
        Inventory::take(machine)?.since(&before).into_iter().filter(|l| !l.starts_with("file")).collect();
    ensure!(left.is_empty(), "left behind: {left:#?}");
    Ok(())
}

/// A script that writes an OCI image layout whose one layer is whatever is in `layer`.
const LAYOUT: &str = r#"
rm -rf /srv/broken; mkdir -p /srv/broken/blobs/sha256; cd /srv/broken
put() { h=$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" "blobs/sha256/$h"; echo "$h"; }
diff=$(gzip -dc <layer 2>/dev/null | sha256sum | cut -d' ' -f1)
s=$(stat -c %s layer); l=$(put layer)
printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$diff" >config
c=$(put config)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}]}' "$c" "$(stat -c %s blobs/sha256/$c)" "$l" "$s" >manifest
m=$(put manifest)
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s}]}' "$m" "$(stat -c %s blobs/sha256/$m)" >index.json
echo '{"imageLayoutVersion":"1.0.0"}' >oci-layout
"#;

fn corrupt_layer(machine: &Machine) -> Result<()> {
    // Its digest is right, so only unpacking it can tell: half of a good layer.
    let script = LAYOUT.replace(
        "; cd /srv/broken",
        "; cd /srv/broken; tar -C / -cz bin/busybox 2>/dev/null | head -c 300000 >layer",
    );
    machine.shell(&script)?;
    install(machine, &[("broken.container", "[Container]\nImage=oci:/srv/broken\n")])?;
    fails(machine, "broken", &["broken.container:2", "/srv/broken", "sha256:"])?;
    uninstall(machine, &["broken.container"])
}

fn port_of_a_process(machine: &Machine) -> Result<()> {
    // The registry listens there.
    busybox(machine, "taken", "sleep 1000", "PublishPort=127.0.0.1:5000:80")?;
    fails(machine, "taken", &["taken.container:4", "5000", "in use"])?;
    uninstall(machine, &["taken.container"])
}

fn port_of_a_container(machine: &Machine) -> Result<()> {
    busybox(machine, "holder", "sleep 1000", "ContainerName=the-holder\nPublishPort=8200:80")?;
    busybox(machine, "second", "sleep 1000", "PublishPort=8200:80")?;
    start(machine, "holder")?;
    fails(machine, "second", &["second.container:4", "8200", "the-holder"])?;
    machine.ok(&["systemctl", "stop", "holder"])?;
    start(machine, "second")?;
    machine.ok(&["systemctl", "stop", "second"])?;
    uninstall(machine, &["holder.container", "second.container"])
}

fn subnet_overlap(machine: &Machine) -> Result<()> {
    install(
        machine,
        &[
            ("first.network", "[Network]\nSubnet=10.77.0.0/16\n"),
            ("overlap.network", "[Network]\nSubnet=10.77.4.0/24\n"),
        ],
    )?;
    start(machine, "first-network")?;
    let said = start_fails(machine, "overlap-network")?;
    says(&said, &["overlap.network:2", "10.77.4.0/24", "10.77.0.0/16", "first"])?;
    let list = machine.ok(&["sampan", "network", "ls"])?;
    ensure!(!list.contains("overlap"), "the network exists: {list}");
    uninstall(machine, &["first.network", "overlap.network"])
}

fn missing_volume_source(machine: &Machine) -> Result<()> {
    busybox(machine, "source", "sleep 1000", "Volume=/no/such/folder:/data")?;
    fails(machine, "source", &["source.container:4", "/no/such/folder", "no such file"])?;
    uninstall(machine, &["source.container"])
}

fn missing_program(machine: &Machine) -> Result<()> {
    busybox(machine, "program", "/no/such/program --flag", "")?;
    fails(machine, "program", &["program.container:3", "/no/such/program", "no such file", "status=127"])?;
    uninstall(machine, &["program.container"])
}

fn full_disk(machine: &Machine) -> Result<()> {
    machine.shell("mkdir -p /var/lib/sampan; mount -t tmpfs -o size=16m tmpfs /var/lib/sampan")?;
    busybox(machine, "small", "sleep 1000", "")?;
    install(
        machine,
        &[("large.container", &format!("[Container]\nImage={}\n", BUSYBOX.replace("busybox", "redis")))],
    )?;
    start(machine, "small")?;
    machine.ok(&["systemctl", "stop", "small"])?;
    let before = Inventory::take(machine)?;
    let room = |m: &Machine| m.shell("df --output=avail /var/lib/sampan | tail -1");
    let free: u64 = room(machine)?.trim().parse()?;
    let said = start_fails(machine, "large")?;
    says(&said, &["large.container:2", "no space left", "/var/lib/sampan"])?;
    machine.ok(&["systemctl", "reset-failed"])?;
    let left = Inventory::take(machine)?.since(&before);
    ensure!(left.is_empty(), "left behind: {left:#?}");
    let now: u64 = room(machine)?.trim().parse()?;
    ensure!(now + 64 >= free, "{} KiB were not given back", free - now);
    // With room, the same unit starts.
    machine.ok(&["mount", "-o", "remount,size=1g", "/var/lib/sampan"])?;
    start(machine, "large")?;
    machine.wait("it runs", Duration::from_secs(10), |m| Ok(m.property("large", "ActiveState")? == "active"))
}
