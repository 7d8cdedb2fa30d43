//! One session with a client: the order of messages, and who answers which.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use gen_lsp_types::{
    CodeActionParams, CompletionParams, DefinitionParams, DidChangeTextDocumentParams,
    DidChangeWorkspaceFoldersParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    DocumentFormattingParams, DocumentSymbolParams, DocumentSymbolResponse, HoverParams, InitializeParams,
    InitializeResult, ReferenceParams, ServerInfo, SymbolKind, TextDocumentContentChangeEvent,
    TextDocumentPositionParams, TextEdit, Uri, WorkspaceSymbolParams,
};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use sampan_generator::Engine;
use sampan_generator::format::format;
use sampan_generator::keys::UnitType;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::checker::{Checker, Target};
use super::client::{self, Client};
use super::completion::{self, Taste};
use super::position::Text;
use super::uri::path_of;
use super::workspace::Workspace;
use super::{fix, hover, navigate, symbols};

/// Serves the client at standard input and output. The exit code is 0 if it asked for the end.
pub(crate) fn serve(engine: Engine, user: bool) -> anyhow::Result<ExitCode> {
    let (connection, threads) = Connection::stdio();
    let ended = converse(connection, engine, user);
    // The threads end with the connection; what they say is why there are no more messages.
    threads.join().context("read a message of the client")?;
    ended
}

