/*
 * Claim: flags stand above the environment, that above the file, that above the
 * defaults; every key works in all three; what is unknown or out of range is refused
 * with the key's name, and then nothing is filled in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/config.h"
#include "tests/support/guard.h"

static int
load(struct config *config, enum config_action *action, struct error *err,
    const char *const *argv, const char *const *envp)
{
	return config_load(
	    config, action, (char *const *)argv, (char *const *)envp, err);
}

static const char *const no_env[] = {"PATH=/bin", NULL};

static const char *
write_file(const char *text)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/config", test_folder());
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	return path;
}

static void
test_defaults(void **state)
{
	const char *argv[] = {"halftone-server", "--data", "/d", NULL};
	enum config_action action;
	struct config config;
	struct error err;
	(void)state;

	assert_int_equal(load(&config, &action, &err, argv, no_env), 0);
	assert_int_equal(action, CONFIG_RUN);
	assert_string_equal(config.data, "/d");
	assert_string_equal(config.listen, "127.0.0.1:6333");
	assert_int_equal(config.max_body_bytes, 32 << 20);
	assert_int_equal(config.max_connections, 1024);
	assert_int_equal(config.request_timeout_s, 60);
	assert_int_equal(config.filter_timeout_s, 60);
	assert_int_equal(config.max_points_per_request, 10000);
	assert_int_equal(config.max_text_bytes, 64 << 10);
	assert_int_equal(config.max_texts_bytes, 256 << 20);
	assert_int_equal(config.max_queued_writes, 65536);
	assert_int_equal(config.max_queued_bytes, 256 << 20);
	assert_int_equal(config.max_queued_searches, 4096);
	assert_false(config.insecure);
}

static void
test_order(void **state)
{
	const char *path = write_file("# a comment\n\n data = /file\nlisten=1.2.3.4:1\n"
				      "max_limit = 7\nmax_text_bytes = 1 \n");
	const char *argv[] = {"x", "--config", path, "--data=/flag", NULL};
	const char *envp[] = {"HALFTONE_DATA=/env", "HALFTONE_LISTEN=[::1]:2",
	    "HALFTONE_SERVICE_HOST=k8s", NULL};
	enum config_action action;
	struct config config;
	struct error err;
	(void)state;

	assert_int_equal(load(&config, &action, &err, argv, envp), 0);
	assert_string_equal(config.data, "/flag");
	assert_string_equal(config.listen, "[::1]:2");
	assert_int_equal(config.max_limit, 7);
	assert_int_equal(config.max_text_bytes, 1);
	assert_string_equal(config.config, path);

	/* The file may also be named by the environment. */
	char variable[600];
	snprintf(variable, sizeof variable, "HALFTONE_CONFIG=%s", path);
	const char *argv2[] = {"x", NULL}, *envp2[] = {variable, NULL};
	assert_int_equal(load(&config, &action, &err, argv2, envp2), 0);
	assert_string_equal(config.data, "/file");
}

/* What --print-config prints is a file that gives the same. */
static void
test_print(void **state)
{
	const char *argv[] = {"x", "--data", "/d d", "--max-body-bytes", "3MiB",
	    "--insecure", "--threads=5", "--print-config", NULL};
	enum config_action action;
	struct config config, again;
	struct error err;
	char *text = NULL;
	size_t n;
	(void)state;

	assert_int_equal(load(&config, &action, &err, argv, no_env), 0);
	assert_int_equal(action, CONFIG_PRINT);
	assert_int_equal(config.max_body_bytes, 3 << 20);
	FILE *out = open_memstream(&text, &n);
	config_print(out, &config);
	fclose(out);
	const char *argv2[] = {"x", "--config", write_file(text), NULL};
	assert_int_equal(load(&again, &action, &err, argv2, no_env), 0);
	memset(again.config, 0, sizeof again.config);
	assert_memory_equal(&config, &again, sizeof config);
	assert_non_null(strstr(text, "max_body_bytes = 3145728\n"));
	assert_non_null(strstr(text, "insecure = true\n"));
	free(text);
}

static void
test_actions(void **state)
{
	static const struct {
		const char *flag;
		enum config_action action;
	} cases[] = {{"--help", CONFIG_HELP}, {"--version", CONFIG_VERSION},
	    {"--healthcheck", CONFIG_HEALTHCHECK}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *argv[] = {"x", cases[i].flag, NULL};
		enum config_action action;
		struct config config;
		struct error err;
		assert_int_equal(load(&config, &action, &err, argv, no_env), 0);
		assert_int_equal(action, cases[i].action);
	}
}

static void
test_refused(void **state)
{
	static const struct {
		const char *flag, *value, *variable, *file, *word;
	} cases[] = {
	    {"--nonsense", NULL, NULL, NULL, "--nonsense"},
	    {"--max_body_bytes", "1", NULL, NULL, "no such flag"},
	    {"stray", NULL, NULL, NULL, "stray"},
	    {"--data", NULL, NULL, NULL, "expected a value"},
	    {"--data", "--insecure", NULL, NULL, "not --insecure"},
	    {"--threads", "-1", NULL, NULL, "threads"},
	    {"--threads", "two", NULL, NULL, "threads"},
	    {"--threads", "257", NULL, NULL, "256"},
	    {"--threads", "1KiB", NULL, NULL, "threads"},
	    {"--threads", "", NULL, NULL, "threads"},
	    {"--max-body-bytes", "99999999999999999999999", NULL, NULL,
		"max_body_bytes"},
	    {"--max-body-bytes", "99999999999GiB", NULL, NULL, "max_body_bytes"},
	    {"--max-limit", "0", NULL, NULL, "max_limit"},
	    {"--max-queued-writes", "0", NULL, NULL, "max_queued_writes"},
	    {"--max-queued-searches", "63", NULL, NULL, "max_queued_searches"},
	    {"--max-queued-bytes", "1023", NULL, NULL, "max_queued_bytes"},
	    {"--insecure=maybe", NULL, NULL, NULL, "true or false"},
	    {"--log-level", "loud", NULL, NULL, "debug"},
	    {"--config", "/does/not/exist", NULL, NULL, "/does/not/exist"},
	    {"--help", NULL, "HALFTONE_THREADS=x", NULL, "environment"},
	    {"--help", NULL, NULL, "threads = x\n", "config:1"},
	    {"--help", NULL, NULL, "\nthread = 1\n", "config:2"},
	    {"--help", NULL, NULL, "threads\n", "key = value"},
	    {"--help", NULL, NULL, "config = /x\n", "no such key"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *argv[] = {"x", cases[i].flag, cases[i].value, NULL, NULL};
		const char *with_file[] = {"x", "--config", NULL, NULL};
		const char *envp[] = {cases[i].variable, NULL};
		struct config config, before;
		enum config_action action = CONFIG_RUN;
		struct error err;
		if (cases[i].file)
			with_file[2] = write_file(cases[i].file);
		memset(&config, 7, sizeof config);
		before = config;
		int rc = load(
		    &config, &action, &err, cases[i].file ? with_file : argv, envp);
		if (rc != -1 || !strstr(err.text, cases[i].word))
			print_error(
			    "case %zu: rc %d, '%s'\n", i, rc, rc ? err.text : "");
		assert_int_equal(rc, -1);
		assert_non_null(strstr(err.text, cases[i].word));
		assert_memory_equal(&config, &before, sizeof config);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_print),
	    cmocka_unit_test(test_actions),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
