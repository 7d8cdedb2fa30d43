//! Quick fixes: a diagnostic that knows what would mend it carries that in its `data`, and the client
//! gives it back when it asks what can be done. A warning can also be silenced by a comment.

use std::collections::HashMap;

use gen_lsp_types::{
    Code, CodeAction, CodeActionKind, CodeActionParams, Diagnostic, DiagnosticSeverity, Position, Range,
    TextEdit, WorkspaceEdit,
};
use sampan_generator::diagnostic::rules;
use serde::{Deserialize, Serialize};

/// The text that mends what a diagnostic is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fix {
    /// What is replaced.
    pub(crate) range: Range,
    /// What it is replaced with.
    pub(crate) new_text: String,
}

/// The quick fixes of the diagnostics that the client asks about.
pub(crate) fn actions(params: &CodeActionParams) -> Vec<CodeAction> {
    let wanted = params.context.only.as_ref().is_none_or(|only| {
        only.iter().any(|kind| matches!(kind, CodeActionKind::QuickFix | CodeActionKind::Empty))
    });
    let diagnostics = || params.context.diagnostics.iter().filter(|_| wanted);
    let mending = diagnostics().filter_map(|diagnostic| mend(params, diagnostic));
    let silencing = diagnostics().filter_map(|diagnostic| silence(params, diagnostic));
    mending.chain(silencing).collect()
}

/// Puts the text in place that mends what the diagnostic is about.
fn mend(params: &CodeActionParams, diagnostic: &Diagnostic) -> Option<CodeAction> {
    let fix: Fix = serde_json::from_value(diagnostic.data.clone()?).ok()?;
    let title = match fix.new_text.trim() {
        "" => "Remove".to_owned(),
        text => format!("Write \"{text}\""),
    };
    Some(CodeAction { is_preferred: Some(true), ..action(params, diagnostic, title, fix) })
}

/// Puts a comment above the line that silences the rule there. An error can be silenced, but the unit
/// would fail nevertheless, so it isn't proposed.
fn silence(params: &CodeActionParams, diagnostic: &Diagnostic) -> Option<CodeAction> {
    let Some(Code::String(rule)) = &diagnostic.code else { return None };
    if diagnostic.severity == Some(DiagnosticSeverity::Error) || rules::find(rule).is_none() {
        return None;
    }
    let above = Position { line: diagnostic.range.start.line, character: 0 };
    let new_text = format!("# sampan: ignore={rule}\n");
    let fix = Fix { range: Range { start: above, end: above }, new_text };
    Some(action(params, diagnostic, format!("Ignore {rule} here"), fix))
}

fn action(params: &CodeActionParams, diagnostic: &Diagnostic, title: String, fix: Fix) -> CodeAction {
    let edit = TextEdit { range: fix.range, new_text: fix.new_text };
    CodeAction {
        title,
        kind: Some(CodeActionKind::QuickFix),
        diagnostics: Some(vec![diagnostic.clone()]),
        edit: Some(WorkspaceEdit {
            changes: Some(HashMap::from([(params.text_document.uri.clone(), vec![edit])])),
            ..WorkspaceEdit::default()
        }),
        ..CodeAction::default()
    }
}
