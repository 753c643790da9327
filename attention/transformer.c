#include "attention/transformer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "attention/softmax.h"
#include "base/alloc.h"

_Static_assert(TRANSFORMER_PASS >= ATTEND_TOKENS_MAX, "a text fits into a pass");

/* Rows of the feed-forward part at a time: its inner activations, the widest of all,
 * stay in the second cache between `up` and `down`.  Rows know nothing of each other
 * there, so this changes no bit. */
#define BLOCK 128

/* Activations as signed bytes, a row a piece. */
struct bytes {
	int8_t *q;    /* (n, width) */
	float *scale; /* (n) */
	int32_t *sum; /* (n) */
};

struct transformer_scratch {
	const struct linear_kernel *linear;
	const struct rows_kernel *rows;
	const struct hash_kernel *hash;
	softmax_fn *softmax;

	float *x;                    /* (PASS, dims): what runs through the layers */
	float *query, *key, *value;  /* (PASS, dims) */
	float *context;              /* (PASS, dims): what attention gives */
	float *inner;                /* (BLOCK, inner) */
	struct bytes x_bytes;        /* of x, then of context */
	struct bytes inner_bytes;    /* of inner */
	uint32_t *codes, *key_codes; /* (PASS, heads) */
	float *attend;               /* what attention wants of its own */
	float *pooled;               /* (dims) */
	float *smoothed;             /* (dims) */
};

/* What one call works with. */
struct pass {
	const struct transformer *model;
	struct transformer_scratch *scratch;
	const struct transformer_batch *batch;
	const struct transformer_trace *trace;
	size_t n; /* pieces */
};

static size_t
attend_floats(const struct transformer *model)
{
	size_t most = 1;

	for (size_t i = 0; i < model->n_layers; i++) {
		const struct transformer_layer *layer = &model->layers[i];
		size_t n = layer->softmax ? softmax_scratch(model->positions,
						model->dims / model->heads)
					  : hash_scratch(layer->plan, model->positions);
		if (n > most)
			most = n;
	}
	return most;
}

static bool
bytes_new(struct bytes *bytes, size_t n, size_t width)
{
	bytes->q = array_new_aligned(n, width);
	bytes->scale = array_new_aligned(n, sizeof *bytes->scale);
	bytes->sum = array_new_aligned(n, sizeof *bytes->sum);
	return bytes->q && bytes->scale && bytes->sum;
}

static void
bytes_free(struct bytes *bytes)
{
	free(bytes->q);
	free(bytes->scale);
	free(bytes->sum);
}

struct transformer_scratch *
transformer_scratch_new(const struct transformer *model, struct error *err)
{
	const size_t row = model->dims * sizeof(float);
	const size_t code_row = model->heads * sizeof(uint32_t);
	struct transformer_scratch *s = array_new(1, sizeof *s);

	if (!s)
		goto failed;
	s->linear = linear_best();
	s->rows = rows_best();
	s->hash = hash_best();
	s->softmax = softmax_best();
	s->x = array_new_aligned(TRANSFORMER_PASS, row);
	s->query = array_new_aligned(TRANSFORMER_PASS, row);
	s->key = array_new_aligned(TRANSFORMER_PASS, row);
	s->value = array_new_aligned(TRANSFORMER_PASS, row);
	s->context = array_new_aligned(TRANSFORMER_PASS, row);
	s->inner = array_new_aligned(BLOCK, model->inner * sizeof(float));
	s->codes = array_new_aligned(TRANSFORMER_PASS, code_row);
	s->key_codes = array_new_aligned(TRANSFORMER_PASS, code_row);
	s->attend = array_new_aligned(attend_floats(model), sizeof(float));
	s->pooled = array_new_aligned(1, row);
	s->smoothed = array_new_aligned(1, row);
	if (!s->x || !s->query || !s->key || !s->value || !s->context || !s->inner ||
	    !s->codes || !s->key_codes || !s->attend || !s->pooled || !s->smoothed ||
	    !bytes_new(&s->x_bytes, TRANSFORMER_PASS, model->dims) ||
	    !bytes_new(&s->inner_bytes, BLOCK, model->inner))
		goto failed;
	return s;
failed:
	error_set(err, ERR_MEMORY, "no memory to embed %d pieces at a time",
	    TRANSFORMER_PASS);
	transformer_scratch_free(s);
	return NULL;
}

