//! What is wrong, where, and how it goes away.

use serde_json::{Value, json};

use crate::client::Client;

const GOOD: &str = "[Container]\nImage=localhost/web:1\n";

/// Line and characters of a diagnostic.
fn range(diagnostic: &Value) -> [u64; 4] {
    let range = &diagnostic["range"];
    ["start", "end"]
        .map(|end| [&range[end]["line"], &range[end]["character"]].map(|number| number.as_u64().unwrap()))
        .concat()
        .try_into()
        .unwrap()
}

fn replacement(start: [u32; 2], end: [u32; 2], text: &str) -> Value {
    let position = |[line, character]: [u32; 2]| json!({ "line": line, "character": character });
    json!({ "range": { "start": position(start), "end": position(end) }, "text": text })
}

#[test]
fn a_typo_is_marked_and_goes_away() {
    let mut client = Client::start(&[]);
    let found = client.open("web.container", "[Container]\nImgae=localhost/web:1\nImage=localhost/web:1\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(range(&found[0]), [1, 0, 1, 5]);
    assert_eq!((&found[0]["severity"], &found[0]["code"]), (&json!(2), &json!("unknown-key")));
    assert_eq!(found[0]["source"], "sampan");

    let context = json!({ "diagnostics": found });
    let document = json!({ "uri": client.uri("web.container") });
    let params = json!({ "textDocument": document, "range": found[0]["range"], "context": context });
    let actions = client.request("textDocument/codeAction", params);
    assert_eq!(actions[0]["kind"], "quickfix");
    let edit = &actions[0]["edit"]["changes"][&client.uri("web.container")][0];
    assert_eq!((&edit["newText"], &edit["range"]), (&json!("Image"), &found[0]["range"]));

    let silence = &actions[1]["edit"]["changes"][&client.uri("web.container")];
    assert_eq!(silence[0]["newText"], "# sampan: ignore=unknown-key\n");
    let silence = json!([{ "range": silence[0]["range"], "text": silence[0]["newText"] }]);
    assert_eq!(client.change("web.container", 2, silence), Vec::<Value>::new());

    let mended = json!([replacement([1, 0], [3, 0], "")]);
    assert_eq!(client.change("web.container", 3, mended), Vec::<Value>::new());
    assert!(client.goodbye().success());
}

#[test]
fn characters_before_the_place_are_counted_in_utf_16() {
    let mut client = Client::start(&[]);
    let text = "[Container]\nImage=localhost/web:1\nEnvironment=A=ü😀 B\n[😀Sérvice]\n";
    let found = client.open("web.container", text);
    let codes: Vec<_> = found.iter().map(|diagnostic| (range(diagnostic), &diagnostic["code"])).collect();
    let section = found.iter().find(|diagnostic| range(diagnostic)[0] == 3).unwrap();
    assert_eq!(range(section), [3, 0, 3, 11], "{codes:?}");
    let found =
        client.change("web.container", 2, json!([replacement([2, 12], [3, 11], "😀ü=1\nPublishPort=x")]));
    assert!(found.iter().any(|diagnostic| range(diagnostic) == [3, 12, 3, 13]), "{found:?}");

    let found = client.change(
        "web.container",
        3,
        json!([
            replacement([3, 0], [3, 13], "ContainerName=ü😀x\nEnvironment=😀=%9"),
            replacement([3, 14], [3, 18], "web"),
            { "text": format!("{GOOD}Label=ü😀=1 \\\n  PublishPort=1\n") },
        ]),
    );
    assert_eq!(range(&found[0]), [3, 2, 3, 13], "a line that was swallowed: {found:?}");
}

#[test]
fn utf_8_is_used_when_the_client_offers_it() {
    let mut client = Client::spawn(&[]);
    client.initialize(json!({ "general": { "positionEncodings": ["utf-8", "utf-16"] } }));
    assert_eq!(client.capabilities["positionEncoding"], "utf-8");
    let found = client.open("web.container", &format!("{GOOD}[😀Sérvice]\n"));
    assert_eq!(range(&found[0]), [2, 0, 2, 14]);
}

#[test]
fn a_file_that_others_need_tells_in_all_of_them() {
    let web = "[Container]\nImage=localhost/web:1\nNetwork=app.network\n";
    let mut client = Client::start(&[("web.container", web), ("db.container", web)]);
    client.open("other.volume", "[Volume]\n");
    for name in ["web.container", "db.container"] {
        let found = client.diagnostics(name, None);
        assert_eq!((range(&found[0]), &found[0]["code"]), ([2, 8, 2, 19], &json!("missing-reference")));
    }
    // An unsaved file is enough to mend both, and closing it without saving breaks them again.
    assert!(client.open("app.network", "[Network]\n").is_empty());
    assert!(client.diagnostics("web.container", None).is_empty());
    assert!(client.diagnostics("db.container", None).is_empty());
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": client.uri("app.network") } }));
    assert_eq!(client.diagnostics("web.container", None).len(), 1);
}

#[test]
fn files_on_disk_are_looked_at_again_when_the_client_says_so() {
    let mut client = Client::start(&[]);
    let registration = client.wait(|message| message["method"] == "client/registerCapability", "watching");
    assert!(registration["params"].to_string().contains("**/*.{container,network,"), "{registration}");
    let text = "[Container]\nImage=localhost/web:1\nNetwork=app.network\n";
    assert_eq!(client.open("web.container", text).len(), 1);
    std::fs::write(client.path("app.network"), "[Network]\n").unwrap();
    let change = json!({ "uri": client.uri("app.network"), "type": 1 });
    client.notify("workspace/didChangeWatchedFiles", json!({ "changes": [change] }));
    assert!(client.diagnostics("web.container", Some(1)).is_empty());
}

#[test]
fn drop_ins_are_checked_with_their_unit() {
    let mut client = Client::start(&[("web.container", GOOD)]);
    let found = client.open("web.container.d/10.conf", "[Container]\nPublishPort=eighty\n");
    assert_eq!(range(&found[0]), [1, 12, 1, 18]);
}

#[test]
fn a_file_outside_the_folders_is_checked_with_its_neighbours() {
    let elsewhere = Client::spawn(&[
        ("app.network", "[Network]\n"),
        ("below/no.network", "[Network]\n"),
        ("web.container", GOOD),
    ]);
    let mut client = Client::start(&[]);
    let uri = elsewhere.uri("web.container");
    let text = format!("{GOOD}Network=app.network\nNetwork=no.network\n");
    let document = json!({ "uri": uri, "languageId": "quadlet", "version": 1, "text": text });
    client.notify("textDocument/didOpen", json!({ "textDocument": document }));
    let message = client.wait(|message| message["params"]["uri"] == uri, "diagnostics");
    let found = message["params"]["diagnostics"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(range(&found[0]), [3, 8, 3, 18]);
}

#[test]
fn of_two_files_with_one_name_both_are_checked_when_open() {
    let mut client = Client::start(&[("a/web.container", GOOD), ("b/web.container", GOOD)]);
    let found = client.open("b/web.container", "[Container]\nImgae=x\n");
    assert!(found.iter().any(|diagnostic| diagnostic["code"] == "unknown-key"), "{found:?}");
}

#[test]
fn hostile_text_is_only_text() {
    let mut client = Client::start(&[]);
    client.open("crlf.container", "\u{feff}[Container]\r\nImgae=x\r\nImage=localhost/web:1\r\n");
    let found = client.change("crlf.container", 2, json!([replacement([1, 0], [1, 1], "X")]));
    assert_eq!(range(&found[0]), [1, 0, 1, 5], "{found:?}");

    let huge = format!("[Container]\nImage={}\n", "ü😀%z\\ \"'".repeat(20_000));
    client.open("huge.container", &huge);
    client.open("many.container", &format!("[Container]\n{}", "Nonsense=1\n".repeat(5_000)));
    client.open("binary.container", "\0\u{1}[\u{7f}]=\u{85}\r\r\n\\\0\\\n=\\");

    // Ranges that don't exist, or whose ends are swapped, are moved to where there is text.
    client.open("web.container", GOOD);
    let outside = json!([
        replacement([4_000_000_000, 7], [4_000_000_001, 0], "PublishPort=8080:80\n"),
        replacement([0, 900], [0, 4_000_000_000], ""),
        replacement([2, 4], [2, 0], ""),
    ]);
    client.change("web.container", 2, outside);
    let symbols = client.request(
        "textDocument/documentSymbol",
        json!({ "textDocument": { "uri": client.uri("web.container") } }),
    );
    assert_eq!(symbols[0]["children"][1]["name"], "ishPort");
    for name in ["crlf.container", "huge.container", "binary.container", "many.container"] {
        let at = client.at(name, 1, 7);
        for method in ["textDocument/completion", "textDocument/hover", "textDocument/definition"] {
            client.request(method, at.clone());
        }
        let document = json!({ "uri": client.uri(name) });
        client.request("textDocument/documentSymbol", json!({ "textDocument": document }));
        let options = json!({ "tabSize": 4, "insertSpaces": true });
        client.request("textDocument/formatting", json!({ "textDocument": document, "options": options }));
    }
    assert!(client.goodbye().success());
}
