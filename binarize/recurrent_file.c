#include "binarize/recurrent_model.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define FORMAT "halftone-binarizer"
#define FORMAT_VERSION "1"

/* *value := the metadata `key`, a decimal number up to max. */
static int
read_number(uint64_t *value, const struct tensors *file, const char *key, uint64_t max,
    struct error *err)
{
	const char *text = tensors_metadata(file, key);
	const char *p = text ? text : "";
	uint64_t sum = 0;
	bool right = *p != '\0';

	for (; right && *p; p++)
		right = *p >= '0' && *p <= '9' &&
			!__builtin_mul_overflow(sum, 10, &sum) &&
			!__builtin_add_overflow(sum, (uint64_t)(*p - '0'), &sum);
	if (!right || sum > max)
		return error_set(err, ERR_FORMAT,
		    "expected the metadata '%s' as a number up to %" PRIu64
		    ", not '%s'",
		    key, max, text ? text : "");
	*value = sum;
	return 0;
}

/* The text of the metadata `key`, "" if there is none. */
static const char *
metadata(const struct tensors *file, const char *key)
{
	const char *text = tensors_metadata(file, key);
	return text ? text : "";
}

static const char *const kinds[] = {
    [RECURRENT_ROTATION] = "rotation",
    [RECURRENT_LEARNED] = "recurrent",
    [RECURRENT_REFINED] = "refined",
};
#define KINDS (sizeof kinds / sizeof *kinds)

static int
read_kind(enum recurrent_kind *kind, const struct tensors *file, struct error *err)
{
	const char *name = metadata(file, "kind");
	for (size_t i = 0; i < KINDS; i++) {
		if (strcmp(name, kinds[i]) == 0) {
			*kind = (enum recurrent_kind)i;
			return 0;
		}
	}
	return error_set(err, ERR_FORMAT,
	    "expected the kind 'rotation', 'recurrent' or 'refined', not '%s'", name);
}

/* *n := how many centres there are; 0 if the file says nothing of any. */
static int
read_centres(uint64_t *n, const struct tensors *file, struct error *err)
{
	if (!tensors_metadata(file, "centres"))
		return 0;
	if (read_number(n, file, "centres", CODE_CENTRES_MAX, err) != 0)
		return -1;
	return *n > 0 ? 0
		      : error_set(err, ERR_FORMAT,
			    "expected the metadata 'centres' as 1 to %d, or none",
			    CODE_CENTRES_MAX);
}

/* Fill *info, mean included, from the file. */
static int
read_info(struct recurrent_info *info, const struct tensors *file, struct error *err)
{
	uint64_t dims = 0, bits = 0, centres = 0;
	memset(info, 0, sizeof *info);
	if (strcmp(metadata(file, "format"), FORMAT) != 0)
		return error_set(err, ERR_FORMAT,
		    "expected the metadata 'format' as '" FORMAT "', not '%s'",
		    metadata(file, "format"));
	if (strcmp(metadata(file, "format_version"), FORMAT_VERSION) != 0)
		return error_set(err, ERR_FORMAT,
		    "expected format_version " FORMAT_VERSION
		    ", not '%s'; a newer program may read it",
		    metadata(file, "format_version"));
	if (read_kind(&info->kind, file, err) != 0)
		return -1;
	if (info->kind == RECURRENT_ROTATION) {
		if (read_number(&info->seed, file, "seed", UINT64_MAX, err) != 0)
			return -1;
	} else {
		if (read_number(&dims, file, "dims", CODE_DIMS_MAX, err) != 0 ||
		    read_number(&bits, file, "bits", CODE_BITS_MAX, err) != 0)
			return -1;
		if (info->kind == RECURRENT_REFINED &&
		    read_centres(&centres, file, err) != 0)
			return -1;
		info->shape.dims = (uint32_t)dims;
		info->shape.bits = (uint32_t)bits;
		info->shape.centres = (uint32_t)centres;
		if (code_shape_check(info->shape, err) != 0) {
			err->code = ERR_FORMAT;
			return -1;
		}
	}
	const struct tensor *mean =
	    tensors_expect(file, "mean", TENSOR_F32, 1, (const size_t[]){0}, err);
	if (!mean)
		return -1;
	if (mean->shape[0] > RECURRENT_INPUT_DIMS_MAX)
		return error_set(err, ERR_FORMAT,
		    "expected a mean of at most %d numbers, not %zu",
		    RECURRENT_INPUT_DIMS_MAX, mean->shape[0]);
	info->input_dims = (uint32_t)mean->shape[0];
	info->mean = mean->data;
	for (size_t i = 0; i < info->input_dims; i++)
		if (!isfinite(info->mean[i]))
			return error_set(err, ERR_FORMAT,
			    "expected a finite mean, not %g at position %zu",
			    (double)info->mean[i], i);
	return 0;
}

/* Put the path before a message that does not begin with it yet. */
static int
name_file(struct error *err, const char *path)
{
	return strncmp(err->text, path, strlen(path)) == 0
		   ? -1
		   : error_prefix(err, "%s", path);
}

int
recurrent_peek(struct recurrent_info *info, const char *path, struct error *err)
{
	struct recurrent_info found;
	struct tensors *file = tensors_open(path, err);
	if (!file)
		return -1;
	int rc = read_info(&found, file, err);
	tensors_close(file);
	if (rc != 0)
		return name_file(err, path);
	*info = found;
	info->mean = NULL;
	return 0;
}

