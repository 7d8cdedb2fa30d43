//! From the filter of the OCI runtime specification to BPF, by libseccomp.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use rustix::fs::MemfdFlags;

use super::Filter;
use crate::error::{Call, Error, Result};

/// The actions that filters may have, for `sampan-runtime features`.
pub(crate) const ACTIONS: &[Action] = &[
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActLog,
    Action::ScmpActNotify,
    Action::ScmpActTrace,
    Action::ScmpActTrap,
];

/// Comparisons of arguments.
pub(crate) const OPERATORS: &[Operator] = &[
    Operator::ScmpCmpNe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpMaskedEq,
];

/// Flags of seccomp(2) by name.
pub(crate) const FLAGS: &[(Flag, u64)] = &[
    (Flag::SeccompFilterFlagTsync, libc::SECCOMP_FILTER_FLAG_TSYNC),
    (Flag::SeccompFilterFlagLog, libc::SECCOMP_FILTER_FLAG_LOG),
    (Flag::SeccompFilterFlagSpecAllow, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
    (Flag::SeccompFilterFlagWaitKillableRecv, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
];

fn failed(what: impl Into<String>) -> impl FnOnce(SeccompError) -> Error {
    let what = format!("libseccomp, {}", what.into());
    move |e| Error::Invalid { what: "seccomp filter", value: what, reason: e.to_string() }
}

/// Compiles a filter. Names that the library doesn't know are noted in it, never an error.
pub(super) fn compile(spec: &LinuxSeccomp) -> Result<Filter> {
    check_notification(spec)?;
    let default = action(spec.default_action(), spec.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default).map_err(failed("seccomp_init"))?;
    for arch in spec.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)?).map_err(failed(format!("seccomp_arch_add({arch})")))?;
    }
    let mut unknown = BTreeSet::new();
    let rules = spec.syscalls().iter().flatten();
    for rule in rules.clone() {
        add(&mut context, rule, default, &mut unknown)?;
    }
    // The program is started by way of execveat (see sys::trampoline), which can do nothing that execve can't:
    // a profile that allows the one and doesn't speak of the other allows both.
    let speaks_of = |name: &str| rules.clone().find(|r| r.names().iter().any(|n| n == name));
    let execve = speaks_of("execve").filter(|r| r.action() == Action::ScmpActAllow);
    if execve.is_some_and(|r| r.args().as_deref().unwrap_or_default().is_empty())
        && speaks_of("execveat").is_none()
        && default != ScmpAction::Allow
    {
        let mut rule = LinuxSyscall::default();
        rule.set_names(vec!["execveat".into()]).set_action(Action::ScmpActAllow);
        add(&mut context, &rule, default, &mut unknown)?;
    }
    Ok(Filter { program: export(&context)?, flags: flags(spec), unknown: unknown.into_iter().collect() })
}

fn invalid(what: &'static str, value: &str, reason: &str) -> Error {
    Error::Invalid { what, value: value.to_owned(), reason: reason.to_owned() }
}

fn notifies(spec: &LinuxSeccomp) -> impl Iterator<Item = &LinuxSyscall> {
    spec.syscalls().iter().flatten().filter(|rule| rule.action() == Action::ScmpActNotify)
}

/// An agent decides about system calls only once it has the listener: what hands that over must not wait for it.
fn check_notification(spec: &LinuxSeccomp) -> Result<()> {
    const NEEDED: [&str; 2] = ["write", "sendmsg"];
    if spec.default_action() == Action::ScmpActNotify {
        return Err(invalid(
            "linux.seccomp.defaultAction",
            "SCMP_ACT_NOTIFY",
            "the start itself makes system calls, and nobody listens yet",
        ));
    }
    if let Some(name) = notifies(spec).flat_map(|r| r.names()).find(|n| NEEDED.contains(&n.as_str())) {
        return Err(invalid(
            "linux.seccomp.syscalls",
            name,
            "SCMP_ACT_NOTIFY is not for what hands over the listener",
        ));
    }
    if spec.listener_path().is_some() {
        return Ok(());
    }
    if notifies(spec).next().is_some() {
        return Err(invalid(
            "linux.seccomp.listenerPath",
            "",
            "SCMP_ACT_NOTIFY needs the socket of an agent that decides",
        ));
    }
    match spec.listener_metadata().as_deref().filter(|data| !data.is_empty()) {
        Some(data) => Err(invalid("linux.seccomp.listenerMetadata", data, "it needs a listenerPath")),
        None => Ok(()),
    }
}

fn flags(spec: &LinuxSeccomp) -> u64 {
    let named = spec.flags().iter().flatten();
    let mut bits =
        named.filter_map(|flag| FLAGS.iter().find(|(f, _)| f == flag)).fold(0, |bits, (_, bit)| bits | bit);
    // The process has one thread. There is nothing to synchronize, and with a listener the kernel refuses to.
    bits &= !libc::SECCOMP_FILTER_FLAG_TSYNC;
    match notifies(spec).next() {
        Some(_) => bits | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        // How to wait for an answer, where nobody asks: the kernel refuses that, too.
        None => bits & !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    }
}

