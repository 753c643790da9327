/*
 * Claims: on a terminal a bar is redrawn in place and its line ended; elsewhere there
 * are plain lines, seconds apart, and none for a short job; a job of units that goes on
 * says what is left of it; stopping is noted once and cuts a sleep short.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "client/progress.h"
#include "client/stop.h"

/* Run a job of `ms` milliseconds with stderr at `fd`. */
static void
work(int fd, unsigned ms, uint64_t size_bytes)
{
	struct progress progress;
	int saved = dup(STDERR_FILENO);
	assert_true(saved != -1 && dup2(fd, STDERR_FILENO) != -1);
	progress_start(&progress, "document", size_bytes);
	for (unsigned i = 1; i <= ms / 10; i++) {
		usleep(10000);
		progress_show(&progress, i, 10 * i);
	}
	snprintf(progress.note, sizeof progress.note, "a note");
	progress_end(&progress, ms / 10, ms);
	assert_true(dup2(saved, STDERR_FILENO) != -1);
	close(saved);
}

static void
test_terminal(void **state)
{
	(void)state;
	char said[8192];
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);
	if (terminal == -1 || grantpt(terminal) == -1 || unlockpt(terminal) == -1)
		skip(); /* no pseudo-terminals here */
	int side = open(ptsname(terminal), O_RDWR | O_NOCTTY);
	assert_true(side != -1);
	work(side, 350, 700);
	size_t n = 0;
	while (n == 0 || said[n - 1] != '\n') {
		ssize_t got = read(terminal, said + n, sizeof said - 1 - n);
		assert_true(got > 0);
		n += (size_t)got;
	}
	said[n] = '\0';
	size_t drawn = 0;
	for (const char *c = said; (c = strchr(c, '\r')) != NULL; c++)
		drawn++;
	assert_true(drawn >= 3 && drawn <= 6);
	assert_non_null(strstr(said, "[############............] 35 documents, "));
	assert_non_null(strstr(said, "MB/s,  50 %, "));
	assert_non_null(strstr(said, " s left: a note"));
	close(side);
	close(terminal);
}

/* A job that was half done when it began: the bar shows all of it, the time left is of
 * the rest; and a line may come between. */
static void
test_units(void **state)
{
	(void)state;
	char said[1024];
	FILE *file = tmpfile();
	assert_non_null(file);
	struct progress progress;
	int saved = dup(STDERR_FILENO);
	assert_true(saved != -1 && dup2(fileno(file), STDERR_FILENO) != -1);
	progress_start_units(&progress, "step", 50, 100);
	progress.terminal = true;
	progress.start_ns -= 10000000000u; /* ten seconds ago */
	progress.drawn_ns = progress.start_ns;
	progress_break(&progress); /* nothing stands there yet */
	progress_show(&progress, 75, 0);
	progress_break(&progress);
	progress_end(&progress, 75, 0);
	assert_true(dup2(saved, STDERR_FILENO) != -1);
	close(saved);
	rewind(file);
	size_t n = fread(said, 1, sizeof said - 1, file);
	said[n] = '\0';
	assert_string_equal(
	    said, "\r\033[K[##################......] 75 steps,  75 %, 10 s left\n");
	fclose(file);
}

static void
test_file(void **state)
{
	(void)state;
	char said[1024];
	FILE *file = tmpfile();
	assert_non_null(file);
	work(fileno(file), 200, 0);
	assert_int_equal(lseek(fileno(file), 0, SEEK_END), 0);
	/* A line once the time has come. */
	struct progress progress;
	int saved = dup(STDERR_FILENO);
	assert_true(saved != -1 && dup2(fileno(file), STDERR_FILENO) != -1);
	progress_start(&progress, "document", 1000);
	progress.drawn_ns -= 6000000000u;
	progress_show(&progress, 1, 100);
	progress_show(&progress, 6, 110);
	progress_end(&progress, 6, 110);
	assert_true(dup2(saved, STDERR_FILENO) != -1);
	close(saved);
	ssize_t n = pread(fileno(file), said, sizeof said - 1, 0);
	assert_true(n > 0);
	said[n] = '\0';
	assert_int_equal(strncmp(said, "1 document, ", 12), 0);
	assert_ptr_equal(strchr(said, '\n'), said + n - 1);
	assert_null(strchr(said, '\r'));
	fclose(file);
}

static void
test_stop(void **state)
{
	(void)state;
	uint64_t start = clock_ns();
	assert_false(stop_requested());
	stop_sleep(0.12);
	assert_true(clock_since(start) >= 0.12);
	signal(SIGINT, SIG_IGN); /* as a shell does for a job in its background */
	stop_watch();
	raise(SIGINT);
	assert_false(stop_requested());
	raise(SIGTERM);
	assert_true(stop_requested());
	start = clock_ns();
	stop_sleep(10);
	assert_true(clock_since(start) < 5);
	/* The second one would end the process. */
	struct sigaction now;
	assert_int_equal(sigaction(SIGTERM, NULL, &now), 0);
	assert_ptr_equal(now.sa_handler, SIG_DFL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_terminal),
	    cmocka_unit_test(test_units),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
