//! `AutoUpdate=`: newer images come by themselves, and bad ones go again.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::{Machine, Run};

use serde_json::{Value, json};

use crate::fixture::{Shared, install, sampan_json, shared, start, test, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let on_shared = |name: &str, case| shared(&MACHINE, &format!("updates::{name}"), case);
    let alone = |name: &str, case| test(&format!("updates::{name}"), case);
    vec![
        on_shared("a_newer_image_comes_for_all_that_use_it", newer_image),
        on_shared("an_image_that_ends_at_once_is_taken_back", crashing_image),
        on_shared("an_image_that_gets_unhealthy_is_taken_back", unhealthy_image),
        on_shared("without_rollback_the_new_image_stays", without_rollback),
        on_shared("a_killed_update_is_brought_to_its_end", killed_update),
        on_shared("the_store_itself_can_have_a_newer_image", local_image),
        on_shared("pods_and_kubernetes_yaml", pods_and_kube),
        on_shared("what_cannot_be_updated_says_why", what_cannot),
        alone("the_service_of_the_timer_may_do_all_it_has_to", service),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Puts the image `from` of the registry there as `busybox:TAG` too, with another configuration. `$1` from, `$2` tag,
/// `$3` the new configuration.
const PUBLISH: &str = r#"set -e
registry=http://localhost:5000/v2; type=application/vnd.oci.image.manifest.v1+json
curl -sf -H "Accept: $type" $registry/$1/manifests/latest >/tmp/manifest
old=$(grep -o 'sha256:[0-9a-f]*' /tmp/manifest | head -1)
size=$(grep -o '"size": *[0-9]*' /tmp/manifest | head -1)
for layer in $(grep -o 'sha256:[0-9a-f]*' /tmp/manifest | tail -n +2); do
	curl -sf -X POST "$registry/busybox/blobs/uploads/?mount=$layer&from=$1" -o /dev/null
done
new=sha256:$(sha256sum <$3 | cut -d' ' -f1)
place=$(curl -si -X POST $registry/busybox/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$3 "$place&digest=$new"
sed "s/$old/$new/; 0,/$size/s/$size/\"size\":$(stat -c %s $3)/" /tmp/manifest >/tmp/changed
curl -sf -X PUT -H "Content-Type: $type" --data-binary @/tmp/changed $registry/busybox/manifests/$2
"#;

/// Publishes `busybox:TAG` whose program is this script; `more` goes into its configuration.
pub fn publish(machine: &Machine, from: &str, tag: &str, script: &str, more: Value) -> Result<()> {
    let get = "type=application/vnd.oci.image.manifest.v1+json; r=http://localhost:5000/v2/$0
        d=$(curl -sf -H \"Accept: $type\" $r/manifests/latest | grep -o 'sha256:[0-9a-f]*' | head -1)
        curl -sf $r/blobs/$d";
    let text = machine.ok(&["sh", "-ec", get, from])?;
    let mut image: Value =
        serde_json::from_str(&text).with_context(|| format!("no configuration: {text}"))?;
    let mut config = json!({"Cmd": ["sh", "-c", script]});
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    image["config"] = config;
    machine.write("/tmp/config", &image.to_string())?;
    machine.write("/tmp/publish", PUBLISH)?;
    machine.ok(&["sh", "/tmp/publish", from, tag, "/tmp/config"]).map(drop)
}

/// A good image: it says a word and stays.
pub fn good(machine: &Machine, tag: &str, word: &str) -> Result<()> {
    publish(machine, "busybox", tag, &format!("echo {word}; exec sleep 1000"), json!({}))
}

fn file(tag: &str, name: &str, more: &str) -> String {
    format!(
        "[Container]\nImage=localhost:5000/busybox:{tag}\nContainerName={name}\nAutoUpdate=registry\n{more}\n"
    )
}

/// The rows that an update has printed, as `UNIT UPDATED`.
fn rows(run: &Run) -> Result<Vec<String>> {
    let rows: Value = serde_json::from_str(&run.stdout).with_context(|| run.text())?;
    let row = |row: &Value| {
        format!(
            "{} {}",
            row["Unit"].as_str().unwrap_or_default(),
            row["Updated"].as_str().unwrap_or_default()
        )
    };
    Ok(rows.as_array().into_iter().flatten().map(row).collect())
}

fn update(machine: &Machine, options: &[&str]) -> Result<Run> {
    machine.run(&[&["sampan", "auto-update", "--format", "json"], options].concat())
}

/// What the container's program has said, the last word.
fn word(machine: &Machine, unit: &str) -> Result<String> {
    let invocation = machine.property(unit, "InvocationID")?;
    machine.ok(&["journalctl", "--sync"])?;
    let said = machine.ok(&[
        "journalctl",
        "--no-pager",
        "--output=cat",
        &format!("_SYSTEMD_INVOCATION_ID={invocation}"),
    ])?;
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

/// Waits for a word: a container that has been started may still have to say it.
pub fn says(machine: &Machine, unit: &str, wanted: &str) -> Result<()> {
    let mut said = String::new();
    let waited = machine.wait(unit, PATIENCE, |m| {
        said = word(m, unit)?;
        Ok(said == wanted)
    });
    waited.with_context(|| format!("{unit} says {said:?}, not {wanted:?}"))
}

fn stop(machine: &Machine, units: &[&str], files: &[&str]) -> Result<()> {
    for unit in units {
        machine.run(&["systemctl", "stop", unit])?;
    }
    uninstall(machine, files)
}

fn newer_image(machine: &Machine) -> Result<()> {
    good(machine, "both", "one")?;
    install(
        machine,
        &[
            ("one.container", &file("both", "one", "")),
            ("two.container", &file("both", "two", "")),
            // Nobody wants this one to change.
            ("off.container", &file("both", "off", "").replace("=registry", "=disabled")),
        ],
    )?;
    for unit in ["one", "two", "off"] {
        start(machine, unit)?;
    }
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["one.service false", "two.service false"] && run.success(), "{}", run.text());

    good(machine, "both", "two")?;
    let store = "find /var/lib/sampan -newer /tmp/publish -type f | sort";
    let before = (machine.shell(store)?, machine.main_pid("one")?);
    let run = update(machine, &["--dry-run"])?;
    ensure!(rows(&run)? == ["one.service pending", "two.service pending"] && run.success(), "{}", run.text());
    ensure!((machine.shell(store)?, machine.main_pid("one")?) == before, "a dry run has changed something");

    let table = machine.ok(&["sampan", "auto-update"])?;
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(head == ["UNIT", "CONTAINER", "IMAGE", "POLICY", "UPDATED"], "{table}");
    let id = machine.ok(&["sampan", "ps", "--format", "{{.ID}}", "--filter", "name=one"])?;
    ensure!(table.contains(" (one)") && table.matches(" true\n").count() == 2, "{table}, now {id}");
    says(machine, "one", "two")?;
    says(machine, "two", "two")?;
    says(machine, "off", "one")?;
    let run = machine.ok(&["sampan", "auto-update", "--format", "{{.Unit}} {{.Policy}} {{.Updated}}"])?;
    ensure!(run == "one.service registry false\ntwo.service registry false\n", "{run}");
    // In the journal, where people look for it.
    ensure!(machine.journal("one.service")?.contains("one.service: updated: localhost:5000/busybox:both"));
    machine.ok(&["journalctl", "--sync"])?;
    let entry =
        machine.ok(&["journalctl", "--output=json", "SAMPAN_AUTO_UPDATE=true", "CONTAINER_NAME=two"])?;
    let entry: Value = serde_json::from_str(entry.lines().last().unwrap_or_default())?;
    ensure!(entry["IMAGE_NAME"] == "localhost:5000/busybox:both" && entry["PRIORITY"] == "5", "{entry}");
    stop(machine, &["one", "two", "off"], &["one.container", "two.container", "off.container"])
}

fn crashing_image(machine: &Machine) -> Result<()> {
    good(machine, "crash", "one")?;
    install(
        machine,
        &[
            ("crash.container", &file("crash", "crash", "[Service]\nRestart=always")),
            ("second.container", &file("crash", "second", "")),
        ],
    )?;
    start(machine, "crash")?;
    start(machine, "second")?;
    publish(machine, "busybox", "crash", "sleep 1; echo bad; exit 3", json!({}))?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["crash.service rolled back", "second.service rolled back"], "{}", run.text());
    ensure!(run.code == Some(125) && run.stderr.contains("crash.service has ended"), "{}", run.text());
    says(machine, "crash", "one")?;
    says(machine, "second", "one")?;
    ensure!(machine.journal("crash.service")?.contains("update rolled back"), "it isn't in the journal");

    // The same one isn't tried again; the container isn't touched.
    let pid = machine.main_pid("crash")?;
    for _ in 0..2 {
        let run = update(machine, &[])?;
        ensure!(
            rows(&run)? == ["crash.service false", "second.service false"] && run.success(),
            "{}",
            run.text()
        );
    }
    ensure!(machine.main_pid("crash")? == pid, "it was restarted");
    // Unless somebody wants it, or there is another one.
    machine.ok(&["sampan", "pull", "--quiet", "localhost:5000/busybox:crash"])?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["crash.service rolled back", "second.service rolled back"], "{}", run.text());
    good(machine, "crash", "three")?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["crash.service true", "second.service true"], "{}", run.text());
    says(machine, "crash", "three")?;
    stop(machine, &["crash", "second"], &["crash.container", "second.container"])
}

fn unhealthy_image(machine: &Machine) -> Result<()> {
    good(machine, "ill", "one")?;
    let check = "HealthCmd=test ! -e /ill\nHealthInterval=1s\nHealthRetries=2\nHealthStartPeriod=1s";
    install(machine, &[("ill.container", &file("ill", "ill", check))])?;
    start(machine, "ill")?;
    good(machine, "ill", "two")?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["ill.service true"], "{}", run.text());
    publish(machine, "busybox", "ill", "touch /ill; echo three; exec sleep 1000", json!({}))?;
    let run = update(machine, &[])?;
    ensure!(
        rows(&run)? == ["ill.service rolled back"] && run.stderr.contains("is unhealthy"),
        "{}",
        run.text()
    );
    says(machine, "ill", "two")?;
    // Where the check restarts the container, that is no success either.
    machine
        .write("/etc/containers/systemd/ill.container.d/1.conf", "[Container]\nHealthOnFailure=restart\n")?;
    machine.shell("systemctl daemon-reload; systemctl restart ill")?;
    publish(machine, "busybox", "ill", "touch /ill; echo four; exec sleep 1000", json!({}))?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["ill.service rolled back"], "{}", run.text());
    says(machine, "ill", "two")?;
    machine.shell("rm -r /etc/containers/systemd/ill.container.d")?;
    stop(machine, &["ill"], &["ill.container"])
}

