/*
 * Claims of server/collection.h and how they are checked: settings that cannot be are
 * refused with what was expected; defaults and model names resolve as the header says;
 * a collection comes back from the data directory with equal settings, binarizer and
 * codes even when the models are gone, a mean that came along too; a binarizer that
 * differs from the stored id and settings that were altered are refused; memory that
 * fails leaves nothing behind.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "binarize/recurrent.h"
#include "server/models.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"
#include "tests/support/rig.h"

static struct models *models;

static int
setup(void **state)
{
	static char dir[300];
	struct error err;
	(void)state;

	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_text(dir, "text");
	models_write_text(dir, "both");
	models_write_binarizer(dir, "both", MODELS_TEXT_DIMS, 0.25f);
	models_write_binarizer(dir, "codes", 100, 0.5f);
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

static void
test_names(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *expected; /* in the message; NULL = fine */
	} cases[] = {
	    {"a", NULL},
	    {"caf\xC3\xA9 \xF0\x9F\x98\x80.-_", NULL},
	    {"", "not an empty one"},
	    {"a/b", "0x2F at byte 1"},
	    {"a\nb", "0x0A at byte 1"},
	    {"\x7F", "0x7F at byte 0"},
	    {"ab\xC3", "byte 2 begins no character"},
	    {"\xED\xA0\x80", "byte 0 begins no character"},
	    {"\xC0\x80", "byte 0"},
	};
	char longest[300];
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int result =
		    collection_name_check(cases[i].name, strlen(cases[i].name), &err);
		assert_int_equal(result, cases[i].expected ? -1 : 0);
		if (cases[i].expected) {
			assert_int_equal(err.code, ERR_INPUT);
			assert_non_null(strstr(err.text, cases[i].expected));
		}
	}
	memset(longest, 'x', sizeof longest);
	assert_int_equal(collection_name_check(longest, 255, &err), 0);
	assert_int_equal(collection_name_check(longest, 256, &err), -1);
	assert_int_equal(collection_name_check("a\0b", 3, &err), -1);
}

