//! Where images come from, and what `systemctl status` shows while they come.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::registry::TLS_ADDRESS;

use crate::fixture::{Shared, Skip, install, shared, start, start_fails, test, uninstall};
use crate::slow_registry::{self, Manners, SlowRegistry};
use crate::updates::{good, says};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let on_shared = |name: &str, case| shared(&MACHINE, &format!("images::{name}"), case);
    let alone = |name: &str, case| test(&format!("images::{name}"), case);
    vec![
        on_shared("over_tls_with_the_registrys_own_authority", over_tls),
        on_shared("tls_without_a_known_authority_is_refused", unknown_authority),
        on_shared("short_names_and_mirrors", short_names_and_mirrors),
        on_shared("by_digest", by_digest),
        on_shared("a_start_right_after_its_pull", a_start_right_after_its_pull),
        on_shared("from_every_local_transport", from_every_local_transport),
        on_shared("files_owners_and_whiteouts_are_as_packed", as_packed),
        on_shared("all_tags_of_a_repository", all_tags),
        on_shared("when_a_tag_is_fetched_again", policies),
        on_shared("an_image_file_brings_what_containers_run_next", image_file),
        on_shared("keys_that_cannot_be_honoured_are_named", refused_keys),
        alone("progress_shows_and_extends_the_start", progress_shows_and_extends_the_start),
        alone("a_stalled_transfer_says_so", stalled_transfer),
        alone("one_pull_at_a_time_of_one_image", one_pull_at_a_time),
        alone("a_policy_refuses_what_is_not_signed", a_policy_refuses_what_is_not_signed),
    ]
}

/// Starts the registry that speaks TLS.
fn serve_tls(machine: &Machine) -> Result<()> {
    machine.ok(&["systemctl", "start", "registry-tls"])?;
    machine.wait("it listens", Duration::from_secs(10), |m| {
        Ok(m.run(&["curl", "-sk", &format!("https://{TLS_ADDRESS}/v2/")])?.success())
    })
}

fn over_tls(machine: &Machine) -> Result<()> {
    serve_tls(machine)?;
    machine.ok(&["sampan", "pull", &format!("{TLS_ADDRESS}/busybox")]).map(drop)
}

fn unknown_authority(machine: &Machine) -> Result<()> {
    serve_tls(machine)?;
    // The same server by another name that its certificate covers, but nobody vouches for.
    let run = machine.run(&["sampan", "pull", "127.0.0.1:5443/busybox"])?;
    ensure!(!run.success(), "it was trusted");
    ensure!(run.text().to_lowercase().contains("certificate"), "it says {}", run.text());
    machine.ok(&["sampan", "pull", "--tls-verify=false", "127.0.0.1:5443/busybox"]).map(drop)
}

fn short_names_and_mirrors(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", "busybox"])?;
    let text = "[Container]\nImage=docker.io/library/busybox:latest\nExec=sleep 1000\n";
    install(machine, &[("hub.container", text)])?;
    start(machine, "hub")?;
    machine.ok(&["systemctl", "stop", "hub"])?;
    uninstall(machine, &["hub.container"])
}

fn by_digest(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "pull", "localhost:5000/web"])?;
    let digest =
        machine.ok(&["sampan", "image", "inspect", "--format", "{{.Digest}}", "localhost:5000/web"])?;
    ensure!(digest.trim().starts_with("sha256:"), "{digest}");
    machine.ok(&["sampan", "pull", &format!("localhost:5000/web@{}", digest.trim())]).map(drop)
}

fn a_start_right_after_its_pull(machine: &Machine) -> Result<()> {
    // A pull decodes layers in threads; the container must be cloned by a process with one.
    let text = "[Container]\nImage=localhost:5000/web\n";
    install(machine, &[("fresh.container", text)])?;
    for round in 1..=25 {
        start(machine, "fresh").map_err(|error| error.context(format!("round {round}")))?;
        machine.shell("systemctl stop fresh; sampan rmi --all --force")?;
    }
    uninstall(machine, &["fresh.container"])
}

