//! Which devices the processes of a cgroup may use: a small BPF program (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! In version 2 there are no files for this. The program answers each open or mknod of a device. It looks at the
//! rules from the last to the first, because later rules win: a rule that allows takes its kinds of access off
//! what was asked for, and if nothing is left the answer is yes; one that forbids any of what is left is a no.

use std::os::fd::BorrowedFd;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Call, Error, Result};
use crate::sys::bpf::{self, BpfInstruction};

/// `BPF_DEVCG_ACC_*`.
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// `BPF_DEVCG_DEV_*`.
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

/// A rule in the program's terms; `None` matches everything.
#[derive(Clone, Copy, Debug)]
struct Rule {
    allow: bool,
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

/// What every container may use, whatever its rules say, as in runc: its own default devices and terminals, and
/// making nodes, which is of no use without a rule that allows opening them.
const ALWAYS: &[Rule] = &[
    allowed(BLOCK, None, None, MKNOD),
    allowed(CHARACTER, None, None, MKNOD),
    allowed(CHARACTER, Some(1), Some(3), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(1), Some(5), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(1), Some(7), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(1), Some(8), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(1), Some(9), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(5), Some(0), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(5), Some(2), READ | WRITE | MKNOD),
    allowed(CHARACTER, Some(136), None, READ | WRITE | MKNOD),
];

const fn allowed(kind: u32, major: Option<u32>, minor: Option<u32>, access: u32) -> Rule {
    Rule { allow: true, kind: Some(kind), major, minor, access }
}

/// Loads the program for `rules` and attaches it to the cgroup. If there is one of ours, it is replaced.
pub(super) fn attach(
    cgroup: BorrowedFd<'_>,
    path: &Path,
    rules: &[LinuxDeviceCgroup],
    fresh: bool,
) -> Result<()> {
    let mut all = Vec::new();
    for rule in rules {
        all.extend(convert(rule)?);
    }
    // A privileged container's: there is nothing to decide, and nothing of ours yet that would have to go.
    if fresh && allows_everything(&all) {
        return Ok(());
    }
    all.extend(ALWAYS);
    let call = || format!("device rules of {}", path.display());
    let new = bpf::load_device_program(&program(&all)).call(call)?;
    let mut old = match fresh {
        true => Vec::new(),
        false => bpf::own_device_programs(cgroup).call(call)?,
    };
    match old.pop() {
        None => return bpf::attach_device_program(cgroup, &new).call(call),
        // Since 5.6. Before, both are there for a moment, and a device must pass both.
        Some(last) if bpf::replace_device_program(cgroup, &new, &last).is_err() => {
            bpf::attach_device_program(cgroup, &new).call(call)?;
            old.push(last);
        }
        Some(_) => {}
    }
    for program in old {
        bpf::detach_device_program(cgroup, &program).call(call)?;
    }
    Ok(())
}

/// Whether these rules forbid anything.
pub(super) fn restrict(rules: &[LinuxDeviceCgroup]) -> Result<bool> {
    let converted: Vec<Vec<Rule>> = rules.iter().map(convert).collect::<Result<_>>()?;
    Ok(!rules.is_empty() && !allows_everything(&converted.concat()))
}

/// The program for these rules, in instructions: for those who want to know that there is one.
pub(crate) fn length(rules: &[LinuxDeviceCgroup]) -> Result<usize> {
    let mut all = Vec::new();
    for rule in rules {
        all.extend(convert(rule)?);
    }
    all.extend(ALWAYS);
    Ok(program(&all).len())
}

/// Whether the last rules allow all of both types, so that no other can matter.
fn allows_everything(rules: &[Rule]) -> bool {
    let all = |rule: &Rule, kind| {
        rule.allow
            && rule.kind == Some(kind)
            && rule.major.is_none()
            && rule.minor.is_none()
            && rule.access == READ | WRITE | MKNOD
    };
    let last = rules.iter().rev().take_while(|r| r.allow);
    [BLOCK, CHARACTER].iter().all(|&kind| last.clone().any(|r| all(r, kind)))
}

/// A rule for all types is one for characters and one for blocks.
fn convert(rule: &LinuxDeviceCgroup) -> Result<Vec<Rule>> {
    let invalid = |value: String, reason: &str| Error::Invalid {
        what: "linux.resources.devices",
        value,
        reason: reason.into(),
    };
    let number = |n: Option<i64>| match n {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| invalid(n.to_string(), "no number of a device")),
    };
    let mut access = 0;
    for letter in rule.access().as_deref().unwrap_or("rwm").chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            other => return Err(invalid(other.to_string(), "access is made of r, w and m")),
        };
    }
    let kinds: &[u32] = match rule.typ() {
        None | Some(LinuxDeviceType::A) => &[BLOCK, CHARACTER],
        Some(LinuxDeviceType::B) => &[BLOCK],
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => &[CHARACTER],
        Some(LinuxDeviceType::P) => return Err(invalid("p".into(), "a FIFO is no device")),
    };
    let (major, minor) = (number(rule.major())?, number(rule.minor())?);
    let one = |&kind: &u32| Rule { allow: rule.allow(), kind: Some(kind), major, minor, access };
    Ok(kinds.iter().map(one).collect())
}

