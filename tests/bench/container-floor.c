/* The floor for the start of a container: what the kernel has to be asked for, and nothing else. New namespaces, an
   overlay, the usual file systems, devices, masks, pivot_root(2), capabilities, a filter of 360 instructions, execve(2),
   and the wait for the end. No configuration is read, nothing is checked, nothing is written down.

   container-floor ROOTFS PROGRAM [ARGUMENT...], as root. /mnt is covered meanwhile, in its own mounts. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define INSTRUCTIONS 360

static void must(long result, const char *what)
{
	if (result < 0)
		err(125, "%s", what);
}

static void put(const char *type, const char *place, unsigned long flags, const char *options)
{
	must(mount(type, place, type, flags, options), place);
}

static void build(const char *rootfs)
{
	static const struct { const char *path; int major, minor; } devices[] = {
		{"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
		{"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
	};
	static const char *const links[][2] = {
		{"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
		{"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"},
	};
	char options[4096];

	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	put("tmpfs", "/mnt", 0, NULL);
	must(chdir("/mnt") | mkdir("upper", 0755) | mkdir("work", 0755) | mkdir("root", 0755), "/mnt");
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=upper,workdir=work", rootfs);
	put("overlay", "root", 0, options);
	must(chdir("root"), "root");
	put("proc", "proc", SAFE, NULL);
	put("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
	must(mkdir("dev/pts", 0755) | mkdir("dev/shm", 0755) | mkdir("dev/mqueue", 0755), "dev");
	put("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	put("tmpfs", "dev/shm", SAFE, "mode=1777,size=65536k");
	put("mqueue", "dev/mqueue", SAFE, NULL);
	put("sysfs", "sys", SAFE | MS_RDONLY, NULL);
	put("cgroup2", "sys/fs/cgroup", SAFE | MS_RDONLY, NULL);
	for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++)
		must(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), "mknod");
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
		must(symlink(links[i][0], links[i][1]), "symlink");
}

static void mask(void)
{
	static const char *const files[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
	static const char *const folders[] = {"proc/acpi", "proc/scsi", "sys/firmware"};
	static const char *const fixed[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

	/* What a kernel doesn't have needs no mask: failures are none. */
	for (unsigned i = 0; i < 3; i++)
		mount("/dev/null", files[i], NULL, MS_BIND, NULL);
	for (unsigned i = 0; i < 3; i++)
		mount("tmpfs", folders[i], "tmpfs", SAFE | MS_RDONLY, NULL);
	for (unsigned i = 0; i < 5; i++)
		if (mount(fixed[i], fixed[i], NULL, MS_BIND | MS_REC, NULL) == 0)
			mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | SAFE, NULL);
}

static void confine(void)
{
	static struct sock_filter code[INSTRUCTIONS];
	struct sock_fprog program = {INSTRUCTIONS, code};

	for (int capability = 0; capability <= 40; capability++)
		if (capability > 13)
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
	for (int i = 1; i < INSTRUCTIONS - 1; i++)
		code[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000 + i, 0, 0);
	code[INSTRUCTIONS - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

int main(int count, char **words)
{
	struct clone_args arguments = {
		.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD,
	};
	int status;

	if (count < 3)
		errx(2, "usage: container-floor ROOTFS PROGRAM [ARGUMENT...]");
	long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	must(pid, "clone3");
	if (pid > 0) {
		must(waitpid(pid, &status, 0), "waitpid");
		return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
	}
	build(words[1]);
	mask();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH) | chdir("/") | sethostname("floor", 5), "the new root");
	confine();
	must(syscall(SYS_close_range, 3, ~0U, 0), "close_range");
	execv(words[2], words + 2);
	err(127, "%s", words[2]);
}
