/*
 * Claims of server/collection.h on a model with learned binarizers: a new collection,
 * or codes that follow others, are made by the one learned for their bits where dims
 * and distance allow, else by the model's rotation; where there is neither, the text
 * model's default is untrained, and a model that was named is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "binarize/recurrent.h"
#include "server/collection.h"
#include "server/models.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

static struct models *models;

static int
setup(void **state)
{
	static char dir[300];
	struct error err;
	(void)state;

	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_text(dir, "text");
	models_write_text(dir, "alone");
	models_write_learned(dir, "alone", 4, (struct code_shape){64, 2, 2});
	models_write_text(dir, "learned");
	models_write_binarizer(dir, "learned", MODELS_TEXT_DIMS, 0.25f);
	models_write_learned(dir, "learned", 4, (struct code_shape){128, 1, 2});
	models_write_learned(dir, "learned", 4, (struct code_shape){64, 4, 0});
	models = models_open(dir, &err);
	assert_non_null(models);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	models_close(models);
	return 0;
}

/* A model's learned binarizer makes the codes where it can. */
static void
test_learned(void **state)
{
	(void)state;
	const struct {
		struct code_shape wish;
		enum distance_kind distance;
		enum recurrent_kind kind;
		struct code_shape shape;
	} cases[] = {
	    {{0, 0, 0}, DISTANCE_INT8, RECURRENT_REFINED, {64, 4, 0}},
	    {{0, 1, 0}, DISTANCE_SDC, RECURRENT_REFINED, {128, 1, 2}},
	    {{64, 1, 0}, DISTANCE_INT8, RECURRENT_ROTATION, {64, 1, 0}},
	    {{128, 1, 0}, DISTANCE_HAMMING, RECURRENT_ROTATION, {128, 1, 0}},
	    {{0, 4, 0}, DISTANCE_HAMMING, RECURRENT_REFINED, {64, 4, 0}},
	    {{0, 2, 0}, DISTANCE_INT8, RECURRENT_ROTATION, {64, 2, 0}},
	};
	struct error err;

	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct collection_settings s = {.name = "c",
		    .size = MODELS_TEXT_DIMS,
		    .shape = cases[i / 2].wish,
		    .code_distance = cases[i / 2].distance};
		snprintf(
		    i % 2 ? s.text_model : s.binarizer, sizeof s.binarizer, "learned");
		struct collection *c = collection_new(&s, models, &err);
		if (!c)
			fail_msg("case %zu: %s", i, err.text);
		struct recurrent_info info = recurrent_info(collection_binarizer(c));
		assert_int_equal(info.kind, cases[i / 2].kind);
		if (!code_shape_equal(info.shape, cases[i / 2].shape))
			fail_msg("case %zu: %u x %u, %u centres", i, info.shape.dims,
			    info.shape.bits, info.shape.centres);
		assert_string_equal(collection_settings(c)->binarizer, "learned");
		collection_release(c);
	}
}

/* So it does for codes that follow others: of the bits and dims before, unless named.
 */
static void
test_learned_follows(void **state)
{
	(void)state;
	const struct {
		struct code_shape before, wish;
		enum recurrent_kind kind;
		struct code_shape shape;
	} cases[] = {
	    {{128, 1, 0}, {0, 0, 0}, RECURRENT_REFINED, {128, 1, 2}},
	    {{128, 4, 0}, {0, 0, 0}, RECURRENT_ROTATION, {128, 4, 0}},
	    {{128, 4, 0}, {64, 0, 0}, RECURRENT_REFINED, {64, 4, 0}},
	    {{128, 4, 0}, {0, 1, 0}, RECURRENT_REFINED, {128, 1, 2}},
	    {{64, 1, 0}, {0, 0, 0}, RECURRENT_ROTATION, {64, 1, 0}},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct collection_settings s = {.name = "c",
		    .text_model = "text",
		    .size = MODELS_TEXT_DIMS,
		    .shape = cases[i].before,
		    .code_distance = DISTANCE_INT8};
		const struct collection_settings change = {
		    .shape = cases[i].wish, .binarizer = "learned"};
		struct collection *before = collection_new(&s, models, &err);
		assert_non_null(before);
		struct collection *c = collection_next(before, &change, models, &err);
		if (!c)
			fail_msg("case %zu: %s", i, err.text);
		struct recurrent_info info = recurrent_info(collection_binarizer(c));
		assert_int_equal(info.kind, cases[i].kind);
		assert_true(code_shape_equal(info.shape, cases[i].shape));
		collection_release(before);
		collection_release(c);
	}
}

static void
test_nothing_suits(void **state)
{
	(void)state;
	struct error err;
	struct collection_settings s = {.name = "c",
	    .text_model = "alone",
	    .shape = {128, 2, 0},
	    .code_distance = DISTANCE_INT8};

	struct collection *c = collection_new(&s, models, &err);
	assert_non_null(c);
	assert_string_equal(collection_settings(c)->binarizer, COLLECTION_UNTRAINED);
	collection_release(c);
	snprintf(s.binarizer, sizeof s.binarizer, "alone");
	assert_null(collection_new(&s, models, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.text, "no binarizer for codes of 128 dims and 2"));
	s.shape.dims = 0;
	s.code_distance = DISTANCE_HAMMING;
	assert_null(collection_new(&s, models, &err));
	assert_non_null(strstr(err.text, "of 2 bits and distance hamming"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_learned),
	    cmocka_unit_test(test_learned_follows),
	    cmocka_unit_test(test_nothing_suits),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