void
transformer_scratch_free(struct transformer_scratch *s)
{
	if (!s)
		return;
	bytes_free(&s->inner_bytes);
	bytes_free(&s->x_bytes);
	free(s->smoothed);
	free(s->pooled);
	free(s->attend);
	free(s->key_codes);
	free(s->codes);
	free(s->inner);
	free(s->context);
	free(s->value);
	free(s->key);
	free(s->query);
	free(s->x);
	free(s);
}

static bool
takes_bytes(const struct linear *layer)
{
	return layer->form != LINEAR_FLOAT;
}

/* The input of a matrix that takes rows first .. first + n - 1. */
static struct linear_input
input_of(
    const float *x, const struct bytes *bytes, size_t width, size_t first, size_t n)
{
	return (struct linear_input){.n = n,
	    .x = x + first * width,
	    .q = bytes->q + first * width,
	    .scale = bytes->scale + first,
	    .sum = bytes->sum + first};
}

static void
quantize(const struct rows_kernel *rows, const struct bytes *bytes, const float *x,
    size_t row, size_t width)
{
	rows->quantize(bytes->q + row * width, bytes->scale + row, bytes->sum + row,
	    x + row * width, 1, width);
}

/* How the next matrices take a row of x. */
struct taking {
	bool bytes;
	const float *smooth; /* (dims) factors of the bytes' numbers, or NULL */
};

/* Make bytes of row i of x. */
static void
quantize_x(const struct pass *pass, const float *smooth, size_t i)
{
	struct transformer_scratch *s = pass->scratch;
	const size_t dims = pass->model->dims;
	const float *x = s->x + i * dims;
	const struct bytes *to = &s->x_bytes;

	if (smooth) {
		for (size_t d = 0; d < dims; d++)
			s->smoothed[d] = x[d] * smooth[d];
		x = s->smoothed;
	}
	s->rows->quantize(to->q + i * dims, to->scale + i, to->sum + i, x, 1, dims);
}

/* Norm rows first .. first + n - 1 of x, and make bytes of each while it is in the
 * first cache if `next`, which takes them, wants bytes. */
static void
finish_rows(const struct pass *pass, const struct rows_norm *norm, struct taking next,
    size_t first, size_t n)
{
	const size_t dims = pass->model->dims;
	float *x = pass->scratch->x;

	for (size_t i = first; i < first + n; i++) {
		pass->scratch->rows->layer_norm(x + i * dims, norm, 1, dims);
		if (next.bytes)
			quantize_x(pass, next.smooth, i);
	}
}

/* How attention of layer i (which may be one behind the last) takes x. */
static struct taking
attention_takes(const struct transformer *model, size_t i)
{
	if (i == model->n_layers)
		return (struct taking){false, NULL};
	const struct transformer_layer *layer = &model->layers[i];
	bool bytes = takes_bytes(&layer->query) || takes_bytes(&layer->value) ||
		     (!layer->shared && takes_bytes(&layer->key));
	return (struct taking){bytes, layer->attention_smooth};
}

/* Tell of the rows of x, if that is wanted. */
static void
tell_rows(const struct pass *pass, size_t i_layer, bool feed_forward)
{
	if (pass->trace && pass->trace->rows)
		pass->trace->rows(pass->trace->context, i_layer, feed_forward,
		    pass->scratch->x, pass->n);
}

/* Numbers taken at a time, a count that the compiler knows; it divides dims. */
#define STRIP 16

