#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/convert_model.h"
#include "base/alloc.h"
#include "base/tensors.h"

#define NAME_BYTES 96
#define TENSORS_MAX(layers) (5 + 24 * (layers))
#define TINY 1e-30f /* a row of smaller numbers becomes zeros */

/* What a column's factor is taken from at least. */
#define WEIGHT_MIN 1e-4f
#define INPUT_MIN 1e-3f

/* The tensors of the new model while they are made. */
struct build {
	const struct convert_config *config;
	struct convert_source source;
	enum linear_form form;
	struct convert_largest largest; /* LINEAR_INT8 */
	struct tensor *list;            /* (n), data owned */
	char (*names)[NAME_BYTES];      /* (n) */
	size_t n;
};

/* One name in a few bytes. */
struct name {
	char text[NAME_BYTES];
};

static struct name name_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static struct name
name_of(const char *fmt, ...)
{
	struct name name;
	va_list args;

	va_start(args, fmt);
	vsnprintf(name.text, sizeof name.text, fmt, args);
	va_end(args);
	return name;
}

/* Take `data`, of a (rows, columns, depth) tensor. */
static void
add(struct build *b, struct name name, enum tensor_type type, size_t n_dims,
    const size_t shape[], void *data)
{
	struct tensor *tensor = &b->list[b->n];

	memcpy(b->names[b->n], name.text, NAME_BYTES);
	*tensor = (struct tensor){.name = b->names[b->n++],
	    .type = type,
	    .n_dims = n_dims,
	    .shape = {1, 1, 1, 1},
	    .data = data,
	    .size_bytes = type == TENSOR_F32 ? sizeof(float) : 1};
	for (size_t i = 0; i < n_dims; i++) {
		tensor->shape[i] = shape[i];
		tensor->size_bytes *= shape[i];
	}
}

/* levels (n) := row (n) / *scale, where the largest becomes 127.  (A scale that cuts
 * the largest and makes the squared error of the row smallest does not serve better:
 * all-MiniLM-L6-v2 on STS-B dev .8665, this .8666, floats .8672.) */
static void
quantize_row(int8_t *levels, float *scale, const float *row, size_t n)
{
	float largest = 0;

	for (size_t i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(row[i]));
	*scale = largest < TINY ? 0 : largest / 127;
	for (size_t i = 0; i < n; i++) {
		float level = *scale > 0 ? rintf(row[i] / *scale) : 0;
		levels[i] = (int8_t)fminf(fmaxf(level, -127), 127);
	}
}

/* What quantize makes: freed by the caller unless it is taken. */
struct levels {
	int8_t *levels; /* (rows, columns) */
	float *scale;   /* (rows) */
};

static int
quantize(struct levels *out, const float *values, size_t rows, size_t columns,
    struct error *err)
{
	out->levels = array_new(rows, columns);
	out->scale = array_new(rows, sizeof *out->scale);
	if (!out->levels || !out->scale) {
		free(out->levels);
		free(out->scale);
		return error_set(err, ERR_MEMORY, "no memory for int8 weights");
	}
	for (size_t r = 0; r < rows; r++)
		quantize_row(out->levels + r * columns, &out->scale[r],
		    values + r * columns, columns);
	return 0;
}

/* A vector as it is. */
static int
add_vector(
    struct build *b, struct name to, struct name from, size_t n, struct error *err)
{
	float *values = convert_source_read(&b->source, from.text, 1, &n, n, err);

	if (!values)
		return -1;
	add(b, to, TENSOR_F32, 1, &n, values);
	return 0;
}

static int
add_norm(struct build *b, struct name to, struct name from, struct error *err)
{
	size_t dims = b->config->dims;

	if (add_vector(b, name_of("%s.weight", to.text),
		name_of("%s.weight", from.text), dims, err) != 0)
		return -1;
	return add_vector(
	    b, name_of("%s.bias", to.text), name_of("%s.bias", from.text), dims, err);
}

static int
add_tokens(struct build *b, struct error *err)
{
	const struct convert_config *c = b->config;
	const size_t of[] = {c->rows, c->dims}, shape[] = {c->vocabulary, c->dims};
	struct levels made;

	float *values = convert_source_read(&b->source,
	    "embeddings.word_embeddings.weight", 2, of, c->vocabulary * c->dims, err);
	if (!values)
		return -1;
	if (b->form == LINEAR_FLOAT) {
		add(b, name_of("token.weight"), TENSOR_F32, 2, shape, values);
		return 0;
	}
	int rc = quantize(&made, values, c->vocabulary, c->dims, err);
	free(values);
	if (rc != 0)
		return -1;
	add(b, name_of("token.weight"), TENSOR_I8, 2, shape, made.levels);
	add(b, name_of("token.scale"), TENSOR_F32, 1, shape, made.scale);
	return 0;
}

