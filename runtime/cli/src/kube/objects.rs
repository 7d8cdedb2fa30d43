//! Files become objects: pods to play, and the ConfigMaps, Secrets and claims that they refer to.

use std::collections::BTreeMap;

use base64::Engine as _;

use super::model::{Claim, ConfigMap, Meta, Pod, Secret, Workload};
use super::read::{Located, Read as _, Source, Text};
use super::yaml::{At, File, Node, Problem, Value};

/// A DNS-1123 subdomain's most characters, RFC 1123 and the Kubernetes reference, "Object Names and IDs".
const NAME_MAX: usize = 253;
/// A label's: the name of a container or of a volume.
const LABEL_MAX: usize = 63;

/// What the files hold, in their order.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// The pods, also those that a Deployment or a Job makes.
    pub(crate) pods: Vec<NamedPod>,
    /// ConfigMaps by name.
    pub(crate) config_maps: BTreeMap<String, Entries>,
    /// Secrets by name.
    pub(crate) secrets: BTreeMap<String, Entries>,
    /// The names of the volumes that are claimed, with the annotations that say how they are made.
    pub(crate) claims: BTreeMap<String, BTreeMap<String, Text>>,
    /// What there is to say that is no error.
    pub(crate) notes: Vec<String>,
}

/// The entries of a ConfigMap or of a Secret.
pub(crate) type Entries = BTreeMap<String, Vec<u8>>;

/// A pod and what it is called.
#[derive(Debug)]
pub(crate) struct NamedPod {
    /// Its name: DNS-1123.
    pub(crate) name: String,
    /// What it is.
    pub(crate) pod: Pod,
    /// The workload's own choice of what becomes of a container that has ended.
    pub(crate) restart_policy: Option<&'static str>,
    /// The number of the file that it comes from.
    pub(crate) file: usize,
}

/// Which of a file's objects count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All: the file is played.
    Play,
    /// ConfigMaps alone (`--configmap`).
    ConfigMaps,
}

impl Objects {
    /// Adds what a file holds.
    ///
    /// # Errors
    /// It is no YAML, or no Kubernetes object.
    pub(crate) fn add(&mut self, file: &File, number: usize, purpose: Purpose) -> Result<(), Problem> {
        let source = Source::new(file);
        for document in file.documents()? {
            self.object(&document, &source, number, purpose)?;
        }
        self.notes.extend(source.into_notes());
        Ok(())
    }

    fn object(
        &mut self,
        node: &Node,
        source: &Source<'_>,
        file: usize,
        purpose: Purpose,
    ) -> Result<(), Problem> {
        let kind = kind(node, source)?;
        if purpose == Purpose::ConfigMaps && kind.as_str() != "ConfigMap" {
            source.note(kind.at, format!("kind {} is no ConfigMap: ignored", kind.as_str()));
            return Ok(());
        }
        match kind.as_str() {
            "List" => {
                let items = source.map(node, "")?.iter().find(|(key, _)| key.text == "items");
                if let Some((_, Node { value: Value::List(items), .. })) = items {
                    items.iter().try_for_each(|item| self.object(item, source, file, purpose))?;
                }
            }
            "Pod" => {
                let pod = Pod::read(node, "", source)?;
                let name = name(&pod.metadata, node.at, source)?;
                self.pod(NamedPod { name, pod, restart_policy: None, file }, node.at, source)?;
            }
            "Deployment" | "DaemonSet" | "StatefulSet" => self.workload(node, source, file, "Always")?,
            "Job" => self.workload(node, source, file, "OnFailure")?,
            "ConfigMap" => {
                let map = ConfigMap::read(node, "", source)?;
                let name = name(&map.metadata, node.at, source)?;
                let mut entries = plain(&map.data);
                entries.extend(base64(&map.binary_data, "binaryData", source)?);
                self.config_maps.insert(name, entries);
            }
            "Secret" => {
                source.secret(true);
                let secret = Secret::read(node, "", source)?;
                let name = name(&secret.metadata, node.at, source)?;
                let mut entries = base64(&secret.data, "data", source)?;
                entries.extend(plain(&secret.string_data));
                self.secrets.insert(name, entries);
                source.secret(false);
            }
            "PersistentVolumeClaim" => {
                let claim = Claim::read(node, "", source)?;
                let name = name(&claim.metadata, node.at, source)?;
                self.claims.insert(name, claim.metadata.annotations);
            }
            other => source.note(kind.at, format!("kind {other} is not supported: ignored")),
        }
        Ok(())
    }

    fn workload(
        &mut self,
        node: &Node,
        source: &Source<'_>,
        file: usize,
        default: &'static str,
    ) -> Result<(), Problem> {
        let Workload { metadata, spec, .. } = Workload::read(node, "", source)?;
        let workload = name(&metadata, node.at, source)?;
        match spec.replicas {
            Some(Located { at, value }) if value > 1 => {
                source.note(at, format!("spec.replicas is {value}: one pod is made, there is one host"));
            }
            Some(Located { at, value }) if value < 1 => {
                source.note(at, format!("spec.replicas is {value}: no pod is made"));
                return Ok(());
            }
            _ => {}
        }
        let mut pod = spec.template;
        for (name, value) in metadata.annotations {
            pod.metadata.annotations.entry(name).or_insert(value);
        }
        // Podman's names, so that what knows them by name goes on to find them.
        let name = format!("{workload}-pod");
        self.pod(NamedPod { name, pod, restart_policy: Some(default), file }, node.at, source)
    }

    fn pod(&mut self, pod: NamedPod, at: At, source: &Source<'_>) -> Result<(), Problem> {
        if self.pods.iter().any(|other| other.name == pod.name) {
            return Err(source.problem(at, format!("a second pod is called {}", pod.name)));
        }
        self.pods.push(pod);
        Ok(())
    }
}