fn without_rollback(machine: &Machine) -> Result<()> {
    good(machine, "keep", "one")?;
    install(machine, &[("keep.container", &file("keep", "keep", ""))])?;
    start(machine, "keep")?;
    publish(machine, "busybox", "keep", "echo bad; exit 3", json!({}))?;
    let run = update(machine, &["--rollback=false"])?;
    ensure!(rows(&run)? == ["keep.service failed"] && run.code == Some(125), "{}", run.text());
    ensure!(machine.property("keep", "ActiveState")? == "failed", "it was returned");
    // And that is the end of it: nobody returns it later.
    let run = update(machine, &[])?;
    ensure!(rows(&run)?.is_empty() && run.success(), "{}", run.text());
    stop(machine, &["keep"], &["keep.container"])
}

/// Starts an update, kills it as soon as the condition holds, and returns when it is gone.
fn kill_when(machine: &Machine, what: &str, condition: impl Fn(&Machine) -> Result<bool>) -> Result<()> {
    let script = "echo $$ >/tmp/update.pid; exec sampan auto-update";
    let mut update = machine.command(&["sh", "-c", script]);
    let mut update = update.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let waited = machine.wait(what, PATIENCE, condition);
    let killed = machine.shell("kill -KILL $(cat /tmp/update.pid)");
    update.wait()?;
    waited.and(killed.map(drop))
}

