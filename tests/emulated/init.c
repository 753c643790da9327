/*
 * The first and only process of the emulated machine that run.sh starts: runs the
 * programs named in /list, one after the other, and turns the machine off.  Says on the
 * serial port, behind what they print: "level NAME" (the widest kernels that the
 * processor runs), "exit STATUS PROGRAM" for each, and "end".
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"

static void
run(const char *program)
{
	int status;
	const pid_t child = fork();

	if (child == 0) {
		execl(program, program, (char *)NULL);
		perror(program);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror(program);
		return;
	}
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	printf("exit %d %s\n", status, program);
}

/* Bochs stops when it is told so at this port; Linux has no driver for that. */
static void
turn_off(void)
{
	sleep(1); /* the serial port is slow */
	if (iopl(3) == 0)
		for (const char *c = "Shutdown"; *c; c++)
			outb((unsigned char)*c, 0x8900);
	for (;;)
		pause();
}

int
main(void)
{
	enum cpu_level level;
	struct error err;
	char program[4096];
	FILE *list;

	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("tmp", "/tmp", "tmpfs", 0, NULL);
	const int serial = open("/dev/ttyS0", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(serial, fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (cpu_ceiling(&level, &err) == 0)
		printf("level %s\n", cpu_level_name(level));
	list = fopen("/list", "r");
	while (list && fgets(program, sizeof program, list)) {
		program[strcspn(program, "\n")] = '\0';
		run(program);
	}
	puts("end");
	turn_off();
}
