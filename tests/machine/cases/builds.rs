//! `.build` files: buildah builds, and the image is one of ours.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, building_machine, install, sampan_json, start, start_fails, test, test_in};

pub fn tests() -> Vec<Trial> {
    vec![
        test_in(building_machine, "builds::an_image_is_built_and_run", an_image_is_built_and_run),
        test_in(building_machine, "builds::keys_reach_the_build", keys_reach_the_build),
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

const STAGES: &str = "FROM localhost:5000/busybox AS base\nCOPY . /context\n\
    RUN --mount=type=secret,id=word cat /run/secrets/word >/secret && cat /etc/resolv.conf /etc/hosts >/names \
    && echo $WORD >/word\nFROM base AS final\nRUN echo final >/stage\nFROM base\nRUN false\n";

const KEYS: &str = "[Build]\nImageTag=keys\nSetWorkingDirectory=/srv/keys\nTarget=final\nIgnoreFile=/srv/ignore\n\
    Secret=id=word,src=/srv/secret\nEnvironment=WORD=env\nAnnotation=org.example.key=annotated\nLabel=a=b\n\
    DNS=10.9.9.9\nDNSSearch=example.org\nDNSOption=ndots:3\nForceRM=yes\nPull=missing\nTLSVerify=no\n\
    AuthFile=/srv/auth.json\nContainersConfModule=/srv/module.conf\nPodmanArgs=--add-host=there:10.1.2.3\n";

fn keys_reach_the_build(machine: &Machine) -> Result<()> {
    for (path, text) in [
        ("keys/Containerfile", STAGES),
        ("keys/seen", "x"),
        ("keys/hidden", "x"),
        ("ignore", "hidden\n"),
        ("secret", "whisper"),
        ("auth.json", "{}"),
        ("module.conf", "[containers]\n"),
    ] {
        machine.write(&format!("/srv/{path}"), text)?;
    }
    let container = "[Container]\nImage=keys.build\nContainerName=keys\nExec=sleep 1000\n";
    install(machine, &[("keys.build", KEYS), ("keys.container", container)])?;
    start(machine, "keys")?;
    let inside = |command: &str| machine.ok(&["sampan", "exec", "keys", "sh", "-c", command]);
    let files = inside("cat /secret /stage /word; ls /context")?;
    ensure!(files == "whisperfinal\nenv\nContainerfile\nseen\n", "{files}");
    let names = inside("cat /names")?;
    for wanted in ["nameserver 10.9.9.9", "search example.org", "ndots:3", "10.1.2.3"] {
        ensure!(names.contains(wanted), "no {wanted} in {names}");
    }
    let image = &sampan_json(machine, &["image", "inspect", "keys"])?[0];
    let env = image["Config"]["Env"].to_string();
    ensure!(env.contains("WORD=env") && image["Labels"]["a"] == "b", "{image}");
    machine.shell("grep -q '\"org.example.key\":\"annotated\"' /var/lib/sampan/blobs/sha256/*")?;
    // What can't be honoured stops the build, with its name.
    for (more, wanted) in [
        ("ContainersConfModule=/srv/another.conf", "ContainersConfModule"),
        ("PodmanArgs=--nosuch", "--nosuch"),
        ("Secret=id=word,src=/srv/nosuch", "/srv/nosuch"),
        ("File=/srv/nosuch", "/srv/nosuch"),
    ] {
        install(machine, &[("odd.build", &format!("{KEYS}{more}\n"))])?;
        let said = start_fails(machine, "odd-build")?;
        ensure!(said.contains(wanted), "{more}: {said}");
    }
    Ok(())
}

fn without_buildah(machine: &Machine) -> Result<()> {
    machine.write("/srv/mine/Containerfile", &format!("FROM {BUSYBOX}\n"))?;
    install(machine, &[("mine.build", "[Build]\nImageTag=mine\nFile=/srv/mine/Containerfile\n")])?;
    let said = start_fails(machine, "mine-build")?;
    ensure!(said.contains("buildah is not installed") && said.contains("apt-get install buildah"), "{said}");
    Ok(())
}