fn image_id(machine: &Machine, name: &str) -> Result<String> {
    Ok(machine.run(&["sampan", "inspect", "--format", "{{.Image}}", name])?.stdout.trim().to_owned())
}

fn killed_update(machine: &Machine) -> Result<()> {
    good(machine, "killed", "one")?;
    let slow = "[Service]\nExecStartPre=/bin/sleep 1";
    install(machine, &[("killed.container", &file("killed", "killed", slow))])?;
    start(machine, "killed")?;
    let first = image_id(machine, "killed")?;

    // Between the pull and the restart.
    good(machine, "killed", "two")?;
    machine.ok(&["sampan", "pull", "--quiet", "localhost:5000/busybox:killed"])?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["killed.service true"], "{}", run.text());
    says(machine, "killed", "two")?;
    let second = image_id(machine, "killed")?;
    ensure!(first != second, "the image is still {first}");

    // While a good one proves itself: the next one only looks.
    good(machine, "killed", "three")?;
    kill_when(machine, "the third image runs", |m| {
        let id = image_id(m, "killed")?;
        Ok(!id.is_empty() && id != second)
    })?;
    let pid = machine.main_pid("killed")?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["killed.service true"] && run.success(), "{}", run.text());
    ensure!(machine.main_pid("killed")? == pid, "it was restarted once more");
    let third = image_id(machine, "killed")?;

    // While a bad one does: the next one returns it.
    publish(machine, "busybox", "killed", "sleep 2; echo bad; exit 3", json!({}))?;
    kill_when(machine, "the bad image runs", |m| {
        let id = image_id(m, "killed")?;
        Ok(!id.is_empty() && id != third)
    })?;
    machine.wait("it has ended", PATIENCE, |m| Ok(m.property("killed", "ActiveState")? == "failed"))?;
    let run = update(machine, &["--dry-run"])?;
    ensure!(rows(&run)? == ["killed.service pending"], "{}", run.text());
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["killed.service rolled back"], "{}", run.text());
    says(machine, "killed", "three")?;

    // On the way back: the next one goes it to the end.
    publish(machine, "busybox", "killed", "sleep 2; echo worse; exit 3", json!({}))?;
    let name = "localhost:5000/busybox:killed";
    let leads_to = ["sampan", "image", "inspect", "--format", "{{.Id}}", name];
    kill_when(machine, "the name is returned", |m| Ok(m.run(&leads_to)?.stdout.trim() == third))?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["killed.service rolled back"], "{}", run.text());
    says(machine, "killed", "three")?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["killed.service false"] && run.success(), "{}", run.text());

    // Stopped by somebody in the meantime, it stays so.
    good(machine, "killed", "four")?;
    kill_when(machine, "the fourth image runs", |m| {
        let id = image_id(m, "killed")?;
        Ok(!id.is_empty() && id != third)
    })?;
    machine.ok(&["systemctl", "stop", "killed"])?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["killed.service false"] && run.success(), "{}", run.text());
    start(machine, "killed")?;
    says(machine, "killed", "four")?;
    stop(machine, &["killed"], &["killed.container"])
}

