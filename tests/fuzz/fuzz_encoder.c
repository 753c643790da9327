/*
 * Input: config.json, '\0', the header of model.safetensors, '\0', its data, which are
 * repeated until they are as many as the header wants.  The vocabulary is fixed, that
 * of tests/support/models.h.  A model on the disk becomes an input so (Python):
 *
 *     m = open("model.safetensors", "rb").read(); n = 8 + int.from_bytes(m[:8],
 * "little") open("config.json", "rb").read() + b"\0" + m[8:n] + b"\0" + m[n:]
 *
 * Claims: a model is refused with a reason or loaded, and then embeds texts into
 * vectors of length 1 or says that it cannot.
 */
#include <math.h>

#include "attention/encoder.h"
#include "base/json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/guard.h"

/* More than that is a matter of patience. */
#define DATA_MAX ((size_t)1 << 20)

static void
write_vocabulary(const char *path)
{
	FILE *f = fuzz_create(path);

	fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", f);
	for (int c = 'a'; c <= 'z'; c++)
		fprintf(f, "%c\n", c);
	for (int c = 'a'; c <= 'z'; c++)
		fprintf(f, "##%c\n", c);
	fputs("query\npassage\nthe\n:\n.\n,\n", f);
	FUZZ_CHECK(fclose(f) == 0);
}

/* Where the last tensor of a header ends. */
static size_t
data_wanted(struct fuzz_part header)
{
	struct json root, offsets;
	struct error err;
	size_t wanted = 0;

	if (json_check(&root, header.bytes, header.n, &err) != 0 ||
	    root.type != JSON_OBJECT)
		return 0;
	struct json_walk tensors = json_walk(&root);
	while (json_next(&tensors)) {
		if (tensors.value.type != JSON_OBJECT ||
		    !json_member(&tensors.value, "data_offsets", &offsets) ||
		    offsets.type != JSON_ARRAY)
			continue;
		struct json_walk walk = json_walk(&offsets);
		uint64_t end;
		while (json_next(&walk))
			if (json_u64(&end, &walk.value) && end > wanted)
				wanted = end;
	}
	return wanted;
}

static void
write_tensors(const char *path, struct fuzz_part header, const uint8_t *data, size_t n)
{
	static const uint8_t one = 1;
	const size_t wanted = data_wanted(header);
	const uint64_t size = header.n;
	FILE *f = fuzz_create(path);

	if (n == 0) {
		data = &one;
		n = 1;
	}
	FUZZ_CHECK(fwrite(&size, sizeof size, 1, f) == 1);
	FUZZ_CHECK(header.n == 0 || fwrite(header.bytes, 1, header.n, f) == header.n);
	for (size_t at = 0; at < wanted && at < DATA_MAX;) {
		size_t k = wanted - at < n ? wanted - at : n;
		FUZZ_CHECK(fwrite(data, 1, k, f) == k);
		at += k;
	}
	FUZZ_CHECK(fclose(f) == 0);
}

static void
embed(const struct encoder *encoder, struct encoder_scratch *scratch, const char *text)
{
	struct error err;
	const size_t dims = encoder_dims(encoder);
	float *vector = calloc(dims, sizeof *vector);
	struct encoder_output out = {.vector = vector};
	double square = 0;

	FUZZ_CHECK(vector);
	if (encoder_embed(
		encoder, scratch, &out, ENCODER_QUERY, text, strlen(text), &err) == 0) {
		for (size_t d = 0; d < dims; d++)
			square += (double)vector[d] * (double)vector[d];
		FUZZ_CHECK(fabs(sqrt(square) - 1) < 1e-4);
		FUZZ_CHECK(out.pieces <= encoder_pieces_max(encoder));
		FUZZ_CHECK(out.unknown <= out.pieces);
	} else {
		FUZZ_CHECK(err.code == ERR_INPUT || err.code == ERR_FORMAT);
	}
	free(vector);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char dir[300];
	char path[400];
	struct error err = {ERR_NONE, ""};
	struct fuzz_part config = fuzz_part(&data, &n), header = fuzz_part(&data, &n);

	if (!dir[0]) {
		snprintf(dir, sizeof dir, "%s", test_folder());
		snprintf(path, sizeof path, "%s/vocab.txt", dir);
		write_vocabulary(path);
	}
	snprintf(path, sizeof path, "%s/config.json", dir);
	fuzz_write(path, config.bytes, config.n);
	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	write_tensors(path, header, data, n);
	struct encoder *encoder = encoder_open(dir, &err);
	if (!encoder) {
		FUZZ_CHECK(err.code != ERR_NONE && err.code != ERR_INPUT);
		FUZZ_CHECK(strstr(err.text, dir));
		return 0;
	}
	struct encoder_scratch *scratch = encoder_scratch_new(encoder, &err);
	FUZZ_CHECK(scratch || err.code == ERR_MEMORY);
	if (scratch) {
		embed(
		    encoder, scratch, "The quick, b\xC3\xA9ige fox: \xF0\x9F\xA6\x8A.");
		embed(encoder, scratch, "a");
	}
	encoder_scratch_free(scratch);
	encoder_close(encoder);
	return 0;
}
