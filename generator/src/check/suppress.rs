//! Comments that silence a rule: `# sampan: ignore=RULE[,RULE]`, directly above a line, or before the
//! first section for the whole file.

use crate::diagnostic::{Diagnostic, Severity, Source, rules, suggest};
use std::collections::HashMap;
use std::path::Path;

const MARK: &str = "sampan: ignore=";

/// A comment of this kind in a file.
#[derive(Debug)]
struct Suppression {
    rule: String,
    /// The lines that it is for, from 1; `None` for the whole file.
    lines: Option<std::ops::RangeInclusive<usize>>,
    /// Where the rule's name stands, in bytes.
    at: usize,
    used: bool,
}

/// Takes out what is silenced, and adds what is wrong with the comments themselves.
pub(super) fn apply(diagnostics: &mut Vec<Diagnostic>, sources: &[&Source], host: bool) {
    let mut files: HashMap<&Path, (Vec<Suppression>, &Source)> = HashMap::new();
    for source in sources.iter().filter(|source| source.text.contains(MARK)) {
        files.insert(&source.path, (read(&source.text), source));
    }
    diagnostics.retain(|diagnostic| {
        let Some((suppressions, _)) = files.get_mut(diagnostic.file.as_path()) else { return true };
        let mut matching = suppressions.iter_mut().filter(|suppression| {
            let covers = suppression.lines.as_ref().is_none_or(|lines| lines.contains(&diagnostic.line));
            suppression.rule == diagnostic.rule && covers
        });
        match matching.next() {
            Some(suppression) => {
                suppression.used = true;
                false
            }
            None => true,
        }
    });
    for (suppressions, source) in files.values() {
        diagnostics.extend(
            suppressions.iter().filter(|one| !one.used).filter_map(|one| complain(one, source, host)),
        );
    }
}

fn complain(suppression: &Suppression, source: &Source, host: bool) -> Option<Diagnostic> {
    let name = &suppression.rule;
    let span = suppression.at..suppression.at + name.len();
    let warn = |rule, reason| Diagnostic::at(rule, Severity::Warning, source, span.clone(), reason);
    match rules::find(name) {
        None => {
            let diagnostic = warn(&rules::BAD_SUPPRESSION, format!("there is no rule \"{name}\""));
            Some(match suggest(name, rules::ALL.iter().map(|rule| rule.id)) {
                Some(meant) => diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant),
                None => diagnostic.help("\"sampan check --list-rules\" lists them"),
            })
        }
        // Without the host those rules have not been tried.
        Some(rule) if rule.needs_host() && !host => None,
        Some(_) => {
            let place = if suppression.lines.is_some() { "the line below" } else { "this file" };
            let diagnostic = warn(&rules::UNUSED_SUPPRESSION, format!("{name} is not broken in {place}"));
            Some(diagnostic.help("remove the comment"))
        }
    }
}

/// The comments of a file.
fn read(text: &str) -> Vec<Suppression> {
    let mut found = Vec::new();
    let mut waiting = 0;
    let mut in_head = true;
    let mut at = 0;
    let mut logical = None;
    for (number, line) in text.split_inclusive('\n').enumerate().map(|(at, line)| (at + 1, line)) {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            if let Some(list) = trimmed.trim_start_matches(['#', ';', ' ']).strip_prefix(MARK) {
                let offset = at + line.find(MARK).unwrap_or(0) + MARK.len();
                found.extend(names(list, offset, in_head));
            }
        } else if !trimmed.is_empty() {
            in_head = false;
            // A value that goes on over several lines is one line.
            let first = *logical.get_or_insert(number);
            for suppression in &mut found[waiting..] {
                suppression.lines = suppression.lines.take().map(|_| first..=number);
            }
            if !trimmed.ends_with('\\') {
                waiting = found.len();
                logical = None;
            }
        }
        at += line.len();
    }
    found
}

fn names(list: &str, offset: usize, whole_file: bool) -> Vec<Suppression> {
    let mut at = offset;
    let mut found = Vec::new();
    let list = list.split_whitespace().next().unwrap_or_default();
    for name in list.split(',') {
        if !name.is_empty() {
            let lines = (!whole_file).then_some(0..=0);
            found.push(Suppression { rule: name.to_owned(), lines, at, used: false });
        }
        at += name.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_for_the_next_line_or_for_the_file() {
        let text = "# sampan: ignore=a\n\n[Container]\n#sampan: ignore=b,c because\nExec=x \\\n # sampan: ignore=d\n y\nImage=z\n";
        let found = read(text);
        let lines: Vec<_> = found.iter().map(|one| (one.rule.as_str(), one.lines.clone())).collect();
        assert_eq!(lines, [("a", None), ("b", Some(5..=7)), ("c", Some(5..=7)), ("d", Some(5..=7))]);
        assert_eq!(&text[found[2].at..found[2].at + 1], "c");
    }
}
