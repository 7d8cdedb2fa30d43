//! The system calls that no crate wraps safely, and the only `unsafe` code of this crate.
//!
//! Every function here is safe to call: what the kernel demands of pointers and lengths is met inside.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_char, c_int, c_long, c_uint, c_ulong};

pub(crate) mod bpf;
pub(crate) mod descriptors;
pub(crate) mod trampoline;

/// Which side of [`clone3`] the caller finds itself on.
pub(crate) enum Side {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Whether the calling process has one thread only (unshare(2): `CLONE_THREAD` fails with EINVAL otherwise,
/// and does nothing if so). Cheaper than reading procfs, and works without it.
pub(crate) fn single_threaded() -> bool {
    // SAFETY: CLONE_THREAD changes nothing in a process with one thread, and fails in others.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// clone3(2) without a stack: the child goes on with a copy of the caller, as after fork(2).
///
/// Refused in a process with several threads: the child would have a copy of locks (the allocator's) that
/// no thread of it ever releases.
pub(crate) fn clone3(flags: c_int, exit_signal: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    // A thread that was joined stays in the thread group for a moment: the join wakes before the kernel is done.
    let mut patience = 1000;
    while !single_threaded() {
        if patience == 0 {
            return Err(io::Error::other("the calling process has more than one thread"));
        }
        patience -= 1;
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    let mut pidfd: c_int = -1;
    let mut arguments = CloneArgs {
        flags: flags as u32 as u64 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: exit_signal as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure is valid for its size and `pidfd` outlives the call. Without CLONE_VM the child
    // has its own copy of memory; the process has one thread, so that copy is whole.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: CLONE_PIDFD put a new descriptor there that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Side::Parent { pid: pid as i32, pidfd })
}

/// Whether the process has a SIGKILL that it won't survive, or has ended, also where nobody has waited for it: EINVAL of
/// process_mrelease(2), which frees the memory of such processes only, is all there is to know about others.
pub(crate) fn is_being_killed(pidfd: BorrowedFd<'_>) -> bool {
    // SAFETY: takes numbers. The memory of the process that is freed isn't ours: it was cloned without CLONE_VM.
    match check(unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd.as_raw_fd(), 0) }) {
        Ok(_) => true,
        Err(error) => {
            matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EAGAIN | libc::EINTR))
        }
    }
}

/// unshare(2), `CLONE_NEWCGROUP`: the root of the new cgroup namespace is the cgroup that this process is in.
pub(crate) fn unshare_cgroups() -> io::Result<()> {
    // SAFETY: replaces a namespace of this process, and no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into())?;
    Ok(())
}

/// The proof that this process has one thread, for [`fork_sibling`]; whoever has it starts no other.
#[derive(Debug)]
pub(crate) struct Alone(());

impl Alone {
    /// Asks the kernel, by a call that filters in use refuse, or kill for: before one is loaded.
    pub(crate) fn prove() -> io::Result<Self> {
        match single_threaded() {
            true => Ok(Alone(())),
            false => Err(io::Error::other("the calling process has more than one thread")),
        }
    }
}

/// clone(2) with `CLONE_PARENT`: as fork(2), but the child is a sibling, with the caller's exit signal. 0: the caller is
/// the child.
///
/// The older system call, because filters in use refuse clone3(2): they can't look at its flags.
pub(crate) fn fork_sibling(_: &Alone) -> io::Result<i32> {
    // s390x has the stack first; a null stack and no flag that needs the others make the order of the rest irrelevant.
    let (first, second) = match cfg!(target_arch = "s390x") {
        true => (0, libc::CLONE_PARENT as c_ulong),
        false => (libc::CLONE_PARENT as c_ulong, 0),
    };
    // SAFETY: without CLONE_VM the child goes on with its own copy of memory; the process has one thread, so that copy
    // is whole.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, first, second, 0, 0, 0) })?;
    Ok(pid as i32)
}

/// Of linux/sched.h; libc's constant doesn't fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h, version 2 (5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns: u64,
}

/// mount_setattr(2) on the mount `mount`, and all below it if `recursive`.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, the structure is valid for the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags as c_uint,
            attr as *const MountAttr,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// One instruction of a filter (`struct sock_filter`): 8 bytes.
pub(crate) const BPF_INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// seccomp(2), `SECCOMP_SET_MODE_FILTER`. `program` is BPF code in memory order; with the flag
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` the listener comes back.
pub(crate) fn seccomp(program: &[u8], flags: u64) -> io::Result<Option<OwnedFd>> {
    let length = program.len() / BPF_INSTRUCTION;
    if length * BPF_INSTRUCTION != program.len() || length > u16::MAX.into() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let code: Vec<libc::sock_filter> = program
        .chunks_exact(BPF_INSTRUCTION)
        .map(|b| libc::sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let program = libc::sock_fprog { len: length as u16, filter: code.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` instructions, which the kernel copies and checks.
    let result = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with this flag the result is a new descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as c_int) }))
}

/// ioctl(2) `SIOCSIFFLAGS`: brings up the loopback device of the caller's network namespace, which must be a new one:
/// no flag is set there yet that would be lost. The socket is only the way in, so it is of the cheapest kind.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: zero is a valid ifreq: an empty name, and numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is valid for the call, and its name ends with a zero.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())?;
    Ok(())
}

/// keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`: a new session keyring of this name.
pub(crate) fn join_session_keyring(name: &CStr) -> io::Result<()> {
    // SAFETY: the argument is a C string.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(())
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC`: every descriptor from `first` on is closed by the next execve.
pub(crate) fn cloexec_from(first: u32) -> io::Result<()> {
    // SAFETY: sets a flag on descriptors; none is closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Makes every signal do what it does by default, and blocks none. By the system call itself, because libc keeps
/// two real-time signals to itself, which may be ignored in what we inherited, too.
pub(crate) fn reset_signals() -> io::Result<()> {
    const SIGNALS: c_int = 64;
    const SET_SIZE: usize = 8;
    // `struct sigaction` of the kernel, all zero: SIG_DFL, no flags, nothing blocked meanwhile.
    let default = [0u64; 4];
    for signal in (1..=SIGNALS).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s)) {
        // SAFETY: the structure is valid and as large as the kernel's; no handler is installed.
        check(unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), SET_SIZE)
        })?;
    }
    let none = 0u64;
    // SAFETY: the set is valid for the size given.
    check(unsafe {
        let (how, old) = (libc::SIG_SETMASK, ptr::null::<u64>());
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const none, old, SET_SIZE)
    })?;
    Ok(())
}

/// Arguments or an environment as execve(2) wants them.
pub(crate) struct Strings {
    pointers: Vec<*const c_char>,
    owner: Vec<CString>,
}

impl Strings {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Strings { pointers, owner: strings }
    }

    /// Puts a string in the place of those that begin so.
    pub(crate) fn replace(&mut self, prefix: &[u8], string: CString) {
        for (pointer, owned) in self.pointers.iter_mut().zip(&mut self.owner) {
            if owned.as_bytes().starts_with(prefix) {
                *owned = string.clone();
                *pointer = owned.as_ptr();
            }
        }
    }
}

/// execveat(2) of the file behind `program` itself. Comes back only if it fails.
pub(crate) fn fexecve(program: BorrowedFd<'_>, arguments: &Strings, env: &Strings) -> io::Error {
    // SAFETY: both lists end with a null pointer and their strings live as long as they.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// execve(2). Comes back only if it fails.
pub(crate) fn execve(program: &CStr, arguments: &Strings, env: &Strings) -> io::Error {
    // SAFETY: the path is a C string; both lists end with a null pointer and their strings live as long as they.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// pidfd_send_signal(2) with a plain number: real-time signals have no names.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: without a siginfo the kernel reads no memory.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })?;
    Ok(())
}

/// Ends the process at once: no destructors, no flushing of what the parent has buffered.
pub(crate) fn exit(status: u8) -> ! {
    // SAFETY: always safe; it does not return.
    unsafe { libc::_exit(status.into()) }
}

/// personality(2).
pub(crate) fn personality(domain: c_ulong) -> io::Result<()> {
    // SAFETY: takes a number.
    check(unsafe { libc::personality(domain) }.into())?;
    Ok(())
}

/// ioprio_set(2) for a thread: class (1 real time, 2 best effort, 3 idle) and priority (0 to 7).
pub(crate) fn ioprio_set(pid: i32, class: c_int, priority: c_int) -> io::Result<()> {
    const WHO_PROCESS: c_int = 1;
    // SAFETY: takes numbers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid, (class << 13) | priority) })?;
    Ok(())
}

/// `struct sched_attr` of linux/sched/types.h, version 1 (5.3); `size` is filled in by [`sched_setattr`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
    pub(crate) util_min: u32,
    pub(crate) util_max: u32,
}

/// sched_setattr(2) for a thread.
pub(crate) fn sched_setattr(pid: i32, attr: &SchedAttr) -> io::Result<()> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: the structure is valid and says its size itself.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) })?;
    Ok(())
}

/// set_mempolicy(2) for the calling thread; `nodes` is a set of bits.
pub(crate) fn set_mempolicy(mode: c_int, nodes: &[u64]) -> io::Result<()> {
    // The kernel takes one bit less than it is told, and for no bits no pointer.
    let (set, bits) = match nodes {
        [] => (ptr::null(), 0),
        nodes => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the kernel reads no more than the words of `nodes`: it takes `bits - 1`.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, set, bits) })?;
    Ok(())
}

/// The end of a process, by descriptor.
/// `waitid(P_PIDFD, WEXITED)`: exit status, or 128 plus the signal.
pub(crate) fn wait_exit(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    loop {
        // SAFETY: zero is a valid siginfo_t, which waitid fills in.
        let (result, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let result = libc::waitid(
                libc::P_PIDFD,
                pidfd.as_raw_fd() as libc::id_t,
                &mut info,
                libc::WEXITED | libc::__WALL,
            );
            (result, info)
        };
        if result == 0 {
            // SAFETY: waitid succeeded, so the fields of SIGCHLD are there.
            let status = unsafe { info.si_status() };
            return Ok(match info.si_code {
                libc::CLD_EXITED => status,
                _ => 128 + status,
            });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
