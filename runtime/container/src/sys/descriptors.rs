//! Closing descriptors that nobody asked for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_uint};

use super::check;

/// close_range(2): closes every descriptor from `first` on but those in `keep`. For a process that is about to execute
/// a program or to end: whatever else in it believes to own a descriptor owns none any more.
///
/// Marking them close-on-exec isn't enough where a container can look into a process before its execve.
pub(crate) fn close_others(first: u32, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    for (from, to) in gaps(first, &kept) {
        // SAFETY: closes descriptors and touches no memory. The caller owns the whole process, see above.
        check(unsafe { libc::syscall(libc::SYS_close_range, from as c_uint, to as c_uint, 0 as c_int) })?;
    }
    Ok(())
}

/// The ranges between `kept`, which is sorted, from `first` to the largest number.
fn gaps(first: u32, kept: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges = Vec::with_capacity(kept.len() + 1);
    let mut from = first;
    for &fd in kept.iter().filter(|&&fd| fd >= first) {
        if fd > from {
            ranges.push((from, fd - 1));
        }
        from = from.max(fd + 1);
    }
    ranges.push((from, u32::MAX));
    ranges
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn ranges_leave_out_what_is_kept() {
        assert_eq!(gaps(3, &[]), [(3, u32::MAX)]);
        assert_eq!(gaps(3, &[3, 4, 9]), [(5, 8), (10, u32::MAX)]);
        assert_eq!(gaps(5, &[1, 3, 7, 7]), [(5, 6), (8, u32::MAX)]);
        assert_eq!(gaps(u32::MAX, &[4]), [(u32::MAX, u32::MAX)]);
    }
}
