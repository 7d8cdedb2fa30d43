//! Images in and out of the store: archives, names, mounts, and Podman's own store.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, clients_machine, install, shared, start, test_in};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let on_shared = |name: &str, case| shared(&MACHINE, &format!("transports::{name}"), case);
    let beside_podman = |name: &str, case| test_in(clients_machine, &format!("transports::{name}"), case);
    vec![
        on_shared("what_is_saved_is_loaded_again", saved_and_loaded),
        on_shared("names_are_given_and_taken", names),
        on_shared("an_image_is_mounted_and_unmounted", mounted),
        beside_podman("podman_loads_what_is_saved_and_the_other_way", with_podman),
        beside_podman("a_unit_runs_an_image_of_podmans_store", podmans_store),
    ]
}

const WEB: &str = "localhost:5000/web:latest";

fn id(machine: &Machine, name: &str) -> Result<String> {
    let id = machine.ok(&["sampan", "image", "inspect", "--format", "{{.Id}}", name])?;
    Ok(id.trim().to_owned())
}

fn saved_and_loaded(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", WEB])?;
    machine.ok(&["sampan", "pull", "localhost:5000/busybox"])?;
    let web = id(machine, WEB)?;
    machine.shell("mkdir /srv/saved")?;
    for (format, place) in
        [("docker-archive", "d.tar"), ("oci-archive", "o.tar"), ("oci-dir", "o"), ("docker-dir", "d")]
    {
        let path = format!("/srv/saved/{place}");
        machine.ok(&["sampan", "save", "--format", format, "--output", &path, WEB])?;
        machine.shell("sampan rmi --all --force")?;
        let told = machine.ok(&["sampan", "load", "--input", &path])?;
        let wanted = match format {
            "docker-dir" => format!("Loaded image: sha256:{web}\n"),
            _ => format!("Loaded image: {WEB}\n"),
        };
        ensure!(told == wanted, "{format}: {told}");
        machine.ok(&["sampan", "image", "exists", &web])?;
        machine.ok(&["sampan", "pull", WEB])?;
    }
    // Through a pipe, compressed on the way, with a further name.
    let told = machine.shell(&format!("sampan save {WEB} again:1 | gzip | sampan load"))?;
    ensure!(told == format!("Loaded image: {WEB}\nLoaded image: localhost/again:1\n"), "{told}");
    machine.ok(&["sampan", "pull", "localhost:5000/busybox"])?;
    machine.ok(&["sampan", "save", "-m", "-o", "/srv/saved/both.tar", WEB, "localhost:5000/busybox"])?;
    machine.shell("sampan rmi --all --force")?;
    let told = machine.ok(&["sampan", "load", "-i", "/srv/saved/both.tar"])?;
    ensure!(told.lines().count() == 2, "{told}");

    for (words, says) in [
        ("sampan save -o /srv/saved/o --format oci-dir localhost:5000/web", "is there already"),
        ("sampan save --format oci-dir localhost:5000/web", "--output"),
        ("sampan save -o /srv/x --format oci-archive localhost:5000/web other", "docker-archive"),
        ("sampan save -o /srv/x none", "none: image not known"),
        ("sampan load -i /etc/passwd", "corrupt"),
        ("sampan load -i /srv/none", "no such file"),
    ] {
        let run = machine.run(&["sh", "-c", words])?;
        ensure!(!run.success() && run.text().contains(says), "{words}: {}", run.text());
    }
    ensure!(
        machine.shell("set +e; ls -A /srv/saved | grep -c sampan-save; true")?.trim() == "0",
        "leftovers"
    );
    machine.shell("sampan rmi --all --force; rm -r /srv/saved").map(drop)
}

