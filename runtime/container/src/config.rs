//! Reading the specification's documents, `config.json` and the process of `exec`.
//!
//! The types of oci-spec read most of them at once. Only when they refuse a document it is looked at again for what
//! must not be refused: capabilities that nobody knows, which the specification wants left out with a warning, and
//! words that the types spell in another way than the specification.

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Flags of `process.scheduler`, in the words of the specification and of oci-spec's types.
const SCHEDULER_FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Reads a container's configuration. What was left out goes to the log as a warning.
///
/// # Errors
/// JSON's, and values that the specification doesn't know.
pub fn spec(text: &[u8]) -> serde_json::Result<Spec> {
    read(text, |value| value.get_mut("process"))
}

/// Reads a process, as `exec` takes it, in the same way.
///
/// # Errors
/// As [`spec`].
pub fn process(text: &[u8]) -> serde_json::Result<Process> {
    read(text, |value| Some(value))
}

fn read<T: DeserializeOwned>(
    text: &[u8],
    process: impl FnOnce(&mut Value) -> Option<&mut Value>,
) -> serde_json::Result<T> {
    let error = match serde_json::from_slice(text) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else {
        return Err(error);
    };
    let mut left_out = Vec::new();
    if !process(&mut value).is_some_and(|process| repair(process, &mut left_out)) {
        // The first error has the better words: it knows the line.
        return Err(error);
    }
    let read = serde_json::from_value(value)?;
    if !left_out.is_empty() {
        // runc's words.
        log::warn!("ignoring unknown or unavailable capabilities: [{}]", left_out.join(" "));
    }
    Ok(read)
}

/// Returns whether anything has changed.
fn repair(process: &mut Value, left_out: &mut Vec<String>) -> bool {
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut) {
        set.retain(|name| {
            let known = serde_json::from_value::<oci_spec::runtime::Capability>(name.clone()).is_ok();
            if let Some(name) = name.as_str().filter(|_| !known)
                && !left_out.iter().any(|other| other == name)
            {
                left_out.push(name.to_owned());
            }
            known || !name.is_string()
        });
    }
    let mut changed = !left_out.is_empty();
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        if let Some((_, ours)) = SCHEDULER_FLAGS.iter().find(|(theirs, _)| flag == theirs) {
            *flag = (*ours).into();
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rest: &str) -> serde_json::Result<Process> {
        let text = format!(r#"{{"user": {{"uid": 0, "gid": 0}}, "cwd": "/", "args": ["a"]{rest}}}"#);
        process(text.as_bytes())
    }

    #[test]
    fn unknown_capabilities_are_left_out() {
        let sets =
            r#", "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NONSENSE"], "effective": ["CAP_NONSENSE"]}"#;
        let capabilities = with(sets).unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().as_ref().map(|set| set.len()), Some(1));
        assert_eq!(capabilities.effective().as_ref().map(|set| set.len()), Some(0));
        assert!(with(r#", "capabilities": {"bounding": [7]}"#).is_err());
    }

    #[test]
    fn flags_of_the_scheduler_are_the_specifications() {
        let names = "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX";
        let flags: Vec<_> = names.split(' ').map(|name| format!("\"SCHED_FLAG_{name}\"")).collect();
        let text = format!(r#", "scheduler": {{"policy": "SCHED_OTHER", "flags": [{}]}}"#, flags.join(","));
        let read = with(&text).unwrap();
        let flags_read = read.scheduler().as_ref().unwrap().flags().as_ref().unwrap();
        assert_eq!(flags_read.len(), flags.len());
        // It must be readable again from what is kept of it.
        let kept = serde_json::to_vec(&read).unwrap();
        assert_eq!(process(&kept).unwrap(), read);
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        let error = spec(b"{\"ociVersion\": \"1.2.1\",\n\"linux\": 7}").unwrap_err();
        assert_eq!(error.line(), 2);
    }
}