fn local_image(machine: &Machine) -> Result<()> {
    good(machine, "here", "one")?;
    install(machine, &[("here.container", &file("here", "here", "").replace("=registry", "=local"))])?;
    start(machine, "here")?;
    good(machine, "here", "two")?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["here.service false"], "the registry was asked: {}", run.text());
    machine.ok(&["sampan", "pull", "--quiet", "localhost:5000/busybox:here"])?;
    // The registry has no say in it.
    machine.ok(&["systemctl", "stop", "registry"])?;
    let run = update(machine, &["--dry-run"])?;
    ensure!(rows(&run)? == ["here.service pending"], "{}", run.text());
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["here.service true"], "{}", run.text());
    says(machine, "here", "two")?;
    machine.ok(&["systemctl", "start", "registry"])?;
    machine.wait("the registry answers", PATIENCE, |m| {
        Ok(m.run(&["curl", "-sf", "http://localhost:5000/v2/"])?.success())
    })?;
    publish(machine, "busybox", "here", "echo bad; exit 3", json!({}))?;
    machine.ok(&["sampan", "pull", "--quiet", "localhost:5000/busybox:here"])?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["here.service rolled back"], "{}", run.text());
    says(machine, "here", "two")?;
    let run = update(machine, &[])?;
    ensure!(rows(&run)? == ["here.service false"], "{}", run.text());
    stop(machine, &["here"], &["here.container"])
}

const YAML: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: play\nspec:\n  restartPolicy: Never\n  containers:\n\
    \x20 - name: a\n    image: localhost:5000/busybox:pod\n    imagePullPolicy: IfNotPresent\n\
    \x20 - name: b\n    image: localhost:5000/busybox:other\n    imagePullPolicy: IfNotPresent\n";

fn pods_and_kube(machine: &Machine) -> Result<()> {
    good(machine, "pod", "one")?;
    good(machine, "other", "constant")?;
    machine.write("/etc/containers/systemd/play.yaml", YAML)?;
    install(
        machine,
        &[
            ("group.pod", "[Pod]\n"),
            ("member.container", &file("pod", "member", "Pod=group.pod")),
            ("play.kube", "[Kube]\nYaml=play.yaml\nAutoUpdate=registry\n"),
        ],
    )?;
    start(machine, "member")?;
    start(machine, "play")?;
    good(machine, "pod", "two")?;
    let run = update(machine, &[])?;
    // The pod's service, as Podman restarts it; and the YAML's, once for both of its containers.
    let expected = ["group-pod.service true", "play.service true", "play.service false"];
    ensure!(rows(&run)? == expected, "{}", run.text());
    says(machine, "member", "two")?;
    let images = machine.ok(&["sampan", "ps", "--format", "{{.Names}} {{.ImageID}}", "--no-trunc"])?;
    let id = image_id(machine, "member")?;
    ensure!(images.contains(&format!("play-a {id}")), "{images} lacks {id}");

    publish(machine, "busybox", "pod", "sleep 1; echo bad; exit 3", json!({}))?;
    let run = update(machine, &[])?;
    let expected = ["group-pod.service rolled back", "play.service rolled back", "play.service false"];
    ensure!(rows(&run)? == expected, "{}", run.text());
    says(machine, "member", "two")?;
    ensure!(image_id(machine, "play-a")? == id, "the YAML's container has another image");
    std::fs::remove_file(machine.path("/etc/containers/systemd/play.yaml"))?;
    stop(machine, &["play", "group-pod"], &["group.pod", "member.container", "play.kube"])
}

