//! Any text: the scanner ends, every place that it names lies in the text, and what it printed as
//! one line reads again as the same entry.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_generator::syntax::scanner::{Fold, scan};

fuzz_target!(|text: &str| {
    for fold in [Fold::Blank, Fold::Nothing] {
        let found = scan(text, fold);
        for mistake in &found.mistakes {
            assert!(mistake.span.start <= mistake.span.end && mistake.span.end <= text.len());
            assert!(!mistake.reason.is_empty());
        }
        for section in &found.sections {
            assert_eq!(text.as_bytes()[section.at], b'[');
            for entry in &section.entries {
                assert!(!entry.key.is_empty());
                // A key may itself go on over several lines; then only its start is found as it is.
                assert_eq!(text[entry.key_at..].chars().next(), entry.key.chars().next());
                assert!(entry.key_at + entry.key.len() <= text.len());
                assert!(!entry.value.contains('\n'), "{:?}", entry.value);
                for at in 0..=entry.value.len() {
                    assert!(entry.pieces.locate(at) <= text.len(), "{:?} at {at}", entry.value);
                }
                assert!(entry.pieces.folds().all(|fold| fold <= entry.value.len()));
            }
        }
    }
});
