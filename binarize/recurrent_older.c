#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/recurrent_model.h"

const struct recurrent *
recurrent_searching(const struct recurrent *model, const char *id)
{
	if (strcmp(model->id, id) == 0)
		return model;
	for (size_t i = 0; i < model->n_older; i++)
		if (strcmp(model->older[i]->id, id) == 0)
			return model->older[i];
	return NULL;
}

static int
check_id(const struct recurrent *model, const char *id, struct error *err)
{
	if (strlen(id) != RECURRENT_ID_BYTES - 1 ||
	    strspn(id, "0123456789abcdef") != RECURRENT_ID_BYTES - 1)
		return error_set(err, ERR_INPUT,
		    "expected the id of an older binarizer as 16 hexadecimal digits, "
		    "not '%.40s'",
		    id);
	if (strcmp(model->id, id) == 0)
		return error_set(err, ERR_INPUT,
		    "expected the id of an older binarizer, not the model's own, %s",
		    id);
	if (recurrent_searching(model, id))
		return error_set(err, ERR_INPUT,
		    "expected each older binarizer once, not %s twice", id);
	if (model->n_older == RECURRENT_OLDER_MAX)
		return error_set(err, ERR_INPUT,
		    "expected at most %d older binarizers, and %s is one more",
		    RECURRENT_OLDER_MAX, id);
	return 0;
}

int
recurrent_add_older(
    struct recurrent *model, const struct recurrent_older *older, struct error *err)
{
	uint32_t d = model->info.input_dims;

	if (check_id(model, older->id, err) != 0)
		return -1;
	struct recurrent *known = recurrent_base_new(d, older->shape, older->mean, err);
	if (!known)
		return -1;
	for (size_t i = 0; i < (size_t)older->shape.dims * d; i++) {
		if (!isfinite(older->map[i])) {
			error_set(err, ERR_INPUT,
			    "expected finite numbers in the map of the codes of %s, "
			    "not %g at %zu",
			    older->id, (double)older->map[i], i);
			goto err0;
		}
	}
	known->info.kind = RECURRENT_OLDER;
	known->newer = model;
	snprintf(known->id, sizeof known->id, "%s", older->id);
	if (recurrent_map_set(known, older->map, err) != 0)
		goto err0;
	model->older[model->n_older++] = known;
	return 0;
err0:
	recurrent_free(known);
	return -1;
}

/* ---- in files ---- */

/* *number := the metadata `key`, one or two decimal digits, 1 .. max. */
static int
read_number(unsigned *number, const struct tensors *file, const char *key, unsigned max,
    struct error *err)
{
	const char *text = tensors_metadata(file, key);
	size_t n = text ? strlen(text) : 0;
	unsigned value = 0;

	for (size_t i = 0; i < n && n <= 2; i++)
		value = text[i] >= '0' && text[i] <= '9'
			    ? 10 * value + (unsigned)(text[i] - '0')
			    : max + 1;
	if (value < 1 || value > max)
		return error_set(err, ERR_FORMAT,
		    "expected the metadata '%s' as 1 to %u, not '%.40s'", key, max,
		    text ? text : "");
	*number = value;
	return 0;
}

static int
open_one(struct recurrent *model, unsigned i, struct error *err)
{
	size_t d = model->info.input_dims;
	struct recurrent_older older;
	char key[32];
	unsigned bits;

	snprintf(key, sizeof key, "older.%u.bits", i);
	if (read_number(&bits, model->file, key, CODE_BITS_MAX, err) != 0)
		return -1;
	snprintf(key, sizeof key, "older.%u.id", i);
	const char *id = tensors_metadata(model->file, key);
	snprintf(key, sizeof key, "older.%u.mean", i);
	const struct tensor *mean =
	    tensors_expect(model->file, key, TENSOR_F32, 1, (const size_t[]){d}, err);
	if (!mean)
		return -1;
	snprintf(key, sizeof key, "older.%u.query.weight", i);
	const struct tensor *map = tensors_expect(
	    model->file, key, TENSOR_F32, 2, (const size_t[]){0, d}, err);
	if (!map)
		return -1;
	if (map->shape[0] > CODE_DIMS_MAX)
		return error_set(err, ERR_FORMAT,
		    "expected '%s' of at most %d rows, not %zu", key, CODE_DIMS_MAX,
		    map->shape[0]);
	older = (struct recurrent_older){.id = id ? id : "",
	    .shape = {.dims = (uint32_t)map->shape[0], .bits = bits},
	    .mean = mean->data,
	    .map = map->data};
	if (recurrent_add_older(model, &older, err) == 0)
		return 0;
	if (err->code == ERR_INPUT)
		err->code = ERR_FORMAT;
	return -1;
}

int
recurrent_older_open(struct recurrent *model, struct error *err)
{
	unsigned n = 0;

	if (!tensors_metadata(model->file, "older"))
		return 0;
	if (read_number(&n, model->file, "older", RECURRENT_OLDER_MAX, err) != 0)
		return -1;
	for (unsigned i = 0; i < n; i++)
		if (open_one(model, i, err) != 0)
			return -1;
	return 0;
}

static void
save_one(struct recurrent_older_list *list, const struct recurrent *known, size_t i)
{
	size_t d = known->info.input_dims;
	char(*names)[32] = list->names + 4 * i;

	snprintf(names[0], sizeof *names, "older.%zu.id", i);
	list->texts[list->n_texts++] = (struct tensors_pair){names[0], known->id};
	snprintf(names[1], sizeof *names, "older.%zu.bits", i);
	snprintf(list->bits[i], sizeof *list->bits, "%u", known->info.shape.bits);
	list->texts[list->n_texts++] = (struct tensors_pair){names[1], list->bits[i]};
	snprintf(names[2], sizeof *names, "older.%zu.mean", i);
	list->tensors[list->n_tensors++] = (struct tensor){.name = names[2],
	    .type = TENSOR_F32,
	    .n_dims = 1,
	    .shape = {d, 1, 1, 1},
	    .data = known->mean,
	    .size_bytes = d * sizeof *known->mean};
	snprintf(names[3], sizeof *names, "older.%zu.query.weight", i);
	list->tensors[list->n_tensors] = *known->query;
	list->tensors[list->n_tensors++].name = names[3];
}

void
recurrent_older_save(struct recurrent_older_list *list, const struct recurrent *model)
{
	list->n_tensors = list->n_texts = 0;
	if (model->n_older == 0)
		return;
	snprintf(list->number, sizeof list->number, "%zu", model->n_older);
	list->texts[list->n_texts++] = (struct tensors_pair){"older", list->number};
	for (size_t i = 0; i < model->n_older; i++)
		save_one(list, model->older[i], i);
}
