//! YAML in, plans out: `tests/kube/NAME.yaml` and what must come of it, `NAME.plan`. `UPDATE=1` writes the latter.

use std::fmt::Write as _;
use std::path::Path;

use super::objects::{Objects, Purpose};
use super::plan::{self, PodPlan, Wishes};
use super::read::Source;
use super::volumes::{Content, Places};
use super::yaml::{File, Problem};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/kube");

fn plans(file: &File, wishes: &Wishes) -> Result<(Vec<PodPlan>, Vec<String>), Problem> {
    let mut objects = Objects::default();
    objects.add(file, 0, Purpose::Play)?;
    let mut notes = std::mem::take(&mut objects.notes);
    let mut plans = Vec::new();
    for pod in &objects.pods {
        let source = Source::new(file);
        let places =
            Places { memory: format!("/run/{}", pod.name).into(), disk: format!("/var/{}", pod.name).into() };
        plans.push(plan::plan(pod, &objects, wishes, places, &source)?);
        notes.extend(source.into_notes());
    }
    Ok((plans, notes))
}

/// A plan for people: words one a line where they begin an option.
fn show(plans: &[PodPlan], notes: &[String]) -> String {
    let mut text = String::new();
    let words = |text: &mut String, words: &[String]| {
        for word in words {
            let begins = word.starts_with('-');
            let _ = write!(text, "{}{word:?}", if begins { "\n    " } else { " " });
        }
        text.push('\n');
    };
    for plan in plans {
        let _ = write!(text, "pod {}", plan.name);
        words(&mut text, &plan.words);
        for (name, content) in &plan.volumes {
            match content {
                Content::Files(files) => {
                    let _ = writeln!(text, "  volume {name}");
                    for (path, (mode, bytes)) in files {
                        let _ = writeln!(text, "    {mode:o} {path} {:?}", String::from_utf8_lossy(bytes));
                    }
                }
                other => {
                    let _ = writeln!(text, "  volume {name} {other:?}");
                }
            }
        }
        for container in &plan.containers {
            let _ = write!(text, "  {:?} {} {:?}", container.role, container.name, container.restart);
            words(&mut text, &container.words);
            let _ = writeln!(text, "    runs {:?}", container.program);
            let limits = (container.memory, container.cpu, container.cpu_weight);
            let _ = writeln!(text, "    memory, cpu, weight {limits:?}, stop {} s", container.stop_timeout);
            for (name, value) in &container.secrets {
                let _ = writeln!(text, "    secret {name} {value:?}");
            }
        }
    }
    notes.iter().for_each(|note| text.extend([note, "\n"]));
    text
}

#[test]
fn fixtures_become_their_plans() {
    let mut seen = 0;
    for entry in std::fs::read_dir(FIXTURES).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = File::new(name, std::fs::read_to_string(&path).unwrap());
        let (plans, notes) = plans(&file, &Wishes::default()).unwrap_or_else(|problem| panic!("{problem}"));
        let shown = show(&plans, &notes);
        let golden = path.with_extension("plan");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(shown == expected, "{} differs; UPDATE=1 writes it. It is now:\n{shown}", golden.display());
    }
    assert!(seen >= 2, "the fixtures are in {}", Path::new(FIXTURES).display());
}

/// Every word that a plan makes is one that `sampan run` and `sampan pod create` understand.
#[test]
fn plans_are_written_in_words_that_are_understood() {
    use clap::CommandFactory as _;
    for name in ["web.yaml", "job.yaml"] {
        let file = File::new(name, std::fs::read_to_string(Path::new(FIXTURES).join(name)).unwrap());
        let (plans, _) = plans(&file, &Wishes::default()).unwrap();
        for plan in plans {
            let pod = ["sampan", "pod", "create", "--name", &plan.name].map(str::to_owned).to_vec();
            let mut lines = vec![[pod, plan.words].concat()];
            for container in plan.containers {
                let run = ["sampan", "run", "--replace", "--rm", "-d", "--env-nul", "f"]
                    .map(str::to_owned)
                    .to_vec();
                lines.push([run, container.words, container.program].concat());
            }
            for line in lines {
                let parsed = crate::CommandLine::command().try_get_matches_from(&line);
                assert!(parsed.is_ok(), "{line:?}: {}", parsed.unwrap_err());
            }
        }
    }
}

fn problem(text: &str) -> String {
    plans(&File::new("t.yaml", text), &Wishes::default()).unwrap_err().to_string()
}