/* x (dims) := the row of a piece + that of a place */
static void
embed_piece(float *x, const struct transformer *model, uint32_t id, size_t place)
{
	const size_t dims = model->dims;
	const float *position = model->position + place * dims;

	if (model->token_form == TRANSFORMER_FLOAT) {
		const float *row = (const float *)model->token + id * dims;
		for (size_t d = 0; d < dims; d += STRIP)
			for (size_t k = d; k < d + STRIP; k++)
				x[k] = row[k] + position[k];
		return;
	}
	const float scale = model->token_scale[id];
	if (model->token_form == TRANSFORMER_INT8) {
		const int8_t *row = (const int8_t *)model->token + id * dims;
		for (size_t d = 0; d < dims; d += STRIP)
			for (size_t k = d; k < d + STRIP; k++)
				x[k] = scale * (float)row[k] + position[k];
		return;
	}
	const uint8_t *row = (const uint8_t *)model->token + id * (dims / 2);
	for (size_t d = 0; d < dims; d += 2 * STRIP) {
		int8_t value[2 * STRIP];
		for (size_t k = 0; k < STRIP; k++) {
			value[2 * k] = (int8_t)((row[d / 2 + k] & 15) - 8);
			value[2 * k + 1] = (int8_t)((row[d / 2 + k] >> 4) - 8);
		}
		for (size_t k = 0; k < 2 * STRIP; k++)
			x[d + k] = scale * (float)value[k] + position[d + k];
	}
}

static void
embed(const struct pass *pass)
{
	const struct transformer *model = pass->model;
	const struct transformer_batch *batch = pass->batch;
	const struct taking next = attention_takes(model, 0);

	for (size_t t = 0; t < batch->n; t++)
		for (size_t i = batch->start[t]; i < batch->start[t + 1]; i++) {
			assert(batch->ids[i] < model->vocabulary);
			embed_piece(pass->scratch->x + i * model->dims, model,
			    batch->ids[i], i - batch->start[t]);
			finish_rows(pass, &model->embedding_norm, next, i, 1);
		}
}

/* Norm the context of n pieces from `first` where the layer says so, and make it the
 * bytes that `output` takes. */
static void
finish_context(const struct pass *pass, const struct transformer_layer *layer,
    size_t first, size_t n)
{
	struct transformer_scratch *s = pass->scratch;
	const size_t dims = pass->model->dims;

	for (size_t i = first; i < first + n; i++) {
		if (layer->context_norm.weight)
			s->rows->rms_norm(
			    s->context + i * dims, &layer->context_norm, 1, dims);
		if (takes_bytes(&layer->output))
			quantize(s->rows, &s->x_bytes, s->context, i, dims);
	}
}

/* The codes of the pass's queries or keys. */
static void
make_codes(const struct pass *pass, size_t i_layer, bool keys, uint32_t *codes)
{
	const struct transformer *model = pass->model;
	const float *x = keys ? pass->scratch->key : pass->scratch->query;

	pass->scratch->hash->codes(
	    codes, model->layers[i_layer].plan, x, pass->n, model->dims);
	if (pass->trace && pass->trace->codes)
		pass->trace->codes(pass->trace->context, i_layer, keys, codes, pass->n);
}

/* context := attention of every text */
static void
attend(const struct pass *pass, size_t i_layer)
{
	const struct transformer *model = pass->model;
	const struct transformer_layer *layer = &model->layers[i_layer];
	struct transformer_scratch *s = pass->scratch;
	const uint32_t *key_codes = layer->shared ? s->codes : s->key_codes;

	if (!layer->softmax) {
		make_codes(pass, i_layer, false, s->codes);
		if (!layer->shared)
			make_codes(pass, i_layer, true, s->key_codes);
	}
	for (size_t t = 0; t < pass->batch->n; t++) {
		size_t first = pass->batch->start[t];
		size_t n = pass->batch->start[t + 1] - first;
		struct attend text = {
		    .q = s->query + first * model->dims,
		    .k = s->key + first * model->dims,
		    .v = s->value + first * model->dims,
		    .stride = model->dims,
		    .out = s->context + first * model->dims,
		    .n = n,
		    .heads = model->heads,
		    .head_dims = model->dims / model->heads,
		};
		if (layer->softmax)
			s->softmax(&text, s->attend);
		else
			s->hash->attend(&text, layer->plan,
			    s->codes + first * model->heads,
			    key_codes + first * model->heads, HASH_AUTO, s->attend);
		finish_context(pass, layer, first, n);
	}
}

