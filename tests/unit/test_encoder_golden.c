/*
 * Claims: the shipped text model embeds every golden text as the training code does
 * (tests/golden/make_static_embeddings.py): no number differs by 1e-5 or more, the
 * cosine is over 0.99999, and a text that training gives zeros is refused.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention/encoder.h"
#include "base/json.h"

#define MODEL "models/static"
#define GOLDEN_FILE "tests/golden/static_embeddings.jsonl"

/* Embed the text of a golden line and compare; a text that training gives zeros must be
 * refused. */
static void
compare(const struct encoder *encoder, struct encoder_scratch *scratch,
    const char *text, size_t n, const float *want)
{
	size_t dims = encoder_dims(encoder);
	float *got = malloc(dims * sizeof *got);
	struct encoder_output out = {.vector = got};
	struct error err = {ERR_NONE, ""};
	double largest = 0, dot = 0, square = 0;
	int result =
	    encoder_embed(encoder, scratch, &out, ENCODER_PLAIN, text, n, &err);

	for (size_t d = 0; d < dims; d++)
		square += (double)want[d] * (double)want[d];
	if ((result == 0) != (square > 0))
		fail_msg("length %g in training, here '%s': %.*s", sqrt(square),
		    err.text, (int)n, text);
	for (size_t d = 0; result == 0 && d < dims; d++) {
		largest = fmax(largest, fabs((double)got[d] - (double)want[d]));
		dot += (double)got[d] * (double)want[d];
	}
	if (result == 0 && !(largest < 1e-5 && dot / sqrt(square) > 0.99999))
		fail_msg("off by %g, cosine %.7f: %.*s", largest, dot / sqrt(square),
		    (int)n, text);
	free(got);
}

/* One line {"text", "embedding"} of the golden file. */
static void
check_golden(const struct encoder *encoder, struct encoder_scratch *scratch,
    const char *line, size_t n)
{
	size_t dims = encoder_dims(encoder), n_want;
	float *want = malloc(dims * sizeof *want);
	struct json root, text, embedding;
	struct error err = {ERR_NONE, ""};

	if (json_check(&root, line, n, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(json_member(&root, "text", &text));
	assert_true(json_member(&root, "embedding", &embedding));
	assert_int_equal(json_floats(want, dims, &n_want, &embedding, &err), 0);
	assert_int_equal(n_want, dims);
	char *plain = malloc(text.len + 1);
	size_t length = json_string(plain, text.len + 1, &text);
	compare(encoder, scratch, plain, length, want);
	free(plain);
	free(want);
}

static void
the_shipped_model_embeds_as_in_training(void **state)
{
	(void)state;
	FILE *f = fopen(GOLDEN_FILE, "r");
	char *line = NULL;
	size_t room = 0, lines = 0;

	if (!f)
		fail_msg("%s: %s", GOLDEN_FILE, strerror(errno));
	struct error err = {ERR_NONE, ""};
	struct encoder *encoder = encoder_open(MODEL, &err);
	if (!encoder)
		fail_msg("%s", err.text);
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	assert_non_null(scratch);
	for (ssize_t n; (n = getline(&line, &room, f)) > 0; lines++)
		check_golden(encoder, scratch, line, (size_t)n);
	assert_true(lines >= 100);
	free(line);
	fclose(f);
	encoder_scratch_free(scratch);
	encoder_close(encoder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_shipped_model_embeds_as_in_training),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
