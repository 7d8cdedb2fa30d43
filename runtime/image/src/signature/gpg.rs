//! Verification by the host's own GnuPG.
//!
//! OpenPGP is large, and distributions keep one implementation safe: `gpgv`, which knows nothing but a keyring and
//! a signature. It is run by absolute path, without a shell, with an environment and a home of its own, and with
//! bounds on time and output. What it says is believed only in its machine-readable form, and only as a whole.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::store::Scratch;

/// Largest payload of a signature, in bytes: one compressed to nothing must not fill the memory.
const MAX_PAYLOAD: u64 = 1 << 20;
/// Most that the program may report, in bytes.
const MAX_STATUS: u64 = 64 << 10;
/// Longest time that one verification may take.
const TIME: Duration = Duration::from_secs(30);

/// The programs that can do it, the best first. `gpg` can do much else, which its options forbid.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("/usr/bin/gpgv", &[]),
    ("/usr/bin/gpgv2", &[]),
    (
        "/usr/bin/gpg",
        &[
            "--no-options",
            "--no-default-keyring",
            "--batch",
            "--no-tty",
            "--trust-model=always",
            "--no-auto-key-retrieve",
            "--no-auto-key-locate",
            "--disable-dirmngr",
            "--no-autostart",
            "--decrypt",
        ],
    ),
];

/// Keys that signatures are verified with, ready for the program.
#[derive(Debug)]
pub(crate) struct Keyring {
    home: Scratch,
    program: &'static str,
    options: &'static [&'static str],
}

impl Keyring {
    /// Keeps a binary keyring, until dropped, in a directory that nobody else can read.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Missing`] without GnuPG.
    pub(super) fn new(keys: &[u8], home: Scratch) -> Result<Self> {
        let found = PROGRAMS.iter().find(|(program, _)| Path::new(program).is_file());
        let Some((program, options)) = found.copied() else {
            return Err(Error::Missing {
                program: "/usr/bin/gpgv",
                purpose: "verify image signatures",
                package: "gnupg2 (gpgv on Debian and Ubuntu)",
            });
        };
        let path = home.path().join("keys.gpg");
        std::fs::write(&path, keys).map_err(|error| Error::io("write", &path, error))?;
        Ok(Self { home, program, options })
    }

    /// What a signed message says, if one key of the ring has made its one signature, which is still good.
    ///
    /// `Err` says what is wrong with the signature; nothing of its content has been looked at.
    ///
    /// # Errors
    /// The outer one: the program could not be run.
    pub(super) fn verify(&self, message: &[u8]) -> Result<Result<Vec<u8>, String>> {
        let ran = run(&mut self.command(), message)
            .map_err(|error| Error::io("run", Path::new(self.program), error))?;
        let ran = match ran {
            Ok(ran) => ran,
            Err(reason) => return Ok(Err(format!("{} {reason}", self.program))),
        };
        let status = Status::parse(&String::from_utf8_lossy(&ran.errors));
        Ok(status.verdict(ran.status.success()).map(|()| ran.output))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        let home = self.home.path();
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("HOME", home)
            .env("GNUPGHOME", home)
            .current_dir("/")
            .arg("--homedir")
            .arg(home)
            .arg("--keyring")
            .arg(home.join("keys.gpg"))
            // People's messages go nowhere, so that none is taken for a status.
            .args(["--log-file", "/dev/null", "--status-fd", "2", "--output", "-"])
            .args(self.options)
            .arg("-");
        command
    }
}

/// The lines of `--status-fd` (GnuPG's doc/DETAILS), counted.
#[derive(Debug, Default)]
struct Status {
    /// Signatures that were seen at all.
    signatures: usize,
    good: usize,
    valid: usize,
    plaintexts: usize,
    /// What else was said that a good signature has not, for people.
    against: Vec<String>,
}

impl Status {
    fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines() {
            let Some(line) = line.strip_prefix("[GNUPG:] ") else {
                status.against.push("it said something else than a status".to_owned());
                continue;
            };
            let mut words = line.split(' ');
            let keyword = words.next().unwrap_or_default();
            let rest = || crate::json::shown(line.split_once(' ').map_or("", |(_, rest)| rest));
            match keyword {
                "NEWSIG" => status.signatures += 1,
                "GOODSIG" => status.good += 1,
                "VALIDSIG" => status.valid += 1,
                "PLAINTEXT" => status.plaintexts += 1,
                "PLAINTEXT_LENGTH" | "SIG_ID" | "KEY_CONSIDERED" | "VERIFICATION_COMPLIANCE_MODE" => {}
                // What the signer has noted; GnuPG refuses critical notations that it does not know.
                "NOTATION_NAME" | "NOTATION_FLAGS" | "NOTATION_DATA" | "POLICY_URL" => {}
                // gpg alone.
                "TRUST_ULTIMATE" | "TRUST_FULLY" | "TRUST_UNDEFINED" | "TRUST_MARGINAL" => {}
                "BADSIG" => status.against.push(format!("it does not fit its content (key {})", rest())),
                "EXPSIG" => status.against.push(format!("it has expired (key {})", rest())),
                "EXPKEYSIG" | "KEYEXPIRED" => {
                    status.against.push(format!("its key has expired ({})", rest()))
                }
                "REVKEYSIG" | "KEYREVOKED" => status.against.push(format!("its key is revoked ({})", rest())),
                "NO_PUBKEY" => status.against.push(format!("it was made by another key: {}", rest())),
                "ERRSIG" => status.against.push(format!("it cannot be verified (key {})", rest())),
                "NODATA" | "BADARMOR" | "UNEXPECTED" => {
                    status.against.push("it is no signed OpenPGP message".to_owned());
                }
                // Whatever else there is, a signature by a good key has none of it.
                _ => status.against.push(crate::json::shown(line)),
            }
        }
        status
    }

    /// SECURITY: everything at once. One signature in the message (a second one could be anybody's), that one
    /// good *and* valid, one plaintext (a second could be an unsigned one beside it), no word against it, and the
    /// program's own verdict. GOODSIG is not said for keys that have expired or are revoked.
    fn verdict(&self, success: bool) -> Result<(), String> {
        if let Some(first) = self.against.first() {
            // The key that it names is told before what follows from that.
            let told = self.against.iter().find(|reason| reason.contains("another key")).unwrap_or(first);
            return Err(told.clone());
        }
        match (self.signatures, self.good, self.valid, self.plaintexts) {
            (1, 1, 1, 1) if success => Ok(()),
            (1, 1, 1, 1) => Err("it is not accepted, without a reason".to_owned()),
            (0, 0, 0, _) => Err("it has no signature".to_owned()),
            (n, ..) if n > 1 => Err(format!("it has {n} signatures, of which only one could be looked at")),
            _ => Err("it is not a message with one signature".to_owned()),
        }
    }
}

