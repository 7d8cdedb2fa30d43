//! For scripts: the findings as one array. The fields are documented in the command's manual, and
//! none of them goes or changes its meaning.

use anyhow::Context as _;
use sampan_generator::Diagnostic;
use serde_json::json;

/// All findings.
pub(super) fn text(findings: &[Diagnostic]) -> anyhow::Result<String> {
    let array: Vec<_> = findings.iter().map(object).collect();
    Ok(serde_json::to_string_pretty(&array).context("write JSON")? + "\n")
}

fn object(finding: &Diagnostic) -> serde_json::Value {
    json!({
        "rule": finding.rule,
        "severity": finding.severity,
        "file": finding.file.to_string_lossy(),
        "line": finding.line,
        "column": finding.column,
        "length": finding.length,
        "text": finding.text,
        "reason": finding.reason,
        "help": finding.help,
        "fix": finding.fix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_generator::Severity;
    use sampan_generator::diagnostic::rules;

    #[test]
    fn every_field_is_there() {
        let finding = Diagnostic::whole(&rules::UNREADABLE, Severity::Error, "/x".as_ref(), "no");
        let parsed: serde_json::Value = serde_json::from_str(&text(&[finding]).unwrap()).unwrap();
        let fields: Vec<_> = parsed[0].as_object().unwrap().keys().map(String::as_str).collect();
        let documented =
            ["rule", "severity", "file", "line", "column", "length", "text", "reason", "help", "fix"];
        assert_eq!(fields.len(), documented.len());
        assert!(
            documented.iter().all(|field| fields.contains(field) && super::super::MANUAL.contains(field))
        );
        assert_eq!(parsed[0]["severity"], "error");
        assert_eq!(text(&[]).unwrap(), "[]\n");
    }
}
