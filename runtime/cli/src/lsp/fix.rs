//! Quick fixes: a diagnostic that knows what would mend it carries that in its `data`, and the client
//! gives it back when it asks what can be done.

use std::collections::HashMap;

use gen_lsp_types::{
    CodeAction, CodeActionKind, CodeActionParams, Diagnostic, Range, TextEdit, WorkspaceEdit,
};
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
    let diagnostics = params.context.diagnostics.iter().filter(|_| wanted);
    diagnostics.filter_map(|diagnostic| action(params, diagnostic)).collect()
}

fn action(params: &CodeActionParams, diagnostic: &Diagnostic) -> Option<CodeAction> {
    let fix: Fix = serde_json::from_value(diagnostic.data.clone()?).ok()?;
    let title = if fix.new_text.is_empty() {
        "Remove".to_owned()
    } else {
        format!("Write \"{}\"", fix.new_text.trim())
    };
    let edit = TextEdit { range: fix.range, new_text: fix.new_text };
    Some(CodeAction {
        title,
        kind: Some(CodeActionKind::QuickFix),
        diagnostics: Some(vec![diagnostic.clone()]),
        is_preferred: Some(true),
        edit: Some(WorkspaceEdit {
            changes: Some(HashMap::from([(params.text_document.uri.clone(), vec![edit])])),
            ..WorkspaceEdit::default()
        }),
        ..CodeAction::default()
    })
}
