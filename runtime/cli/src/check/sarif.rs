//! For code review: the Static Analysis Results Interchange Format, version 2.1.0 (OASIS). Columns
//! are counted in Unicode code points, as the log itself says.

use anyhow::Context as _;
use sampan_generator::diagnostic::{Rule, rules};
use sampan_generator::{Diagnostic, Severity};
use serde_json::{Value, json};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// All findings as a log with one run.
pub(super) fn text(findings: &[Diagnostic]) -> anyhow::Result<String> {
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sampan",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules::ALL.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    Ok(serde_json::to_string_pretty(&log).context("write SARIF")? + "\n")
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": rule.explanation },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "tags": rule.codes },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn result(finding: &Diagnostic) -> Value {
    let artifact = json!({ "uri": uri(&finding.file.to_string_lossy()) });
    let mut location = json!({ "artifactLocation": artifact });
    let region = json!({
        "startLine": finding.line,
        "startColumn": finding.column,
        "endColumn": finding.column + finding.length,
    });
    if finding.line > 0 {
        location["region"] = region.clone();
        location["region"]["snippet"] = json!({ "text": finding.text });
    }
    let help = finding.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": rules::ALL.iter().position(|rule| rule.id == finding.rule),
        "level": level(finding.severity),
        "message": { "text": format!("{}{help}", finding.reason) },
        "locations": [{ "physicalLocation": location }],
    });
    if let Some(fix) = finding.fix.as_ref().filter(|_| finding.line > 0) {
        let replacement = json!({ "deletedRegion": region, "insertedContent": { "text": fix } });
        result["fixes"] = json!([{
            "description": { "text": finding.help.as_deref().unwrap_or(&finding.reason) },
            "artifactChanges": [{ "artifactLocation": artifact, "replacements": [replacement] }],
        }]);
    }
    result
}

/// A file's name as a URI, RFC 8089.
fn uri(path: &str) -> String {
    let mut uri = String::from("file://");
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(byte.into())
            }
            other => uri += &format!("%{other:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_generator::diagnostic::Source;

    /// What the schema demands of each object that is written.
    #[test]
    fn the_log_has_what_the_schema_requires() {
        let source = Source::new("/etc/a b@.container", "[Container]\nImgae=x\n".into());
        let finding = Diagnostic::at(&rules::UNKNOWN_KEY, Severity::Warning, &source, 12..17, "unknown key");
        let whole = Diagnostic::whole(&rules::SHADOWED_FILE, Severity::Note, "/x".as_ref(), "no effect");
        let text = text(&[finding.help("did you mean \"Image\"?").fix("Image"), whole]).unwrap();
        let log: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let descriptors = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(run["tool"]["driver"]["name"].is_string());
        for result in run["results"].as_array().unwrap() {
            assert!(result["message"]["text"].is_string());
            assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(descriptors[index]["id"], result["ruleId"]);
            assert!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].is_string());
        }
        let first = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(first["artifactLocation"]["uri"], "file:///etc/a%20b%40.container");
        let region = &first["region"];
        assert_eq!((region["startLine"].as_u64(), region["startColumn"].as_u64()), (Some(2), Some(1)));
        assert_eq!(region["endColumn"], 6);
        let change = &run["results"][0]["fixes"][0]["artifactChanges"][0];
        assert!(change["artifactLocation"].is_object());
        assert_eq!(change["replacements"][0]["insertedContent"]["text"], "Image");
        assert!(change["replacements"][0]["deletedRegion"]["startLine"].as_u64().unwrap() > 0);
        assert!(run["results"][1]["locations"][0]["physicalLocation"]["region"].is_null());
    }
}
