/*
 * What the engine makes of many texts, for attention/training/parity.py to compare with
 * the reference in PyTorch:
 *
 *     parity MODEL TEXTS OUTPUT [--inject CODES]
 *
 * TEXTS has a text a line.  OUTPUT gets, text after text, little-endian: n (u32), n ids
 * (u32), the embedding (float32), and its codes: for each layer with hash attention
 * those of the queries, n * heads u32, then, unless shared, those of the keys.  The
 * codes are the engine's own also where CODES, a file of codes alone in the same order,
 * gives others to go on with: they differ then by what one layer adds, not all before
 * it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "tests/support/traced.h"

/* The texts of one pass. */
struct pass {
	struct traced traced;
	uint32_t ids[TRANSFORMER_PASS];
	size_t start[TRANSFORMER_PASS + 1];
	size_t n; /* texts */
	float *vectors[TRANSFORMER_PASS];
	bool ok[TRANSFORMER_PASS];
	FILE *output, *inject; /* inject: or NULL */
	size_t texts;          /* before this pass */
};

static void
need(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "parity: %s\n", what);
	exit(1);
}

/* For each of a text's arrays of codes, where it lies in the pass's. */
static void
each_codes(struct pass *pass, size_t text, bool given,
    void (*visit)(FILE *file, uint32_t *codes, size_t n), FILE *file)
{
	struct traced *traced = &pass->traced;
	const size_t heads = traced->model->heads, first = pass->start[text];
	const size_t n = pass->start[text + 1] - first;

	for (size_t i = 0; i < traced->model->n_layers; i++)
		for (size_t k = 0; k < 2; k++) {
			uint32_t *codes =
			    given ? traced->given[i][k] : traced->codes[i][k];
			if (codes)
				visit(file, codes + first * heads, n * heads);
		}
}

static void
read_codes(FILE *file, uint32_t *codes, size_t n)
{
	need(fread(codes, sizeof *codes, n, file) == n,
	    "the file of codes ends before the texts do");
}

static void
write_codes(FILE *file, uint32_t *codes, size_t n)
{
	need(fwrite(codes, sizeof *codes, n, file) == n, "cannot write the output");
}

static void
run_pass(struct pass *pass)
{
	const size_t dims = pass->traced.model->dims;
	const struct transformer_batch batch = {pass->ids, pass->start, pass->n};

	if (pass->n == 0)
		return;
	for (size_t i = 0; pass->inject && i < pass->n; i++)
		each_codes(pass, i, true, read_codes, pass->inject);
	traced_run(
	    &pass->traced, &batch, pass->vectors, pass->ok, pass->inject != NULL);
	for (size_t i = 0; i < pass->n; i++) {
		const size_t first = pass->start[i];
		uint32_t n = (uint32_t)(pass->start[i + 1] - first);

		need(pass->ok[i], "a text has no embedding");
		write_codes(pass->output, &n, 1);
		write_codes(pass->output, pass->ids + first, n);
		need(
		    fwrite(pass->vectors[i], sizeof(float), dims, pass->output) == dims,
		    "cannot write the output");
		each_codes(pass, i, false, write_codes, pass->output);
	}
	pass->texts += pass->n;
	pass->n = 0;
}

static void
add_text(struct pass *pass, const char *text, size_t n)
{
	uint32_t ids[TRANSFORMER_PASS];
	struct encoder_pieces pieces = {
	    .ids = ids, .cap = encoder_pieces_max(pass->traced.encoder)};
	struct error err = {ERR_NONE, ""};

	if (encoder_tokenize(
		pass->traced.encoder, &pieces, ENCODER_PLAIN, text, n, &err) != 0) {
		fprintf(stderr, "parity: line %zu: %s\n", pass->texts + pass->n + 1,
		    err.text);
		exit(1);
	}
	if (pass->start[pass->n] + pieces.n > TRANSFORMER_PASS)
		run_pass(pass);
	memcpy(pass->ids + pass->start[pass->n], ids, pieces.n * sizeof *ids);
	pass->start[pass->n + 1] = pass->start[pass->n] + pieces.n;
	pass->n++;
}

int
main(int argc, char **argv)
{
	static struct pass pass;
	struct error err = {ERR_NONE, ""};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	need(argc == 4 || (argc == 6 && strcmp(argv[4], "--inject") == 0),
	    "expected MODEL TEXTS OUTPUT [--inject CODES]");
	if (traced_open(&pass.traced, argv[1], &err) != 0)
		need(false, err.text);
	FILE *texts = fopen(argv[2], "r");
	pass.output = fopen(argv[3], "wb");
	pass.inject = argc == 6 ? fopen(argv[5], "rb") : NULL;
	need(texts && pass.output && (argc == 4 || pass.inject), "cannot open a file");
	for (size_t i = 0; i < TRANSFORMER_PASS; i++) {
		pass.vectors[i] = array_new(pass.traced.model->dims, sizeof(float));
		need(pass.vectors[i] != NULL, "no memory");
	}
	while ((n = getline(&line, &cap, texts)) > 0)
		add_text(&pass, line, (size_t)n - (line[n - 1] == '\n'));
	run_pass(&pass);
	need(!pass.inject || fgetc(pass.inject) == EOF,
	    "the file of codes goes on behind the texts");
	need(fclose(pass.output) == 0, "cannot write the output");
	printf("%zu texts\n", pass.texts);

	if (pass.inject)
		fclose(pass.inject);
	fclose(texts);
	for (size_t i = 0; i < TRANSFORMER_PASS; i++)
		free(pass.vectors[i]);
	free(line);
	traced_close(&pass.traced);
	return 0;
}
