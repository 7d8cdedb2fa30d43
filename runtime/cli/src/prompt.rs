//! Questions on the terminal.

use std::io::{BufRead, Write};

use anyhow::{Context as _, bail};
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// Keys as a terminal sends them when it doesn't act on them itself.
const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const KILL: u8 = 0x15;
const ERASE: [u8; 2] = [0x08, 0x7f];

/// Asks for a line that everybody may see.
///
/// # Errors
/// The input ends, or can't be read.
pub(crate) fn line(question: &str) -> anyhow::Result<String> {
    ask(question)?;
    let mut text = String::new();
    let count = std::io::stdin().lock().read_line(&mut text).context("reading the terminal")?;
    if count == 0 {
        bail!("the input ended");
    }
    Ok(text.trim().to_owned())
}

/// Asks for a line that isn't shown.
///
/// # Errors
/// The terminal can't be told to show nothing; the input ends, or is interrupted.
pub(crate) fn password(question: &str) -> anyhow::Result<String> {
    let quiet = Quiet::begin()?;
    ask(question)?;
    let line = typed();
    drop(quiet);
    eprintln!();
    String::from_utf8(line?).context("the password is not UTF-8")
}

fn ask(question: &str) -> anyhow::Result<()> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{question}").and_then(|()| stderr.flush()).context("writing to the terminal")
}

/// What is typed up to the end of the line.
fn typed() -> anyhow::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).context("reading the terminal"),
            Ok(0) => bail!("the input ended"),
            Ok(_) => {}
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(line),
            INTERRUPT => bail!("interrupted"),
            END if line.is_empty() => bail!("the input ended"),
            END => return Ok(line),
            KILL => line.clear(),
            key if ERASE.contains(&key) => erase(&mut line),
            key => line.push(key),
        }
    }
}

/// Takes the last character away, all of its bytes.
fn erase(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// A terminal that shows nothing and hands every key on; as it was before, when dropped. No
/// signal comes from its keyboard meanwhile, so it can't stay like that.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> anyhow::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let before = termios::tcgetattr(stdin).context("asking how the terminal is set")?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(stdin, OptionalActions::Flush, &quiet)
            .context("keeping the terminal from showing the password")?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::erase;

    #[test]
    fn a_character_of_several_bytes_goes_at_once() {
        let mut line = "añ€".as_bytes().to_vec();
        erase(&mut line);
        assert_eq!(line, "añ".as_bytes());
        erase(&mut line);
        assert_eq!(line, b"a");
        erase(&mut line);
        erase(&mut line);
        assert!(line.is_empty());
    }
}