/// Writes the busybox image of the registry in every local form, from the registry's own answers.
const FORMS: &str = r#"
mkdir -p /srv/forms/layout/blobs/sha256 /srv/forms/dir /srv/forms/docker; cd /srv/forms
curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://localhost:5000/v2/busybox/manifests/latest >manifest
m=$(sha256sum <manifest | cut -d' ' -f1)
set -- $(grep -o 'sha256:[0-9a-f]*' manifest | cut -d: -f2)
for hex in "$@"; do curl -sf http://localhost:5000/v2/busybox/blobs/sha256:$hex >layout/blobs/sha256/$hex; cp layout/blobs/sha256/$hex dir/$hex; done
cp manifest layout/blobs/sha256/$m; cp manifest dir/manifest.json; printf 'Directory Transport Version: 1.1\n' >dir/version
echo '{"imageLayoutVersion":"1.0.0"}' >layout/oci-layout
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"tagged"}}]}' $m $(stat -c %s manifest) >layout/index.json
tar -C layout -cf archive.tar oci-layout index.json blobs
cp layout/blobs/sha256/$1 docker/$1.json; gzip -dc <layout/blobs/sha256/$2 >docker/layer.tar
printf '[{"Config":"%s.json","RepoTags":["localhost/from-docker:1"],"Layers":["layer.tar"]}]' $1 >docker/manifest.json
tar -C docker -cf docker.tar $1.json manifest.json layer.tar
"#;

fn from_every_local_transport(machine: &Machine) -> Result<()> {
    machine.shell(FORMS)?;
    for source in [
        "oci:/srv/forms/layout",
        "oci:/srv/forms/layout:tagged",
        "oci-archive:/srv/forms/archive.tar",
        "docker-archive:/srv/forms/docker.tar",
        "dir:/srv/forms/dir",
    ] {
        let text = format!("[Container]\nImage={source}\nExec=sh -c 'echo started; sleep 1000'\n");
        install(machine, &[("form.container", &text)])?;
        start(machine, "form").map_err(|error| error.context(source))?;
        machine.ok(&["systemctl", "stop", "form"])?;
        machine.shell("sampan rmi --all --force")?;
    }
    uninstall(machine, &["form.container"])
}

fn as_packed(machine: &Machine) -> Result<()> {
    let run = |script: &str| {
        machine.ok(&[
            "systemd-run",
            "-q",
            "--pipe",
            "--wait",
            "--collect",
            "sampan",
            "run",
            "--rm",
            "--entrypoint=",
            "localhost:5000/redis",
            "sh",
            "-c",
            script,
        ])
    };
    ensure!(run("stat -c %U:%G /data")? == "redis:redis\n", "the owner of /data");
    ensure!(run("stat -c %a /usr/bin/passwd /tmp")? == "4755\n1777\n", "modes");
    ensure!(run("ls /etc/apt/sources.list 2>&1 | grep -c .")?.trim() == "1", "removed files");
    // A file that an upper layer removed.
    let text = machine.run(&[
        "systemd-run",
        "-q",
        "--pipe",
        "--wait",
        "--collect",
        "sampan",
        "run",
        "--rm",
        "--entrypoint=",
        "localhost:5000/nginx",
        "ls",
        "/etc/nginx/sites-enabled/default",
    ])?;
    ensure!(!text.success(), "a whiteout was not applied: {}", text.text());
    Ok(())
}

/// What a unit's status was until it was active or has failed.
fn statuses(machine: &Machine, units: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut seen = vec![Vec::new(); units.len()];
    machine.wait("the pulls end", Duration::from_secs(120), |m| {
        let mut is_over = true;
        for (unit, seen) in units.iter().zip(&mut seen) {
            let status = m.property(unit, "StatusText")?;
            if seen.last() != Some(&status) {
                seen.push(status);
            }
            is_over &= ["active", "failed"].contains(&m.property(unit, "ActiveState")?.as_str());
        }
        Ok(is_over)
    })?;
    Ok(seen)
}

