//! Any set of files, in memory: both dialects translate it without a panic, twice to the same bytes,
//! into units that hold no line but their own; and what `check` says points into the files.
//!
//! The input is a digit (whose bits are the dialect and whether it is for a user) and texts, each
//! behind a line `=== NAME`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_generator::check::{self, Overlay};
use sampan_generator::syntax::scanner::{Fold, scan};
use sampan_generator::{Diagnostic, Engine, Options, Root, format, generate};
use std::path::Path;

/// Where the files seem to be.
const DIRECTORY: &str = "/nonexistent/units";

fuzz_target!(|input: &str| {
    let flags = input.bytes().next().unwrap_or(b'0');
    let overlay = files(input);
    let engine = if flags & 1 == 0 { Engine::Sampan } else { Engine::Podman };
    let options =
        Options { engine, user: flags & 2 != 0, roots: vec![Root::whole(DIRECTORY)], overlay: overlay.clone() };

    let first = translate(&options);
    assert!(first == translate(&options), "the same files became something else");

    let formatted = format::format(input);
    assert_eq!(formatted, format::format(&formatted), "formatting once isn't enough");
    let options = check::Options {
        engine,
        user: options.user,
        roots: options.roots,
        overlay: overlay.clone(),
        ..check::Options::default()
    };
    check::check(&options).diagnostics.iter().for_each(|diagnostic| sound(diagnostic, &overlay));
});

/// The files of the input. One directory deep, for drop-ins.
fn files(input: &str) -> Overlay {
    let mut overlay = Overlay::new();
    for part in input.split("\n=== ").skip(1) {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        let steps: Vec<_> = name.split('/').collect();
        let plain = |step: &&str| !step.is_empty() && !step.starts_with('.') && !step.contains('\0');
        if steps.len() <= 2 && steps.iter().all(plain) {
            overlay.insert(&Path::new(DIRECTORY).join(name), text);
        }
    }
    overlay
}

/// All units and messages, after a look at each.
fn translate(options: &Options) -> String {
    let mut all = String::new();
    let outcome = generate(options, &mut |unit| {
        let again = scan(unit.text, Fold::Blank);
        assert!(again.mistakes.is_empty(), "{:?}\n{}", again.mistakes, unit.text);
        assert!(!unit.name.contains('/') && unit.name.len() <= 255, "{}", unit.name);
        for link in unit.links {
            assert!(link.path.split('/').all(|step| !["", ".", ".."].contains(&step)), "{}", link.path);
            all.extend([link.path.as_str(), " -> ", link.target.as_str(), "\n"]);
        }
        all.extend([unit.name, "\n", unit.text]);
    });
    for diagnostic in &outcome.diagnostics {
        sound(diagnostic, &options.overlay);
        all.extend([diagnostic.one_line().as_str(), "\n"]);
    }
    all
}

/// A diagnostic is one line for a log, can be drawn, and names a line of its file.
fn sound(diagnostic: &Diagnostic, overlay: &Overlay) {
    assert!(!diagnostic.one_line().contains('\n'));
    assert!(!diagnostic.render(false).is_empty());
    assert!(!diagnostic.reason.is_empty());
    if diagnostic.line > 0 {
        let text = overlay.text(&diagnostic.file).expect("a file that was given");
        assert!(diagnostic.line <= text.split('\n').count(), "{diagnostic:?}");
        assert!(diagnostic.column - 1 + diagnostic.length <= diagnostic.text.chars().count() + 1, "{diagnostic:?}");
    }
}
