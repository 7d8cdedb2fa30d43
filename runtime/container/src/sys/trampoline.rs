//! The last program of ours that a container's process executes: a few instructions in a sealed memory file.
//!
//! Why: a program in the image may begin with `#!/proc/self/exe`, or be exchanged for one that does while we
//! start it. The kernel then executes *our* executable as the interpreter, in the container, with libraries of
//! the container's choice, and code that runs there can open `/proc/self/exe` and overwrite the host's file
//! (CVE-2019-5736). The kernel resolves that link inside execve(2), so no check before it is free of a race.
//! Therefore the process gives up its executable first: it executes this file, which exists only in memory,
//! is sealed against every change, holds nothing of the host, and does one thing: it executes the program.
//! Whoever asks for `/proc/self/exe` then finds these instructions. It costs about 0.1 ms, a sealed copy of the
//! whole runtime (what others do) several.
//!
//! Its arguments are [`MARK`], the path to execute, and the program's own argument vector. Without the mark it does
//! nothing: a script that names it as its interpreter would run in circles. If execve fails it
//! writes a line to standard error, chosen by errno from the table behind the code, and exits with 126 or 127.
//!
//! The code is position-independent and uses no stack, so an ELF header in front of it makes a program.

use std::arch::global_asm;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .rodata.sampan_trampoline, \"a\"",
    ".globl sampan_trampoline_start",
    ".hidden sampan_trampoline_start",
    ".globl sampan_trampoline_end",
    ".hidden sampan_trampoline_end",
    "sampan_trampoline_start:",
    "mov r9d, 40",        // ELOOP, if the kernel started us as an interpreter:
    "mov rax, [rsp + 8]", // then argv[0] is not the mark
    "movabs rdx, 0x006e61706d617301",
    "cmp [rax], rdx",
    "jne 4f",
    "mov rcx, [rsp]",              // argc
    "mov rdi, [rsp + 16]",         // argv[1]: what to execute
    "lea rsi, [rsp + 24]",         // argv + 2
    "lea rdx, [rsp + rcx*8 + 16]", // envp
    "mov eax, 59",                 // execve
    "syscall",
    "neg eax",
    "mov r9d, eax",
    "4:",
    "lea r8, [rip + sampan_trampoline_end]",
    "2:", // find the record of this errno; errno 0 ends the table
    "movzx ecx, word ptr [r8]",
    "cmp ecx, r9d",
    "je 3f",
    "test ecx, ecx",
    "je 3f",
    "add r8, 512",
    "jmp 2b",
    "3:",
    "mov edi, 2", // write(2, text, length)
    "lea rsi, [r8 + 8]",
    "mov edx, dword ptr [r8 + 4]",
    "mov eax, 1",
    "syscall",
    "movzx edi, word ptr [r8 + 2]",
    "mov eax, 231", // exit_group
    "syscall",
    "ud2",
    ".balign 8",
    "sampan_trampoline_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .rodata.sampan_trampoline, \"a\"",
    ".globl sampan_trampoline_start",
    ".hidden sampan_trampoline_start",
    ".globl sampan_trampoline_end",
    ".hidden sampan_trampoline_end",
    ".balign 8",
    "sampan_trampoline_start:",
    "mov w9, #40",      // ELOOP, if the kernel started us as an interpreter:
    "ldr x4, [sp, #8]", // then argv[0] is not the mark
    "ldr x4, [x4]",
    "movz x5, #0x7301",
    "movk x5, #0x6d61, lsl #16",
    "movk x5, #0x6170, lsl #32",
    "movk x5, #0x006e, lsl #48",
    "cmp x4, x5",
    "b.ne 4f",
    "ldr x3, [sp]",      // argc
    "ldr x0, [sp, #16]", // argv[1]: what to execute
    "add x2, sp, #16",
    "add x2, x2, x3, lsl #3", // envp
    "add x1, sp, #24",        // argv + 2
    "mov x8, #221",           // execve
    "svc #0",
    "neg w9, w0",
    "4:",
    "adr x10, sampan_trampoline_end",
    "2:", // find the record of this errno; errno 0 ends the table
    "ldrh w3, [x10]",
    "cmp w3, w9",
    "b.eq 3f",
    "cbz w3, 3f",
    "add x10, x10, #512",
    "b 2b",
    "3:",
    "mov x0, #2", // write(2, text, length)
    "add x1, x10, #8",
    "ldr w2, [x10, #4]",
    "mov x8, #64",
    "svc #0",
    "ldrh w0, [x10, #2]",
    "mov x8, #94", // exit_group
    "svc #0",
    "brk #0",
    ".balign 8",
    "sampan_trampoline_end:",
    ".popsection",
);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("write the dozen instructions of the trampoline for this architecture");

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

unsafe extern "C" {
    static sampan_trampoline_start: u8;
    static sampan_trampoline_end: u8;
}

/// What the argument vector begins with; the code compares its 8 bytes.
pub(crate) const MARK: &CStr = c"\x01sampan";

/// Size of a record: errno (u16, 0 in the last), exit status (u16), length (u32), text.
const RECORD: usize = 512;
const TEXT: usize = RECORD - 8;