/// Two units that may take three seconds each, and need one image that takes longer.
fn progress_shows_and_extends_the_start(machine: &Machine) -> Result<()> {
    let manners = Manners { pause: Duration::from_millis(12), ..Manners::default() };
    let slow = SlowRegistry::start(machine, manners)?;
    let image = format!("Image={}/redis", slow_registry::ADDRESS);
    install(
        machine,
        &[
            ("slow.container", &format!("[Container]\n{image}\n[Service]\nTimeoutStartSec=3\n")),
            ("slow.image", &format!("[Image]\n{image}\n[Service]\nTimeoutStartSec=3\n")),
        ],
    )?;
    let units = ["slow", "slow-image"];
    machine.ok(&["systemctl", "start", "--no-block", units[0], units[1]])?;
    let seen = statuses(machine, &units)?;
    let shape =
        |s: &&String| s.contains("layer ") && s.contains("% ") && s.contains("MB of ") && s.contains("B/s");
    for (unit, seen) in units.iter().zip(&seen) {
        ensure!(machine.property(unit, "ActiveState")? == "active", "{unit} failed; STATUS= was {seen:#?}");
        ensure!(seen.iter().filter(shape).count() > 3, "STATUS= of {unit} was {seen:#?}");
    }
    let relayed =
        |seen: &Vec<String>| seen.iter().any(|status| status.contains("fetched by another process"));
    ensure!(seen.iter().any(relayed), "nobody has waited: {seen:#?}");
    for (path, bytes) in slow.sent().iter().filter(|(_, bytes)| **bytes > 100_000) {
        let hex = path.rsplit(':').next().unwrap_or_default();
        let size = machine
            .shell(&format!("stat -c %s /srv/registry/docker/registry/v2/blobs/sha256/*/{hex}/data"))?;
        let size: usize = size.trim().parse()?;
        ensure!(*bytes < size + 2000, "{path} of {size} bytes was sent as {bytes}");
    }
    Ok(())
}

fn stalled_transfer(machine: &Machine) -> Result<()> {
    let slow = SlowRegistry::start(machine, Manners { silent_after: 200_000, ..Manners::default() })?;
    let text =
        format!("[Container]\nImage={}/redis\n[Service]\nTimeoutStartSec=20\n", slow_registry::ADDRESS);
    install(machine, &[("stalled.container", &text)])?;
    let said = start_fails(machine, "stalled")?;
    ensure!(said.contains("stalled: next to no data for 30 s while reading"), "{said}");
    ensure!(said.contains("stalled.container:2"), "it names no line: {said}");
    let result = machine.property("stalled", "Result")?;
    ensure!(result == "exit-code", "systemd has ended it: {result}");
    ensure!(slow.sent().values().sum::<usize>() >= 200_000, "nothing was sent at all");
    let left = machine.shell("find /var/lib/sampan/tmp -mindepth 1")?;
    ensure!(left.is_empty(), "left in tmp: {left}");
    Ok(())
}