/* The model of the file, which it owns then; NULL: the file is still the caller's. */
static struct recurrent *
open_learned(struct tensors *file, const struct recurrent_info *info, struct error *err)
{
	struct recurrent *model =
	    recurrent_base_new(info->input_dims, info->shape, info->mean, err);
	if (!model)
		return NULL;
	model->info.kind = info->kind;
	model->file = file;
	size_t n;
	const void *bytes = tensors_bytes(file, &n);
	recurrent_id_set(model, bytes, n);
	if (info->kind == RECURRENT_REFINED ? recurrent_refined_open(model, err) == 0
					    : recurrent_blocks_open(model, err) == 0)
		return model;
	model->file = NULL;
	recurrent_free(model);
	return NULL;
}

/* Likewise. */
static struct recurrent *
open_any(struct tensors *file, struct code_shape shape, struct error *err)
{
	struct recurrent_info info;

	if (read_info(&info, file, err) != 0)
		return NULL;
	if (info.kind == RECURRENT_ROTATION) {
		struct recurrent_rotation_config config = {
		    .input_dims = info.input_dims,
		    .shape = shape,
		    .seed = info.seed,
		    .mean = info.mean};
		struct recurrent *model = recurrent_new(&config, err);
		if (model)
			model->file = file;
		return model;
	}
	if (shape.dims == info.shape.dims && shape.bits == info.shape.bits)
		return open_learned(file, &info, err);
	error_set(err, ERR_INPUT,
	    "expected codes of %u dims and %u bits, which this learned model makes, "
	    "not of %u and %u",
	    info.shape.dims, info.shape.bits, shape.dims, shape.bits);
	return NULL;
}

struct recurrent *
recurrent_open(const char *path, struct code_shape shape, struct error *err)
{
	struct tensors *file = tensors_open(path, err);
	if (!file)
		return NULL;
	struct recurrent *model = open_any(file, shape, err);
	if (!model) {
		tensors_close(file);
	} else if (recurrent_older_open(model, err) != 0) {
		recurrent_free(model);
		model = NULL;
	}
	if (!model)
		name_file(err, path);
	return model;
}

/* A mean, two maps, centres, lengths, and per block and layer a weight and a
 * bias. */
#define TENSORS_MAX                                                               \
	(4 + CODE_BITS_MAX + 2 * RECURRENT_LAYERS_MAX * (2 * CODE_BITS_MAX - 1) + \
	    RECURRENT_OLDER_TENSORS_MAX)

static size_t
add_block(struct tensor *list, const struct recurrent_block *block)
{
	size_t n = 0;
	for (size_t j = 0; j < block->n; j++) {
		list[n++] = *block->layers[j].weight;
		list[n++] = *block->layers[j].bias;
	}
	return n;
}

int
recurrent_save(const struct recurrent *model, const char *path, struct error *err)
{
	const struct recurrent_info *info = &model->info;
	char seed[24], dims[12], bits[12], layers[12], centres[12];
	struct tensor list[TENSORS_MAX];
	struct recurrent_older_list older;
	size_t n = 0;

	list[n++] = (struct tensor){.name = "mean",
	    .type = TENSOR_F32,
	    .n_dims = 1,
	    .shape = {info->input_dims},
	    .data = model->mean,
	    .size_bytes = info->input_dims * sizeof *model->mean};
	if (info->kind == RECURRENT_LEARNED) {
		n += add_block(list + n, &model->base);
		for (uint32_t p = 1; p < info->shape.bits; p++) {
			n += add_block(list + n, &model->reconstruct[p]);
			if (model->length[p])
				list[n++] = *model->length[p];
			n += add_block(list + n, &model->residual[p]);
		}
	}
	if (info->kind != RECURRENT_ROTATION)
		list[n++] = *model->query;
	if (info->kind == RECURRENT_REFINED)
		list[n++] = *model->start;
	if (model->centres)
		list[n++] = (struct tensor){.name = "centres",
		    .type = TENSOR_F32,
		    .n_dims = 2,
		    .shape = {info->shape.centres, info->input_dims},
		    .data = centres_row(model->centres, 0),
		    .size_bytes =
			(size_t)info->shape.centres * info->input_dims * sizeof(float)};
	snprintf(seed, sizeof seed, "%" PRIu64, info->seed);
	snprintf(dims, sizeof dims, "%u", info->shape.dims);
	snprintf(bits, sizeof bits, "%u", info->shape.bits);
	snprintf(layers, sizeof layers, "%zu", model->base.n);
	snprintf(centres, sizeof centres, "%u", info->shape.centres);
	struct tensors_pair said[7 + RECURRENT_OLDER_TEXTS_MAX] = {{"format", FORMAT},
	    {"format_version", FORMAT_VERSION}, {"kind", kinds[info->kind]}};
	size_t pairs = 3;
	if (info->kind == RECURRENT_ROTATION) {
		said[pairs++] = (struct tensors_pair){"seed", seed};
	} else {
		said[pairs++] = (struct tensors_pair){"dims", dims};
		said[pairs++] = (struct tensors_pair){"bits", bits};
	}
	if (info->kind == RECURRENT_LEARNED)
		said[pairs++] = (struct tensors_pair){"layers", layers};
	if (model->centres)
		said[pairs++] = (struct tensors_pair){"centres", centres};
	recurrent_older_save(&older, model);
	for (size_t i = 0; i < older.n_tensors; i++)
		list[n++] = older.tensors[i];
	for (size_t i = 0; i < older.n_texts; i++)
		said[pairs++] = older.texts[i];
	return tensors_save(path, list, n, said, pairs, err);
}
