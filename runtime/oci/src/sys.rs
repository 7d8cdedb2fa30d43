//! The one place of this program with `unsafe` code: extended regular expressions of POSIX (regex(7)), from the C
//! library, for `delete --regex`. A crate for them would be larger than the rest of this program.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

use anyhow::{Context, Result, bail};

/// A compiled expression.
pub(crate) struct Pattern(Box<libc::regex_t>);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// regcomp(3)'s, in its words.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let source = CString::new(text).with_context(|| format!("{text:?} contains a zero byte"))?;
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::uninit());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: both pointers are valid; regcomp(3) initializes the structure if it returns 0.
        let error = unsafe { libc::regcomp(compiled.as_mut_ptr(), source.as_ptr(), flags) };
        if error != 0 {
            bail!("{text:?} is no extended regular expression (regex(7)): {}", words(error));
        }
        // SAFETY: it is initialized, see above, and stays where it is.
        Ok(Pattern(unsafe { compiled.assume_init() }))
    }

    /// Whether it matches somewhere in `text`. What has a zero byte matches nothing.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: the expression is compiled, and with REG_NOSUB no places of matches are written.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: compiled, and never used again.
        unsafe { libc::regfree(&raw mut *self.0) }
    }
}

/// What an error of regcomp(3) means.
fn words(error: libc::c_int) -> String {
    let mut buffer = [0u8; 128];
    // SAFETY: the structure may be missing (the message is then a general one), and the buffer is as long as said.
    let length = unsafe { libc::regerror(error, ptr::null(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let length = length.saturating_sub(1).min(buffer.len() - 1);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_extended_ones() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().matches(text);
        assert!(matches("test-*", "my-test"));
        assert!(matches("^(a|b)+$", "abba") && !matches("^(a|b)+$", "abc"));
        assert!(!matches("a", "x\0a"));
        for bad in ["(", "[", "a{2", "*("] {
            let error = Pattern::new(bad).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("regular expression") && !error.ends_with(": "), "{bad}: {error}");
        }
    }
}
