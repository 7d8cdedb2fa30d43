//! What is wrong with one file, while it is being looked at: each finding once, and no more of them
//! than anybody reads.
//!
//! A file with a hundred thousand mistakes must neither hold the boot nor fill the kernel's log.

use super::{Diagnostic, Severity, rules};
use std::path::Path;

/// How many errors are kept, and how many warnings.
const MOST: usize = 100;

/// The findings of one file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Diagnostic>,
    errors: usize,
    left_out: usize,
}

impl Findings {
    /// Adds a finding unless it is there already; one too many is only counted.
    pub(crate) fn push(&mut self, finding: Diagnostic) {
        let is_error = finding.severity == Severity::Error;
        if self.is_full(finding.severity) {
            self.leave_out();
        } else if !self.kept.contains(&finding) {
            self.errors += usize::from(is_error);
            self.kept.push(finding);
        }
    }

    /// Whether no further finding of this severity is kept, so that it need not even be made.
    pub(crate) fn is_full(&self, severity: Severity) -> bool {
        let alike = if severity == Severity::Error { self.errors } else { self.kept.len() - self.errors };
        alike == MOST
    }

    /// Counts a finding that nobody will see.
    pub(crate) fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// Whether an error is among them.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All of them in the order of the file's lines; at the end stands how many were left out.
    pub(crate) fn into_sorted(mut self, file: &Path) -> Vec<Diagnostic> {
        self.kept.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        if self.left_out > 0 {
            let reason = format!("{} more mistakes are left out here", self.left_out);
            let more = Diagnostic::whole(&rules::TOO_MANY, Severity::Warning, file, reason);
            self.kept.push(more.help("mend those above first"));
        }
        self.kept
    }
}

impl Extend<Diagnostic> for Findings {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_kept_behind_any_number_of_warnings() {
        let mut findings = Findings::default();
        let finding = |severity, n: usize| {
            Diagnostic::whole(&rules::UNKNOWN_KEY, severity, Path::new("/u/f"), format!("mistake {n}"))
        };
        findings.extend((0..MOST + 7).map(|n| finding(Severity::Warning, n)));
        assert!(!findings.has_errors());
        findings.push(finding(Severity::Error, 0));
        findings.push(finding(Severity::Error, 0));
        assert!(findings.has_errors());
        let all = findings.into_sorted(Path::new("/u/f"));
        assert_eq!(all.len(), MOST + 2);
        assert!(all.last().unwrap().reason.starts_with("7 more"));
    }
}
