/*
 * Claims:
 * - a creation's body becomes the settings it says, in each of its forms;
 * - numbers, base64 floats and a named vector give the same code; a code comes back bit
 *   for bit; a stored document as query finds itself;
 * - what stands where a vector belongs is refused with ERR_INPUT or ERR_UNSUPPORTED;
 * - every allocation of these may fail: ERR_MEMORY, nothing leaks.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "binarize/recurrent.h"
#include "server/api.h"
#include "server/api_select.h"
#include "server/api_vector.h"
#include "server/config.h"
#include "tests/support/guard.h"

#define SIZE 40

static struct json
parse(const char *text)
{
	struct json root;
	struct error err;
	assert_int_equal(json_check(&root, text, strlen(text), &err), 0);
	return root;
}

static const float one_minus_two[] = {1, -2};

static const struct {
	const char *body;
	struct collection_settings want;
} settings_cases[] = {
    {"{\"vectors\":{\"size\":8,\"distance\":\"Dot\"}}",
	{.size = 8, .distance = COLLECTION_DOT, .code_distance = DISTANCE_INT8}},
    {"{\"vectors\":{\"\":{\"size\":8,\"distance\":\"Cosine\"}},\"codes\":null}",
	{.size = 8, .distance = COLLECTION_COSINE, .code_distance = DISTANCE_INT8}},
    {"{\"vectors\":{\"size\":{\"size\":8,\"distance\":\"Euclid\"}}}",
	{.size = 8,
	    .vector = "size",
	    .distance = COLLECTION_EUCLID,
	    .code_distance = DISTANCE_INT8}},
    {"{\"codes\":{\"dims\":128,\"bits\":1,\"distance\":\"hamming\","
     "\"binarizer\":"
     "\"b\"},\"text_model\":\"m\"}",
	{.shape = {128, 1, 0},
	    .binarizer = "b",
	    .text_model = "m",
	    .code_distance = DISTANCE_HAMMING}},
    /* What stands beside vectors is above metadata, that above quantization. */
    {"{\"codes\":{\"bits\":4},\"metadata\":{\"codes\":{\"bits\":3,\"dims\":64},"
     "\"text_model\":\"m\"},\"quantization_config\":{\"binary\":{\"encoding\":"
     "\"two_bits\"}}}",
	{.shape = {64, 4, 0}, .text_model = "m", .code_distance = DISTANCE_INT8}},
    {"{\"vectors\":{\"size\":8,\"distance\":\"Dot\",\"quantization_config\":{"
     "\"binary\":{\"always_ram\":true}}}}",
	{.size = 8,
	    .distance = COLLECTION_DOT,
	    .shape = {0, 1, 0},
	    .code_distance = DISTANCE_INT8}},
    /* The mean beside vectors is above that of metadata. */
    {"{\"vectors\":{\"size\":2,\"distance\":\"Dot\"},\"codes\":{\"mean\":{"
     "\"b64\":\"AACAPwAAAMA=\"}},\"metadata\":{\"codes\":{\"mean\":{\"b64\":"
     "\"AAAAAA==\"}}}}",
	{.size = 2,
	    .distance = COLLECTION_DOT,
	    .mean = one_minus_two,
	    .n_mean = 2,
	    .code_distance = DISTANCE_INT8}},
    {"{\"vectors\":{\"distance\":\"Dot\"},\"text_model\":\"m\",\"query_model\":"
     "\"q\"}",
	{.text_model = "m",
	    .query_model = "q",
	    .distance = COLLECTION_DOT,
	    .code_distance = DISTANCE_INT8}},
    /* The size is the text model's. */
    {"{\"vectors\":{\"distance\":\"Dot\"},\"text_model\":\"m\"}",
	{.distance = COLLECTION_DOT,
	    .text_model = "m",
	    .code_distance = DISTANCE_INT8}},
    {"{\"vectors\":{\"v\":{\"distance\":\"Euclid\"}},\"metadata\":{"
     "\"text_model\":\"m\"}}",
	{.vector = "v",
	    .distance = COLLECTION_EUCLID,
	    .text_model = "m",
	    .code_distance = DISTANCE_INT8}},
};