fn what_cannot(machine: &Machine) -> Result<()> {
    good(machine, "odd", "one")?;
    let label = "Label=io.containers.autoupdate.authfile=/etc/nosuch.json";
    let gone = file("odd", "gone", label).replace("localhost:5000", "localhost:5999");
    let alias = "[[registry]]\nlocation = \"localhost:5999\"\ninsecure = true\n";
    machine.write("/etc/containers/registries.conf.d/60-gone.conf", alias)?;
    install(machine, &[("odd.container", &file("odd", "odd", "")), ("gone.container", &gone)])?;
    machine.shell("sampan pull -q localhost:5000/busybox:odd")?;
    let digest = machine.ok(&["sampan", "image", "inspect", "--format", "{{.Digest}}", "busybox:odd"])?;
    let fixed = file("odd", "fixed", "").replace(":odd", &format!("@{}", digest.trim()));
    install(machine, &[("fixed.container", &fixed)])?;
    start(machine, "odd")?;
    start(machine, "fixed")?;
    machine.ok(&[
        "sampan",
        "run",
        "-d",
        "--name",
        "word",
        "--label",
        "io.containers.autoupdate=daily",
        "busybox",
        "sleep",
        "99",
    ])?;
    good(machine, "odd", "two")?;
    let run = update(machine, &["--tls-verify=true"])?;
    // What fails keeps nobody else from being updated.
    ensure!(rows(&run)?.contains(&"fixed.service false".to_owned()), "{}", run.text());
    ensure!(rows(&run)?.contains(&"odd.service failed".to_owned()), "{}", run.text());
    ensure!(run.stderr.contains("AutoUpdate=daily means nothing") && run.code == Some(125), "{}", run.text());
    let run = update(machine, &[])?;
    ensure!(rows(&run)?.contains(&"odd.service true".to_owned()) && run.code == Some(125), "{}", run.text());
    machine.run(&["sampan", "rm", "--force", "word"])?;
    machine.shell("rm /etc/containers/registries.conf.d/60-gone.conf")?;
    stop(machine, &["odd", "fixed"], &["odd.container", "gone.container", "fixed.container"])
}

fn service(machine: &Machine) -> Result<()> {
    let state = machine.run(&["systemctl", "is-enabled", "sampan-auto-update.timer"])?;
    ensure!(state.stdout.trim() == "disabled", "the timer is {}", state.text());
    machine.ok(&["systemctl", "enable", "--now", "sampan-auto-update.timer"])?;
    let next = machine.ok(&["systemctl", "list-timers", "--no-legend", "sampan-auto-update.timer"])?;
    ensure!(next.contains("sampan-auto-update.service"), "{next}");
    good(machine, "timed", "one")?;
    let file = file("timed", "timed", "Entrypoint=\nExec=sleep 1000");
    install(machine, &[("timed.container", &file)])?;
    start(machine, "timed")?;
    // Layers with files of many owners, with modes and removed files, of which the store has none.
    publish(machine, "redis", "timed", "exec sleep 1000", json!({}))?;
    start(machine, "sampan-auto-update")?;
    let journal = machine.journal("sampan-auto-update")?;
    ensure!(journal.contains("timed.service: updated"), "{journal}");
    let inside = |command: &str| machine.ok(&["sampan", "exec", "timed", "sh", "-c", command]);
    ensure!(inside("stat -c %U:%G /data; stat -c %a /usr/bin/passwd")? == "redis:redis\n4755\n");
    let shown = sampan_json(machine, &["inspect", "timed"])?;
    ensure!(shown[0]["ImageName"] == "localhost:5000/busybox:timed", "{shown}");
    let status = machine.run(&["systemctl", "status", "timed"])?.stdout;
    ensure!(status.contains("timed.service: updated"), "{status}");
    Ok(())
}
