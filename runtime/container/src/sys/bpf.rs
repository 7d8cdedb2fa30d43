//! bpf(2), as far as programs that decide about devices need it.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;

/// Commands of bpf(2).
const PROG_LOAD: c_int = 5;
const PROG_ATTACH: c_int = 8;
const PROG_DETACH: c_int = 9;
const PROG_GET_FD_BY_ID: c_int = 13;
const OBJ_GET_INFO_BY_FD: c_int = 15;
const PROG_QUERY: c_int = 16;

/// `BPF_PROG_TYPE_CGROUP_DEVICE` and `BPF_CGROUP_DEVICE`.
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// Others may attach programs, too, and a device must pass all of them.
const ALLOW_MULTI: u32 = 2;
/// Takes the place of another program in one step; since 5.6.
const REPLACE: u32 = 4;

/// The name of our programs: tells them from systemd's.
const NAME: &[u8; 16] = b"sampan_devices\0\0";

/// More programs than the kernel lets be attached to one cgroup (64).
const MOST_PROGRAMS: usize = 64;

/// `struct bpf_insn` of linux/bpf.h; `registers` holds the destination in its low and the source in its high half.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BpfInstruction {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) value: i32,
}

/// Calls bpf(2) with the first fields of `union bpf_attr`.
///
/// # Safety
/// Pointers in `attributes` must be valid for what `command` does with them.
unsafe fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<c_int> {
    // SAFETY: the structure is valid for its size; for the pointers in it the caller vouches.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as c_int)
}

/// Loads a program that decides about devices.
pub(crate) fn load_device_program(program: &[BpfInstruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        name: [u8; 16],
    }
    let mut load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        name: *NAME,
    };
    // SAFETY: the kernel copies the instructions and the license from where they are, and checks the program.
    let fd = unsafe { bpf(PROG_LOAD, &mut load)? };
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The fields of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

impl Attach {
    fn new(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> Self {
        Attach {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: program.as_raw_fd() as u32,
            attach_type: CGROUP_DEVICE,
            attach_flags: 0,
            replace_bpf_fd: 0,
        }
    }
}

/// Attaches a program to a cgroup, beside those that are there.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> io::Result<()> {
    let mut attach = Attach { attach_flags: ALLOW_MULTI, ..Attach::new(cgroup, program) };
    // SAFETY: numbers only.
    unsafe { bpf(PROG_ATTACH, &mut attach)? };
    Ok(())
}

/// Puts a program into the place of `old`, so that there is no moment with both or none of them.
pub(crate) fn replace_device_program(
    cgroup: BorrowedFd<'_>,
    program: &OwnedFd,
    old: &OwnedFd,
) -> io::Result<()> {
    let mut attach = Attach {
        attach_flags: ALLOW_MULTI | REPLACE,
        replace_bpf_fd: old.as_raw_fd() as u32,
        ..Attach::new(cgroup, program)
    };
    // SAFETY: numbers only.
    unsafe { bpf(PROG_ATTACH, &mut attach)? };
    Ok(())
}

/// Takes a program away from a cgroup.
pub(crate) fn detach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> io::Result<()> {
    // SAFETY: numbers only.
    unsafe { bpf(PROG_DETACH, &mut Attach::new(cgroup, program))? };
    Ok(())
}

/// Our programs that are attached to this cgroup itself.
pub(crate) fn own_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    #[repr(C)]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        padding: u32,
    }
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = Query {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: the kernel writes at most `prog_cnt` numbers, and so many there is room for.
    unsafe { bpf(PROG_QUERY, &mut query)? };
    let mut own = Vec::new();
    for id in ids.iter().take(query.prog_cnt as usize) {
        let mut by_id = [*id, 0, 0];
        // SAFETY: numbers only.
        let fd = match unsafe { bpf(PROG_GET_FD_BY_ID, &mut by_id) } {
            // Gone since we have asked.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            fd => fd?,
        };
        // SAFETY: a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if name_of(&fd)? == *NAME {
            own.push(fd);
        }
    }
    Ok(own)
}

fn name_of(program: &OwnedFd) -> io::Result<[u8; 16]> {
    /// The first fields of `struct bpf_prog_info`: what comes before the name is of no interest here.
    #[repr(C)]
    struct Info {
        before: [u64; 8],
        name: [u8; 16],
    }
    #[repr(C)]
    struct Get {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = Info { before: [0; 8], name: [0; 16] };
    let mut get = Get {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of::<Info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes; all lengths of lists in it are zero.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut get)? };
    Ok(info.name)
}
