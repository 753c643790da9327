/*
 * Claims of server/api_vector.h where a collection's codes have several versions, and
 * how they are checked: the query for a version of the same vectors is, bit for bit,
 * that of a collection with this version alone, in every code distance; for a version
 * of other vectors it is that of the model which knows them; a stored document of an
 * older version as query and as vector is what its code decodes to; a code is taken by
 * its binarizer's id, as a document of the newest alone; a query of fewer planes scores
 * like one whose codes are so short, with the factor that goes with them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/log.h"
#include "base/rng.h"
#include "binarize/recurrent.h"
#include "server/api_vector.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

#define SIZE 8
#define NEW_SIZE 12
#define BITS 4

static struct models *models;
static struct config config = {.max_text_bytes = 100};
static struct api api = {.config = &config};
static float map[64 * NEW_SIZE], mean[NEW_SIZE];

static struct collection_settings
settings_of(const char *binarizer, struct code_shape shape, enum distance_kind kind)
{
	struct collection_settings s = {
	    .name = "c", .size = SIZE, .shape = shape, .code_distance = kind};

	snprintf(s.binarizer, sizeof s.binarizer, "%s", binarizer);
	return s;
}

static const struct code_shape old_shape = {64, BITS, 0}, new_shape = {128, 3, 0};

static int
setup(void **state)
{
	static char dir[300], path[400];
	struct error err;
	struct rng rng;
	(void)state;

	snprintf(dir, sizeof dir, "%s/models", test_folder());
	models_write_binarizer(dir, "mean", SIZE, 0.125f);
	models_write_binarizer(dir, "knowing", NEW_SIZE, 0.125f);
	struct collection_settings s =
	    settings_of("untrained", old_shape, DISTANCE_INT8);
	struct collection *c = collection_new(&s, NULL, &err);
	rng_init(&rng, test_seed(), 0);
	for (size_t i = 0; i < 64 * NEW_SIZE; i++)
		map[i] = rng_uniform(&rng) - 0.5f;
	for (size_t i = 0; i < NEW_SIZE; i++)
		mean[i] = rng_uniform(&rng) - 0.5f;
	const struct recurrent_older older = {
	    collection_binarizer_id(c), old_shape, mean, map, 0};
	const struct recurrent_rotation_config rotation = {
	    .input_dims = NEW_SIZE, .shape = {64, 1, 0}, .seed = 5};
	struct recurrent *model = recurrent_new(&rotation, &err);
	snprintf(path, sizeof path, "%s/knowing/binarizer.safetensors", dir);
	assert_int_equal(recurrent_add_older(model, &older, &err), 0);
	assert_int_equal(recurrent_save(model, path, &err), 0);
	recurrent_free(model);
	collection_release(c);
	models = api.models = models_open(dir, &err);
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

/* A collection that began untrained and has `binarizer` now. */
static struct collection *
changed(const char *binarizer, enum distance_kind kind)
{
	struct collection_settings s = settings_of("untrained", old_shape, kind);
	struct collection_settings wanted = settings_of(binarizer, new_shape, kind);
	struct error err;
	struct collection *before = collection_new(&s, models, &err);
	struct collection *c = collection_next(before, &wanted, models, &err);

	if (!c)
		fail_msg("%s", err.text);
	collection_release(before);
	return c;
}

static struct json
parse(const char *text)
{
	struct json root;
	struct error err;

	assert_int_equal(json_check(&root, text, strlen(text), &err), 0);
	return root;
}

/* x (size) and its spelling. */
static void
random_vector(char *text, float *x, size_t size, struct rng *rng)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		x[i] = rng_uniform(rng) - 0.5f;
		n += (size_t)sprintf(text + n, "%c%.9g", i ? ',' : '[', (double)x[i]);
	}
	strcpy(text + n, "]");
}

static struct distance_query *
queries_new(void)
{
	return array_new_aligned(STORE_PARTS_MAX, sizeof(struct distance_query));
}

static void
test_same_vectors(void **state)
{
	(void)state;
	struct distance_query *both = queries_new(), *alone = queries_new();
	struct rng rng;
	struct error err;
	char text[1000];
	float x[SIZE];

	rng_init(&rng, test_seed(), 1);
	for (int kind = DISTANCE_HAMMING; kind <= DISTANCE_INT8; kind++) {
		struct collection *c = changed("mean", (enum distance_kind)kind);
		struct api_coder coder;
		random_vector(text, x, SIZE, &rng);
		struct json value = parse(text);
		assert_int_equal(api_coder_init(&coder, &api, c, NULL, &err), 0);
		assert_int_equal(api_coder_query(&coder, both, &value, &err), 0);
		api_coder_free(&coder);
		collection_release(c);
		for (int i = 0; i < 2; i++) {
			struct collection_settings s =
			    i == 0 ? settings_of("untrained", old_shape,
					 (enum distance_kind)kind)
				   : settings_of(
					 "mean", new_shape, (enum distance_kind)kind);
			c = collection_new(&s, models, &err);
			assert_int_equal(
			    api_coder_init(&coder, &api, c, NULL, &err), 0);
			assert_int_equal(
			    api_coder_query(&coder, alone, &value, &err), 0);
			assert_memory_equal(&both[i], alone, sizeof *alone);
			api_coder_free(&coder);
			collection_release(c);
		}
	}
	free(both);
	free(alone);
}