// The few instructions that are needed (linux/bpf.h): registers 2 to 5 hold type, access, major and minor.
const LOAD_WORD: u8 = 0x61;
const MOVE_WORD: u8 = 0xbc;
const MOVE: u8 = 0xb7;
const AND_WORD: u8 = 0x54;
const SHIFT_RIGHT_WORD: u8 = 0x74;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, value: u32) -> BpfInstruction {
    BpfInstruction { code, registers: destination | source << 4, offset, value: value as i32 }
}

fn answer(yes: bool) -> [BpfInstruction; 2] {
    [instruction(MOVE, 0, 0, 0, yes.into()), instruction(EXIT, 0, 0, 0, 0)]
}

fn program(rules: &[Rule]) -> Vec<BpfInstruction> {
    let mut code = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        instruction(MOVE_WORD, ACCESS, TYPE, 0, 0),
        instruction(AND_WORD, TYPE, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT_WORD, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut body = Vec::new();
        if rule.allow {
            body.push(instruction(AND_WORD, ACCESS, 0, 0, !rule.access));
            body.push(instruction(JUMP_IF_NOT_EQUAL, ACCESS, 0, 2, 0));
            body.extend(answer(true));
        } else {
            body.push(instruction(JUMP_IF_ANY_BIT, ACCESS, 0, 1, rule.access));
            // Over the answer: none of what is left is forbidden by this rule.
            body.push(instruction(JUMP, 0, 0, 2, 0));
            body.extend(answer(false));
        }
        let conditions = [(TYPE, rule.kind), (MAJOR, rule.major), (MINOR, rule.minor)];
        let mut tests: Vec<_> = conditions.iter().filter_map(|&(r, v)| Some((r, v?))).collect();
        let length = body.len();
        for left in (0..tests.len()).rev() {
            let (register, value) = tests.remove(0);
            let offset = (left + length) as i16;
            code.push(instruction(JUMP_IF_NOT_EQUAL, register, 0, offset, value));
        }
        code.extend(body);
    }
    code.extend(answer(false));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would, for the instructions that it is made of.
    fn ask(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        let code = program(rules);
        let mut registers = [0u32; 6];
        let mut at = 0;
        loop {
            let i = &code[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let value = i.value as u32;
            at += 1;
            let mut jump = false;
            match i.code {
                LOAD_WORD => registers[to] = [access << 16 | kind, major, minor][i.offset as usize / 4],
                MOVE_WORD => registers[to] = registers[from],
                MOVE => registers[to] = value,
                AND_WORD => registers[to] &= value,
                SHIFT_RIGHT_WORD => registers[to] >>= value,
                JUMP_IF_NOT_EQUAL => jump = registers[to] != value,
                JUMP_IF_ANY_BIT => jump = registers[to] & value != 0,
                JUMP => jump = true,
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
            if jump {
                at += i.offset as usize;
            }
        }
    }

    fn rules(json: &str) -> Vec<Rule> {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        rules.iter().flat_map(|r| convert(r).unwrap()).collect()
    }

    #[test]
    fn later_rules_win() {
        let rules = rules(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"b","major":8,"minor":0,"access":"r"},
                {"allow":true,"type":"c","major":10,"access":"rw"},
                {"allow":false,"type":"c","major":10,"minor":7,"access":"w"}]"#,
        );
        assert!(ask(&rules, BLOCK, 8, 0, READ));
        assert!(!ask(&rules, BLOCK, 8, 0, READ | WRITE));
        assert!(!ask(&rules, BLOCK, 8, 1, READ));
        assert!(!ask(&rules, CHARACTER, 8, 0, READ));
        assert!(ask(&rules, CHARACTER, 10, 200, READ | WRITE));
        assert!(ask(&rules, CHARACTER, 10, 7, READ));
        assert!(!ask(&rules, CHARACTER, 10, 7, READ | WRITE));
        assert!(!ask(&rules, CHARACTER, 10, 8, MKNOD));
    }

    #[test]
    fn what_allows_everything_needs_no_program() {
        let deny = r#"{"allow":false,"access":"rwm"}"#;
        let allow = r#"{"allow":true,"access":"rwm"}"#;
        assert!(allows_everything(&rules(&format!("[{deny},{allow}]"))));
        assert!(!allows_everything(&rules(&format!("[{allow},{deny}]"))));
        let some = r#"{"allow":true,"type":"c","access":"rwm"}"#;
        assert!(!allows_everything(&rules(&format!("[{deny},{some}]"))));
        assert!(!allows_everything(&rules(r#"[{"allow":true,"access":"rw"}]"#)));
        assert!(!allows_everything(&[]));
    }

    #[test]
    fn default_devices_are_always_there() {
        let mut rules = rules(r#"[{"allow":false,"access":"rwm"}]"#);
        rules.extend(ALWAYS);
        assert!(ask(&rules, CHARACTER, 1, 3, READ | WRITE));
        assert!(ask(&rules, BLOCK, 8, 0, MKNOD));
        assert!(!ask(&rules, BLOCK, 8, 0, READ));
    }
}
