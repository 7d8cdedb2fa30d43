//! Any value: splitting it ends, every word has its place, and the words of a split survive being
//! written into an `Exec…=` line and split again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampan_generator::syntax::words::{Escapes, quote, split};

fuzz_target!(|value: &str| {
    if value.contains('\0') {
        return; // the scanner refuses such a line
    }
    for escapes in [Escapes::Kept, Escapes::Resolved] {
        let found = split(value, escapes);
        let mut last = 0;
        for word in &found.words {
            assert!(word.at >= last && word.at <= value.len() && value.is_char_boundary(word.at));
            last = word.at;
        }
        let words: Vec<&str> = found.words.iter().map(|word| &*word.text).collect();
        let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        assert!(!line.contains('\n'), "{line:?}");
        let again = split(&line, Escapes::Resolved);
        assert!(again.oddities.is_empty(), "{line:?}: {:?}", again.oddities);
        let again: Vec<&str> = again.words.iter().map(|word| &*word.text).collect();
        assert_eq!(again, words, "written as {line:?}");
    }
});
