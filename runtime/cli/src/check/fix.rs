//! `--fix`: puts the fixes of findings into their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use sampan_generator::Diagnostic;

use crate::replacement::replace;

/// Mends every file that may be changed, and tells how many findings that were.
///
/// # Errors
/// A file that can't be read or replaced.
pub(super) fn apply(findings: &[Diagnostic], may: impl Fn(&Path) -> bool) -> anyhow::Result<usize> {
    let mut count = 0;
    for (path, mut findings) in by_file(findings).into_iter().filter(|(path, _)| may(path)) {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        // From the end to the start, so that earlier places stay where they are.
        findings.sort_by_key(|finding| std::cmp::Reverse((finding.line, finding.column)));
        let (mended, some) = mend(&text, &findings);
        if some > 0 {
            replace(path, &mended)?;
            count += some;
        }
    }
    Ok(count)
}

/// The files that have a fix, with their fixes.
pub(super) fn by_file(findings: &[Diagnostic]) -> BTreeMap<&Path, Vec<&Diagnostic>> {
    let mut files: BTreeMap<&Path, Vec<&Diagnostic>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.fix.is_some() && finding.line > 0) {
        files.entry(&finding.file).or_default().push(finding);
    }
    files
}

/// The text with the fixes, and how many there were. One that overlaps another waits for the next
/// run, one whose line has changed meanwhile is left out.
fn mend(text: &str, findings: &[&Diagnostic]) -> (String, usize) {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut count = 0;
    let mut behind = (usize::MAX, usize::MAX);
    for finding in findings {
        let Some(line) = lines.get_mut(finding.line - 1) else { continue };
        let Some(fix) = &finding.fix else { continue };
        let end = finding.column + finding.length;
        if (finding.line, end) > behind {
            continue;
        }
        let skipped = if line.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let byte = |column: usize| {
            let body = &line[skipped..];
            skipped + body.char_indices().nth(column - 1).map_or(body.len(), |(at, _)| at)
        };
        let span = byte(finding.column)..byte(end);
        let marked: String = finding.text.chars().skip(finding.column - 1).take(finding.length).collect();
        if line[span.clone()] == marked {
            line.replace_range(span, fix);
            behind = (finding.line, finding.column);
            count += 1;
        }
    }
    (lines.concat(), count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use sampan_generator::Severity;
    use sampan_generator::diagnostic::{Source, rules};

    #[test]
    fn fixes_go_into_the_file_and_its_mode_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.container");
        let text = "\u{feff}[Contaner]\r\nImgae=ä # Imgae\r\nVolumn=x\r\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let source = Source::new(&path, text.into());
        let finding = |word: &str, fix: &str| {
            let at = text.find(word).unwrap();
            Diagnostic::at(&rules::UNKNOWN_KEY, Severity::Warning, &source, at..at + word.len(), "x").fix(fix)
        };
        let mut stale = finding("Volumn", "Volume");
        stale.text = "Nolumn=x".to_owned();
        let findings = [finding("[Contaner]", "[Container]"), finding("Imgae", "Image"), stale];
        assert_eq!(apply(&findings, |_| true).unwrap(), 2);
        let mended = fs::read_to_string(&path).unwrap();
        assert_eq!(mended, "\u{feff}[Container]\r\nImage=ä # Imgae\r\nVolumn=x\r\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