fn converse(connection: Connection, engine: Engine, user: bool) -> anyhow::Result<ExitCode> {
    let (id, params) = connection.initialize_start().context("wait for the client's initialize request")?;
    let params: InitializeParams = match serde_json::from_value(params) {
        Ok(params) => params,
        Err(error) => {
            let message = format!("the parameters of initialize: {error}");
            let response = Response::new_err(id, ErrorCode::InvalidParams as i32, message.clone());
            let _ = connection.sender.send(response.into());
            bail!(message);
        }
    };
    let client = Client::of(&params.capabilities);
    let result = InitializeResult {
        capabilities: client::server_capabilities(client.encoding),
        server_info: Some(ServerInfo {
            name: "sampan".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    };
    connection.sender.send(Response::new_ok(id, result).into()).context("answer initialize")?;

    let sender = connection.sender.clone();
    let target = Target { engine, user, encoding: client.encoding };
    let checker = Checker::start(target, move |message| {
        let _ = sender.send(message); // a client that has gone needs no diagnostics
    })
    .context("start the thread that checks")?;
    let workspace = Workspace::new(client::folders(&params), client.encoding);
    let mut session = Session { connection, client, engine, workspace, checker, said_too_many: false };
    session.run()
}

/// A client that has introduced itself.
struct Session {
    connection: Connection,
    client: Client,
    engine: Engine,
    workspace: Workspace,
    checker: Checker,
    /// Whether the client was told that its folders hold too much.
    said_too_many: bool,
}

/// A request that can't be answered.
struct Refusal(ErrorCode, String);

impl Session {
    /// Answers until the client says `exit`.
    fn run(&mut self) -> anyhow::Result<ExitCode> {
        let mut shut_down = false;
        while let Ok(message) = self.connection.receiver.recv() {
            match message {
                Message::Request(request) if shut_down => {
                    let refusal = Refusal(ErrorCode::InvalidRequest, "the server is shut down".to_owned());
                    self.respond(request.id, Err(refusal));
                }
                Message::Request(request) if request.method == "shutdown" => {
                    shut_down = true;
                    self.respond(request.id, Ok(Value::Null));
                }
                Message::Request(request) => {
                    let id = request.id.clone();
                    let answer = self.request(request);
                    self.respond(id, answer);
                }
                Message::Notification(notification) if notification.method == "exit" => {
                    return Ok(if shut_down { ExitCode::SUCCESS } else { ExitCode::FAILURE });
                }
                Message::Notification(notification) => self.notification(notification),
                Message::Response(_) => {} // to the request for watching files, which may be refused
            }
        }
        if shut_down {
            return Ok(ExitCode::SUCCESS);
        }
        bail!("the client has gone without saying shutdown and exit")
    }

    fn respond(&self, id: RequestId, answer: Result<Value, Refusal>) {
        let response = match answer {
            Ok(value) => Response::new_ok(id, value),
            Err(Refusal(code, message)) => Response::new_err(id, code as i32, message),
        };
        // If nobody reads any more, the next message is the end.
        let _ = self.connection.sender.send(response.into());
    }

    fn request(&mut self, request: Request) -> Result<Value, Refusal> {
        self.refresh();
        let Request { method, params, .. } = request;
        match method.as_str() {
            "textDocument/completion" => answer(params, |params| self.complete(&params)),
            "textDocument/hover" => answer(params, |params| self.hover(&params)),
            "textDocument/definition" => answer(params, |params| self.definition(&params)),
            "textDocument/references" => answer(params, |params| self.references(&params)),
            "textDocument/documentSymbol" => answer(params, |params| self.outline(&params)),
            "textDocument/formatting" => answer(params, |params| self.format(&params)),
            "textDocument/codeAction" => answer(params, |params: CodeActionParams| fix::actions(&params)),
            "workspace/symbol" => answer(params, |params| self.workspace_symbols(&params)),
            _ => Err(Refusal(ErrorCode::MethodNotFound, format!("there is no method {method} here"))),
        }
    }

    fn notification(&mut self, notification: Notification) {
        let Notification { method, params } = notification;
        let understood = match method.as_str() {
            "initialized" => {
                self.watch();
                Ok(())
            }
            "textDocument/didOpen" => read(params).map(|params| self.open(params)),
            "textDocument/didChange" => read(params).map(|params| self.change(params)),
            "textDocument/didClose" => read(params).map(|params: DidCloseTextDocumentParams| {
                self.workspace.close(&path_of(&params.text_document.uri));
            }),
            "textDocument/didSave" => {
                if !self.client.watches {
                    self.workspace.expect_other_files();
                }
                Ok(())
            }
            "workspace/didChangeWatchedFiles" => {
                self.workspace.expect_other_files();
                Ok(())
            }
            "workspace/didChangeWorkspaceFolders" => read(params).map(|params| self.change_folders(params)),
            _ => return,
        };
        if let Err(Refusal(_, message)) = understood {
            log::warn!("{method}: {message}");
            return;
        }
        self.refresh();
        self.checker.check(self.workspace.clone());
    }

    /// Looks for files again if necessary.
    fn refresh(&mut self) {
        if self.workspace.refresh() && !self.said_too_many {
            self.said_too_many = true;
            let message = "The workspace has too many files; not all Quadlet files in it are known. \
                           Open the folder that holds them instead.";
            let params = json!({ "type": 2, "message": message });
            let notification = Notification::new("window/showMessage".to_owned(), params);
            let _ = self.connection.sender.send(notification.into());
        }
    }

    /// Asks the client to tell when Quadlet files come, go or change.
    fn watch(&self) {
        if !self.client.watches {
            return;
        }
        let extensions = UnitType::ALL.map(UnitType::extension).join(",");
        let params = json!({ "registrations": [{
            "id": "files",
            "method": "workspace/didChangeWatchedFiles",
            "registerOptions": { "watchers": [
                { "globPattern": format!("**/*.{{{extensions}}}") },
                { "globPattern": "**/*.d/*.conf" },
            ] },
        }] });
        let request = Request::new("watch".to_owned().into(), "client/registerCapability".to_owned(), params);
        let _ = self.connection.sender.send(request.into());
    }

    fn open(&mut self, params: DidOpenTextDocumentParams) {
        let document = params.text_document;
        if !self.client.watches {
            self.workspace.expect_other_files();
        }
        self.workspace.open(path_of(&document.uri), document.uri, document.version, document.text);
    }

    fn change(&mut self, params: DidChangeTextDocumentParams) {
        let identifier = params.text_document;
        let path = path_of(&identifier.text_document_identifier.uri);
        let Some(document) = self.workspace.document_mut(&path) else {
            return log::warn!("{} was changed but is not open", path.display());
        };
        document.version = identifier.version;
        for change in params.content_changes {
            match change {
                TextDocumentContentChangeEvent::TextDocumentContentChangePartial(part) => {
                    document.text.replace(part.range, &part.text);
                }
                TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole) => {
                    document.text = Text::new(whole.text, self.client.encoding);
                }
            }
        }
    }

    fn change_folders(&mut self, params: DidChangeWorkspaceFoldersParams) {
        let paths = |folders: &[gen_lsp_types::WorkspaceFolder]| -> Vec<PathBuf> {
            folders.iter().map(|folder| path_of(&folder.uri)).collect()
        };
        self.workspace.change_folders(paths(&params.event.added), &paths(&params.event.removed));
    }

    /// The file and byte offset that a request is about.
    fn place<T>(
        &self,
        params: &TextDocumentPositionParams,
        look: impl FnOnce(&Path, &Text, usize) -> T,
    ) -> Option<T> {
        self.file(&params.text_document.uri, |path, text| look(path, text, text.offset(params.position)))
    }

    /// The file that a request is about.
    fn file<T>(&self, uri: &Uri, look: impl FnOnce(&Path, &Text) -> T) -> Option<T> {
        let path = path_of(uri);
        let text = self.workspace.text(&path)?;
        Some(look(&path, &text))
    }

    fn complete(&self, params: &CompletionParams) -> impl Serialize + use<> {
        let Client { snippets, proposals: style, .. } = self.client;
        let taste = Taste { snippets, style, engine: self.engine };
        self.place(&params.text_document_position_params, |path, text, offset| {
            completion::complete(&self.workspace, path, text, offset, taste)
        })
    }

    fn hover(&self, params: &HoverParams) -> impl Serialize + use<> {
        let (units, style) = (self.checker.units(), self.client.hovers);
        self.place(&params.text_document_position_params, |path, text, offset| {
            hover::hover(&self.workspace, &units, path, text, offset, style)
        })
        .flatten()
    }

    fn definition(&self, params: &DefinitionParams) -> impl Serialize + use<> {
        let units = self.checker.units();
        self.place(&params.text_document_position_params, |path, text, offset| {
            navigate::definition(&self.workspace, &units, path, text, offset)
        })
    }

    fn references(&self, params: &ReferenceParams) -> impl Serialize + use<> {
        let (units, with_declaration) = (self.checker.units(), params.context.include_declaration);
        self.place(&params.text_document_position_params, |path, text, offset| {
            navigate::references(&self.workspace, &units, path, text, offset, with_declaration)
        })
    }

    fn outline(&self, params: &DocumentSymbolParams) -> impl Serialize + use<> {
        let uri = &params.text_document.uri;
        self.file(uri, |_, text| match symbols::outline(text) {
            outline if self.client.nested_symbols => DocumentSymbolResponse::DocumentSymbolList(outline),
            outline => DocumentSymbolResponse::SymbolInformationList(symbols::flat(uri, outline)),
        })
    }

    fn format(&self, params: &DocumentFormattingParams) -> impl Serialize + use<> {
        self.file(&params.text_document.uri, |_, text| {
            let new_text = format(text.as_str());
            let changes = (new_text != text.as_str()).then(|| TextEdit { range: text.whole(), new_text });
            changes.into_iter().collect::<Vec<_>>()
        })
    }

    fn workspace_symbols(&self, params: &WorkspaceSymbolParams) -> impl Serialize + use<> {
        let found = navigate::units_like(&self.workspace, &params.query);
        let symbols = found
            .map(|(name, location, folder)| symbols::information(name, SymbolKind::File, location, folder));
        symbols.collect::<Vec<_>>()
    }
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, Refusal> {
    serde_json::from_value(params).map_err(|error| Refusal(ErrorCode::InvalidParams, error.to_string()))
}

fn answer<P: DeserializeOwned, R: Serialize>(
    params: Value,
    answer: impl FnOnce(P) -> R,
) -> Result<Value, Refusal> {
    let result = answer(read(params)?);
    serde_json::to_value(result).map_err(|error| Refusal(ErrorCode::InternalError, error.to_string()))
}
