//! `.build` files: buildah builds, and the image is one of ours.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, building_machine, install, sampan_json, start, start_fails, test, test_in};

pub fn tests() -> Vec<Trial> {
    vec![
        test_in(building_machine, "builds::an_image_is_built_and_run", an_image_is_built_and_run),
        test("builds::without_buildah_the_error_names_the_package", without_buildah),
    ]
}

const CONTAINERFILE: &str = "FROM localhost:5000/busybox\nARG WORD\nRUN echo $WORD >/word && ls /sys/class/net >/links \
    && cat /cache/text >/text\nCMD [\"sleep\", \"1000\"]\n";

const BUILD: &str = "[Build]\nImageTag=mine:1\nImageTag=mine:latest\nFile=/srv/mine/Containerfile\nBuildArg=WORD=built\n\
    Label=made=here\nVolume=/srv/cache:/cache\nVolume=kept.volume:/kept\nNetwork=mine.network\nPull=missing\n";

fn an_image_is_built_and_run(machine: &Machine) -> Result<()> {
    machine.write("/srv/mine/Containerfile", CONTAINERFILE)?;
    machine.write("/srv/cache/text", "from the host")?;
    install(
        machine,
        &[
            ("mine.build", BUILD),
            ("mine.network", "[Network]\n"),
            ("kept.volume", "[Volume]\n"),
            ("mine.container", "[Container]\nImage=mine.build\nContainerName=mine\n"),
        ],
    )?;
    start(machine, "mine")?;
    let words = machine.ok(&["sampan", "exec", "mine", "cat", "/word", "/links", "/text"])?;
    ensure!(words == "built\neth0\nlo\nfrom the host", "{words}");
    let image = &sampan_json(machine, &["image", "inspect", "mine:1"])?[0];
    ensure!(image["Labels"]["made"] == "here", "{image}");
    let names = machine.ok(&["sampan", "images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    ensure!(names.contains("localhost/mine:1") && names.contains("localhost/mine:latest"), "{names}");
    // Again, with all layers cached: the same image. Nothing of the build is left.
    machine.ok(&["systemctl", "restart", "mine-build"])?;
    ensure!(sampan_json(machine, &["image", "inspect", "mine:1"])?[0]["Id"] == image["Id"], "another image");
    // A restart of the build brings the container back too, which is not waited for. (To start it
    // would build once more: the build's service is over when it is done.)
    machine.wait("the container is back", Duration::from_secs(20), |m| {
        Ok(m.property("mine", "ActiveState")? == "active")
    })?;
    let left =
        machine.shell("ls /run/sampan/network/leases; ls /var/lib/sampan/build | grep handover || :")?;
    ensure!(left.lines().count() == 1, "only the container has a lease: {left}");
    // What can't be built says so, in buildah's words.
    machine.write("/srv/mine/Containerfile", "FROM localhost:5000/busybox\nRUN false\n")?;
    let said = start_fails(machine, "mine-build")?;
    ensure!(said.contains("RUN false") && said.contains("buildah has failed"), "{said}");
    let left = machine.shell("ls /run/sampan/network/leases")?;
    ensure!(left.lines().count() == 1, "a build that fails keeps its lease: {left}");
    Ok(())
}

fn without_buildah(machine: &Machine) -> Result<()> {
    machine.write("/srv/mine/Containerfile", &format!("FROM {BUSYBOX}\n"))?;
    install(machine, &[("mine.build", "[Build]\nImageTag=mine\nFile=/srv/mine/Containerfile\n")])?;
    let said = start_fails(machine, "mine-build")?;
    ensure!(said.contains("buildah is not installed") && said.contains("apt-get install buildah"), "{said}");
    Ok(())
}
