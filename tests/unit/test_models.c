/*
 * Claims of server/models.h: every model of the directory is found by name; what is no
 * model is passed over; no directory named is no models, one that
 * is not there is refused; a broken model stops the start with
 * its name; memory that fails leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/log.h"
#include "server/models.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

static char dir[300];

static int
setup(void **state)
{
	static int n;
	(void)state;

	snprintf(dir, sizeof dir, "%s/models-%d", test_folder(), n++);
	models_write_text(dir, "text");
	models_write_text(dir, "both");
	models_write_binarizer(dir, "both", 4, 0.25f);
	models_write_learned(dir, "codes", 10, (struct code_shape){64, 2, 1});
	models_write_file(dir, "notes", "README.md", "nothing");
	return 0;
}

static void
test_found(void **state)
{
	(void)state;
	static const char *const names[] = {"both", "codes", "text"};
	struct error err;
	char path[400];

	snprintf(path, sizeof path, "%s/file", dir);
	fclose(fopen(path, "w"));
	struct models *models = models_open(dir, &err);
	assert_non_null(models);
	assert_int_equal(models_count(models), 3);
	for (size_t i = 0; i < 3; i++) {
		const struct model *model = models_find(models, names[i], &err);
		assert_non_null(model);
		assert_ptr_equal(model, models_at(models, i));
		assert_string_equal(model->name, names[i]);
		assert_int_equal(model->encoder != NULL, i != 1);
		assert_int_equal(choice_empty(&model->binarizers), i == 2);
	}
	assert_int_equal(encoder_dims(models_at(models, 0)->encoder), MODELS_TEXT_DIMS);
	assert_null(models_find(models, "notes", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.text, "there are: both, codes, text"));
	models_close(models);
}

static void
test_none(void **state)
{
	(void)state;
	struct error err;
	char path[400];

	struct models *models = models_open(NULL, &err);
	assert_non_null(models);
	assert_int_equal(models_count(models), 0);
	assert_null(models_find(models, "x", &err));
	assert_non_null(strstr(err.text, "no models"));
	models_close(models);
	snprintf(path, sizeof path, "%s/none", dir);
	assert_null(models_open(path, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(models_count(NULL), 0);
	models_close(NULL);
	snprintf(path, sizeof path, "%s/notes/README.md", dir);
	assert_null(models_open(path, &err));
	assert_int_equal(err.code, ERR_IO);
}

static void
test_broken(void **state)
{
	(void)state;
	static const struct {
		const char *name, *file;
	} cases[] = {{"text", "config.json"}, {"both", "binarizer.safetensors"},
	    {"both", "binarizer.1.safetensors"}, {"codes", "config.json"}};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		setup(NULL);
		models_write_file(dir, cases[i].name, cases[i].file, "{broken");
		assert_null(models_open(dir, &err));
		assert_true(err.code == ERR_FORMAT || err.code == ERR_NOT_FOUND);
		char start[40];
		snprintf(start, sizeof start, "model %s: ", cases[i].name);
		assert_int_equal(strncmp(err.text, start, strlen(start)), 0);
	}
}

static void
test_allocations(void **state)
{
	(void)state;
	struct models *models = NULL;
	struct error err;
	long k = 0;

	while (!models) {
		array_fail_at(++k);
		models = models_open(dir, &err);
		array_fail_at(0);
		if (!models)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 10);
	assert_int_equal(models_count(models), 3);
	models_close(models);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_found, setup),
	    cmocka_unit_test_setup(test_none, setup),
	    cmocka_unit_test_setup(test_broken, setup),
	    cmocka_unit_test_setup(test_allocations, setup),
	};
	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
