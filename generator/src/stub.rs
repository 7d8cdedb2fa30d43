//! The service that stands in for a file with a mistake.
//!
//! It has the name, the description and the `[Install]` links that the real one would have, and
//! fails at start with the diagnostic in its journal, so that `systemctl status` shows it. Nothing
//! of ours needs to run for that: the text is the service's standard input (`StandardInputText=`,
//! systemd.exec(5)), printed by cat(1).

use crate::diagnostic::{Diagnostic, Severity};
use crate::service::Service;
use crate::unit::UnitFile;

/// sysexits.h: something was found in an unconfigured or misconfigured state.
const EX_CONFIG: u8 = 78;

/// A service of this name that fails and says what is wrong with the unit.
pub(crate) fn service(unit: &UnitFile<'_>, name: &str, findings: &[Diagnostic]) -> Service {
    let mut service = Service::new(name);
    let description = unit.text("Unit", "Description").unwrap_or(unit.name);
    service.add("Unit", "Description", description);
    service.add("Unit", "SourcePath", crate::syntax::words::literal(&unit.path.to_string_lossy()));
    service.add("Service", "Type", "oneshot");
    service.add("Service", "SyslogIdentifier", "sampan-generator");
    service.add("Service", "SyslogLevel", "err");
    service.add("Service", "StandardInput", "data");
    for line in text(findings) {
        service.add("Service", "StandardInputText", input_text(&line));
    }
    service.add("Service", "ExecStart", format!("/bin/sh -c \"cat; exit {EX_CONFIG}\""));
    for entry in unit.section("Install").map_or(&[][..], |section| &section.entries) {
        service.add("Install", &entry.key, &*entry.value);
    }
    service
}

/// What the service prints. `systemctl status` shows the last ten lines, of which systemd's own take
/// three: so the first error comes last and in full, the rest above it in one line each.
fn text(findings: &[Diagnostic]) -> Vec<String> {
    let first = findings.iter().position(|finding| finding.severity == Severity::Error);
    let rest = findings.iter().enumerate().filter(|(at, _)| Some(*at) != first);
    let mut lines: Vec<_> = rest.map(|(_, finding)| finding.one_line()).collect();
    lines.extend(first.iter().flat_map(|at| findings[*at].lines()));
    lines
}

/// A line as a value of `StandardInputText=`, which resolves C escapes and specifiers and takes
/// blanks at the start off.
fn input_text(line: &str) -> String {
    let escaped = line.replace('\\', "\\\\").replace('%', "%%").replace('\t', "\\t");
    match escaped.strip_prefix(' ') {
        Some(rest) => format!("\\x20{rest}"),
        None => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_systemd() {
        assert_eq!(input_text("  | 100% \\d\t$x"), "\\x20 | 100%% \\\\d\\t$x");
    }
}