fn names(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", WEB])?;
    machine.ok(&["sampan", "tag", WEB, "mine", "quay.io/team/app:2"])?;
    let of = |name: &str| machine.ok(&["sampan", "image", "inspect", "--format", "{{.RepoTags}}", name]);
    ensure!(of("mine")? == format!("[localhost/mine:latest {WEB} quay.io/team/app:2]\n"), "{}", of("mine")?);
    let tree = machine.ok(&["sampan", "image", "tree", "mine"])?;
    ensure!(tree.contains("Image Layers") && tree.contains("Top Layer of: [localhost/mine:latest"), "{tree}");
    let wrong = machine.run(&["sampan", "untag", WEB, "other"])?;
    ensure!(!wrong.success() && wrong.text().contains("tag not known"), "{}", wrong.text());
    machine.ok(&["sampan", "untag", WEB, "mine"])?;
    ensure!(machine.run(&["sampan", "image", "exists", "mine"])?.code == Some(1));
    let id = id(machine, WEB)?;
    machine.ok(&["sampan", "untag", &id])?;
    ensure!(of(&id)? == "[]\n", "names are left");
    let dangling = machine.ok(&["sampan", "images", "-q", "--no-trunc", "--filter", "dangling=true"])?;
    ensure!(dangling.contains(&id), "{dangling}");
    let since = machine.ok(&["sampan", "images", "-q", "--filter", &format!("since={id}")])?;
    ensure!(since.is_empty(), "{since}");
    machine.shell("sampan rmi --all --force").map(drop)
}

fn mounted(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", WEB])?;
    let id = id(machine, WEB)?;
    let path = machine.ok(&["sampan", "image", "mount", WEB])?;
    ensure!(path == format!("/run/sampan/images/{id}/merged\n"), "{path}");
    let path = path.trim();
    ensure!(machine.ok(&["sampan", "image", "mount", WEB])?.trim() == path, "a second mount");
    machine.ok(&["test", "-d", &format!("{path}/bin")])?;
    ensure!(!machine.run(&["touch", &format!("{path}/x")])?.success(), "it can be written");
    ensure!(machine.shell("stat -c %a /run/sampan/images")? == "700\n", "users get there");
    let list = machine.ok(&["sampan", "image", "mount"])?;
    ensure!(list.split_whitespace().eq([WEB, path]), "{list}");
    let run = machine.run(&["sampan", "rmi", WEB])?;
    ensure!(run.code == Some(2) && run.text().contains("image unmount"), "{:?} {}", run.code, run.text());
    ensure!(machine.ok(&["sampan", "image", "unmount", "--all"])?.trim() == id);
    ensure!(
        machine.shell("set +e; grep -c sampan/images /proc/self/mountinfo; ls /run/sampan/images | wc -l")?
            == "0\n0\n"
    );
    let run = machine.run(&["sampan", "image", "unmount", WEB])?;
    ensure!(!run.success() && run.text().contains("is not mounted"), "{}", run.text());
    machine.ok(&["sampan", "image", "mount", WEB])?;
    machine.ok(&["sampan", "rmi", "--force", WEB])?;
    ensure!(machine.ok(&["sampan", "image", "mount"])?.is_empty(), "it is mounted still");
    Ok(())
}

fn with_podman(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", WEB])?;
    let web = id(machine, WEB)?;
    for format in ["docker-archive", "oci-archive"] {
        let script =
            format!("sampan save --format {format} {WEB} >/srv/x.tar && podman load -q -i /srv/x.tar");
        machine.shell(&script)?;
        let theirs = machine.ok(&["podman", "image", "inspect", "--format", "{{.Id}}", WEB])?;
        ensure!(theirs.trim() == web, "{format}: {theirs}");
        machine.shell("sampan rmi --all --force")?;
        machine.shell(&format!("podman save -q --format {format} {WEB} >/srv/y.tar && podman rmi {WEB}"))?;
        let told = machine.ok(&["sampan", "load", "-i", "/srv/y.tar"])?;
        ensure!(told == format!("Loaded image: {WEB}\n"), "{format}: {told}");
        ensure!(id(machine, WEB)? == web, "{format}: another image");
    }
    Ok(())
}

fn podmans_store(machine: &Machine) -> Result<()> {
    machine.ok(&["podman", "pull", "-q", "--tls-verify=false", "localhost:5000/busybox"])?;
    machine.ok(&["podman", "tag", "localhost:5000/busybox", "localhost/mine"])?;
    machine.ok(&["systemctl", "stop", "registry"])?;
    let text = "[Container]\nImage=containers-storage:localhost/mine\nExec=sleep 1000\n";
    install(machine, &[("mine.container", text)])?;
    start(machine, "mine")?;
    let theirs = machine.ok(&["podman", "image", "inspect", "--format", "{{.Id}}", "localhost/mine"])?;
    let pulled = machine.ok(&["sampan", "pull", &format!("containers-storage:{}", &theirs[..12])])?;
    ensure!(pulled == theirs, "{pulled} is not {theirs}");
    machine.ok(&["systemctl", "stop", "mine"]).map(drop)
}
