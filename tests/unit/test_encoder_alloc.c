/*
 * Claim: embedding a text allocates nothing, whatever the form of layers and
 * attention.  Every allocation of this program is counted, libraries' too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "tests/support/guard.h"
#include "tests/support/models.h"

/* Sanitizers have an allocator of their own, which this must not replace. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTS 1

static atomic_size_t n_allocations;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

void *
malloc(size_t n)
{
	atomic_fetch_add(&n_allocations, 1);
	return __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	atomic_fetch_add(&n_allocations, 1);
	return __libc_calloc(n, size);
}

void *
realloc(void *old, size_t n)
{
	atomic_fetch_add(&n_allocations, 1);
	return __libc_realloc(old, n);
}

void *
aligned_alloc(size_t alignment, size_t n)
{
	atomic_fetch_add(&n_allocations, 1);
	return __libc_memalign(alignment, n);
}

static size_t
count(void)
{
	return atomic_load(&n_allocations);
}
#else
#define COUNTS 0

static size_t
count(void)
{
	return 0;
}
#endif

/* Text i of many lengths, from one piece to more than the model takes. */
static size_t
make_text(char *text, size_t size, size_t i)
{
	size_t n = 0;

	for (size_t word = 0; word <= i % 97 && n + 8 < size; word++)
		n += (size_t)snprintf(text + n, size - n, "%s%c", word ? " the" : "",
		    'a' + (char)(i % 26));
	return n;
}

static void
allocates_nothing(const struct models_encoder *shape)
{
	struct error err;
	char path[512], text[1024];
	float vector[64];

	models_write_encoder(test_folder(), "model", shape, 1);
	snprintf(path, sizeof path, "%s/model", test_folder());
	struct encoder *encoder = encoder_open(path, &err);
	assert_non_null(encoder);
	assert_int_equal(encoder_dims(encoder), 64);
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	const size_t before = count();
	for (size_t i = 0; i < 1000; i++) {
		struct encoder_output out = {.vector = vector};
		size_t n = make_text(text, sizeof text, i);
		assert_int_equal(
		    encoder_embed(encoder, scratch, &out, ENCODER_PLAIN, text, n, &err),
		    0);
	}
	assert_int_equal(count() - before, 0);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

static void
test_counts(void **state)
{
	(void)state;
	if (!COUNTS)
		skip();
	const size_t before = count();
	void *volatile p = malloc(1);
	assert_int_equal(count() - before, 1);
	free(p);
}

static void
test_softmax(void **state)
{
	(void)state;
	if (!COUNTS)
		skip();
	for (int form = LINEAR_TERNARY; form <= LINEAR_FLOAT; form++) {
		const struct models_encoder shape =
		    models_encoder((enum linear_form)form);
		allocates_nothing(&shape);
	}
}

static void
test_hash(void **state)
{
	struct models_encoder shape = models_encoder(LINEAR_TERNARY);

	(void)state;
	if (!COUNTS)
		skip();
	for (int similarity = HASH_POSITIVE; similarity <= HASH_TABLE; similarity++) {
		for (size_t i = 0; i < shape.n_layers; i++) {
			shape.layers[i].softmax = false;
			shape.layers[i].function = i % 2 ? HASH_LINEAR : HASH_KERNEL;
			shape.layers[i].similarity = (enum hash_similarity)similarity;
			shape.layers[i].bits = 16;
			shape.layers[i].anchors = 25;
			shape.layers[i].bucket_bits = 4;
		}
		allocates_nothing(&shape);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_counts),
	    cmocka_unit_test(test_softmax),
	    cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