static void
test_distances(void **state)
{
	(void)state;
	enum collection_distance distance;
	enum distance_kind kind;
	struct error err;

	for (int i = COLLECTION_COSINE; i <= COLLECTION_EUCLID; i++) {
		const char *name =
		    collection_distance_name((enum collection_distance)i);
		assert_int_equal(collection_distance_parse(&distance, name, &err), 0);
		assert_int_equal(distance, i);
	}
	for (int i = DISTANCE_HAMMING; i <= DISTANCE_INT8; i++) {
		const char *name = collection_code_distance_name((enum distance_kind)i);
		assert_int_equal(collection_code_distance_parse(&kind, name, &err), 0);
		assert_int_equal(kind, i);
	}
	assert_int_equal(collection_distance_parse(&distance, "Manhattan", &err), -1);
	assert_int_equal(err.code, ERR_UNSUPPORTED);
	assert_int_equal(collection_distance_parse(&distance, "cosine", &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(collection_code_distance_parse(&kind, "float", &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
}

static void
test_refused(void **state)
{
	(void)state;
	const struct {
		struct collection_settings settings;
		enum error_code code;
		const char *expected;
	} cases[] = {
	    {{.name = "c"}, ERR_INPUT, "1 to 16384 dimensions, not 0"},
	    {{.name = "c", .size = 16385}, ERR_INPUT, "not 16385"},
	    {{.size = 10}, ERR_INPUT, "collection name"},
	    {{.name = "c", .size = 10, .shape = {63, 1, 0}}, ERR_INPUT, "64"},
	    {{.name = "c", .size = 10, .shape = {64, 5, 0}}, ERR_INPUT, "4"},
	    {{.name = "c", .size = 10, .vector = "a/b"}, ERR_INPUT, "vector name"},
	    {{.name = "c", .size = 10, .binarizer = "none"}, ERR_NOT_FOUND, "none"},
	    {{.name = "c", .size = 4, .binarizer = "text"}, ERR_NOT_FOUND,
		"no binarizer for codes of 4 bits"},
	    {{.name = "c", .size = 4, .shape = {128, 1, 0}, .binarizer = "text"},
		ERR_NOT_FOUND, "128 dims and 1 bits and distance hamming"},
	    {{.name = "c", .size = 10, .binarizer = "codes"}, ERR_INPUT,
		"takes vectors of 100 dimensions, not 10"},
	    {{.name = "c", .text_model = "none"}, ERR_NOT_FOUND, "none"},
	    {{.name = "c", .text_model = "codes"}, ERR_NOT_FOUND, "no text encoder"},
	    {{.name = "c", .size = 5, .text_model = "text"}, ERR_INPUT,
		"expected vectors of 4 dimensions"},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_null(collection_new(&cases[i].settings, models, &err));
		if (err.code != cases[i].code || !strstr(err.text, cases[i].expected))
			fail_msg("case %zu: expected '%s' in '%s'", i,
			    cases[i].expected, err.text);
	}
}

static void
test_defaults(void **state)
{
	(void)state;
	const struct {
		struct collection_settings given;
		uint32_t size, dims, bits;
		const char *binarizer;
	} cases[] = {
	    {{.name = "c", .size = 1}, 1, 64, 4, "untrained"},
	    {{.name = "c", .size = 65, .shape = {0, 2, 0}}, 65, 128, 2, "untrained"},
	    {{.name = "c", .size = 16384}, 16384, 4096, 4, "untrained"},
	    {{.name = "c", .text_model = "text"}, 4, 64, 4, "untrained"},
	    {{.name = "c", .text_model = "both"}, 4, 64, 4, "both"},
	    {{.name = "c", .text_model = "both", .binarizer = "untrained"}, 4, 64, 4,
		"untrained"},
	    {{.name = "c", .size = 100, .shape = {192, 3, 0}, .binarizer = "codes"},
		100, 192, 3, "codes"},
	};
	struct error err;
	char first_id[17] = "";

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct collection *c = collection_new(&cases[i].given, models, &err);
		assert_non_null(c);
		const struct collection_settings *s = collection_settings(c);
		assert_int_equal(s->size, cases[i].size);
		assert_int_equal(s->shape.dims, cases[i].dims);
		assert_int_equal(s->shape.bits, cases[i].bits);
		assert_string_equal(s->binarizer, cases[i].binarizer);
		assert_true(s->created_s > 1700000000);
		struct recurrent_info info = recurrent_info(collection_binarizer(c));
		assert_int_equal(info.input_dims, s->size);
		assert_int_equal(info.shape.dims, s->shape.dims);
		/* Different binarizers have different ids, equal ones the same. */
		assert_int_equal(strlen(collection_binarizer_id(c)), 16);
		assert_string_not_equal(collection_binarizer_id(c), first_id);
		snprintf(first_id, sizeof first_id, "%s", collection_binarizer_id(c));
		struct collection *again =
		    collection_new(&cases[i].given, models, &err);
		assert_string_equal(collection_binarizer_id(again), first_id);
		collection_release(again);
		collection_release(c);
	}
}

/* The code of a fixed vector: what a binarizer does. */
static void
encode(uint8_t *wire, struct recurrent_numbers *numbers, const struct collection *c)
{
	const struct recurrent *model = collection_binarizer(c);
	uint32_t size = collection_settings(c)->size;
	float *x = malloc(size * sizeof *x);
	struct error err;
	struct recurrent_scratch *scratch = recurrent_scratch_new(model, &err);

	for (uint32_t i = 0; i < size; i++)
		x[i] = (float)((int)(i * 37 % 101) - 50);
	assert_int_equal(recurrent_encode(model, scratch, wire, numbers, x, &err), 0);
	recurrent_scratch_free(scratch);
	free(x);
}

static void
create(struct rig *rig, struct collection *c)
{
	struct writer_operation op = {.kind = WRITER_CREATE, .collection = c};
	struct error err;

	assert_int_equal(rig_run(rig, &op, NULL, &err), 0);
}

static void
test_restart_without_models(void **state)
{
	(void)state;
	static const struct collection_settings all[] = {
	    {.name = "codes",
		.size = 100,
		.shape = {192, 3, 0},
		.binarizer = "codes",
		.distance = COLLECTION_EUCLID,
		.vector = "caption",
		.code_distance = DISTANCE_SDC,
		.created_s = 1234567890},
	    {.name = "plain \"quoted\"", .size = 7, .code_distance = DISTANCE_HAMMING},
	    {.name = "text", .text_model = "both", .distance = COLLECTION_DOT},
	};
	const char *dir = rig_new_dir();
	struct rig rig;
	struct error err;
	uint8_t wires[3][CODE_BYTES_MAX], wire[CODE_BYTES_MAX];
	struct recurrent_numbers numbers[3], n;
	struct collection_settings stored[3];
	char ids[3][17];

	rig_open(&rig, dir, 0);
	for (size_t i = 0; i < 3; i++) {
		struct collection *c = collection_new(&all[i], models, &err);
		create(&rig, c);
		encode(wires[i], &numbers[i], c);
		struct writer_point point = {.wire = wires[i],
		    .factor = numbers[i].factor,
		    .norm2 = numbers[i].norm2};
		point_id_from_number(&point.id, i);
		assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
		stored[i] = *collection_settings(c);
		snprintf(ids[i], sizeof ids[i], "%s", collection_binarizer_id(c));
		collection_release(c);
	}
	rig_close(&rig);
	rig_open(&rig, dir, 0);
	struct collection **list;
	size_t count;
	assert_int_equal(registry_list(&list, &count, rig.registry, &err), 0);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct collection_settings *s = collection_settings(list[i]);
		assert_string_equal(s->name, stored[i].name);
		assert_int_equal(s->id, i + 1);
		assert_int_equal(s->size, stored[i].size);
		assert_int_equal(s->distance, stored[i].distance);
		assert_string_equal(s->vector, stored[i].vector);
		assert_int_equal(s->shape.dims, stored[i].shape.dims);
		assert_int_equal(s->shape.bits, stored[i].shape.bits);
		assert_int_equal(s->code_distance, stored[i].code_distance);
		assert_string_equal(s->binarizer, stored[i].binarizer);
		assert_string_equal(s->text_model, stored[i].text_model);
		assert_int_equal(s->created_s, stored[i].created_s);
		assert_string_equal(collection_binarizer_id(list[i]), ids[i]);
		encode(wire, &n, list[i]);
		assert_memory_equal(wire, wires[i], code_bytes(s->shape));
		assert_true(n.factor == numbers[i].factor);
		assert_int_equal(collection_count(list[i]), 1);
		struct collection_bytes bytes;
		assert_int_equal(collection_bytes(&bytes, list[i], rig.db, &err), 0);
		assert_true(bytes.memory_codes >= code_bytes(s->shape));
		assert_true(bytes.disk_codes > 0 && bytes.disk_codes % 4096 == 0);
		assert_true(bytes.disk_ids > 0 && bytes.disk_points > 0);
	}
	registry_list_free(list, count);
	rig_close(&rig);
}

/* A mean that comes with the settings: the rotation has it, and has it still after a
 * restart, whatever became of the caller's memory. */
static void
test_mean(void **state)
{
	(void)state;
	const char *dir = rig_new_dir();
	struct collection_settings s = {.name = "c", .size = 100, .shape = {128, 2, 0}};
	struct collection_settings text = {.name = "t", .text_model = "both"};
	struct recurrent_numbers numbers, n;
	uint8_t want[CODE_BYTES_MAX], wire[CODE_BYTES_MAX];
	char id[17];
	struct rig rig;
	struct error err;
	float *mean = malloc(100 * sizeof *mean);
	struct collection *plain = collection_new(&s, models, &err);

	for (int i = 0; i < 100; i++)
		mean[i] = (float)(i % 7) / 8 - 3;
	s.mean = text.mean = mean;
	s.n_mean = 100;
	text.n_mean = MODELS_TEXT_DIMS;
	struct collection *c = collection_new(&s, models, &err);
	struct collection *t = collection_new(&text, models, &err);
	assert_non_null(c);
	assert_non_null(t);
	assert_string_equal(collection_settings(t)->binarizer, COLLECTION_FITTED);
	assert_string_equal(collection_settings(c)->binarizer, COLLECTION_FITTED);
	assert_null(collection_settings(c)->mean);
	assert_string_not_equal(
	    collection_binarizer_id(c), collection_binarizer_id(plain));
	struct recurrent_info info = recurrent_info(collection_binarizer(c));
	assert_memory_equal(info.mean, mean, 100 * sizeof *mean);
	free(mean);
	encode(want, &numbers, c);
	encode(wire, &n, plain);
	assert_memory_not_equal(wire, want, code_bytes(s.shape));
	snprintf(id, sizeof id, "%s", collection_binarizer_id(c));
	rig_open(&rig, dir, 0);
	create(&rig, c);
	collection_release(c);
	collection_release(t);
	collection_release(plain);
	rig_close(&rig);
	rig_open(&rig, dir, 0);
	c = registry_find(rig.registry, "c", &err);
	assert_non_null(c);
	assert_string_equal(collection_settings(c)->binarizer, COLLECTION_FITTED);
	assert_string_equal(collection_binarizer_id(c), id);
	encode(wire, &n, c);
	assert_memory_equal(wire, want, code_bytes(s.shape));
	assert_true(n.factor == numbers.factor);
	collection_release(c);
	rig_close(&rig);
}

static void
test_mean_refused(void **state)
{
	(void)state;
	float mean[9] = {0.5f}, nan[8] = {[3] = NAN}, large[8] = {[7] = -2e18f};
	const struct {
		struct collection_settings settings;
		const char *expected;
	} cases[] = {
	    {{.name = "c", .size = 8, .mean = mean, .n_mean = 9}, "8 numbers"},
	    {{.name = "c", .size = 8, .mean = mean, .n_mean = 7}, "not 7"},
	    {{.name = "c", .size = 8, .mean = nan, .n_mean = 8}, "position 3"},
	    {{.name = "c", .size = 8, .mean = large, .n_mean = 8}, "position 7"},
	    {{.name = "c",
		 .size = 100,
		 .mean = mean,
		 .n_mean = 8,
		 .binarizer = "codes"},
		"not both"},
	    {{.name = "c",
		 .size = 8,
		 .mean = mean,
		 .n_mean = 8,
		 .binarizer = "untrained"},
		"not both"},
	    {{.name = "c", .size = 8, .binarizer = "fitted"}, "expected a mean"},
	};
	struct error err;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_null(collection_new(&cases[i].settings, models, &err));
		if (err.code != ERR_INPUT || !strstr(err.text, cases[i].expected))
			fail_msg("case %zu: expected '%s' in '%s'", i,
			    cases[i].expected, err.text);
	}
	struct collection_settings fine = {
	    .name = "c", .size = 8, .mean = mean, .n_mean = 8, .binarizer = "fitted"};
	struct collection *c = NULL;
	for (long k = 1; !c; k++) {
		array_fail_at(k);
		c = collection_new(&fine, models, &err);
		array_fail_at(0);
		if (!c)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	collection_release(c);
}

struct row {
	char name[300], settings[2000];
	size_t settings_len;
	uint32_t id;
};

static int
take_row(void *arg, const struct db_collection *found, struct error *err)
{
	struct row *row = arg;
	(void)err;

	snprintf(row->name, sizeof row->name, "%s", found->name);
	memcpy(row->settings, found->settings, found->settings_len);
	row->settings_len = found->settings_len;
	row->id = found->id;
	return 0;
}

/* Settings as they are stored, altered: refused, or (never) taken as they are. */
static void
test_altered_settings(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to;
	} changes[] = {{"\"size\":100", "\"size\":101"}, {"\"size\":100", "\"size\":0"},
	    {"\"dims\":128", "\"dims\":127"}, {"\"bits\":4", "\"bits\":9"},
	    {"\"bits\":4", "\"bits\":3"}, {"Cosine", "cosine"}, {"int8", "int4"},
	    {"\"seed\":1", "\"seed\":2"}, {"\"name\":\"c\"", "\"name\":\"d\""},
	    {"\"vector\"", "\"other\""}, {"{", "["}, {"\"created\":", "\"created\":-"},
	    {"binarizer_id\":\"", "binarizer_id\":\"0"}};
	static const struct collection_settings settings = {
	    .name = "c", .size = 100, .code_distance = DISTANCE_INT8};
	struct rig rig;
	struct row row;
	struct error err;

	rig_open(&rig, rig_new_dir(), 0);
	collection_release(rig_create(&rig, &settings));
	struct db_txn *txn = db_begin_read(rig.db, &err);
	assert_int_equal(db_collections(txn, take_row, &row, &err), 0);
	struct db_collection good = {.name = row.name,
	    .id = row.id,
	    .settings = row.settings,
	    .settings_len = row.settings_len};
	struct collection *c = collection_load(txn, &good, &err);
	assert_non_null(c);
	collection_release(c);
	row.settings[row.settings_len] = '\0';
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		char text[2100];
		const char *at = strstr(row.settings, changes[i].from);
		assert_non_null(at);
		int n =
		    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - row.settings),
			row.settings, changes[i].to, at + strlen(changes[i].from));
		struct db_collection bad = good;
		char *copy = guard_copy(text, (size_t)n);
		bad.settings = copy;
		bad.settings_len = (size_t)n;
		assert_null(collection_load(txn, &bad, &err));
		assert_int_equal(err.code, ERR_FORMAT);
		guard_free(copy, (size_t)n);
	}
	/* Cut anywhere. */
	for (size_t n = 0; n < row.settings_len; n++) {
		char *copy = guard_copy(row.settings, n);
		struct db_collection bad = good;
		bad.settings = copy;
		bad.settings_len = n;
		assert_null(collection_load(txn, &bad, &err));
		assert_int_equal(err.code, ERR_FORMAT);
		guard_free(copy, n);
	}
	db_end(txn);
	rig_close(&rig);
}