/* A code of the old version, as it is stored. */
static struct api_row
old_row(uint8_t *wire, struct rng *rng)
{
	for (size_t i = 0; i < code_bytes(old_shape); i++)
		wire[i] = (uint8_t)rng_u64(rng);
	return (struct api_row){.wire = wire, .factor = 0.1f};
}

static void
test_other_vectors(void **state)
{
	(void)state;
	struct collection *c = changed("knowing", DISTANCE_INT8);
	const struct recurrent *searching = recurrent_searching(
	    collection_binarizer(c), recurrent_id(collection_version(c, 0)->model));
	struct distance_query *queries = queries_new(), *want = queries_new();
	int8_t k[64];
	struct recurrent_query q = {.k = k};
	uint8_t wire[CODE_BYTES_MAX];
	struct api_coder coder;
	struct rng rng;
	struct error err;
	char text[1000];
	float x[NEW_SIZE];
	struct recurrent_scratch *scratch = recurrent_scratch_new(searching, &err);

	rng_init(&rng, test_seed(), 2);
	random_vector(text, x, NEW_SIZE, &rng);
	struct json value = parse(text);
	assert_int_equal(api_coder_init(&coder, &api, c, NULL, &err), 0);
	assert_int_equal(api_coder_query(&coder, queries, &value, &err), 0);
	/* coder.vector is the normalised vector still. */
	assert_int_equal(
	    recurrent_query_int8(searching, scratch, &q, coder.vector, &err), 0);
	distance_query_int8(
	    want, k, q.scale, old_shape, (struct distance_terms){.base = q.base});
	assert_memory_equal(&queries[0], want, sizeof *want);

	/* A stored code: a + f T v at length 1, as vector and as query. */
	struct api_row row = old_row(wire, &rng);
	float decoded[NEW_SIZE];
	double length2 = 0;
	recurrent_decode(searching, scratch, decoded, wire, row.factor);
	for (size_t i = 0; i < NEW_SIZE; i++)
		length2 += (double)decoded[i] * (double)decoded[i];
	api_coder_decode(&coder, &row);
	for (size_t i = 0; i < NEW_SIZE; i++)
		assert_true(fabs((double)coder.vector[i] -
				 (double)decoded[i] / sqrt(length2)) < 1e-6);
	assert_int_equal(api_coder_vector(&coder, want, &err), 0);
	assert_int_equal(api_coder_stored(&coder, queries, &row, &err), 0);
	for (int i = 0; i < 2; i++) {
		assert_memory_equal(queries[i].values, want[i].values, 128);
		assert_true(queries[i].scale > 0);
		assert_true(fabsf(queries[i].scale / want[i].scale - 1) < 1e-5f);
	}
	api_coder_free(&coder);
	recurrent_scratch_free(scratch);
	collection_release(c);
	free(queries);
	free(want);
}

/* A code in the API's form; id NULL = none. */
static void
spell_code(char *text, const uint8_t *wire, size_t n, const char *id)
{
	char base64[CODE_BYTES_MAX * 2] = "";

	base64_encode(base64, wire, n);
	base64[base64_length(n)] = '\0';
	text +=
	    sprintf(text, "{\"model\":\"codes\",\"object\":{\"b64\":\"%s\"", base64);
	if (id)
		text += sprintf(text, ",\"binarizer_id\":\"%s\"", id);
	strcpy(text, "}}");
}

