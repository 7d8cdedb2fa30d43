//! Waits until something about the containers changes.
//!
//! inotify(7) tells of directories that come and go and of state files that are replaced; a pidfd
//! tells of a first process that ends, which no file says until `ExecStopPost=` has run.

use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use sampan_container::process;
use sampan_container::state::Containers;

use crate::record::Record;
use crate::{Error, Result};

/// Changes come in groups (a directory, a Spec, a state, a state again): after the first one
/// this long passes before the containers are read.
const GATHER: Duration = Duration::from_millis(5);

/// A process: its id and when it started.
type Process = (u32, Option<u64>);

/// Watches one directory of containers.
#[derive(Debug)]
pub(super) struct Watch {
    root: PathBuf,
    inotify: OwnedFd,
    /// First processes that run.
    running: HashMap<Process, OwnedFd>,
    /// First processes that have ended though their state still calls them running.
    ended: Vec<Process>,
}

impl Watch {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(Error::watch("inotify_init", root))?;
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, root, flags).map_err(Error::watch("inotify_add_watch", root))?;
        Ok(Self { root: root.to_owned(), inotify, running: HashMap::new(), ended: Vec::new() })
    }

    /// Watches the directory of every container. Call it before reading them: what changes in
    /// between is then seen by the one or the other.
    pub(super) fn follow(&self, containers: &Containers) -> Result<()> {
        for dir in containers.list()? {
            let flags = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            match inotify::add_watch(&self.inotify, dir.path(), flags) {
                // The kernel drops the watch of a directory that is removed.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(Error::watch("inotify_add_watch", dir.path())(error)),
            }
        }
        Ok(())
    }

    /// Opens the first processes of containers that run, and marks those as stopped whose process
    /// is known to have ended.
    pub(super) fn amend(&mut self, records: BTreeMap<String, Record>) -> Result<BTreeMap<String, Record>> {
        let processes: Vec<Process> = records.values().map(process_of).collect();
        self.running.retain(|process, _| processes.contains(process));
        self.ended.retain(|process| processes.contains(process));
        let mut amended = BTreeMap::new();
        for (name, record) in records {
            let process = process_of(&record);
            if record.pid != 0 && !self.running.contains_key(&process) && !self.ended.contains(&process) {
                let pid = i32::try_from(record.pid).unwrap_or_default();
                match process::open(pid, record.start_time)? {
                    Some(pidfd) => drop(self.running.insert(process, pidfd)),
                    None => self.ended.push(process),
                }
            }
            let over = record.pid != 0 && self.ended.contains(&process);
            amended.insert(name, if over { record.ended() } else { record });
        }
        Ok(amended)
    }

    /// Waits for a change, for `wake` or for the end of the timeout. Says whether there was a change.
    pub(super) fn wait(&mut self, wake: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool> {
        let processes: Vec<Process> = self.running.keys().copied().collect();
        let ready = {
            let mut fds = vec![
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::from_borrowed_fd(wake, PollFlags::IN),
            ];
            fds.extend(
                processes
                    .iter()
                    .map(|process| PollFd::from_borrowed_fd(self.running[process].as_fd(), PollFlags::IN)),
            );
            let timeout = timeout.map(timespec);
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::watch("poll", &self.root)(error)),
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>()
        };
        if ready[1] {
            // Only its being readable has a meaning.
            let _ = rustix::io::read(wake, &mut [0_u8; 8]);
        }
        let over = processes.into_iter().zip(&ready[2..]).filter(|(_, ready)| **ready);
        let over: Vec<Process> = over.map(|(process, _)| process).collect();
        for process in &over {
            self.running.remove(process);
            self.ended.push(*process);
        }
        if ready[0] {
            std::thread::sleep(GATHER);
            self.drain()?;
        }
        Ok(ready[0] || !over.is_empty())
    }

    /// Takes all events off the queue: which they were does not matter.
    fn drain(&self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(Error::watch("read inotify of", &self.root)(error)),
            }
        }
    }
}

fn process_of(record: &Record) -> Process {
    (record.pid, record.start_time)
}

/// Rounded up to a millisecond, or a wait would end just before its time again and again.
fn timespec(duration: Duration) -> Timespec {
    let duration = duration + Duration::from_millis(1);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