static void
test_allocations(void **state)
{
	(void)state;
	static const struct collection_settings settings = {
	    .name = "c", .size = 100, .binarizer = "codes"};
	struct rig rig;
	struct error err;
	struct collection *c = NULL;
	long k = 0;

	while (!c) {
		array_fail_at(++k);
		c = collection_new(&settings, models, &err);
		array_fail_at(0);
		if (!c)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 5);
	rig_open(&rig, rig_new_dir(), 0);
	create(&rig, c);
	uint8_t wire[CODE_BYTES_MAX] = {1};
	struct writer_point point = {.wire = wire, .factor = 1};
	point_id_from_number(&point.id, 1);
	assert_int_equal(rig_upsert(&rig, c, &point, 1, &err), 0);
	collection_release(c);
	struct registry *registry = NULL;
	for (k = 1; !registry; k++) {
		array_fail_at(k);
		registry = registry_open(rig.db, &err);
		array_fail_at(0);
		if (!registry)
			assert_int_equal(err.code, ERR_MEMORY);
	}
	assert_true(k > 10);
	c = registry_find(registry, "c", &err);
	assert_int_equal(collection_count(c), 1);
	collection_release(c);
	registry_close(registry);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_distances),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_restart_without_models),
	    cmocka_unit_test(test_mean),
	    cmocka_unit_test(test_mean_refused),
	    cmocka_unit_test(test_altered_settings),
	    cmocka_unit_test(test_allocations),
	};
	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