/// What execve(2) can still refuse after the program was found to be executable, and what that means.
const REASONS: &[(i32, u8, &str)] = &[
    (
        libc::ENOENT,
        127,
        "its interpreter or dynamic loader does not exist in the container (No such file or directory)",
    ),
    (
        libc::ENOEXEC,
        126,
        "it is neither a program for this machine nor a script that begins with #! (Exec format error)",
    ),
    (
        libc::EACCES,
        126,
        "it, its interpreter or a directory on the way may not be executed by this user, or its file system is mounted noexec (Permission denied)",
    ),
    (libc::EPERM, 126, "Operation not permitted"),
    (libc::E2BIG, 126, "arguments and environment are too long (Argument list too long)"),
    (libc::ELOOP, 126, "too many levels of symbolic links or interpreters"),
    (libc::ELIBBAD, 126, "its interpreter is no ELF file of this machine"),
    (libc::EINVAL, 126, "it names more than one interpreter (Invalid argument)"),
    (libc::EISDIR, 126, "its interpreter is a directory"),
    (libc::ENOTDIR, 127, "a part of its interpreter's path is no directory"),
    (libc::ETXTBSY, 126, "it is open for writing (Text file busy)"),
    (libc::ENOMEM, 126, "Cannot allocate memory"),
    (libc::EAGAIN, 126, "the user's limit of processes is reached (Resource temporarily unavailable)"),
    (libc::EIO, 126, "Input/output error"),
    (libc::ENAMETOOLONG, 126, "its interpreter's path is too long"),
    (0, 126, "execve failed for a reason that execve(2) does not list"),
];

/// Makes the sealed program, with messages that name `program`.
pub(crate) fn make(program: &str) -> io::Result<OwnedFd> {
    let image = image(program);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(c"sampan", flags | MemfdFlags::EXEC) {
        // Before 6.3 there is no such flag, and every memory file may be executed.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(c"sampan", flags),
        file => file,
    }?;
    let mut rest = image.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    seal(&file)?;
    Ok(file)
}

/// What a file in memory is that nobody can change any more.
pub(crate) const SEALED: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Seals a file in memory. The kernel refuses while a page of it is in use, which it may be for a moment after it was
/// written (memfd_wait_for_pins of mm/memfd.c): then it is asked again.
pub(crate) fn seal(file: &OwnedFd) -> io::Result<()> {
    for _ in 0..50 {
        match rustix::fs::fcntl_add_seals(file, SEALED) {
            Err(rustix::io::Errno::BUSY) => std::thread::sleep(std::time::Duration::from_millis(2)),
            result => return Ok(result?),
        }
    }
    Ok(rustix::fs::fcntl_add_seals(file, SEALED)?)
}

fn code() -> &'static [u8] {
    // SAFETY: both symbols are labels in one section of this program's read-only data, the second after the
    // first with only the code between them.
    unsafe {
        let start = &raw const sampan_trampoline_start;
        let end = &raw const sampan_trampoline_end;
        std::slice::from_raw_parts(start, end.offset_from_unsigned(start))
    }
}

/// An ELF file of one readable and executable segment: header, code, table of messages.
fn image(program: &str) -> Vec<u8> {
    const HEADERS: usize = 64 + 56;
    const BASE: u64 = 0x10_0000;
    let code = code();
    let size = HEADERS + code.len() + REASONS.len() * RECORD;
    let mut elf = Vec::with_capacity(size);
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend_from_slice(&2u16.to_le_bytes()); // ET_EXEC
    elf.extend_from_slice(&MACHINE.to_le_bytes());
    elf.extend_from_slice(&1u32.to_le_bytes());
    elf.extend_from_slice(&(BASE + HEADERS as u64).to_le_bytes()); // entry
    elf.extend_from_slice(&64u64.to_le_bytes()); // program headers
    elf.extend_from_slice(&0u64.to_le_bytes()); // no sections
    elf.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    elf.extend_from_slice(&1u32.to_le_bytes()); // PT_LOAD
    elf.extend_from_slice(&5u32.to_le_bytes()); // readable, executable
    for word in [0, BASE, BASE, size as u64, size as u64, 0x1000] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    elf.extend_from_slice(code);
    let program: String = program.chars().take(200).collect();
    for (errno, status, reason) in REASONS {
        let text = format!("sampan: {program:?} can't be executed: {reason}\n");
        let text = &text.as_bytes()[..text.len().min(TEXT)];
        elf.extend_from_slice(&(*errno as u16).to_le_bytes());
        elf.extend_from_slice(&u16::from(*status).to_le_bytes());
        elf.extend_from_slice(&(text.len() as u32).to_le_bytes());
        elf.extend_from_slice(text);
        elf.resize(elf.len() + TEXT - text.len(), 0);
    }
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_one_whole_segment() {
        let image = image(&"x".repeat(5000));
        assert_eq!(image.len(), 120 + code().len() + REASONS.len() * RECORD);
        assert_eq!(code().len() % 8, 0);
        assert!(code().len() < 256);
    }

    #[test]
    fn the_file_is_sealed() {
        let file = make("/bin/true").unwrap();
        let error = rustix::io::pwrite(&file, b"x", 0).unwrap_err();
        assert_eq!(error, rustix::io::Errno::PERM);
    }
}
