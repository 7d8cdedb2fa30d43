//! Closing descriptors that nobody asked for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_uint};

use super::check;

/// How many descriptors are looked at one by one.
const LOOKED_AT: u32 = 1 << 16;

/// close_range(2): closes every descriptor from `first` on but those in `keep`, and between the standard streams and
/// `first` those that wouldn't get to the program: where the caller has passed fewer than it has said, they are this
/// process's own (the lock of its maker, for one, which would be held as long as this process waits). For a process that is about to execute
/// a program or to end: whatever else in it believes to own a descriptor owns none any more.
///
/// Marking them close-on-exec isn't enough where a container can look into a process before its execve.
pub(crate) fn close_others(first: u32, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    let looked_at = first.min(3 + LOOKED_AT);
    kept.extend((3..looked_at).filter(|&number| is_passed(number)));
    kept.sort_unstable();
    for (from, to) in gaps(3, looked_at, &kept).into_iter().chain(gaps(first, u32::MAX, &kept)) {
        // SAFETY: closes descriptors and touches no memory. The caller owns the whole process, see above.
        check(unsafe { libc::syscall(libc::SYS_close_range, from as c_uint, to as c_uint, 0 as c_int) })?;
    }
    Ok(())
}

/// Takes the descriptors among the `count` from 3 on that the caller has passed, and marks them close-on-exec. What this
/// process has opened itself is so marked already, and stays out.
pub(crate) fn take_passed(count: u32) -> Vec<OwnedFd> {
    let passed = (3..3u32.saturating_add(count.min(LOOKED_AT))).filter(|&number| is_passed(number));
    passed
        .map(|number| {
            // SAFETY: sets a flag, so that it is not taken for passed a second time.
            unsafe { libc::fcntl(number as c_int, libc::F_SETFD, libc::FD_CLOEXEC) };
            // SAFETY: it is open, and nothing in this process has opened it: that would have been close-on-exec.
            unsafe { OwnedFd::from_raw_fd(number as c_int) }
        })
        .collect()
}

/// Whether this is open and stays so over an execve.
fn is_passed(number: u32) -> bool {
    // SAFETY: reads a flag.
    let flags = unsafe { libc::fcntl(number as c_int, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// The ranges between `kept`, which is sorted, from `first` up to `end`, without the latter if it isn't the largest.
fn gaps(first: u32, end: u32, kept: &[u32]) -> Vec<(u32, u32)> {
    let last = if end == u32::MAX { end } else { end - 1 };
    let mut ranges = Vec::with_capacity(kept.len() + 1);
    let mut from = first;
    for &fd in kept.iter().filter(|&&fd| fd >= first && fd <= last) {
        if fd > from {
            ranges.push((from, fd - 1));
        }
        from = from.max(fd + 1);
    }
    if from <= last {
        ranges.push((from, last));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn ranges_leave_out_what_is_kept() {
        const MAX: u32 = u32::MAX;
        assert_eq!(gaps(3, MAX, &[]), [(3, MAX)]);
        assert_eq!(gaps(3, MAX, &[3, 4, 9]), [(5, 8), (10, MAX)]);
        assert_eq!(gaps(5, MAX, &[1, 3, 7, 7]), [(5, 6), (8, MAX)]);
        assert_eq!(gaps(MAX, MAX, &[4]), [(MAX, MAX)]);
        assert_eq!(gaps(3, 3, &[4]), []);
        assert_eq!(gaps(3, 10, &[4, 9, 12]), [(3, 3), (5, 8)]);
    }
}
