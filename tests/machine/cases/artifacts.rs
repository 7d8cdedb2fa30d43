//! `.artifact` files: files from a registry, mounted in containers.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, install, sampan_json, start, start_fails, test};

pub fn tests() -> Vec<Trial> {
    vec![test("artifacts::files_are_pulled_and_mounted", files_are_pulled_and_mounted)]
}

/// Pushes the files `$2…` as the artifact `$1`, each with its own name as title; `$TITLE` replaces them.
const PUSH: &str = r#"set -e
repository=http://localhost:5000/v2/$1; shift
blob() {
	digest=$(sha256sum <"$1" | cut -d' ' -f1)
	place=$(curl -si -X POST "$repository/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
	curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" "$place&digest=sha256:$digest"
}
printf '{}' >/tmp/empty; blob /tmp/empty
config="{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"sha256:$digest\",\"size\":2}"
for file; do
	blob "$file"
	layer="{\"mediaType\":\"text/plain\",\"digest\":\"sha256:$digest\",\"size\":$(wc -c <"$file"),\"annotations\":{\"org.opencontainers.image.title\":\"${TITLE:-${file##*/}}\"}}"
	layers="${layers:+$layers,}$layer"
done
type=application/vnd.oci.image.manifest.v1+json
curl -sf -X PUT -H "Content-Type: $type" "$repository/manifests/1" --data-binary \
	"{\"schemaVersion\":2,\"mediaType\":\"$type\",\"artifactType\":\"application/x.test\",\"config\":$config,\"layers\":[$layers]}"
"#;

fn files_are_pulled_and_mounted(machine: &Machine) -> Result<()> {
    machine.write("/srv/push", PUSH)?;
    machine.write("/srv/a/one.txt", "the first")?;
    machine.write("/srv/a/two.txt", "the second")?;
    machine.shell("sh /srv/push model /srv/a/one.txt /srv/a/two.txt")?;
    machine.shell("TITLE=../../../etc/evil sh /srv/push hostile /srv/a/one.txt")?;
    let container = format!(
        "[Container]\nImage={BUSYBOX}\nContainerName=reader\nExec=sleep 1000\n\
         Mount=type=artifact,source=model.artifact,destination=/all\n\
         Mount=type=artifact,source=model.artifact,destination=/some,title=two.txt,name=chosen\n\
         Mount=type=artifact,source=model.artifact,destination=/etc/group,title=one.txt\n"
    );
    let artifact = |name: &str| format!("[Artifact]\nArtifact=localhost:5000/{name}:1\n");
    install(
        machine,
        &[
            ("model.artifact", &artifact("model")),
            ("hostile.artifact", &artifact("hostile")),
            ("reader.container", &container),
        ],
    )?;
    start(machine, "reader")?;
    let inside = |command: &str| machine.ok(&["sampan", "exec", "reader", "sh", "-c", command]);
    ensure!(
        inside("ls /all /some")? == "/all:\none.txt\ntwo.txt\n\n/some:\nchosen\n",
        "{}",
        inside("ls /all /some")?
    );
    ensure!(inside("cat /all/one.txt /some/chosen /etc/group")? == "the firstthe secondthe first");
    ensure!(inside("echo x >/all/one.txt; echo $?")?.trim() != "0", "it can be written");
    // A title that leads elsewhere.
    let odd = format!(
        "[Container]\nImage={BUSYBOX}\nExec=true\nMount=type=artifact,source=hostile.artifact,destination=/x\n"
    );
    install(machine, &[("odd.container", &odd)])?;
    let said = start_fails(machine, "odd")?;
    ensure!(said.contains("is not the name of a file") && said.contains("odd.container:4"), "{said}");
    ensure!(!machine.path("/etc/evil").exists(), "it has left the container");
    // Another name makes it harmless.
    install(machine, &[("odd.container", &odd.replace("destination=/x", "destination=/x,name=tame"))])?;
    machine.ok(&["systemctl", "reset-failed"])?;
    start(machine, "odd")?;

    let list = sampan_json(machine, &["artifact", "ls", "--format", "json"])?;
    ensure!(list.as_array().is_some_and(|all| all.len() == 2), "{list}");
    let one = sampan_json(machine, &["artifact", "inspect", "localhost:5000/model:1"])?;
    ensure!(one["Manifest"]["artifactType"] == "application/x.test", "{one}");
    machine.ok(&["systemctl", "restart", "hostile-artifact"])?;
    // What images need stays, what only the artifact has goes; who has it mounted keeps it.
    let blobs = || machine.shell("ls /var/lib/sampan/blobs/sha256 | wc -l");
    let before: u32 = blobs()?.trim().parse()?;
    machine.ok(&["sampan", "artifact", "rm", "--all"])?;
    let after: u32 = blobs()?.trim().parse()?;
    ensure!(after < before, "{before} blobs, then {after}");
    ensure!(inside("cat /all/two.txt")? == "the second");
    machine.ok(&["sampan", "run", "--rm", BUSYBOX, "true"])?;
    let missing = machine.run(&["sampan", "artifact", "inspect", "localhost:5000/model:1"])?;
    ensure!(missing.code == Some(1), "{}", missing.text());
    Ok(())
}