fn kind(node: &Node, source: &Source<'_>) -> Result<Text, Problem> {
    let Value::Map(map) = &node.value else {
        return Err(source.problem(
            node.at,
            format!("a Kubernetes object is a mapping, and this is {}", node.value.describe()),
        ));
    };
    match map.iter().find(|(key, _)| key.text == "kind") {
        Some((_, kind)) => Text::read(kind, "kind", source),
        None => Err(source.problem(node.at, "this object has no kind: add kind: Pod, or what it is")),
    }
}

/// The object's name, which becomes part of paths and of unit names.
fn name(metadata: &Meta, at: At, source: &Source<'_>) -> Result<String, Problem> {
    let Some(name) = &metadata.name else {
        return Err(source.problem(at, "this object has no name: add metadata.name"));
    };
    check(name, "metadata.name", source)?;
    Ok(name.value.clone())
}

/// A DNS-1123 subdomain: lower-case letters, digits, `-` and `.`, with a letter or digit at both ends.
///
/// # Errors
/// It is none.
pub(crate) fn check(name: &Text, path: &str, source: &Source<'_>) -> Result<(), Problem> {
    checked(name, path, NAME_MAX, b"-.", source)
}

/// A DNS-1123 label: the same without dots.
///
/// # Errors
/// It is none.
pub(crate) fn check_label(name: &Text, path: &str, source: &Source<'_>) -> Result<(), Problem> {
    checked(name, path, LABEL_MAX, b"-", source)
}

fn checked(name: &Text, path: &str, most: usize, more: &[u8], source: &Source<'_>) -> Result<(), Problem> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let good = bytes.iter().all(|byte| is_plain(*byte) || more.contains(byte))
        && bytes.first().is_some_and(|byte| is_plain(*byte))
        && bytes.last().is_some_and(|byte| is_plain(*byte))
        && bytes.len() <= most
        && !name.contains("..");
    if good {
        return Ok(());
    }
    let dots = if more.contains(&b'.') { ", - and ." } else { " and -" };
    Err(source.problem(
        name.at,
        format!(
            "{path} is \"{}\": a name has lower-case letters, digits{dots}, begins and ends with a letter or digit, \
             and has at most {most} characters",
            name.value
        ),
    ))
}

fn plain(data: &BTreeMap<String, Text>) -> Entries {
    data.iter().map(|(key, text)| (key.clone(), text.as_bytes().to_vec())).collect()
}

fn base64(data: &BTreeMap<String, Text>, path: &str, source: &Source<'_>) -> Result<Entries, Problem> {
    let decode = |(key, text): (&String, &Text)| {
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        match base64::engine::general_purpose::STANDARD.decode(compact) {
            Ok(bytes) => Ok((key.clone(), bytes)),
            Err(_) => {
                let help = if path == "data" { " (plain text goes into stringData)" } else { "" };
                Err(source.problem(text.at, format!("{path}.{key} is not base64{help}")))
            }
        }
    };
    data.iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Result<Objects, Problem> {
        let mut objects = Objects::default();
        objects.add(&File::new("t.yaml", text), 0, Purpose::Play)?;
        Ok(objects)
    }

    #[test]
    fn documents_of_all_kinds() {
        let all = objects(
            "kind: Pod\nmetadata: {name: p}\n---\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 2}\n---\n\
             kind: List\nitems:\n- kind: ConfigMap\n  metadata: {name: c}\n  data: {a: x}\n---\nkind: Secret\n\
             metadata: {name: s}\ndata: {b: eA==}\nstringData: {c: z}\n---\nkind: Service\nmetadata: {name: z}\n",
        )
        .unwrap();
        assert_eq!(all.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["p", "d-pod"]);
        assert_eq!(all.config_maps["c"]["a"], b"x");
        assert_eq!(all.secrets["s"]["b"], b"x");
        assert_eq!(all.secrets["s"]["c"], b"z");
        assert_eq!(
            all.notes,
            [
                "t.yaml:6:18: spec.replicas is 2: one pod is made, there is one host",
                "t.yaml:19:7: kind Service is not supported: ignored"
            ]
        );
    }

    #[test]
    fn names_that_would_leave_their_directory_are_refused() {
        for name in ["../x", "a/b", "A", "a_b", "-a", "a..b", "''", "a.", "a@b", &"a".repeat(254)] {
            let problem = objects(&format!("kind: Pod\nmetadata: {{name: {name}}}\n")).unwrap_err();
            assert!(problem.to_string().starts_with("t.yaml:2:"), "{name}: {problem}");
        }
    }

    #[test]
    fn a_line_of_a_secret_is_never_shown() {
        let problem = objects("kind: Secret\nmetadata: {name: s}\ndata:\n  pw: 'hunter2!'\n").unwrap_err();
        let problem = problem.to_string();
        assert!(
            problem.starts_with("t.yaml:4:7: data.pw is not base64") && !problem.contains("hunter2"),
            "{problem}"
        );
    }

    #[test]
    fn what_is_no_object_is_said() {
        for (text, expected) in [
            ("- a\n", "t.yaml:1:1: a Kubernetes object is a mapping, and this is a list"),
            ("a: b\n", "t.yaml:1:1: this object has no kind"),
            ("kind: Pod\n", "t.yaml:1:1: this object has no name"),
            (
                "kind: Pod\nmetadata:\n  name: 5\n",
                "t.yaml:3:9: metadata.name must be a string, and is a number: put it in quotes",
            ),
        ] {
            let problem = objects(text).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
