//! Runs commands many times, taking turns, and says how long each took and what memory it held at most.
//!
//! `measure ROUNDS <TABLE`: each line of the table is a name and commands, separated by tabs; a lone `;` between two
//! commands runs them one after the other as one candidate, what stands before a lone `!` prepares and isn't counted,
//! and `@` in a word is replaced by the number of the round.
//! Prints lines "NAME MILLISECONDS", and on standard error lines "NAME: N KiB", the largest resident set of any process
//! of the candidate's commands that they waited for. A command that fails ends it all.

use std::io::{self, Read};
use std::process::{Command, Stdio, exit};
use std::time::Instant;

/// `struct rusage` of getrusage(2) on 64-bit Linux: two times of two words each, then the largest resident set in KiB.
type Usage = [i64; 18];
const MAX_RSS: usize = 4;

unsafe extern "C" {
    fn wait4(pid: i32, status: *mut i32, options: i32, usage: *mut Usage) -> i32;
}

/// Runs one command. Returns its largest resident set.
fn run(words: &[String]) -> Result<i64, String> {
    let (program, arguments) = words.split_first().ok_or("an empty command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    let (mut status, mut usage) = (0, [0; 18]);
    // SAFETY: both are valid for writing, and `Usage` is at least as large as the kernel's structure.
    let ended = unsafe { wait4(child.id() as i32, &mut status, 0, &mut usage) };
    match (ended > 0, status) {
        (true, 0) => Ok(usage[MAX_RSS]),
        _ => Err(format!("{words:?} ended with wait status {status:#x}")),
    }
}

type Commands = Vec<Vec<String>>;

struct Candidate {
    name: String,
    prepare: Commands,
    commands: Commands,
    peak: i64,
}

fn candidate(line: &str) -> Candidate {
    let mut words = line.split('\t').map(str::to_owned);
    let name = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let commands = |words: &[String]| words.split(|word| word == ";").map(<[String]>::to_vec).collect();
    match words.iter().position(|word| word == "!") {
        Some(at) => Candidate { name, prepare: commands(&words[..at]), commands: commands(&words[at + 1..]), peak: 0 },
        None => Candidate { name, prepare: Vec::new(), commands: commands(&words), peak: 0 },
    }
}

/// Runs commands one after the other. Returns the largest resident set of any, or leaves when one fails.
fn all(name: &str, commands: &Commands, round: u32) -> i64 {
    let mut peak = 0;
    for words in commands {
        let words: Vec<String> = words.iter().map(|word| word.replace('@', &round.to_string())).collect();
        match run(&words) {
            Ok(held) => peak = peak.max(held),
            Err(reason) => {
                eprintln!("measure: {name}: {reason}");
                exit(1);
            }
        }
    }
    peak
}

fn main() {
    let rounds: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(50);
    let mut table = String::new();
    io::stdin().read_to_string(&mut table).expect("a table on standard input");
    let mut candidates: Vec<Candidate> = table.lines().map(candidate).collect();
    // The first round isn't counted: it fills caches.
    for round in 0..=rounds {
        for candidate in &mut candidates {
            all(&candidate.name, &candidate.prepare, round);
            let begin = Instant::now();
            let peak = all(&candidate.name, &candidate.commands, round);
            let took = begin.elapsed();
            candidate.peak = candidate.peak.max(peak);
            if round > 0 {
                println!("{} {:.3}", candidate.name, took.as_secs_f64() * 1e3);
            }
        }
    }
    for candidate in &candidates {
        eprintln!("{}: {} KiB", candidate.name.replace('_', " "), candidate.peak);
    }
}
