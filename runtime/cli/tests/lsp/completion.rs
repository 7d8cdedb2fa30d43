//! Proposals in each place where there can be any.

use serde_json::Value;

use crate::client::Client;

/// Opens a text with a `|` in it, and returns what is proposed at that place.
fn proposals(client: &mut Client, name: &str, marked: &str) -> Vec<Value> {
    let before = &marked[..marked.find('|').unwrap()];
    let line = before.matches('\n').count() as u32;
    let character = before.rsplit('\n').next().unwrap().encode_utf16().count() as u32;
    client.open(name, &marked.replacen('|', "", 1));
    let at = client.at(name, line, character);
    client.request("textDocument/completion", at).as_array().unwrap().clone()
}

fn labels(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["label"].as_str().unwrap()).collect()
}

fn item<'a>(items: &'a [Value], label: &str) -> &'a Value {
    items.iter().find(|item| item["label"] == label).unwrap_or_else(|| panic!("{label}: {:?}", labels(items)))
}

#[test]
fn sections() {
    let mut client = Client::start(&[]);
    let items = proposals(&mut client, "web.container", "[Unit]\n\n[|]\n");
    assert_eq!(labels(&items), ["[Container]", "[Unit]", "[Service]", "[Install]", "[Quadlet]"]);
    let edit = &item(&items, "[Container]")["textEdit"];
    assert_eq!((&edit["newText"], &edit["range"]["end"]["character"]), (&"[Container]".into(), &2.into()));
    let sorted = |label| item(&items, label)["sortText"].as_str().unwrap();
    assert!(sorted("[Container]") < sorted("[Quadlet]") && sorted("[Quadlet]") < sorted("[Unit]"));
}

#[test]
fn keys_of_the_section() {
    let mut client = Client::start(&[]);
    let items = proposals(&mut client, "web.container", "[Container]\nReadOnly=yes\nPub|\n");
    let port = item(&items, "PublishPort");
    assert_eq!(
        (&port["detail"], &port["textEdit"]["newText"]),
        (&"--publish".into(), &"PublishPort=".into())
    );
    assert!(port["documentation"]["value"].as_str().unwrap().contains("A port of the container to publish"));
    assert_eq!(port["textEdit"]["range"]["start"]["character"], 0);
    let update = item(&items, "AutoUpdate");
    assert_eq!(update["textEdit"]["newText"], "AutoUpdate=${1|registry,local,disabled,image|}");
    assert_eq!(update["insertTextFormat"], 2);
    assert!(item(&items, "ReadOnly")["sortText"].as_str().unwrap().starts_with('1'));
    assert_eq!(item(&items, "RemapUid")["tags"], Value::from(vec![1]));
    assert!(!labels(&items).contains(&"Subnet"));
}

#[test]
fn directives_of_systemd() {
    let mut client = Client::start(&[]);
    let items = proposals(&mut client, "web.container", "[Container]\nImage=x\n[Service]\nRes|\n");
    let restart = item(&items, "Restart")["textEdit"]["newText"].as_str().unwrap();
    assert!(restart.starts_with("Restart=${1|no,on-success,on-failure,"), "{restart}");
    assert!(!labels(&items).contains(&"PublishPort"));
    let values = proposals(&mut client, "a.container", "[Service]\nRestart=|\n");
    assert!(labels(&values).contains(&"on-failure"));
    let targets = proposals(&mut client, "b.container", "[Install]\nWantedBy=multi|\n");
    assert_eq!(labels(&targets), ["multi-user.target", "default.target"]);
    assert_eq!(targets[0]["textEdit"]["range"]["start"]["character"], 9);
}

#[test]
fn a_key_that_has_its_value_is_only_renamed() {
    let mut client = Client::start(&[]);
    let items = proposals(&mut client, "n.network", "[Network]\n  Sub|net = 10.0.0.0/8\n");
    let edit = &item(&items, "Subnet")["textEdit"];
    assert_eq!(edit["newText"], "Subnet");
    assert_eq!(
        (&edit["range"]["start"]["character"], &edit["range"]["end"]["character"]),
        (&2.into(), &8.into())
    );
}

#[test]
fn no_snippets_for_a_client_that_has_none() {
    let mut client = Client::spawn(&[]);
    client.initialize(serde_json::json!({}));
    let items = proposals(&mut client, "web.container", "[Container]\n|");
    assert_eq!(item(&items, "AutoUpdate")["textEdit"]["newText"], "AutoUpdate=");
    assert!(items.iter().all(|item| item.get("insertTextFormat").is_none()));
    assert_eq!(item(&items, "AutoUpdate")["documentation"]["kind"], "plaintext");
}

#[test]
fn values_of_the_table() {
    let mut client = Client::start(&[]);
    let yes = proposals(&mut client, "a.container", "[Container]\nReadOnly=|");
    assert_eq!(labels(&yes), ["yes", "no"]);
    let update = proposals(&mut client, "b.container", "[Container]\nAutoUpdate=re|g\n");
    assert_eq!(labels(&update), ["registry", "local", "disabled", "image"]);
    let range = &update[0]["textEdit"]["range"];
    assert_eq!((&range["start"]["character"], &range["end"]["character"]), (&11.into(), &14.into()));
    let none = proposals(&mut client, "c.container", "[Container]\nExec=|");
    assert!(none.is_empty());
}

#[test]
fn names_of_other_files() {
    let files = [
        ("app.network", "[Network]\n"),
        ("sub/data.volume", "[Volume]\n"),
        ("web.pod", "[Pod]\n"),
        ("base.image", "[Image]\nImage=localhost/x\n"),
        ("db.container", "[Container]\n"),
        ("app.network.d/10.conf", "[Network]\n"),
    ];
    let mut client = Client::start(&files);
    let mut at = |value: &str| {
        let items = proposals(&mut client, "web.container", &format!("[Container]\n{value}\n[Unit]\n"));
        labels(&items).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(at("Network=|"), ["app.network", "db.container"]);
    assert_eq!(at("Volume=da|:/x"), ["data.volume"]);
    assert_eq!(at("Pod=|"), ["web.pod"]);
    assert_eq!(at("Image=|"), ["base.image"]);
    assert_eq!(at("Mount=type=volume,source=|,destination=/x"), ["base.image", "data.volume"]);
    assert_eq!(at("[Unit]\nAfter=app.network d|").len(), 6, "five files and a target");
    // A file that is not saved yet counts as well.
    client.open("new.network", "[Network]\n");
    let items = proposals(&mut client, "x.container", "[Container]\nNetwork=ü \\\n  n|");
    assert_eq!(labels(&items), ["app.network", "db.container", "new.network", "web.container"]);
    assert_eq!(items[2]["textEdit"]["range"]["start"]["character"], 2);
}

#[test]
fn specifiers_behind_a_percent_sign() {
    let mut client = Client::start(&[]);
    let items = proposals(&mut client, "web@.container", "[Container]\nContainerName=ü-%|\n");
    let instance = item(&items, "%i");
    assert!(instance["detail"].as_str().unwrap().starts_with("The instance"));
    assert_eq!(instance["textEdit"]["range"]["start"]["character"], 16);
    assert!(proposals(&mut client, "y.container", "[Container]\nContainerName=%%|\n").is_empty());
}

#[test]
fn nothing_in_comments_and_other_files() {
    let mut client = Client::start(&[]);
    assert!(proposals(&mut client, "web.container", "[Container]\n# Im|\n").is_empty());
    assert!(proposals(&mut client, "web.service", "[Service]\n|").is_empty());
    assert_eq!(proposals(&mut client, "web.container.d/1.conf", "|").len(), 5);
}