/// A pod with these lines of a container.
fn container(lines: &str) -> String {
    format!(
        "kind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes:\n  - {{name: e, emptyDir: {{}}}}\n  containers:\n  - name: c\n    image: i\n{}",
        lines.lines().map(|line| format!("    {line}\n")).collect::<String>()
    )
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_place() {
    let mut wrong = String::new();
    for (text, expected) in [
        (
            "kind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n",
            "t.yaml:1:1: the pod p has no containers",
        ),
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n  shareProcessNamespace: true\n",
            "t.yaml:4:26: spec.shareProcessNamespace is not possible",
        ),
        (
            &container("env:\n- {name: A, value: 5}"),
            "t.yaml:10:24: spec.containers[0].env[0].value must be a string, and is a number: put it in quotes",
        ),
        (&container("env:\n- {name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}"), "t.yaml:10:"),
        (
            &container("env:\n- {name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}"),
            "t.yaml:10:50: there is no Secret s",
        ),
        (
            &container("volumeMounts:\n- {name: e, mountPath: /e, subPath: a}"),
            "t.yaml:10:41: spec.containers[0].volumeMounts[0].subPath: possible for configMap and secret only",
        ),
        (
            &container("volumeMounts:\n- {name: e, mountPath: '/e:/etc'}"),
            "t.yaml:10:28: spec.containers[0].volumeMounts[0].mountPath",
        ),
        (
            &container("securityContext: {runAsNonRoot: true}"),
            "t.yaml:9:37: spec.containers[0]: runAsNonRoot can't be checked",
        ),
        (
            &container("securityContext: {runAsUser: 4294967296}"),
            "t.yaml:9:34: 4294967296 is no user or group",
        ),
        (
            &container("resources: {limits: {memory: lots}}"),
            "t.yaml:9:34: spec.containers[0].resources.limits.memory: \"lots\" is no quantity",
        ),
        (
            &container("livenessProbe: {httpGet: {path: /}}"),
            "t.yaml:9:20: spec.containers[0].livenessProbe has no port",
        ),
        (&container("imagePullPolicy: Sometimes"), "t.yaml:9:22: spec.containers[0].imagePullPolicy is"),
        (&container("ports:\n- {containerPort: 70000}"), "t.yaml:10:"),
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: ../x, image: i}\n",
            "t.yaml:5:12: spec.containers[0].name is \"../x\"",
        ),
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: x, image: '--rootfs'}\n",
            "t.yaml:5:",
        ),
    ] {
        let problem = problem(text);
        if !problem.starts_with(expected) {
            wrong += &format!("{problem}\nis not\n{expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// CVE-2025-9566 and its kind: what is written for a ConfigMap stays below the volume.
#[test]
fn files_stay_below_their_volume() {
    for path in ["../x", "/etc/passwd", "a/../../x", "''", "."] {
        let text = format!(
            "kind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: v}}\n---\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes:\n  - name: v\n    configMap: {{name: m, items: [{{key: k, path: {path}}}]}}\n  containers:\n  - {{name: c, image: i}}\n"
        );
        assert!(problem(&text).contains("must be relative and without .."), "{path}");
    }
    for key in ["a/b", "..", "../x", "''"] {
        let text = format!(
            "kind: Secret\nmetadata: {{name: m}}\nstringData: {{{key}: v}}\n---\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes:\n  - name: v\n    secret: {{secretName: m}}\n  containers:\n  - {{name: c, image: i}}\n"
        );
        assert!(problem(&text).contains("can't be the name of a file"), "{key}");
    }
}

#[test]
fn a_secret_never_becomes_a_word() {
    let text = "kind: Secret\nmetadata: {name: s}\nstringData: {k: hunter2}\n---\n".to_owned()
        + &container(
            "env:\n- {name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}\n- {name: B, value: x$(A)}\nargs: [a]",
        );
    let (plans, _) = plans(&File::new("t.yaml", text.clone()), &Wishes::default()).unwrap();
    let container = &plans[0].containers[0];
    assert!(!format!("{:?}{:?}", container.words, container.program).contains("hunter2"));
    assert_eq!(container.secrets[1], ("B".to_owned(), "xhunter2".to_owned()));
    assert!(problem(&text.replace("args: [a]", "args: [$(A)]")).contains("would put a secret there"));
}

#[test]
fn the_command_lines_ports_replace_the_yamls() {
    let text = container("ports:\n- {containerPort: 80, hostPort: 8080}\n- {containerPort: 90}");
    let wishes = Wishes { publish: vec!["127.0.0.1:1:80".into()], publish_all: true, ..Wishes::default() };
    let (plans, _) = plans(&File::new("t.yaml", text), &wishes).unwrap();
    assert_eq!(plans[0].words, ["--publish", "127.0.0.1:1:80", "--publish", "90:90/tcp"]);
}
