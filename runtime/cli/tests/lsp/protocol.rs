//! How a session begins and ends, and what happens to messages that nobody expects.

use serde_json::{Value, json};

use crate::client::Client;

#[test]
fn a_session_ends_as_the_protocol_says() {
    let client = Client::start(&[]);
    assert_eq!(client.goodbye().code(), Some(0));

    let mut client = Client::start(&[]);
    client.notify("exit", Value::Null);
    assert_eq!(client.end().0.code(), Some(1), "without shutdown");

    let mut client = Client::start(&[]);
    client.request("shutdown", Value::Null);
    assert_eq!(client.ask("textDocument/hover", json!({}))["error"]["code"], -32600);
    assert_eq!(client.end().0.code(), Some(0), "shutdown, and then the end of the input");
}

#[test]
fn a_client_that_goes_without_a_word_is_a_failure() {
    let (status, said) = Client::start(&[]).end();
    assert!(!status.success());
    assert!(said.contains("without saying shutdown"), "{said}");
}

#[test]
fn what_is_unknown_or_wrong_is_refused_and_the_session_goes_on() {
    let mut client = Client::start(&[]);
    assert_eq!(client.ask("textDocument/teleport", json!({}))["error"]["code"], -32601);
    assert_eq!(client.ask("textDocument/hover", json!({ "position": 1 }))["error"]["code"], -32602);
    client.notify("$/setTrace", json!({ "value": "off" }));
    client.notify("$/cancelRequest", json!({ "id": 77 }));
    client.notify("textDocument/didChange", json!({ "no": "document" }));
    let document = json!({ "uri": client.uri("never.pod"), "version": 3 });
    client.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [] }));
    let hover = client.at("never.pod", 0, 0);
    assert_eq!(client.request("textDocument/hover", hover), Value::Null);
    assert!(client.goodbye().success());
}

#[test]
fn nothing_is_answered_before_initialize() {
    let mut client = Client::spawn(&[]);
    assert_eq!(client.ask("textDocument/hover", json!({}))["error"]["code"], -32002);
    client.initialize(json!({}));
    assert_eq!(client.capabilities["positionEncoding"], "utf-16");
    assert!(client.goodbye().success());
}

#[test]
fn malformed_messages_end_the_server_and_it_says_why() {
    for (bytes, reason) in [
        (&b"Content-Length: 9\r\n\r\n{\"id\": 1,"[..], "malformed LSP payload"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed header"),
        (b"Content-Type: x: y\r\n\r\n", "no Content-Length"),
    ] {
        let mut client = Client::start(&[]);
        client.send_raw(bytes);
        let (status, said) = client.end();
        assert!(!status.success());
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_document_that_is_no_file_gets_proposals() {
    let mut client = Client::start(&[]);
    let uri = "untitled:new.container";
    let document = json!({ "uri": uri, "languageId": "quadlet", "version": 1, "text": "[Container]\n" });
    client.notify("textDocument/didOpen", json!({ "textDocument": document }));
    let position = json!({ "line": 1, "character": 0 });
    let params = json!({ "textDocument": { "uri": uri }, "position": position });
    let items = client.request("textDocument/completion", params);
    assert!(items.as_array().unwrap().len() > 50);
    assert!(client.goodbye().success());
}

#[test]
fn folders_come_and_go() {
    let other = Client::spawn(&[("app.network", "[Network]\n")]);
    let mut client = Client::start(&[]);
    let text = "[Container]\nImage=localhost/web:1\nNetwork=app.network\n";
    assert_eq!(client.open("web.container", text).len(), 1);
    let folder = json!([{ "uri": other.uri(""), "name": "other" }]);
    client.notify(
        "workspace/didChangeWorkspaceFolders",
        json!({ "event": { "added": folder, "removed": [] } }),
    );
    assert!(client.diagnostics("web.container", Some(1)).is_empty());
    client.notify(
        "workspace/didChangeWorkspaceFolders",
        json!({ "event": { "added": [], "removed": folder } }),
    );
    assert_eq!(client.diagnostics("web.container", Some(1)).len(), 1);
}
