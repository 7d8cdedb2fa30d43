//! What the client can do, and what it is told that this server can.

use gen_lsp_types::{
    ChangeNotifications, ClientCapabilities, CodeActionKind, CodeActionOptions, CompletionOptions,
    InitializeParams, Save, ServerCapabilities, TextDocumentSyncKind, TextDocumentSyncOptions,
    WorkspaceFolders, WorkspaceFoldersServerCapabilities, WorkspaceOptions,
};
use std::path::PathBuf;

use super::describe::Style;
use super::position::Encoding;
use super::uri;

/// What of a client's abilities matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// How characters are counted.
    pub(crate) encoding: Encoding,
    /// Whether proposals may be snippets.
    pub(crate) snippets: bool,
    /// How the documentation of proposals is written.
    pub(crate) proposals: Style,
    /// How hovering texts are written.
    pub(crate) hovers: Style,
    /// Whether an outline may be nested.
    pub(crate) nested_symbols: bool,
    /// Whether it watches files when it is asked to.
    pub(crate) watches: bool,
}

impl Client {
    /// What a client says of itself.
    pub(crate) fn of(capabilities: &ClientCapabilities) -> Self {
        let document = capabilities.text_document.as_ref();
        let proposals = document
            .and_then(|document| document.completion.as_ref())
            .and_then(|completion| completion.completion_item.as_ref());
        let hovers = document
            .and_then(|document| document.hover.as_ref())
            .and_then(|hover| hover.content_format.as_ref());
        let symbols = document.and_then(|document| document.document_symbol.as_ref());
        let watching =
            capabilities.workspace.as_ref().and_then(|workspace| workspace.did_change_watched_files.as_ref());
        let encodings =
            capabilities.general.as_ref().and_then(|general| general.position_encodings.as_deref());
        Self {
            encoding: Encoding::negotiate(encodings.unwrap_or_default()),
            snippets: proposals.and_then(|proposals| proposals.snippet_support).unwrap_or(false),
            proposals: Style::of(proposals.and_then(|proposals| proposals.documentation_format.as_ref())),
            hovers: Style::of(hovers),
            nested_symbols: symbols
                .and_then(|symbols| symbols.hierarchical_document_symbol_support)
                .unwrap_or(false),
            watches: watching.and_then(|watching| watching.dynamic_registration).unwrap_or(false),
        }
    }
}

/// The folders that the client has open; older clients name a single one.
#[allow(deprecated)]
pub(crate) fn folders(params: &InitializeParams) -> Vec<PathBuf> {
    match &params.workspace_folders_initialize_params.workspace_folders {
        Some(WorkspaceFolders::WorkspaceFolderList(folders)) => {
            folders.iter().map(|folder| uri::path_of(&folder.uri)).collect()
        }
        _ => params.root_uri.iter().map(uri::path_of).collect(),
    }
}

/// What this server can do.
pub(crate) fn server_capabilities(encoding: Encoding) -> ServerCapabilities {
    let triggers = ["[", "=", "%", ",", ":"];
    ServerCapabilities {
        position_encoding: Some(encoding.kind()),
        text_document_sync: Some(
            TextDocumentSyncOptions {
                open_close: Some(true),
                change: Some(TextDocumentSyncKind::Incremental),
                save: Some(Save::Bool(true)),
                ..TextDocumentSyncOptions::default()
            }
            .into(),
        ),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(triggers.map(str::to_owned).to_vec()),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(true.into()),
        definition_provider: Some(true.into()),
        references_provider: Some(true.into()),
        document_symbol_provider: Some(true.into()),
        workspace_symbol_provider: Some(true.into()),
        document_formatting_provider: Some(true.into()),
        code_action_provider: Some(
            CodeActionOptions {
                code_action_kinds: Some(vec![CodeActionKind::QuickFix]),
                ..CodeActionOptions::default()
            }
            .into(),
        ),
        workspace: Some(WorkspaceOptions {
            workspace_folders: Some(WorkspaceFoldersServerCapabilities {
                supported: Some(true),
                change_notifications: Some(ChangeNotifications::Bool(true)),
            }),
            ..WorkspaceOptions::default()
        }),
        ..ServerCapabilities::default()
    }
}
