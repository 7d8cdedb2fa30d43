//! The ways between files, the outline, what hovering shows, and formatting.

use serde_json::{Value, json};

use crate::client::Client;

const WEB: &str = "[Unit]\nDescription=ü😀 web\nAfter=data-volume.service db.container\n\n[Container]\n\
                   Image=base.image\nNetwork=app.network:ip=10.1.1.5\nVolume=data.volume:/data\nPod=all.pod\n\
                   Environment=ü=😀 HOST=%H\n";

fn workspace() -> Client {
    Client::start(&[
        ("web.container", WEB),
        ("db.container", "[Container]\nImage=localhost/db:1\nNetwork=app.network\n"),
        ("data.volume", "# Kept over night.\n[Volume]\nVolumeName=precious\n"),
        ("app.network", "[Unit]\nDescription=all\n[Network]\nSubnet=10.1.1.0/24\n"),
        ("web.container.d/10.conf", "[Container]\nImage=localhost/other:1\n[Service]\nRestart=always\n"),
    ])
}

/// File name and line of each place.
fn places(client: &Client, locations: &Value) -> Vec<(String, u64)> {
    let top = client.uri("");
    let mut places: Vec<_> = locations
        .as_array()
        .unwrap()
        .iter()
        .map(|location| {
            let name = location["uri"].as_str().unwrap().strip_prefix(top.as_str()).unwrap();
            (name.trim_start_matches('/').to_owned(), location["range"]["start"]["line"].as_u64().unwrap())
        })
        .collect();
    places.sort();
    places
}

fn definition(client: &mut Client, name: &str, line: u32, character: u32) -> Vec<(String, u64)> {
    let at = client.at(name, line, character);
    let found = client.request("textDocument/definition", at);
    places(client, &found)
}

fn place(name: &str, line: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), line)]
}

#[test]
fn definitions_in_other_files() {
    let mut client = workspace();
    client.open("web.container", WEB);
    assert_eq!(definition(&mut client, "web.container", 6, 12), place("app.network", 2));
    assert_eq!(definition(&mut client, "web.container", 7, 8), place("data.volume", 1));
    assert_eq!(definition(&mut client, "web.container", 2, 30), place("db.container", 0));
    assert_eq!(definition(&mut client, "web.container", 2, 7), place("data.volume", 1), "by its service");
    assert_eq!(definition(&mut client, "web.container", 5, 8), [], "a file that doesn't exist");
    assert_eq!(definition(&mut client, "web.container", 1, 14), []);
    // A new file that was never saved is found as well.
    client.open("all.pod", "[Unit]\n\n[Pod]\n");
    assert_eq!(definition(&mut client, "web.container", 8, 6), place("all.pod", 2));
}

#[test]
fn a_drop_in_leads_to_its_unit() {
    let mut client = workspace();
    client
        .open("web.container.d/10.conf", "[Container]\nImage=localhost/other:1\n[Service]\nRestart=always\n");
    assert_eq!(definition(&mut client, "web.container.d/10.conf", 0, 3), place("web.container", 4));
    assert_eq!(definition(&mut client, "web.container.d/10.conf", 1, 2), place("web.container", 5));
    assert_eq!(definition(&mut client, "web.container.d/10.conf", 3, 2), place("web.container", 4));
    assert_eq!(definition(&mut client, "web.container", 5, 2), [], "the unit itself leads nowhere");
}

#[test]
fn references_to_a_file() {
    let mut client = workspace();
    client.open("web.container", WEB);
    let mut references = |name: &str, line, character, declaration: bool| {
        let mut params = client.at(name, line, character);
        params["context"] = json!({ "includeDeclaration": declaration });
        let found = client.request("textDocument/references", params);
        places(&client, &found)
    };
    let network = [("db.container".to_owned(), 2), ("web.container".to_owned(), 6)];
    assert_eq!(references("web.container", 6, 10, false), network);
    assert_eq!(references("app.network", 2, 3, false), network);
    assert_eq!(references("app.network", 2, 3, true)[0], ("app.network".to_owned(), 2));
    let volume = [("web.container".to_owned(), 2), ("web.container".to_owned(), 7)];
    assert_eq!(references("data.volume", 1, 0, false), volume);
}

#[test]
fn hovering() {
    let mut client = workspace();
    client.open("web.container", WEB);
    let mut hover = |line, character| {
        let at = client.at("web.container", line, character);
        let found = client.request("textDocument/hover", at);
        (found["contents"]["value"].as_str().unwrap_or_default().to_owned(), found["range"].clone())
    };
    let (network, range) = hover(6, 12);
    assert!(
        network.starts_with("`app.network`\n\nBecomes `app-network.service`, which makes `systemd-app`."),
        "{network}"
    );
    assert!(
        network.contains("```ini\n[Unit]\nDescription=all\n[Network]\nSubnet=10.1.1.0/24\n```"),
        "{network}"
    );
    assert_eq!((&range["start"]["character"], &range["end"]["character"]), (&json!(8), &json!(19)));
    assert!(hover(7, 9).0.contains("makes `precious`"));
    assert!(hover(5, 2).0.starts_with("`Image=` in [Container]\n\nThe image to run"));
    assert!(hover(4, 2).0.starts_with("[Container]\n\n"));
    let (specifier, range) = hover(9, 23);
    assert_eq!((specifier.as_str(), &range["start"]["character"]), ("%H: The host name.", &json!(22)));
    assert_eq!(hover(3, 0).0, "");
    assert_eq!(hover(9, 13).0, "");
}

#[test]
fn outlines() {
    let mut client = workspace();
    client.open("web.container", WEB);
    let document = json!({ "textDocument": { "uri": client.uri("web.container") } });
    let outline = client.request("textDocument/documentSymbol", document);
    assert_eq!((&outline[0]["name"], &outline[1]["name"]), (&json!("Unit"), &json!("Container")));
    assert_eq!(outline[1]["children"][2]["detail"], "data.volume:/data");
    let found = client.request("workspace/symbol", json!({ "query": "DAT" }));
    assert_eq!((&found[0]["name"], found.as_array().unwrap().len()), (&json!("data.volume"), 1));
}

#[test]
fn formatting() {
    let mut client = Client::start(&[]);
    client.open("web.container", "\n[Container]\nImage =  localhost/ü:1  \n[Service]\nRestart=no");
    let options = json!({ "tabSize": 4, "insertSpaces": true });
    let params = json!({ "textDocument": { "uri": client.uri("web.container") }, "options": options });
    let edits = client.request("textDocument/formatting", params.clone());
    let formatted = "[Container]\nImage=localhost/ü:1\n\n[Service]\nRestart=no\n";
    assert_eq!(edits[0]["newText"], formatted);
    assert_eq!(edits[0]["range"]["end"], json!({ "line": 4, "character": 10 }));
    client.change("web.container", 2, json!([{ "range": edits[0]["range"], "text": formatted }]));
    assert_eq!(client.request("textDocument/formatting", params), json!([]));
}
