/*
 * How fast the shipped text model embeds: texts of about 1 KB made of whole words of
 * its vocabulary, on one thread.  Times are processor time: figures are for one whole
 * core, however busy the machine is.
 *
 *     bench_encoder [FOLDER]       the figures
 *     bench_encoder texts          the texts, a line each
 *     bench_encoder rounds         for a peer to take turns with: the tokenizer alone
 *         over all texts for every line on stdin: "PIECES SECONDS"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "attention/wordpiece.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "bench/harness.h"

#define MODEL "models/static"
#define TEXTS 200
#define TEXT_BYTES 1024
#define PIECES_MAX TEXT_BYTES /* a piece is a byte or more */
#define NANOSECONDS 1000000000u

static int
failed(const struct error *err)
{
	fprintf(stderr, "bench_encoder: %s\n", err->text);
	return 1;
}

/* Fill texts (TEXTS, TEXT_BYTES) with words, commas and full stops. */
static int
make_texts(char *texts, struct error *err)
{
	static char words[40000][16];
	char line[256];
	size_t n = 0;
	struct rng rng;
	FILE *f = fopen(MODEL "/vocab.txt", "r");

	if (!f)
		return error_set(err, ERR_NOT_FOUND, "expected " MODEL "/vocab.txt");
	while (n < 40000 && fgets(line, sizeof line, f)) {
		size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz");
		if (length < 2 || length > 14 || line[length] != '\n')
			continue;
		line[length] = '\0';
		memcpy(words[n++], line, length + 1);
	}
	fclose(f);
	if (n == 0)
		return error_set(
		    err, ERR_FORMAT, "expected words in " MODEL "/vocab.txt");
	rng_init(&rng, 1, 1);
	for (size_t t = 0; t < TEXTS; t++) {
		char *text = texts + t * TEXT_BYTES;
		memset(text, ' ', TEXT_BYTES);
		for (size_t at = 0; at + 20 < TEXT_BYTES;) {
			/* The vocabulary is ordered by frequency, roughly: prefer its
			 * start. */
			size_t k = rng_below(&rng, 1 + rng_below(&rng, n));
			size_t length = strlen(words[k]);
			memcpy(text + at, words[k], length);
			at += length;
			if (rng_below(&rng, 8) == 0)
				text[at++] = rng_below(&rng, 2) ? ',' : '.';
			at++;
		}
	}
	return 0;
}

/* Processor seconds a text: of the whole embedding, or of the tokenizer alone. */
static int
measure(double *seconds, const struct encoder *encoder,
    const struct wordpiece *wordpiece, const char *texts, struct error *err)
{
	size_t n = 0;
	uint32_t *ids = array_new(PIECES_MAX, sizeof *ids);
	float *vector = array_new(encoder_dims(encoder), sizeof *vector);
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, err);
	struct encoder_output out = {.vector = vector};
	struct wordpiece_ids pieces = {.ids = ids, .cap = PIECES_MAX};
	int result = ids && vector && scratch ? 0 : -1;
	uint64_t start = clock_cpu_ns(), used = 0;

	while (result == 0 && used < NANOSECONDS) {
		for (size_t t = 0; result == 0 && t < TEXTS; t++, n++) {
			const char *text = texts + t * TEXT_BYTES;
			result = wordpiece ? wordpiece_encode(wordpiece, &pieces, text,
						 TEXT_BYTES, err)
					   : encoder_embed(encoder, scratch, &out,
						 ENCODER_PLAIN, text, TEXT_BYTES, err);
		}
		used = clock_cpu_ns() - start;
	}
	*seconds = (double)used * 1e-9 / (double)n;
	encoder_scratch_free(scratch);
	free(vector);
	free(ids);
	return result;
}

/* Tokenize all texts, over and over. */
static void
rounds(const struct wordpiece *wordpiece, const char *texts)
{
	static uint32_t ids[PIECES_MAX];
	struct error err;

	while (getchar() != EOF) {
		struct harness_watch watch = harness_start();
		size_t n = 0;
		for (size_t t = 0; t < TEXTS; t++) {
			struct wordpiece_ids pieces = {.ids = ids, .cap = PIECES_MAX};
			if (wordpiece_encode(wordpiece, &pieces, texts + t * TEXT_BYTES,
				TEXT_BYTES, &err) != 0)
				harness_fail("bench_encoder", err.text);
			n += pieces.n;
		}
		printf("%zu %.9f\n", n, harness_stop(watch).cpu);
		fflush(stdout);
	}
}

int
main(int argc, char **argv)
{
	static char texts[TEXTS * TEXT_BYTES];
	const char *mode = argc == 2 ? argv[1] : "";
	struct error err = {ERR_MEMORY, "no memory"};
	double embed, tokenize;
	harness_check_simd("bench_encoder");
	struct encoder *encoder = encoder_open(MODEL, &err);
	struct wordpiece *wordpiece = wordpiece_open(MODEL "/vocab.txt", &err);

	if (!encoder || !wordpiece || make_texts(texts, &err) != 0)
		return failed(&err);
	if (strcmp(mode, "texts") == 0) {
		for (size_t t = 0; t < TEXTS; t++)
			printf("%.*s\n", TEXT_BYTES, texts + t * TEXT_BYTES);
		return 0;
	}
	if (strcmp(mode, "rounds") == 0) {
		rounds(wordpiece, texts);
		return 0;
	}
	if (measure(&embed, encoder, NULL, texts, &err) != 0 ||
	    measure(&tokenize, encoder, wordpiece, texts, &err) != 0)
		return failed(&err);
	printf("encoder  static  %.0f texts/s  %.1f MB/s  (tokenizer %.0f %%, alone "
	       "%.1f MB/s)\n",
	    1 / embed, TEXT_BYTES / embed / 1e6, 100 * tokenize / embed,
	    TEXT_BYTES / tokenize / 1e6);
	wordpiece_close(wordpiece);
	encoder_close(encoder);
	return 0;
}