static void
attention_forward(const struct pass *pass, size_t i_layer)
{
	const struct transformer *model = pass->model;
	const struct transformer_layer *layer = &model->layers[i_layer];
	struct transformer_scratch *s = pass->scratch;
	struct linear_input in = input_of(s->x, &s->x_bytes, model->dims, 0, pass->n);
	struct linear_output out = {.then = LINEAR_STORE, .stride = model->dims};

	out.y = s->query;
	linear_forward(s->linear, &layer->query, &in, &out);
	if (!layer->shared) {
		out.y = s->key;
		linear_forward(s->linear, &layer->key, &in, &out);
	}
	out.y = s->value;
	linear_forward(s->linear, &layer->value, &in, &out);

	attend(pass, i_layer);

	in = input_of(s->context, &s->x_bytes, model->dims, 0, pass->n);
	out.then = LINEAR_ADD;
	out.y = s->x;
	linear_forward(s->linear, &layer->output, &in, &out);
	struct taking next = {takes_bytes(&layer->up), layer->feed_forward_smooth};
	finish_rows(pass, &layer->attention_norm, next, 0, pass->n);
}

/* inner := what `down` takes, from n rows of `up`'s input */
static void
inner_forward(const struct pass *pass, const struct transformer_layer *layer,
    const struct linear_input *in)
{
	struct transformer_scratch *s = pass->scratch;
	const size_t width = pass->model->inner;
	struct linear_output out = {
	    .then = LINEAR_STORE, .y = s->inner, .stride = width};

	if (layer->gelu_table) {
		out.then = LINEAR_TABLE;
		out.q = s->inner_bytes.q;
		out.table = layer->gelu_table;
		out.step = 1.0f / layer->gelu_scale[0];
		linear_forward(s->linear, &layer->up, in, &out);
		s->rows->sum(s->inner_bytes.sum, s->inner_bytes.q, in->n, width);
		for (size_t i = 0; i < in->n; i++)
			s->inner_bytes.scale[i] = layer->gelu_scale[1];
		return;
	}
	linear_forward(s->linear, &layer->up, in, &out);
	for (size_t i = 0; i < in->n; i++) {
		float *row = s->inner + i * width;
		s->rows->gelu(row, width);
		if (layer->inner_norm.weight)
			s->rows->rms_norm(row, &layer->inner_norm, 1, width);
		if (takes_bytes(&layer->down))
			quantize(s->rows, &s->inner_bytes, s->inner, i, width);
	}
}

static void
feed_forward(const struct pass *pass, size_t i_layer)
{
	const struct transformer *model = pass->model;
	const struct transformer_layer *layer = &model->layers[i_layer];
	struct transformer_scratch *s = pass->scratch;
	const struct taking next = attention_takes(model, i_layer + 1);

	for (size_t first = 0; first < pass->n; first += BLOCK) {
		size_t left = pass->n - first, n = left < BLOCK ? left : BLOCK;
		struct linear_input in =
		    input_of(s->x, &s->x_bytes, model->dims, first, n);
		inner_forward(pass, layer, &in);
		in = input_of(s->inner, &s->inner_bytes, model->inner, 0, n);
		struct linear_output out = {.then = LINEAR_ADD,
		    .y = s->x + first * model->dims,
		    .stride = model->dims};
		linear_forward(s->linear, &layer->down, &in, &out);
		finish_rows(pass, &layer->feed_forward_norm, next, first, n);
	}
}

void
transformer_run(const struct transformer *model, struct transformer_scratch *scratch,
    const struct transformer_batch *batch, float *const *vectors, bool *ok,
    const struct transformer_trace *trace)
{
	const struct pass pass = {model, scratch, batch, trace, batch->start[batch->n]};

	assert(pass.n <= TRANSFORMER_PASS && batch->start[0] == 0);
	for (size_t t = 0; t < batch->n; t++)
		assert(batch->start[t] < batch->start[t + 1] &&
		       batch->start[t + 1] - batch->start[t] <= model->positions);

	embed(&pass);
	for (size_t i = 0; i < model->n_layers; i++) {
		tell_rows(&pass, i, false);
		attention_forward(&pass, i);
		tell_rows(&pass, i, true);
		feed_forward(&pass, i);
	}
	for (size_t t = 0; t < batch->n; t++) {
		size_t n = batch->start[t + 1] - batch->start[t];
		const float *x = scratch->x + batch->start[t] * model->dims;
		if (model->pooling == TRANSFORMER_MEAN) {
			scratch->rows->mean(scratch->pooled, x, n, model->dims);
			x = scratch->pooled;
		}
		ok[t] = scratch->rows->unit(vectors[t], x, model->dims) != 0;
	}
}