/// What a program left.
struct Ran {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// Runs a program on some input, bounded; `Ok(Err)` if it went over a bound and was killed.
fn run(command: &mut Command, input: &[u8]) -> std::io::Result<Result<Ran, String>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        child.kill()?;
        child.wait()?;
        return Err(std::io::Error::other("it has no pipes"));
    };
    let deadline = Instant::now() + TIME;
    std::thread::scope(|scope| {
        let (sender, finished) = mpsc::channel();
        // A program that has seen enough closes its end.
        scope.spawn(move || drop(stdin.write_all(input)));
        let also = sender.clone();
        let output = scope.spawn(move || bounded(stdout, MAX_PAYLOAD, &also));
        let errors = scope.spawn(move || bounded(stderr, MAX_STATUS, &sender));
        let ended = (0..2).try_for_each(|_| {
            let left = deadline.saturating_duration_since(Instant::now());
            match finished.recv_timeout(left) {
                Ok(true) => Ok(()),
                Ok(false) => Err("was stopped: the payload of a signature is not that large"),
                Err(_) => Err("was stopped: it took too long"),
            }
        });
        let status = end(&mut child, ended.is_err(), deadline)?;
        let read = |thread: std::thread::ScopedJoinHandle<'_, Vec<u8>>| thread.join().unwrap_or_default();
        let (output, errors) = (read(output), read(errors));
        Ok(ended.map(|()| Ran { status, output, errors }).map_err(str::to_owned))
    })
}

/// Reads to the end, or to the bound; says which.
fn bounded(pipe: impl Read, bound: u64, finished: &mpsc::Sender<bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let outcome = pipe.take(bound + 1).read_to_end(&mut bytes);
    // The receiver lives as long as this thread.
    let _ = finished.send(outcome.is_ok() && bytes.len() as u64 <= bound);
    bytes
}

/// Waits for a program that has closed its output; it is killed if it does not end.
fn end(child: &mut Child, kill: bool, deadline: Instant) -> std::io::Result<ExitStatus> {
    while !kill && Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[GNUPG:] NEWSIG a@b\n[GNUPG:] KEY_CONSIDERED AB 0\n[GNUPG:] SIG_ID x 2026 1\n\
        [GNUPG:] GOODSIG AB a@b\n[GNUPG:] PLAINTEXT 62 1 \n[GNUPG:] VALIDSIG AB 2026 1 0 4 0 1 8 00 AB\n";

    #[test]
    fn a_status_is_believed_as_a_whole() {
        assert_eq!(Status::parse(GOOD).verdict(true), Ok(()));
        assert!(Status::parse(GOOD).verdict(false).is_err());
        let without = |word: &str| {
            GOOD.lines()
                .filter(|line| !line.contains(word))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        for bad in [
            String::new(),
            without("GOODSIG"),
            without("VALIDSIG"),
            without("NEWSIG"),
            without("PLAINTEXT"),
            format!("{GOOD}{GOOD}"),
            format!("{GOOD}[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG CD 1 8 00 1 9 -\n[GNUPG:] NO_PUBKEY CD\n"),
            format!("{GOOD}[GNUPG:] PLAINTEXT 62 1 \n"),
            GOOD.replace("GOODSIG", "EXPKEYSIG"),
            GOOD.replace("GOODSIG", "REVKEYSIG"),
            GOOD.replace("GOODSIG", "EXPSIG"),
            GOOD.replace("GOODSIG", "BADSIG"),
            format!("{GOOD}[GNUPG:] FAILURE gpg-exit 1\n"),
            format!("{GOOD}something\n"),
            GOOD.replace("[GNUPG:] GOODSIG", "gpgv: x\r[GNUPG:] GOODSIG"),
        ] {
            assert!(Status::parse(&bad).verdict(true).is_err(), "{bad}");
        }
    }

    #[test]
    fn programs_are_bounded() {
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        };
        let ran = run(&mut shell("cat; echo x >&2"), b"in").unwrap().unwrap();
        assert_eq!((&ran.output[..], &ran.errors[..]), (&b"in"[..], &b"x\n"[..]));
        assert!(run(&mut shell("yes"), b"").unwrap().is_err(), "endless output");
        assert!(run(&mut shell("exec yes >&2"), b"").unwrap().is_err(), "endless errors");
        // One that does not read what it is sent.
        let ran = run(&mut shell("exit 3"), &vec![0; 1 << 20]).unwrap().unwrap();
        assert_eq!(ran.status.code(), Some(3));
    }
}
