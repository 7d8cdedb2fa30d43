//! For people: a paragraph for each finding, the worst first.

use std::fmt::Write as _;

use super::{Finding, Severity};

/// All findings, and a last line that sums up.
pub(super) fn human(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for Finding { rule, severity, subject, reason, help } in sorted {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}: {subject}: {reason} [{rule}]", word(*severity));
        for line in help.iter().flat_map(|help| help.lines()) {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    text + &summary(findings)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn summary(findings: &[Finding]) -> String {
    let told: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .filter_map(|severity| {
            let count = findings.iter().filter(|finding| finding.severity == severity).count();
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{plural}", word(severity)))
        })
        .collect();
    if told.is_empty() {
        return "Nothing stands in the way of containers.\n".to_owned();
    }
    format!("{}.\n", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_the_sum_last() {
        let finding = |severity, subject| Finding::new("a-rule", severity, subject, "is so", "Do this.");
        let text = human(&[finding(Severity::Note, "x"), finding(Severity::Error, "y")]);
        assert_eq!(
            text,
            "error: y: is so [a-rule]\n  Do this.\n\nnote: x: is so [a-rule]\n  Do this.\n\n1 error, 1 note.\n"
        );
        assert!(human(&[]).starts_with("Nothing"));
    }
}