static void
test_codes(void **state)
{
	(void)state;
	struct collection *c = changed("mean", DISTANCE_INT8);
	const char *old_id = recurrent_id(collection_version(c, 0)->model);
	const char *new_id = collection_binarizer_id(c);
	struct distance_query *queries = queries_new(), *want = queries_new();
	uint8_t wire[CODE_BYTES_MAX], kept[CODE_BYTES_MAX];
	struct api_code code = {.wire = kept};
	struct api_coder coder;
	struct rng rng;
	struct error err;
	char text[2 * CODE_BYTES_MAX + 200];

	rng_init(&rng, test_seed(), 3);
	assert_int_equal(api_coder_init(&coder, &api, c, NULL, &err), 0);
	struct api_row row = old_row(wire, &rng);
	memset(wire + code_bytes(old_shape), 0x5A, sizeof wire - code_bytes(old_shape));
	const struct {
		size_t n;
		const char *id, *expected;
	} documents[] = {
	    {code_bytes(new_shape), new_id, NULL},
	    {code_bytes(new_shape), NULL, "codes of 2 binarizers"},
	    {code_bytes(old_shape), old_id, "kept and not added to"},
	    {code_bytes(old_shape), new_id, "128 x 3 bits"},
	    {code_bytes(new_shape), "0123456789abcdef", "expected a code of binarizer"},
	};
	for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
		spell_code(text, wire, documents[i].n, documents[i].id);
		struct json value = parse(text);
		int rc = api_coder_document(&coder, &code, &value, &err);
		assert_int_equal(rc, documents[i].expected ? -1 : 0);
		if (rc && documents[i].expected &&
		    !strstr(err.text, documents[i].expected))
			fail_msg("case %zu: %s", i, err.text);
		if (!rc)
			assert_memory_equal(kept, wire, documents[i].n);
	}
	/* As a query a code of either is fine. */
	spell_code(text, wire, code_bytes(old_shape), old_id);
	struct json value = parse(text);
	assert_int_equal(api_coder_query(&coder, queries, &value, &err), 0);
	api_coder_expect(&coder, &row, 1);
	assert_int_equal(api_coder_stored(&coder, want, &row, &err), 0);
	assert_memory_equal(queries, want, 2 * sizeof *want);
	api_coder_free(&coder);
	collection_release(c);
	free(queries);
	free(want);
}

static float
score_of(const struct distance_query *q, const uint8_t *wire, float factor)
{
	_Alignas(64) static uint8_t block[4096 / 2 * DISTANCE_ROWS];
	_Alignas(64) int32_t dots[DISTANCE_ROWS];
	_Alignas(64) float factors[DISTANCE_ROWS] = {factor};
	const uint16_t live = 1;
	const struct distance_rows rows = {&live, factors, NULL, NULL};
	struct hit found[DISTANCE_ROWS];

	memset(block, 0, sizeof block);
	distance_pack(block, 0, wire, q->shape);
	distance_dots(distance_best(), dots, q, block, 1);
	const struct distance_bounds any = {-INFINITY, INFINITY, -INFINITY};
	assert_int_equal(
	    distance_select(distance_best(), found, dots, q, &rows, 1, &any, -INFINITY),
	    1);
	return found[0].score;
}

static void
test_planes(void **state)
{
	(void)state;
	struct collection *c = changed("mean", DISTANCE_INT8);
	struct distance_query *queries = queries_new();
	uint8_t wire[CODE_BYTES_MAX];
	struct api_coder coder;
	struct rng rng;
	struct error err;
	char text[1000];
	float x[SIZE];

	rng_init(&rng, test_seed(), 4);
	for (uint32_t planes = 1; planes <= BITS; planes++) {
		struct recurrent_query q;
		int8_t k[64];
		q.k = k;
		random_vector(text, x, SIZE, &rng);
		struct json value = parse(text);
		assert_int_equal(api_coder_init(&coder, &api, c, NULL, &err), 0);
		coder.planes = planes;
		assert_int_equal(api_coder_query(&coder, queries, &value, &err), 0);
		assert_int_equal(recurrent_query_int8(collection_version(c, 0)->model,
				     coder.searching[0], &q, coder.vector, &err),
		    0);
		/* The first planes on the wire are the code of so many bits. */
		struct api_row row = old_row(wire, &rng);
		struct distance_query *plain = queries_new();
		distance_query_int8(plain, k, q.scale,
		    (struct code_shape){64, planes, 0}, (struct distance_terms){0});
		float want =
		    score_of(plain, wire, row.factor * recurrent_prefix(BITS, planes));
		float got = score_of(&queries[0], wire, row.factor);
		assert_true(fabsf(got - want) <= 1e-5f * fabsf(want));
		/* Of the three planes of the newer codes all that there are. */
		static const uint32_t masks[] = {
		    0, 0x44444444, 0x66666666, 0x77777777, 0x77777777};
		assert_int_equal(queries[1].mask, masks[planes]);
		free(plain);
		api_coder_free(&coder);
	}
	collection_release(c);
	free(queries);
}

static void
test_memory(void **state)
{
	(void)state;
	struct collection *c = changed("knowing", DISTANCE_INT8);
	struct api_coder coder;
	struct error err;

	for (long k = 1;; k++) {
		array_fail_at(k);
		int rc = api_coder_init(&coder, &api, c, NULL, &err);
		array_fail_at(0);
		api_coder_free(&coder);
		if (rc == 0) {
			assert_true(k > 20); /* three scratches */
			break;
		}
		assert_int_equal(err.code, ERR_MEMORY);
	}
	collection_release(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_same_vectors),
	    cmocka_unit_test(test_other_vectors),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_planes),
	    cmocka_unit_test(test_memory),
	};
	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
