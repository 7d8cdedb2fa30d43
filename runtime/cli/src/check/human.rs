//! For people.

use std::fmt::Write as _;

use sampan_generator::diagnostic::Rule;
use sampan_generator::{Diagnostic, Severity};

/// Every finding with its line, and a last line that sums up.
pub(super) fn text(findings: &[Diagnostic], files: usize, colours: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}\n", finding.render_with_rule(colours));
    }
    text + &summary(findings, files)
}

/// `3 errors, 1 warning in 14 files`.
fn summary(findings: &[Diagnostic], files: usize) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let kinds =
        [Severity::Error, Severity::Warning, Severity::Note].map(|severity| (count(severity), severity));
    let told: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| plural(*count, &what.to_string()))
        .collect();
    let files = plural(files, "file");
    if told.is_empty() {
        format!("{files}, nothing wrong\n")
    } else {
        format!("{} in {files}\n", told.join(", "))
    }
}

fn plural(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// All that is known of a rule.
pub(super) fn explanation(rule: &Rule) -> String {
    let mut text = format!("{} ({})\n{}.\n\n{}\n", rule.id, rule.severity, rule.title, rule.explanation);
    if rule.needs_host() {
        text += "\nIt is tried with --host only.\n";
    }
    if !rule.codes.is_empty() {
        let _ = write!(text, "\nIn other linters: {}\n", rule.codes.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_generator::diagnostic::rules;

    #[test]
    fn the_summary_counts() {
        let finding = |severity| Diagnostic::whole(&rules::UNREADABLE, severity, "/x".as_ref(), "no");
        assert_eq!(summary(&[], 14), "14 files, nothing wrong\n");
        let findings = [finding(Severity::Error), finding(Severity::Error), finding(Severity::Warning)];
        assert_eq!(summary(&findings, 1), "2 errors, 1 warning in 1 file\n");
    }

    #[test]
    fn a_rule_is_explained_with_the_codes_of_others() {
        let text = explanation(&rules::BAD_PORT);
        assert!(text.starts_with("bad-port (error)\n") && text.contains("QSR010"), "{text}");
    }
}
