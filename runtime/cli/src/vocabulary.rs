//! Whether the command line knows every option that the generator writes.

use clap::{CommandFactory as _, Parser as _};
use sampan_generator::keys::{Emit, Key, Kind, UnitType};

use crate::CommandLine;

/// The words that the generator writes for a key.
fn words(key: &Key) -> Vec<Vec<String>> {
    let value = match key.name {
        "ExitPolicy" => "stop",
        "Retry" | "StopTimeout" => "3",
        _ => "x",
    };
    match key.emit {
        Emit::Flag(flag) if key.kind == Kind::Boolean => {
            vec![vec![flag.to_owned()], vec![format!("{flag}=false")]]
        }
        Emit::Flag(flag) => vec![vec![flag.to_owned(), value.to_owned()]],
        Emit::Joined(flag) => vec![vec![format!("{flag}={value}")]],
        Emit::Prefixed(flag, prefix) => vec![vec![flag.to_owned(), format!("{prefix}{value}")]],
        Emit::WhenTrue(words) => vec![words.iter().map(|word| (*word).to_owned()).collect()],
        Emit::Own(_) | Emit::Service(_) => Vec::new(),
    }
}

#[test]
fn every_option_that_the_generator_writes_is_known() {
    let by_hand: [(UnitType, &[&str], &[&str]); 3] = [
        (
            UnitType::Pod,
            &["pod", "create"],
            &["--replace", "--exit-policy", "stop", "--network", "a", "-v", "/a:/b"],
        ),
        (UnitType::Build, &["build"], &["--network", "a", "-v", "/a:/b", "--file", "f", "/context"]),
        (UnitType::Artifact, &["artifact", "pull"], &[]),
    ];
    for (kind, command, more) in by_hand {
        let options = kind.keys().iter().flat_map(|key| words(key));
        for words in options.chain([more.iter().map(|word| (*word).to_owned()).collect()]) {
            let line = ["sampan"].iter().chain(command).map(|word| (*word).to_owned()).chain(words.clone());
            let line = line.chain((kind == UnitType::Artifact).then(|| "registry/artifact".to_owned()));
            if let Err(error) = CommandLine::try_parse_from(line) {
                panic!("{command:?} {words:?}: {error}");
            }
        }
    }
    for words in
        [["rm", "--ignore", "--force", "--time=10", "a"], ["stop", "--ignore", "--time=10", "a", "b"]]
    {
        CommandLine::try_parse_from(["sampan", "pod"].into_iter().chain(words)).unwrap();
    }
    CommandLine::try_parse_from(["sampan", "pod", "idle", "a"]).unwrap();
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
