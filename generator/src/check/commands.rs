//! Commands and paths: of the container in its own section, of the host in `[Service]`.

use super::Findings;
use super::scene::{Value, View, is_dynamic};
use crate::diagnostic::{Severity, rules};

/// Operators of a shell.
const OPERATORS: [&str; 9] = ["&&", "||", "|", ">", ">>", "<", "2>&1", "2>", "&"];
/// The commands of systemd.service(5).
const EXEC: [&str; 6] =
    ["ExecCondition", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"];

/// Commands that no shell reads, and programs that systemd can't find.
pub(super) fn commands(view: &View<'_, '_>, findings: &mut Findings) {
    for key in ["Exec", "ReloadCmd"] {
        shell(key, &view.values(key), findings);
    }
    for key in EXEC {
        for words in view.lines("Service", key) {
            program(key, &words, findings);
            shell(key, &words, findings);
        }
    }
}

fn shell(key: &str, words: &[Value<'_>], findings: &mut Findings) {
    let Some(operator) = words.iter().find(|word| OPERATORS.contains(&word.text.as_str())) else { return };
    let has_shell = words.iter().any(|word| word.text.ends_with("sh") || word.text == "-c");
    if has_shell || operator.place.text() != operator.text {
        return;
    }
    let reason = format!("no shell reads this command: \"{}\" is passed on as an argument", operator.text);
    let diagnostic = operator.place.diagnose(&rules::NO_SHELL, Severity::Warning, reason);
    let help = format!("write {key}=/bin/sh -c \"…\", or quote it if the program wants it so");
    findings.push(diagnostic.help(help));
}

/// systemd takes an absolute path, or a name that it looks up itself.
fn program(key: &str, words: &[Value<'_>], findings: &mut Findings) {
    let Some(first) = words.first() else { return };
    let program = first.text.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    if program.starts_with('/') || !program.contains('/') || is_dynamic(program) {
        return;
    }
    let reason = format!(
        "\"{program}\" is neither an absolute path nor a program's name, so systemd refuses the unit"
    );
    let diagnostic = first.place.within(program).diagnose(&rules::BAD_PATH, Severity::Error, reason);
    findings.push(diagnostic.help(format!("write {key}= with the whole path of the program")));
}

/// Paths that must be absolute.
pub(super) fn paths(view: &View<'_, '_>, findings: &mut Findings) {
    for value in
        view.words("Service", "EnvironmentFile").iter().chain(&view.words("Service", "WorkingDirectory"))
    {
        let path = value.text.trim_start_matches('-');
        if !path.starts_with('/') && path != "~" && !value.is_dynamic() {
            let reason = format!("\"{path}\" is no absolute path, systemd ignores it");
            let diagnostic = value.place.within(path).diagnose(&rules::BAD_PATH, Severity::Warning, reason);
            findings.push(diagnostic.help("write the whole path, or start it with a specifier such as %h"));
        }
    }
    for value in view.text("WorkingDir").iter().filter(|value| !value.is_dynamic()) {
        if !value.text.starts_with('/') {
            let reason = format!("\"{}\" is no absolute path in the container", value.text);
            let diagnostic = value.place.diagnose(&rules::BAD_PATH, Severity::Error, reason);
            findings.push(diagnostic.help("write the path with a \"/\" at its start"));
        }
    }
}
