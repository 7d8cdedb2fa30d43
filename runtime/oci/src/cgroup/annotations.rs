//! Properties of the scope by annotations, `org.systemd.property.NAME`, with values in the text format of GVariant,
//! as runc takes them.
//!
//! Whoever may annotate a pod is not whoever may command systemd: CRI-O let a pod set any property of its scope, one
//! of which runs programs of the host as root or powers it off (CVE-2024-3154). So only what is listed here passes,
//! with values that are checked; everything else is refused.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use sampan_oci::{Properties, Value};

const PREFIX: &str = "org.systemd.property.";

/// Longest time that a stop of the scope may be delayed by, in seconds: a shutdown of the host waits for it.
const LONGEST_STOP: u64 = 24 * 60 * 60;

/// Longest description.
const LONGEST_TEXT: usize = 256;

/// Reads a value.
type Reader = fn(&str) -> Result<Value>;

/// What may be set, with the reader of its value. All of these concern the scope alone.
const ALLOWED: &[(&str, Reader)] = &[
    ("After", units),
    ("Before", units),
    ("CollectMode", collect_mode),
    ("DefaultDependencies", boolean),
    ("Description", description),
    ("TimeoutStopSec", seconds),
    ("TimeoutStopUSec", microseconds),
];

/// The properties that these annotations ask for.
pub(crate) fn properties<'a>(
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Properties> {
    let mut properties = Properties::new();
    // In the order of their names, so that it is always the same of two that contradict each other that wins.
    let sorted: BTreeMap<_, _> = annotations.collect();
    for (annotation, text) in sorted {
        let Some(name) = annotation.strip_prefix(PREFIX) else { continue };
        let Some((_, read)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
            let names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
            bail!(
                "annotation {annotation:?}: a container may not set this property of its scope; it may set {}",
                names.join(", ")
            );
        };
        let value = read(text.trim()).with_context(|| format!("annotation {annotation}={text:?}"))?;
        let name = if name == "TimeoutStopSec" { "TimeoutStopUSec" } else { name };
        properties.insert(name.to_owned(), value);
    }
    Ok(properties)
}

/// A string in single or double quotes, without escapes, which none of the values here needs.
fn string(text: &str) -> Result<&str> {
    let inner = ['\'', '"'].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let inner = inner.context("it is a text in quotes, such as 'inactive-or-failed'")?;
    ensure!(
        !inner.contains(['\'', '"', '\\']) && !inner.contains(char::is_control),
        "it has characters that it can't have"
    );
    Ok(inner)
}

/// A number, with or without its type.
fn unsigned(text: &str) -> Result<u64> {
    let digits = ["uint64 ", "uint32 ", "int64 ", "int32 "].iter().find_map(|kind| text.strip_prefix(kind));
    let digits = digits.unwrap_or(text).trim();
    ensure!(digits.bytes().all(|b| b.is_ascii_digit()), "it is a number, such as uint64 30000000");
    digits.parse().context("it is a number, such as uint64 30000000")
}

fn microseconds(text: &str) -> Result<Value> {
    let time = unsigned(text)?;
    ensure!(time <= LONGEST_STOP * 1_000_000, "a container's stop may be delayed by a day at most");
    Ok(Value::Number(time))
}

fn seconds(text: &str) -> Result<Value> {
    microseconds(&unsigned(text)?.saturating_mul(1_000_000).to_string())
}

fn boolean(text: &str) -> Result<Value> {
    match text {
        "true" => Ok(Value::Boolean(true)),
        "false" => Ok(Value::Boolean(false)),
        _ => bail!("it is true or false"),
    }
}

fn collect_mode(text: &str) -> Result<Value> {
    match string(text)? {
        mode @ ("inactive" | "inactive-or-failed") => Ok(Value::Text(mode.to_owned())),
        _ => bail!("it is 'inactive' or 'inactive-or-failed'"),
    }
}

fn description(text: &str) -> Result<Value> {
    let text = string(text)?;
    ensure!(text.len() <= LONGEST_TEXT, "it has more than {LONGEST_TEXT} bytes");
    Ok(Value::Text(text.to_owned()))
}

/// Units to be ordered after or before: this starts and stops none.
fn units(text: &str) -> Result<Value> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let inner = inner.context("it is a list, such as ['crio.service']")?;
    let mut names = Vec::new();
    for name in inner.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let name = string(name)?;
        let good = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        let kind = name.rsplit_once('.').map(|(_, kind)| kind);
        ensure!(
            name.len() < 256
                && name.bytes().all(good)
                && matches!(kind, Some("service" | "socket" | "target" | "scope" | "slice" | "mount")),
            "{name:?} is no name of a unit"
        );
        names.push(name.to_owned());
    }
    Ok(Value::List(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Properties> {
        let annotations = BTreeMap::from([(format!("{PREFIX}{name}"), value.to_owned())]);
        properties(annotations.iter())
    }

    fn is(name: &str, value: &str, property: &str, wanted: Value) {
        assert_eq!(one(name, value).unwrap(), Properties::from([(property.to_owned(), wanted)]));
    }

    #[test]
    fn what_a_scope_may_have() {
        is("TimeoutStopUSec", "uint64 30000000", "TimeoutStopUSec", Value::Number(30_000_000));
        is("TimeoutStopSec", "5", "TimeoutStopUSec", Value::Number(5_000_000));
        is("CollectMode", "'inactive-or-failed'", "CollectMode", Value::Text("inactive-or-failed".into()));
        is("DefaultDependencies", "true", "DefaultDependencies", Value::Boolean(true));
        is(
            "After",
            "['crio.service', \"a@b.target\"]",
            "After",
            Value::List(vec!["crio.service".into(), "a@b.target".into()]),
        );
        is("Description", "\"a b\"", "Description", Value::Text("a b".into()));
        let other = BTreeMap::from([("io.kubernetes.pod".to_owned(), "x".to_owned())]);
        assert!(properties(other.iter()).unwrap().is_empty());
    }

    /// CVE-2024-3154: with any property of its scope, a container commands the host.
    #[test]
    fn nothing_else_reaches_systemd() {
        for name in [
            "SuccessAction",
            "FailureAction",
            "JobTimeoutAction",
            "ExecStart",
            "ExecStartPre",
            "ExecStopPost",
            "OnFailure",
            "OnSuccess",
            "BindsTo",
            "Wants",
            "Requires",
            "Conflicts",
            "PropagatesStopTo",
            "Delegate",
            "Slice",
            "PIDs",
            "DeviceAllow",
            "DevicePolicy",
            "MemoryMax",
            "User",
            "RootDirectory",
            "BPFProgram",
            "IPIngressFilterPath",
            "OOMPolicy",
            "Controller",
            "",
            "after",
            "After ",
            "TimeoutStopUSec\0",
        ] {
            let error = one(name, "'poweroff-force'").unwrap_err();
            assert!(format!("{error:#}").contains("may not set this property"), "{name}: {error:#}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (name, value) in [
            ("TimeoutStopUSec", "uint64 18446744073709551615"),
            ("TimeoutStopUSec", "-1"),
            ("TimeoutStopUSec", ""),
            ("TimeoutStopSec", "86401"),
            ("TimeoutStopSec", "uint64 9999999999999999999"),
            ("CollectMode", "'never'"),
            ("CollectMode", "inactive"),
            ("DefaultDependencies", "1"),
            ("Description", "'a\nb'"),
            ("Description", "'a' 'b'"),
            ("After", "'a.service'"),
            ("After", "['a b.service']"),
            ("After", "['../a']"),
        ] {
            assert!(one(name, value).is_err(), "{name}={value}");
        }
    }
}