/* All pieces are of token type 0. */
static int
add_positions(struct build *b, struct error *err)
{
	const struct convert_config *c = b->config;
	const size_t of[] = {c->positions, c->dims}, types[] = {c->types, c->dims};
	const size_t shape[] = {c->pieces_max, c->dims};

	float *values =
	    convert_source_read(&b->source, "embeddings.position_embeddings.weight", 2,
		of, c->pieces_max * c->dims, err);
	if (!values)
		return -1;
	float *type = convert_source_read(&b->source,
	    "embeddings.token_type_embeddings.weight", 2, types, c->dims, err);
	for (size_t i = 0; type && i < c->pieces_max * c->dims; i++)
		values[i] += type[i % c->dims];
	if (type)
		add(b, name_of("position.weight"), TENSOR_F32, 2, shape, values);
	else
		free(values);
	free(type);
	return type ? 0 : -1;
}

/* A linear layer from `in` to `out` numbers; with factors (in), what it takes is
 * multiplied by them. */
struct matrix {
	struct name to, from;
	size_t out, in;
	const float *factors; /* or NULL */
};

static int
add_packed_levels(
    struct build *b, const struct matrix *m, const float *values, struct error *err)
{
	const size_t out = m->out, in = m->in, shape[] = {out / 16, in / 4, 64};
	struct levels made;

	if (quantize(&made, values, out, in, err) != 0)
		return -1;
	int8_t *packed = array_new(out, in);
	if (!packed) {
		free(made.levels);
		free(made.scale);
		return error_set(err, ERR_MEMORY, "no memory for int8 weights");
	}
	linear_pack(packed, made.levels, LINEAR_INT8, in, out);
	free(made.levels);
	add(b, name_of("%s.weight", m->to.text), TENSOR_I8, 3, shape, packed);
	add(b, name_of("%s.scale", m->to.text), TENSOR_F32, 1, &out, made.scale);
	return 0;
}

static int
add_packed_floats(
    struct build *b, const struct matrix *m, const float *values, struct error *err)
{
	const size_t out = m->out, in = m->in, shape[] = {out / 16, in, 16};
	float *packed = array_new(out * in, sizeof *packed);

	if (!packed)
		return error_set(err, ERR_MEMORY, "no memory for float weights");
	linear_pack_float(packed, values, in, out);
	add(b, name_of("%s.weight", m->to.text), TENSOR_F32, 3, shape, packed);
	return 0;
}

static float *
read_matrix(const struct build *b, const struct matrix *m, struct error *err)
{
	const size_t shape[] = {m->out, m->in};

	return convert_source_read(&b->source, name_of("%s.weight", m->from.text).text,
	    2, shape, m->out * m->in, err);
}

static int
add_linear(struct build *b, const struct matrix *m, struct error *err)
{
	float *values = read_matrix(b, m, err);

	if (!values)
		return -1;
	for (size_t i = 0; m->factors && i < m->out * m->in; i++)
		values[i] /= m->factors[i % m->in];
	int rc = b->form == LINEAR_FLOAT ? add_packed_floats(b, m, values, err)
					 : add_packed_levels(b, m, values, err);
	free(values);
	if (rc != 0)
		return -1;
	return add_vector(b, name_of("%s.bias", m->to.text),
	    name_of("%s.bias", m->from.text), m->out, err);
}

/* factors (in) := sqrt(w / x), with w the largest weight of a column of the n matrices
 * and x the largest number that they take there: as many bits of both are left. */
static int
find_factors(float *factors, const struct build *b, const float *largest,
    const struct matrix *matrices, size_t n, struct error *err)
{
	const size_t in = matrices[0].in;

	for (size_t k = 0; k < in; k++)
		factors[k] = 0;
	for (size_t m = 0; m < n; m++) {
		float *values = read_matrix(b, &matrices[m], err);
		if (!values)
			return -1;
		for (size_t i = 0; i < matrices[m].out * in; i++)
			factors[i % in] = fmaxf(factors[i % in], fabsf(values[i]));
		free(values);
	}
	for (size_t k = 0; k < in; k++)
		factors[k] =
		    sqrtf(fmaxf(factors[k], WEIGHT_MIN) / fmaxf(largest[k], INPUT_MIN));
	return 0;
}

/* Find and add the factors of the n matrices, which all take the same. */
static int
add_factors(struct build *b, struct name to, const float *largest,
    struct matrix *matrices, size_t n, struct error *err)
{
	float *factors = array_new(matrices[0].in, sizeof *factors);