static void
test_settings(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof settings_cases / sizeof *settings_cases; i++) {
		struct json root = parse(settings_cases[i].body);
		const struct collection_settings *want = &settings_cases[i].want;
		struct collection_settings got;
		struct error err;
		assert_int_equal(api_settings(&got, &root, &err), 0);
		assert_int_equal(got.size, want->size);
		assert_int_equal(got.distance, want->distance);
		assert_int_equal(got.code_distance, want->code_distance);
		assert_int_equal(got.shape.dims, want->shape.dims);
		assert_int_equal(got.shape.bits, want->shape.bits);
		assert_string_equal(got.vector, want->vector);
		assert_string_equal(got.binarizer, want->binarizer);
		assert_string_equal(got.text_model, want->text_model);
		assert_string_equal(got.query_model, want->query_model);
		assert_int_equal(got.n_mean, want->n_mean);
		if (want->n_mean)
			assert_memory_equal(got.mean, want->mean, 4 * want->n_mean);
		api_settings_free(&got);
		assert_null(got.mean);
		for (long k = 1;; k++) {
			array_fail_at(k);
			int rc = api_settings(&got, &root, &err);
			array_fail_at(0);
			if (rc == 0) {
				api_settings_free(&got);
				break;
			}
			assert_int_equal(err.code, ERR_MEMORY);
			assert_true(k < 20);
		}
	}
}