fn add(
    context: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    default: ScmpAction,
    unknown: &mut BTreeSet<String>,
) -> Result<()> {
    let action = action(rule.action(), rule.errno_ret())?;
    if rule.names().is_empty() {
        return Err(invalid("linux.seccomp.syscalls.names", "[]", "a rule is for at least one system call"));
    }
    // libseccomp refuses rules that say what happens anyway.
    if action == default {
        return Ok(());
    }
    let arguments = rule.args().as_deref().unwrap_or_default();
    let compares: Vec<_> = arguments.iter().map(compare).collect::<Result<_>>()?;
    let repeated =
        (1..arguments.len()).any(|i| arguments[..i].iter().any(|a| a.index() == arguments[i].index()));
    for name in rule.names() {
        let Ok(syscall) = ScmpSyscall::from_name(name) else {
            unknown.insert(name.clone());
            continue;
        };
        let describe = || failed(format!("seccomp_rule_add({name})"));
        if compares.is_empty() {
            context.add_rule(action, syscall).map_err(describe())?;
        } else if repeated {
            // Several conditions on one argument are alternatives, as in runc.
            for one in &compares {
                context.add_rule_conditional(action, syscall, &[*one]).map_err(describe())?;
            }
        } else {
            context.add_rule_conditional(action, syscall, &compares).map_err(describe())?;
        }
    }
    Ok(())
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>> {
    let call = || "memfd_create(filter)".to_owned();
    let mut file = File::from(rustix::fs::memfd_create(c"filter", MemfdFlags::CLOEXEC).call(call)?);
    context.export_bpf(&file).map_err(failed("seccomp_export_bpf"))?;
    let mut program = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut program)).call(call)?;
    Ok(program)
}

fn action(action: Action, value: Option<u32>) -> Result<ScmpAction> {
    if let Some(value) = value.filter(|_| !matches!(action, Action::ScmpActErrno | Action::ScmpActTrace)) {
        return Err(invalid(
            "linux.seccomp errnoRet",
            &value.to_string(),
            &format!("{action} returns no errno; SCMP_ACT_ERRNO and SCMP_ACT_TRACE do"),
        ));
    }
    let invalid = || Error::Invalid {
        what: "linux.seccomp errnoRet",
        value: value.unwrap_or_default().to_string(),
        reason: "it is a number up to 4095".into(),
    };
    let errno =
        value.map_or(Ok(libc::EPERM), |v| i32::try_from(v).ok().filter(|&v| v < 4096).ok_or_else(invalid));
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(errno?),
        Action::ScmpActNotify => ScmpAction::Notify,
        Action::ScmpActTrace => ScmpAction::Trace(errno? as u16),
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
    })
}

fn compare(argument: &LinuxSeccompArg) -> Result<ScmpArgCompare> {
    let (operator, value) = match argument.op() {
        Operator::ScmpCmpNe => (ScmpCompareOp::NotEqual, argument.value()),
        Operator::ScmpCmpLt => (ScmpCompareOp::Less, argument.value()),
        Operator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, argument.value()),
        Operator::ScmpCmpEq => (ScmpCompareOp::Equal, argument.value()),
        Operator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, argument.value()),
        Operator::ScmpCmpGt => (ScmpCompareOp::Greater, argument.value()),
        // The mask stands in the comparison, the wanted bits are the value.
        Operator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(argument.value()), argument.value_two().unwrap_or_default())
        }
    };
    let index = u32::try_from(argument.index()).ok().filter(|&i| i < 6);
    let index = index.ok_or_else(|| Error::Invalid {
        what: "linux.seccomp args.index",
        value: argument.index().to_string(),
        reason: "a system call has the arguments 0 to 5".into(),
    })?;
    Ok(ScmpArgCompare::new(index, operator, value))
}

fn architecture(arch: Arch) -> Result<ScmpArch> {
    Ok(match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        other => {
            return Err(Error::Unsupported {
                what: format!("a seccomp filter for {other}"),
                reason: "libseccomp's binding doesn't know this architecture".into(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Filter> {
        compile(&serde_json::from_str(json).unwrap())
    }

    fn rules(rest: &str, rule: &str) -> Result<Filter> {
        of(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW"{rest}, "syscalls": [{{{rule}}}]}}"#))
    }

    #[test]
    fn only_some_actions_return_an_errno() {
        rules("", r#""names": ["chmod"], "action": "SCMP_ACT_TRACE", "errnoRet": 7"#).unwrap();
        assert!(rules("", r#""names": ["chmod"], "action": "SCMP_ACT_KILL", "errnoRet": 1"#).is_err());
        assert!(rules("", r#""names": [], "action": "SCMP_ACT_KILL""#).is_err());
        assert!(of(r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#).is_err());
        assert!(of(r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#).is_err());
    }

    #[test]
    fn notification_needs_a_listener_that_can_get_there() {
        let notify = |name: &str, rest: &str| {
            rules(rest, &format!(r#""names": ["{name}"], "action": "SCMP_ACT_NOTIFY""#))
        };
        let path = r#", "listenerPath": "/run/agent""#;
        assert_eq!(notify("chmod", path).unwrap().flags, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        for (name, rest) in [("chmod", ""), ("write", path), ("sendmsg", path)] {
            assert!(notify(name, rest).is_err(), "{name} {rest}");
        }
        assert!(of(r#"{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/agent"}"#).is_err());
        assert!(of(r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}"#).is_err());
    }

    #[test]
    fn flags_are_what_one_thread_can_have() {
        let all = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"];
        let all = all.map(|flag| format!("\"SECCOMP_FILTER_FLAG_{flag}\"")).join(",");
        let flags = |rest: &str| {
            of(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": [{all}]{rest}}}"#)).unwrap().flags
        };
        let wanted = libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        assert_eq!(flags(""), wanted);
        let more = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        let notify = r#""syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_NOTIFY"}]"#;
        assert_eq!(flags(&format!(r#", "listenerPath": "/x", {notify}"#)), wanted | more);
    }
}