	if (!factors)
		return error_set(err, ERR_MEMORY, "no memory for factors");
	if (find_factors(factors, b, largest, matrices, n, err) != 0) {
		free(factors);
		return -1;
	}
	add(b, to, TENSOR_F32, 1, &matrices[0].in, factors);
	for (size_t m = 0; m < n; m++)
		matrices[m].factors = factors;
	return 0;
}

static int
add_matrices(struct build *b, size_t i, struct error *err)
{
	static const struct {
		const char *to, *from;
	} names[] = {
	    {"query", "attention.self.query"},
	    {"key", "attention.self.key"},
	    {"value", "attention.self.value"},
	    {"output", "attention.output.dense"},
	    {"up", "intermediate.dense"},
	    {"down", "output.dense"},
	};
	enum { QUERY = 0, UP = 4, DOWN = 5, N = 6 };
	const size_t dims = b->config->dims, inner = b->config->inner;
	struct matrix matrices[N];

	for (size_t m = 0; m < N; m++)
		matrices[m] = (struct matrix){
		    .to = name_of("layers.%zu.%s", i, names[m].to),
		    .from = name_of("encoder.layer.%zu.%s", i, names[m].from),
		    .out = m == UP ? inner : dims,
		    .in = m == DOWN ? inner : dims,
		};
	if (b->form == LINEAR_INT8 &&
	    (add_factors(b, name_of("layers.%zu.attention_smooth", i),
		 b->largest.attention + i * dims, &matrices[QUERY], 3, err) != 0 ||
		add_factors(b, name_of("layers.%zu.feed_forward_smooth", i),
		    b->largest.feed_forward + i * dims, &matrices[UP], 1, err) != 0))
		return -1;
	for (size_t m = 0; m < N; m++)
		if (add_linear(b, &matrices[m], err) != 0)
			return -1;
	return 0;
}

static int
add_layer(struct build *b, size_t i, struct error *err)
{
	struct name from = name_of("encoder.layer.%zu", i);

	if (add_matrices(b, i, err) != 0 ||
	    add_norm(b, name_of("layers.%zu.attention_norm", i),
		name_of("%s.attention.output.LayerNorm", from.text), err) != 0)
		return -1;
	return add_norm(b, name_of("layers.%zu.feed_forward_norm", i),
	    name_of("%s.output.LayerNorm", from.text), err);
}

static int
add_all(struct build *b, struct error *err)
{
	if (add_tokens(b, err) != 0 || add_positions(b, err) != 0 ||
	    add_norm(b, name_of("embedding_norm"), name_of("embeddings.LayerNorm"),
		err) != 0)
		return -1;
	for (size_t i = 0; i < b->config->layers; i++)
		if (add_layer(b, i, err) != 0)
			return -1;
	return 0;
}

static void
build_free(struct build *b)
{
	for (size_t i = 0; i < b->n; i++)
		free((void *)(uintptr_t)b->list[i].data);
	free(b->list);
	free(b->names);
	b->list = NULL;
	b->names = NULL;
	b->n = 0;
}

static int
build_new(struct build *b, enum linear_form form, struct error *err)
{
	size_t most = TENSORS_MAX(b->config->layers);

	b->form = form;
	b->list = array_new(most, sizeof *b->list);
	b->names = array_new(most, sizeof *b->names);
	if (!b->list || !b->names)
		return error_set(err, ERR_MEMORY, "no memory for the list of tensors");
	return add_all(b, err);
}

/* Floats are made first: they say what bytes have to hold. */
static int
build_bytes(struct build *b, struct error *err)
{
	int rc = build_new(b, LINEAR_FLOAT, err);

	if (rc == 0)
		rc = convert_largest_new(&b->largest, b->config, b->list, b->n, err);
	build_free(b);
	return rc == 0 ? build_new(b, LINEAR_INT8, err) : -1;
}

int
convert_weights_write(const char *path, const struct convert_config *config,
    enum linear_form layers, struct error *err)
{
	static const struct tensors_pair metadata[] = {
	    {"format", "halftone-encoder"}, {"format_version", "1"}};
	struct build b = {.config = config};

	if (convert_source_open(&b.source, config->folder, err) != 0)
		return -1;
	int rc = layers == LINEAR_FLOAT ? build_new(&b, LINEAR_FLOAT, err)
					: build_bytes(&b, err);
	if (rc == 0)
		rc = tensors_save(path, b.list, b.n, metadata,
		    sizeof metadata / sizeof *metadata, err);
	build_free(&b);
	convert_largest_free(&b.largest);
	convert_source_close(&b.source);
	return rc;
}
