/* steps FILE PROGRAM ARGUMENT...   runs a program step by step, and writes down which of its instructions were executed
 *
 * FILE gets a line for each, the distance from the start of the executable in hexadecimal. Children are followed until
 * they execute a program of their own, and waited for. A million steps take some ten seconds. Ends as the program
 * does. */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST = 64 << 20 };
static unsigned char seen[LARGEST];

/* Where the executable of a process begins: the first mapping is its. */
static unsigned long start_of(pid_t pid)
{
	char path[64];
	unsigned long start;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "r");
	if (!maps || fscanf(maps, "%lx-", &start) != 1)
		err(1, "%s", path);
	fclose(maps);
	return start;
}

static void write_down(const char *path)
{
	FILE *file = fopen(path, "w");
	if (!file)
		err(1, "%s", path);
	for (unsigned long at = 0; at < LARGEST; at++)
		if (seen[at])
			fprintf(file, "%lx\n", at);
	if (fclose(file))
		err(1, "%s", path);
}

int main(int count, char **words)
{
	if (count < 3)
		errx(2, "usage: steps FILE PROGRAM ARGUMENT...");
	pid_t first = fork();
	if (first == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(words[2], words + 2);
		err(127, "%s", words[2]);
	}
	int status, result = 1;
	if (first < 0 || waitpid(first, &status, 0) != first || !WIFSTOPPED(status))
		err(1, "%s", words[2]);
	unsigned long start = start_of(first);
	long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
	ptrace(PTRACE_SETOPTIONS, first, 0, options);
	ptrace(PTRACE_SINGLESTEP, first, 0, 0);
	for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
		if (!WIFSTOPPED(status)) {
			if (pid == first)
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			continue;
		}
		if (status >> 16 == PTRACE_EVENT_EXEC) {
			ptrace(PTRACE_DETACH, pid, 0, 0);
			continue;
		}
		int sent = WSTOPSIG(status);
		siginfo_t step;
		if (sent == SIGTRAP && ptrace(PTRACE_GETSIGINFO, pid, 0, &step) == 0) {
			unsigned long at = (unsigned long)step.si_addr - start;
			if (at < LARGEST)
				seen[at] = 1;
		}
		ptrace(PTRACE_SINGLESTEP, pid, 0, sent == SIGTRAP || sent == SIGSTOP ? 0 : sent);
	}
	write_down(words[1]);
	return result;
}
