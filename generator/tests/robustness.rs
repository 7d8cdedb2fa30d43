//! Whatever a file holds, the generator ends, and what it writes is a unit file that holds no line
//! but its own.

use proptest::prelude::*;
use sampan_generator::check;
use sampan_generator::syntax::scanner::{Fold, scan};
use sampan_generator::{Engine, Options, Overlay, Root, generate};
use std::fs;

/// The pieces that matter to the syntax and to the translation.
const PIECES: [&[u8]; 33] = [
    b"[Container]\n",
    b"[Service]\n",
    b"[Unit]\n",
    b"[Install]\n",
    b"Image=docker.io/a/b\n",
    b"Exec=",
    b"Environment=",
    b"Volume=",
    b"Mount=",
    b"After=",
    b"WantedBy=",
    b"ServiceName=",
    b"HealthCmd=",
    b"x.volume",
    b":/d",
    b"\\",
    b"\\\n",
    b"\n",
    b"\"",
    b"'",
    b" ",
    b"%i",
    b"$",
    b"\\x00",
    b"\\xff",
    b"\\n",
    b"../",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"=",
    b"#",
    b"a",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_becomes_sound_units(file in text(), dropin in text(), podman in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("web.container"), &file).unwrap();
        fs::write(directory.path().join("x.volume"), "[Volume]\n").unwrap();
        fs::create_dir(directory.path().join("web.container.d")).unwrap();
        fs::write(directory.path().join("web.container.d/10.conf"), &dropin).unwrap();
        let engine = if podman { Engine::Podman } else { Engine::Sampan };
        let roots = vec![Root::whole(directory.path())];
        let outcome = generate(&Options { engine, user: false, roots, overlay: Overlay::new() }, &mut |unit| {
            let again = scan(unit.text, Fold::Blank);
            assert!(again.mistakes.is_empty(), "{:?}\n{}", again.mistakes, unit.text);
            assert!(!unit.name.contains('/'), "{}", unit.name);
            let starts = unit.text.lines().filter(|line| line.starts_with("ExecStopPost=")).count();
            assert!(starts <= 1, "{}", unit.text);
            for link in unit.links {
                assert!(!link.path.contains("..") && !link.path.starts_with('/'), "{}", link.path);
            }
        });
        let checks = check::Options {
            roots: vec![Root::whole(directory.path())],
            engine,
            ..check::Options::default()
        };
        for diagnostic in outcome.diagnostics.iter().chain(&check::check(&checks).diagnostics) {
            assert!(!diagnostic.one_line().contains('\n'));
            assert!(!diagnostic.render(false).is_empty());
        }
    }
}
