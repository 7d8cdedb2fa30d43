//! The key table as a JSON schema (draft 2020-12), for editors and other programs.
//!
//! A Quadlet file is no JSON: the schema describes what a parser makes of it, an object of sections, each
//! an object of keys, each a string or, where a key that repeats is given several times, an array of
//! strings. Values with a specifier (`%i`) or a variable (`${PORT}`) are only known when the service
//! starts and are never refused.

use super::{Emit, Key, Kind, Shape, UnitType, quadlet};
use serde_json::{Map, Value, json};

/// Sections whose keys are systemd's.
const OF_SYSTEMD: [&str; 3] = ["Unit", "Service", "Install"];

/// The schema of one kind of file or, without a kind, of all.
pub fn schema(kind: Option<UnitType>) -> Value {
    let kinds: Vec<UnitType> =
        UnitType::ALL.into_iter().filter(|one| kind.is_none_or(|kind| kind == *one)).collect();
    let mut definitions: Map<String, Value> = Map::new();
    for kind in &kinds {
        definitions.insert(kind.extension().to_owned(), file(*kind));
        definitions.insert(kind.section().to_owned(), section(kind.keys()));
    }
    definitions.insert("Quadlet".to_owned(), section(quadlet::KEYS));
    definitions.insert("systemd".to_owned(), json!({
        "description": "A section that systemd reads, see systemd.unit(5) and systemd.service(5).",
        "type": "object",
        "additionalProperties": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] },
    }));
    let any: Vec<_> =
        kinds.iter().map(|kind| json!({ "$ref": format!("#/$defs/{}", kind.extension()) })).collect();
    let title = match kind {
        Some(kind) => format!(".{} file", kind.extension()),
        None => "Quadlet file".to_owned(),
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": "A Quadlet file as a parser sees it: {section: {key: value}}, where the value is a string or, \
                        for a key that is given several times, an array of strings.",
        "anyOf": any,
        "$defs": definitions,
    })
}

/// A file of one kind.
fn file(kind: UnitType) -> Value {
    let mut sections = Map::new();
    sections.insert(kind.section().to_owned(), reference(kind.section()));
    sections.insert("Quadlet".to_owned(), reference("Quadlet"));
    for name in OF_SYSTEMD {
        sections.insert(name.to_owned(), reference("systemd"));
    }
    // The others have no key that must be there, so an empty file will do.
    let required = match kind {
        UnitType::Network | UnitType::Volume | UnitType::Pod => Vec::new(),
        _ => vec![kind.section()],
    };
    json!({
        "title": format!(".{} file", kind.extension()),
        "type": "object",
        "properties": sections,
        "patternProperties": { "^X-": reference("systemd") },
        "required": required,
        "additionalProperties": false,
    })
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}") })
}

/// A section with the keys of the table.
fn section(keys: &[&Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// One key: what a value looks like, and what there is to know of it.
fn property(key: &Key) -> Value {
    let mut schema = value(key);
    if key.kind.repeats() {
        schema = json!({ "anyOf": [schema, { "type": "array", "items": schema }] });
    }
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), key.doc.into());
        members.insert("x-kind".to_owned(), json!(key.kind));
        members.insert("x-since".to_owned(), key.since.to_string().into());
        members.insert("x-equivalent".to_owned(), key.equivalent().into());
        if key.is_deprecated() {
            members.insert("deprecated".to_owned(), true.into());
        }
    }
    schema
}

/// One value. An empty one unsets a string and forgets the values of a list.
fn value(key: &Key) -> Value {
    let pattern = match (key.kind, key.shape) {
        (Kind::Boolean, _) => return json!({ "type": "string", "pattern": BOOLEAN }),
        (Kind::Number, _) => Some(r"^\s*\+?(0[xX])?[0-9A-Fa-f]+$"),
        (_, Shape::OneOf(words)) => {
            return json!({ "type": "string", "anyOf": [{ "enum": words }, { "pattern": UNKNOWN }, { "const": "" }] });
        }
        (Kind::Text | Kind::TextOrEmpty | Kind::Lines, shape) => pattern(shape),
        // A value of these holds several words.
        (Kind::Words | Kind::Arguments | Kind::Command | Kind::Pairs, _) => None,
    };
    match pattern {
        Some(pattern) if matches!(key.emit, Emit::Service(_)) => {
            json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "const": "" }] })
        }
        Some(pattern) => {
            json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": UNKNOWN }, { "const": "" }] })
        }
        None => json!({ "type": "string" }),
    }
}

