//! Whether the command line knows every option that the generator writes.

use clap::{CommandFactory as _, Parser as _};
use sampan_generator::keys::{Emit, Key, Kind, Shape, UnitType};

use crate::CommandLine;

/// A value that the key takes.
fn example(key: &Key) -> &'static str {
    match (key.name, key.shape) {
        ("ExitCodePropagation", _) => "any",
        (_, Shape::OneOf(words)) => words[0],
        (_, Shape::Integer) => "3",
        (_, Shape::Duration) => "30s",
        (_, Shape::Size) => "64m",
        (_, Shape::Address | Shape::Ipv4) => "10.1.2.3",
        (_, Shape::Ipv6) => "fd00::1",
        (_, Shape::Subnet) => "10.1.2.0/24",
        ("UID" | "GID", _) => "1000",
        ("IPAMDriver", _) => "host-local",
        _ if key.kind == Kind::Number => "3",
        _ => "x",
    }
}

/// The words that the generator writes for a key, in each of the ways that it may; none if the key becomes no
/// option of the command.
pub(crate) fn words(key: &Key) -> Vec<Vec<String>> {
    let value = example(key);
    match key.emit {
        Emit::Flag(flag) if key.kind == Kind::Boolean => {
            vec![vec![flag.to_owned()], vec![format!("{flag}=false")]]
        }
        Emit::Flag(flag) => vec![vec![flag.to_owned(), value.to_owned()]],
        Emit::Joined(flag) => vec![vec![format!("{flag}={value}")]],
        Emit::Prefixed(flag, prefix) => vec![vec![flag.to_owned(), format!("{prefix}{value}")]],
        Emit::WhenTrue(words) => vec![words.iter().map(|word| (*word).to_owned()).collect()],
        Emit::Own(text) => own(key, text, value).into_iter().collect(),
        Emit::Service(_) => Vec::new(),
    }
}

/// The words of a key that has code of its own, as far as its row tells them.
fn own(key: &Key, text: &str, value: &str) -> Option<Vec<String>> {
    let mut parts = text.split([' ', ',']);
    let flag = parts.next().filter(|flag| flag.starts_with("--"))?;
    match (key.name, flag) {
        // An option of the program itself, and one that comes without a value.
        (_, "--module" | "--rootfs") => None,
        // Options of the command that stops.
        ("StopTimeout" | "KubeDownForce", _) => None,
        (_, "--sdnotify") => Some(vec!["--sdnotify=conmon".to_owned()]),
        (_, "--cgroups") => Some(vec![flag.to_owned(), "split".to_owned()]),
        // A mode of user namespaces that every command knows.
        (_, "--userns") => Some(vec![flag.to_owned(), "auto".to_owned()]),
        (_, "--opt") => Some(vec![flag.to_owned(), format!("{}{value}", parts.next().unwrap_or_default())]),
        (_, flag) if flag.ends_with('=') => Some(vec![format!("{flag}{value}")]),
        (_, flag) => Some(vec![flag.to_owned(), value.to_owned()]),
    }
}

/// Commands that generated units call: what the options are the keys of, the command, what stands before the
/// options of keys, and what behind them.
const COMMANDS: [(UnitType, &str, &str, &str); 7] = [
    (UnitType::Network, "network create", "--ignore", "name"),
    (UnitType::Volume, "volume create", "--ignore", "name"),
    (UnitType::Image, "image pull", "", "registry/image"),
    (UnitType::Pod, "pod create", "--replace --exit-policy stop --network a -v /a:/b", ""),
    (UnitType::Build, "build", "--network a -v /a:/b --file f", "/context"),
    (UnitType::Artifact, "artifact pull", "", "registry/artifact"),
    (UnitType::Kube, "kube play", "--replace --service-container=true", "file.yaml"),
];

#[test]
fn every_option_that_the_generator_writes_is_known() {
    let mut refused = Vec::new();
    for (kind, command, before, behind) in COMMANDS {
        for (key, words) in
            kind.keys().iter().flat_map(|key| words(key).into_iter().map(move |words| (key, words)))
        {
            let line =
                ["sampan", command, before].into_iter().flat_map(str::split_whitespace).map(str::to_owned);
            let line = line.chain(words.clone()).chain(behind.split_whitespace().map(str::to_owned));
            if let Err(error) = CommandLine::try_parse_from(line) {
                refused.push(format!("{command} {words:?} ({}=): {error}", key.name));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    for words in
        [["rm", "--ignore", "--force", "--time=10", "a"], ["stop", "--ignore", "--time=10", "a", "b"]]
    {
        CommandLine::try_parse_from(["sampan", "pod"].into_iter().chain(words)).unwrap();
    }
    CommandLine::try_parse_from(["sampan", "pod", "idle", "a"]).unwrap();
    CommandLine::try_parse_from(["sampan", "network", "rm", "a"]).unwrap();
}

/// `HostName=` may be given several times, and PodmanArgs= may repeat what a key says.
#[test]
fn the_last_one_of_an_option_counts_and_lists_grow() {
    let parse = |line: &str| CommandLine::command().try_get_matches_from(line.split(' ')).unwrap();
    let matches = parse("sampan pod create --hostname a --hostname b -v /a:/a -v /b:/b");
    let create = matches.subcommand_matches("pod").unwrap().subcommand_matches("create").unwrap();
    assert_eq!(create.get_one::<String>("hostname").unwrap(), "b");
    assert_eq!(create.get_many::<String>("volume").unwrap().count(), 2);
    let matches = parse("sampan build --tag a --tag b --force-rm --force-rm=false");
    let build = matches.subcommand_matches("build").unwrap();
    assert_eq!(build.get_many::<String>("tag").unwrap().count(), 2);
    let matches = parse("sampan artifact pull --quiet --quiet=false a");
    let pull = matches.subcommand_matches("artifact").unwrap().subcommand_matches("pull").unwrap();
    assert_eq!(pull.get_one::<bool>("quiet"), Some(&false));
}