fn all_tags(machine: &Machine) -> Result<()> {
    for tag in ["tag-1", "tag-2"] {
        good(machine, tag, tag)?;
    }
    machine.run(&["sampan", "rmi", "--all", "--force"])?;
    install(machine, &[("tags.image", "[Image]\nImage=localhost:5000/busybox\nAllTags=yes\n")])?;
    start(machine, "tags-image")?;
    let names = machine.ok(&["sampan", "images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    for tag in ["latest", "tag-1", "tag-2"] {
        ensure!(names.contains(&format!("localhost:5000/busybox:{tag}\n")), "no {tag} in {names}");
    }
    uninstall(machine, &["tags.image"])
}

fn policies(machine: &Machine) -> Result<()> {
    const NAME: &str = "localhost:5000/busybox:policy";
    let pull = |policy: &str| machine.run(&["sampan", "pull", "--quiet", "--policy", policy, NAME]);
    good(machine, "policy", "one")?;
    let run = pull("never")?;
    ensure!(!run.success() && run.stderr.contains("is not on this machine"), "{}", run.text());
    let first = pull("missing")?.stdout;
    good(machine, "policy", "two")?;
    for policy in ["missing", "never"] {
        ensure!(pull(policy)?.stdout == first, "{policy} has fetched it anew");
    }
    let second = pull("newer")?.stdout;
    ensure!(second != first && !second.is_empty(), "newer has not fetched it");
    good(machine, "policy", "three")?;
    let third = pull("always")?.stdout;
    ensure!(third != second, "always has not fetched it");
    machine.ok(&["systemctl", "stop", "registry"])?;
    let (newer, always) = (pull("newer")?, pull("always")?);
    machine.ok(&["systemctl", "start", "registry"])?;
    machine.wait("the registry answers", Duration::from_secs(20), |m| {
        Ok(m.run(&["curl", "-sf", "http://localhost:5000/v2/"])?.success())
    })?;
    ensure!(newer.success() && newer.stdout == third, "{}", newer.text());
    ensure!(!always.success() && always.text().contains("cannot be reached"), "{}", always.text());
    Ok(())
}

fn image_file(machine: &Machine) -> Result<()> {
    good(machine, "fresh", "one")?;
    let image = "[Image]\nImage=localhost:5000/busybox:fresh\nRetry=1\nRetryDelay=1s\nContainersConfModule=/etc/module.conf\n";
    machine.write("/etc/module.conf", "[engine]\nretry = 2\n")?;
    install(machine, &[("fresh.image", image), ("fresh.container", "[Container]\nImage=fresh.image\n")])?;
    start(machine, "fresh")?;
    says(machine, "fresh", "one")?;
    let first = machine.main_pid("fresh")?;
    good(machine, "fresh", "two")?;
    // What needs it is restarted with it, as Requires= has it.
    machine.ok(&["systemctl", "restart", "fresh-image"])?;
    machine.wait("the container is back", Duration::from_secs(20), |m| {
        let pid = m.main_pid("fresh")?;
        Ok(pid != 0 && pid != first && m.property("fresh", "ActiveState")? == "active")
    })?;
    machine.wait("it speaks", Duration::from_secs(10), |m| Ok(says(m, "fresh", "two").is_ok()))?;
    machine.ok(&["systemctl", "stop", "fresh", "fresh-image"])?;
    uninstall(machine, &["fresh.image", "fresh.container"])
}

fn refused_keys(machine: &Machine) -> Result<()> {
    serve_tls(machine)?;
    let image = |more: &str| format!("[Image]\nImage=127.0.0.1:5443/busybox\n{more}\n");
    let certificates = "CertDir=/etc/containers/certs.d/localhost:5443";
    install(
        machine,
        &[
            ("certs.image", &image(certificates)),
            ("key.image", &image("DecryptionKey=/etc/key.pem")),
            ("module.image", &image("ContainersConfModule=/etc/nosuch.conf")),
            ("key.artifact", "[Artifact]\nArtifact=localhost:5000/x:1\nDecryptionKey=/etc/key.pem\n"),
        ],
    )?;
    start(machine, "certs-image")?;
    for (unit, wanted) in [
        ("key-image", "key.image:3"),
        ("key-artifact", "key.artifact:3"),
        ("module-image", "no containers.conf module /etc/nosuch.conf"),
    ] {
        let said = start_fails(machine, unit)?;
        ensure!(said.contains(wanted), "{unit} says {said}");
    }
    uninstall(machine, &["certs.image", "key.image", "module.image", "key.artifact"])
}

fn one_pull_at_a_time(machine: &Machine) -> Result<()> {
    let text = "[Container]\nImage=localhost:5000/nginx\n";
    install(machine, &[("twin@.container", text)])?;
    machine.ok(&["systemctl", "start", "twin@1", "twin@2", "twin@3", "twin@4"])?;
    for n in 1..=4 {
        ensure!(machine.property(&format!("twin@{n}"), "ActiveState")? == "active", "twin@{n} is not active");
    }
    let blobs = machine.shell("find /var/lib/sampan/tmp -mindepth 1")?;
    ensure!(blobs.is_empty(), "left in tmp: {blobs}");
    Ok(())
}

/// Runs the host's GnuPG with a home of its own.
fn gpg(home: &std::path::Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let base = ["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""];
    let output = Command::new("gpg").env("GNUPGHOME", home).args(base).args(arguments).output();
    let output = output.map_err(|error| Skip(format!("GnuPG is needed to sign: {error}")))?;
    ensure!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// A key, and its signature of the payload.
fn sign(payload: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let home = tempfile::Builder::new().prefix("g").tempdir()?;
    let file = home.path().join("payload");
    std::fs::write(&file, payload)?;
    gpg(home.path(), &["--quick-generate-key", "release@example.com", "rsa2048", "sign", "0"])?;
    let key = gpg(home.path(), &["--armor", "--export"])?;
    let signature = gpg(home.path(), &["--output", "-", "--sign", &file.display().to_string()])?;
    // Its agent would stay.
    let _ = Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).status();
    Ok((key, signature))
}

fn a_policy_refuses_what_is_not_signed(machine: &Machine) -> Result<()> {
    let head = "curl -sfI -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
                http://localhost:5000/v2/web/manifests/latest | tr -d '\\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'";
    let digest = machine.shell(head)?.trim().to_owned();
    let hex = digest.strip_prefix("sha256:").context("the registry says no digest")?;
    let payload = format!(
        r#"{{"critical":{{"type":"atomic container signature","image":{{"docker-manifest-digest":"{digest}"}},
        "identity":{{"docker-reference":"localhost:5000/web:latest"}}}},"optional":{{}}}}"#
    );
    let (key, signature) = sign(&payload)?;
    let place = |path: &str, bytes: &[u8]| {
        let path = machine.path(path);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::write(path, bytes).map_err(anyhow::Error::from)
    };
    place("/etc/pki/release.asc", &key)?;
    machine.write(
        "/etc/containers/policy.json",
        r#"{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"localhost:5000":
            [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/pki/release.asc"}]}}}"#,
    )?;
    machine.write(
        "/etc/containers/registries.d/local.yaml",
        "docker:\n  localhost:5000:\n    lookaside: file:///srv/signatures\n",
    )?;
    install(machine, &[("signed.container", "[Container]\nImage=localhost:5000/web\n")])?;
    let said = start_fails(machine, "signed")?;
    for wanted in [
        "localhost:5000/web:latest",
        "/etc/containers/policy.json",
        "\"signedBy\" with a key of /etc/pki/release.asc",
        "there is no signature",
        "/srv/signatures/web@sha256=",
    ] {
        ensure!(said.contains(wanted), "{wanted:?} is missing in {said}");
    }
    ensure!(
        machine.shell("ls /var/lib/sampan/layers /var/lib/sampan/tmp")?.lines().count() <= 3,
        "layers came"
    );
    // Another image's signature is none.
    place(&format!("/srv/signatures/web@sha256={hex}/signature-1"), &sign(&payload)?.1)?;
    let said = start_fails(machine, "signed")?;
    ensure!(said.contains("it was made by another key"), "{said}");
    // One policy for one pull.
    machine.write("/srv/lax.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#)?;
    machine.ok(&["sampan", "pull", "--signature-policy", "/srv/lax.json", "localhost:5000/busybox"])?;

    place(&format!("/srv/signatures/web@sha256={hex}/signature-2"), &signature)?;
    machine.ok(&["systemctl", "reset-failed"])?;
    start(machine, "signed")?;
    // The policy counts when an image comes; one that is there is not asked for again.
    machine.shell("rm -r /srv/signatures")?;
    machine.ok(&["systemctl", "restart", "signed"])?;
    let pull = machine.run(&["sampan", "pull", "localhost:5000/web"])?;
    ensure!(!pull.success() && pull.text().contains("there is no signature"), "{}", pull.text());
    Ok(())
}
