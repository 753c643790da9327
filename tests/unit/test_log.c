/* Claims: a line is time, level, event and pairs; whatever a value holds, it stays one
 * line and within its quotes; lines below the level are dropped, long ones are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int pipe_fds[2], saved;

static void
capture(void)
{
	assert_int_equal(pipe(pipe_fds), 0);
	saved = dup(STDERR_FILENO);
	dup2(pipe_fds[1], STDERR_FILENO);
	close(pipe_fds[1]);
}

/* What was logged since capture(), without the time. */
static const char *
captured(void)
{
	static char got[5000];
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t n = read(pipe_fds[0], got, sizeof got - 1);
	close(pipe_fds[0]);
	got[n > 0 ? n : 0] = '\0';
	return n > 25 ? got + 25 : got;
}

static void
test_line(void **state)
{
	(void)state;
	capture();
	log_event(LOG_WARN, "tried", "n=%d name=\"%s\" seconds=%.1f", 3, "a b", 0.5);
	assert_string_equal(captured(), "warn tried n=3 name=\"a b\" seconds=0.5\n");
	capture();
	log_event(LOG_DEBUG, "tried", "n=%d", 3);
	assert_string_equal(captured(), "");
}

static void
test_values(void **state)
{
	static const struct {
		const char *value, *line;
	} cases[] = {
	    {"x\" status=200", "info e error=\"x\\\" status=200\" n=1\n"},
	    {"\"", "info e error=\"\\\"\" n=1\n"},
	    {"\"\"", "info e error=\"\\\"\\\"\" n=1\n"},
	    {"end\\", "info e error=\"end\\\\\" n=1\n"},
	    {"it's", "info e error=\"it's\" n=1\n"},
	    {"a\nb\x7f\x01", "info e error=\"a?b??\" n=1\n"},
	    {"%s%n", "info e error=\"%s%n\" n=1\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		capture();
		log_event(LOG_INFO, "e", "error=\"%s\" n=%d", cases[i].value, 1);
		assert_string_equal(captured(), cases[i].line);
	}
}

static void
test_long(void **state)
{
	char value[4000];
	(void)state;
	memset(value, '"', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	capture();
	log_event(LOG_INFO, "e", "error=\"%s\"", value);
	const char *got = captured();
	size_t n = strlen(got);
	assert_true(n > 1900 && n < 2048);
	assert_int_equal(got[n - 1], '\n');
	assert_ptr_equal(strchr(got, '\n'), got + n - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