static void
test_settings_refused(void **state)
{
	static const struct {
		const char *body, *word;
	} cases[] = {
	    {"{}", "'vectors'"},
	    {"{\"vectors\":{\"distance\":\"Dot\"}}", "'size' is missing"},
	    {"{\"vectors\":{\"size\":8}}", "'distance' is missing"},
	    {"{\"vectors\":{\"size\":8},\"text_model\":\"m\"}",
		"'distance' is missing"},
	    {"{\"codes\":{\"mean\":[1,2]}}", "codes.mean: expected {"},
	    {"{\"codes\":{\"mean\":{}}}", "'b64'"},
	    {"{\"codes\":{\"mean\":{\"b64\":7}}}", "b64: expected"},
	    {"{\"codes\":{\"mean\":{\"b64\":\"\"}}}", "not 0 bytes"},
	    {"{\"codes\":{\"mean\":{\"b64\":\"AAAA\"}}}", "not 3 bytes"},
	    {"{\"codes\":{\"mean\":{\"b64\":\"AA*AAA==\"}}}", "codes.mean.b64"},
	    {"{\"codes\":{\"mean\":{\"b64\":\"AAAAAA==\"}},\"vectors\":{\"size\":1}}",
		"'distance' is missing"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json root = parse(cases[i].body);
		struct collection_settings got;
		struct error err;
		assert_int_equal(api_settings(&got, &root, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		if (!strstr(err.text, cases[i].word))
			fail_msg("%s: %s", cases[i].body, err.text);
	}
}

/* ---- vectors ---- */

struct fixture {
	struct config config;
	struct models *models;
	struct api api;
	struct collection *collection;
};

static void
open_fixture(struct fixture *f, enum collection_distance distance, uint32_t bits)
{
	struct collection_settings settings = {.name = "c",
	    .size = SIZE,
	    .vector = "v",
	    .distance = distance,
	    .shape = {128, bits, 0},
	    .code_distance = DISTANCE_INT8};
	struct error err;

	memset(f, 0, sizeof *f);
	f->config.max_text_bytes = 100;
	f->models = models_open(NULL, &err);
	assert_non_null(f->models);
	f->api = (struct api){.config = &f->config, .models = f->models};
	f->collection = collection_new(&settings, f->models, &err);
	assert_non_null(f->collection);
}

static void
close_fixture(struct fixture *f)
{
	collection_release(f->collection);
	models_close(f->models);
}

/* The document's code, also of a vector, which waits for it. */
static int
code_document(struct api_coder *coder, struct api_code *code, const struct json *value,
    struct error *err)
{
	struct recurrent_numbers numbers;
	int rc = api_coder_document(coder, code, value, err);

	if (rc != API_DOCUMENT_VECTOR)
		return rc;
	if (api_coder_code(coder, code->wire, &numbers, err) != 1)
		return -1;
	code->factor = numbers.factor;
	code->norm2 = numbers.norm2;
	return API_DOCUMENT_CODE;
}

/* The three spellings of one vector. */
static void
spell(char texts[3][4096], struct rng *rng)
{
	uint8_t bytes[4 * SIZE];
	char base64[4 * 64 * 2];
	char numbers[4000] = "";
	size_t n = 0;

	for (size_t i = 0; i < SIZE; i++) {
		float x = rng_uniform(rng) - 0.5f;
		bytes_putfle(bytes + 4 * i, x);
		n += (size_t)snprintf(numbers + n, sizeof numbers - n, "%c%.9g",
		    i ? ',' : '[', (double)x);
	}
	snprintf(texts[0], 4096, "%s]", numbers);
	snprintf(texts[1], 4096, "{\"v\":%s]}", numbers);
	base64_encode(base64, bytes, sizeof bytes);
	base64[base64_length(sizeof bytes)] = '\0';
	snprintf(texts[2], 4096, "{\"object\":{\"b64\":\"%s\"},\"model\":\"float32\"}",
	    base64);
}

static void
test_documents(void **state)
{
	struct rng rng;
	(void)state;
	rng_init(&rng, test_seed(), 0);
	for (int distance = COLLECTION_COSINE; distance <= COLLECTION_EUCLID;
	     distance++) {
		struct fixture f;
		struct api_coder coder;
		struct error err;
		char texts[3][4096];
		uint8_t wires[3][CODE_BYTES_MAX];
		struct api_code codes[3];
		open_fixture(&f, (enum collection_distance)distance, 3);
		assert_int_equal(
		    api_coder_init(&coder, &f.api, f.collection, NULL, &err), 0);
		spell(texts, &rng);
		for (int i = 0; i < 3; i++) {
			struct json value = parse(texts[i]);
			codes[i] = (struct api_code){.wire = wires[i]};
			assert_int_equal(
			    code_document(&coder, &codes[i], &value, &err), 0);
			assert_memory_equal(wires[i], wires[0], 128 / 8 * 3);
			assert_true(codes[i].factor == codes[0].factor);
			assert_true(codes[i].norm2 == codes[0].norm2);
		}
		if (distance == COLLECTION_COSINE)
			assert_true(fabsf(codes[0].norm2 - 1) < 1e-5f);
		api_coder_free(&coder);
		close_fixture(&f);
	}
}

/* The query's estimate of its inner product with a stored document. */
static double
product_of(const struct distance_query *query, const struct api_row *row)
{
	_Alignas(64) static uint8_t block[128 / 2 * 16];
	_Alignas(64) int32_t dots[16];
	memset(block, 0, sizeof block);
	distance_pack(block, 0, row->wire, query->shape);
	distance_dots(distance_best(), dots, query, block, 1);
	return (double)query->terms.base +
	       (double)row->factor * (double)(query->scale * (float)dots[0]);
}

/* Sums over documents, in units of |x|^2: of each against itself as a stored query, as
 * a query by its code, and of its vector's length. */
struct selves {
	double stored, code, length;
	double worst; /* of the first */
};

static void
add_self(struct selves *sum, struct api_coder *coder, struct rng *rng)
{
	char texts[3][4096], base64[200], query_text[400];
	uint8_t wire[CODE_BYTES_MAX];
	struct api_code code = {.wire = wire};
	struct distance_query *query = array_new_aligned(1, sizeof *query);
	struct error err;

	spell(texts, rng);
	struct json value = parse(texts[0]);
	assert_int_equal(code_document(coder, &code, &value, &err), 0);
	struct api_row row = {wire, code.factor, code.norm2, 0};
	double norm2 = (double)code.norm2;
	assert_int_equal(api_coder_stored(coder, query, &row, &err), 0);
	double self = product_of(query, &row) / norm2;
	if (query->terms.metric == DISTANCE_EUCLID) /* a distance starts from |q|^2 */
		assert_true(fabs((double)query->terms.norm2 / norm2 - 1) < 1e-5);
	sum->stored += self;
	sum->worst = fmax(sum->worst, fabs(self - 1));

	size_t n = code_bytes(query->shape);
	base64_encode(base64, wire, n);
	base64[base64_length(n)] = '\0';
	snprintf(query_text, sizeof query_text,
	    "{\"object\":{\"b64\":\"%s\",\"norm\":%.9g},\"model\":\"codes\"}", base64,
	    sqrt(norm2));
	value = parse(query_text);
	assert_int_equal(api_coder_query(coder, query, &value, &err), 0);
	sum->code += product_of(query, &row) / norm2;

	double length2 = 0;
	api_coder_decode(coder, &row);
	for (size_t i = 0; i < SIZE; i++)
		length2 += (double)coder->vector[i] * (double)coder->vector[i];
	sum->length += sqrt(length2 / norm2);
	free(query);
}

/* A stored document or its code as query scores against itself as its vector would. */
static void
test_selves(void **state)
{
	enum { N = 60 };
	struct rng rng;
	(void)state;
	rng_init(&rng, test_seed(), 3);
	for (int i = 0; i < 12; i++) {
		enum collection_distance distance = (enum collection_distance)(i / 4);
		struct fixture f;
		struct api_coder coder;
		struct error err;
		struct selves sum = {0};
		open_fixture(&f, distance, 1 + (uint32_t)i % 4);
		assert_int_equal(
		    api_coder_init(&coder, &f.api, f.collection, NULL, &err), 0);
		for (int n = 0; n < N; n++)
			add_self(&sum, &coder, &rng);
		print_message("%d, %d bits: itself %.3f +- %.3f, by code %.3f, length "
			      "%.3f\n",
		    (int)distance, 1 + i % 4, sum.stored / N, sum.worst, sum.code / N,
		    sum.length / N);
		assert_true(fabs(sum.stored / N - 1) < 0.02);
		assert_true(sum.worst < (distance == COLLECTION_DOT ? 0.25 : 0.02));
		assert_true(fabs(sum.code / N - 1) < 0.03);
		assert_true(fabs(sum.length / N - 1) < 0.02);
		api_coder_free(&coder);
		close_fixture(&f);
	}
}

static void
test_codes(void **state)
{
	uint8_t wire[128 / 8 * 2], got[sizeof wire];
	char base64[200], text[400];
	struct api_code code = {.wire = got};
	struct api_coder coder;
	struct fixture f;
	struct error err;
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	for (size_t i = 0; i < sizeof wire; i++)
		wire[i] = (uint8_t)rng_u64(&rng);
	base64_encode(base64, wire, sizeof wire);
	base64[base64_length(sizeof wire)] = '\0';
	open_fixture(&f, COLLECTION_EUCLID, 2);
	assert_int_equal(api_coder_init(&coder, &f.api, f.collection, NULL, &err), 0);
	snprintf(text, sizeof text,
	    "{\"v\":{\"object\":{\"b64\":\"%s\",\"norm\":3,\"binarizer_id\":\"%s\"},"
	    "\"model\":\"codes\"}}",
	    base64, collection_binarizer_id(f.collection));
	struct json value = parse(text);
	assert_int_equal(code_document(&coder, &code, &value, &err), 0);
	assert_memory_equal(got, wire, sizeof wire);
	assert_true(code.norm2 == 9.0f);
	assert_true(code.factor > 0);
	api_coder_free(&coder);
	close_fixture(&f);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *text;
		enum error_code code;
	} cases[] = {
	    {"[1,2,3]", ERR_INPUT},
	    {"[]", ERR_INPUT},
	    {"[[1],[2]]", ERR_UNSUPPORTED},
	    {"\"abc\"", ERR_INPUT},
	    {"true", ERR_INPUT},
	    {"{}", ERR_INPUT},
	    {"{\"w\":[1]}", ERR_INPUT},
	    {"{\"v\":{\"v\":{\"v\":[1]}}}", ERR_INPUT},
	    {"{\"v\":1}", ERR_INPUT},
	    {"{\"indices\":[1],\"values\":[2]}", ERR_UNSUPPORTED},
	    {"{\"image\":\"x\",\"model\":\"m\"}", ERR_UNSUPPORTED},
	    {"{\"text\":\"x\"}", ERR_INPUT},
	    {"{\"text\":\"x\",\"model\":\"m\"}", ERR_NOT_FOUND},
	    {"{\"text\":\"x\",\"model\":3}", ERR_INPUT},
	    {"{\"object\":1,\"model\":\"codes\"}", ERR_INPUT},
	    {"{\"object\":{},\"model\":\"codes\"}", ERR_INPUT},
	    {"{\"object\":{\"b64\":\"AAAA\"},\"model\":\"other\"}", ERR_INPUT},
	    {"{\"object\":{\"b64\":\"AAAA\"},\"model\":\"codes\"}", ERR_INPUT},
	    {"{\"object\":{\"b64\":\"\"},\"model\":\"float32\"}", ERR_INPUT},
	    {"{\"object\":{\"b64\":\"AAAA\",\"norm\":0},\"model\":\"codes\"}",
		ERR_INPUT},
	    {"{\"object\":{\"b64\":\"AAAA\",\"binarizer_id\":\"x\"},\"model\":"
	     "\"codes\"}",
		ERR_INPUT},
	};
	uint8_t wire[CODE_BYTES_MAX];
	struct distance_query *query = array_new_aligned(1, sizeof *query);
	struct api_code code = {.wire = wire};
	struct api_coder coder;
	struct fixture f;
	struct error err;
	(void)state;

	open_fixture(&f, COLLECTION_COSINE, 1);
	struct api_texts texts;
	api_texts_init(&texts, &f.api);
	assert_int_equal(api_coder_init(&coder, &f.api, f.collection, &texts, &err), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json value = parse(cases[i].text);
		assert_int_equal(code_document(&coder, &code, &value, &err), -1);
		if (err.code != cases[i].code)
			print_error("%s: %s\n", cases[i].text, err.text);
		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(api_coder_query(&coder, query, &value, &err), -1);
		assert_int_equal(err.code, cases[i].code);
	}
	api_coder_free(&coder);
	close_fixture(&f);
	free(query);
}

static void
test_memory(void **state)
{
	char texts[3][4096];
	uint8_t wire[CODE_BYTES_MAX];
	struct fixture f;
	struct error err;
	struct rng rng;
	long k = 1;
	(void)state;

	rng_init(&rng, test_seed(), 2);
	spell(texts, &rng);
	open_fixture(&f, COLLECTION_COSINE, 2);
	for (int rc = -1; rc; k++) {
		struct json value = parse(texts[2]);
		struct api_code code = {.wire = wire};
		struct api_coder coder;
		array_fail_at(k);
		rc = api_coder_init(&coder, &f.api, f.collection, NULL, &err);
		if (rc == 0)
			rc = code_document(&coder, &code, &value, &err);
		array_fail_at(0);
		if (rc)
			assert_int_equal(err.code, ERR_MEMORY);
		api_coder_free(&coder);
		assert_true(k < 50);
	}
	assert_true(k > 5);
	close_fixture(&f);
}

/* What is printed of a payload; every allocation may fail; damage is told. */
static void
test_payload(void **state)
{
	static const struct {
		const char *request, *payload, *want;
	} cases[] = {
	    {"{}", "{\"a\":1}", ""},
	    {"{\"with_payload\":true}", "{\"a\":1}", ",\"payload\":{\"a\":1}"},
	    {"{\"with_payload\":true}", "", ",\"payload\":{}"},
	    {"{\"with_payload\":[\"a\"]}", "", ",\"payload\":{}"},
	    {"{\"with_payload\":[\"a\",\"c\"]}", "{\"\\u0061\":1,\"b\":2,\"c\":3}",
		",\"payload\":{\"\\u0061\":1,\"c\":3}"},
	    {"{\"with_payload\":{\"exclude\":[\"b\"]}}", "{\"a\":1,\"b\":2,\"c\":3}",
		",\"payload\":{\"a\":1,\"c\":3}"},
	    {"{\"with_payload\":[\"a\"]}", "{\"a\":1", NULL},
	    {"{\"with_payload\":{\"exclude\":[\"b\"]}}", "{broken", NULL},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct json root = parse(cases[i].request);
		struct api_select select = {.payload = false};
		struct db_record record = {.payload = cases[i].payload,
		    .payload_len = strlen(cases[i].payload)};
		struct error err;
		assert_int_equal(api_select_read(&select, &root, &err), 0);
		for (long k = 0;; k++) {
			struct text out = {0};
			text_string(&out, "x"); /* so that its memory is there */
			array_fail_at(cases[i].want ? k + 1 : 0);
			int rc = api_select_payload(&out, &select, &record, &err);
			array_fail_at(0);
			if (rc == 0) {
				assert_non_null(cases[i].want);
				assert_string_equal(out.bytes + 1, cases[i].want);
			}
			text_free(&out);
			if (!cases[i].want) {
				assert_int_equal(rc, -1);
				assert_int_equal(err.code, ERR_FORMAT);
			}
			if (rc == 0 || !cases[i].want)
				break;
			assert_int_equal(err.code, ERR_MEMORY);
			assert_true(k < 10);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_settings),
	    cmocka_unit_test(test_settings_refused),
	    cmocka_unit_test(test_documents),
	    cmocka_unit_test(test_selves),
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_payload),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