/// A value that holds something that only systemd resolves.
const UNKNOWN: &str = "[%$]";
/// What counts as a boolean, in any case; other words count as no, with a warning.
const BOOLEAN: &str =
    "^([Yy]([Ee][Ss])?|[Tt]([Rr][Uu][Ee])?|[Oo][Nn]|1|[Nn][Oo]?|[Ff]([Aa][Ll][Ss][Ee])?|[Oo][Ff][Ff]|0)$";

/// What a value of a form looks like to a regular expression; the generator looks closer.
fn pattern(shape: Shape) -> Option<&'static str> {
    match shape {
        Shape::Any | Shape::OneOf(_) => None,
        Shape::Integer => Some("^[+-]?[0-9]+$"),
        Shape::Size => Some(r"^(-1|[0-9]+(\.[0-9]+)?\s*[A-Za-z]{0,3})$"),
        Shape::Duration => Some("^(disable|[+-]?([0-9.]+(ns|us|µs|ms|s|m|h)?)+)$"),
        Shape::TimeSpan => Some(r"^(infinity|[0-9.]+\s*[A-Za-zµμ]*(\s*[0-9.]+\s*[A-Za-zµμ]*)*)$"),
        Shape::Signal => Some("^[A-Za-z0-9+-]+$"),
        Shape::PublishedPort => {
            Some(r"^((\[[0-9A-Fa-f:.]+\]|[0-9.]*):)?([0-9]*(-[0-9]+)?:)?[0-9]+(-[0-9]+)?(/[A-Za-z]+)?$")
        }
        Shape::Port => Some("^[0-9]+(-[0-9]+)?(/[A-Za-z]+)?$"),
        Shape::Ipv4 => Some(r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"),
        Shape::Ipv6 => Some("^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$"),
        Shape::Address => Some("^(none|[0-9A-Fa-f:.]+)$"),
        Shape::Subnet => Some("^[0-9A-Fa-f:.]+/[0-9]+$"),
        Shape::Processors => Some("^[0-9.]+$"),
        Shape::CpuSet => Some("^[0-9, -]+$"),
        Shape::Weight => Some("^0*([1-9][0-9]{0,3}|10000)$"),
        Shape::Limit => Some(r"^(infinity|-1|[0-9.]+\s*[A-Za-z%]{0,3})$"),
        Shape::DeviceWeight | Shape::DeviceRate => Some(r"^\S+\s+\S+$"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn every_key_has_its_place() {
        let schema = schema(None);
        for key in keys::keys() {
            let property = &schema["$defs"][key.section]["properties"][key.name];
            assert_eq!(property["description"], key.doc, "{}", key.name);
            assert_eq!(property["x-since"], key.since.to_string());
            assert_eq!(property["anyOf"][1]["type"] == "array", key.kind.repeats(), "{}", key.name);
        }
        let policy = &schema["$defs"]["Container"]["properties"]["Pull"]["anyOf"][0]["enum"];
        assert_eq!(policy[0], "always");
        assert_eq!(schema["$defs"]["Container"]["properties"]["RemapUsers"]["deprecated"], true);
        assert_eq!(schema["$defs"]["Container"]["properties"]["Image"].get("deprecated"), None);
    }

    #[test]
    fn every_reference_has_a_definition() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        for kind in UnitType::ALL.into_iter().map(Some).chain([None]) {
            let schema = schema(kind);
            let mut found = Vec::new();
            references(&schema, &mut found);
            for reference in &found {
                assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            assert_eq!(schema["anyOf"].as_array().map(Vec::len), Some(kind.map_or(8, |_| 1)));
        }
    }
}
