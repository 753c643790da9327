#include "tests/support/slow_encoder.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/tensors.h"

struct slow_encoder {
	char *text; /* config.json */
	struct json config;
	struct tensors *tensors;
	size_t dims, inner, heads, layers;
	double epsilon;
};

static void
check(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "slow_encoder: %s\n", what);
		abort();
	}
}

static struct json
member(const struct json *object, const char *key)
{
	struct json value;

	check(json_member(object, key, &value), key);
	return value;
}

static size_t
number(const struct json *object, const char *key)
{
	struct json value = member(object, key);
	uint64_t n;

	check(json_u64(&n, &value), key);
	return n;
}

static bool
is(const struct json *object, const char *key, const char *word)
{
	struct json value = member(object, key);

	return value.type == JSON_STRING ? json_equals(&value, word)
					 : strncmp(value.text, word, value.len) == 0;
}

/* The tensor of a formatted name; NULL without. */
static const struct tensor *__attribute__((format(printf, 2, 3)))
find(const struct slow_encoder *slow, const char *format, ...)
{
	char name[100];
	va_list list;

	va_start(list, format);
	vsnprintf(name, sizeof name, format, list);
	va_end(list);
	return tensors_find(slow->tensors, name);
}

static const float *
floats(const struct tensor *tensor)
{
	check(tensor && tensor->type == TENSOR_F32, "a tensor of floats");
	return tensor->data;
}

struct slow_encoder *
slow_encoder_open(const char *dir)
{
	struct slow_encoder *slow = calloc(1, sizeof *slow);
	char path[1000];
	struct error err;
	const size_t max = 1 << 20;

	check(slow, "memory");
	snprintf(path, sizeof path, "%s/config.json", dir);
	FILE *f = fopen(path, "r");
	slow->text = malloc(max);
	check(f && slow->text, path);
	size_t n = fread(slow->text, 1, max, f);
	fclose(f);
	check(json_check(&slow->config, slow->text, n, &err) == 0, err.text);
	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	slow->tensors = tensors_open(path, &err);
	check(slow->tensors, err.text);
	slow->dims = number(&slow->config, "hidden_size");
	slow->inner = number(&slow->config, "intermediate_size");
	slow->heads = number(&slow->config, "num_attention_heads");
	slow->layers = number(&slow->config, "num_hidden_layers");
	struct json epsilon = member(&slow->config, "layer_norm_eps");
	slow->epsilon = json_double(&epsilon);
	return slow;
}

void
slow_encoder_close(struct slow_encoder *slow)
{
	tensors_close(slow->tensors);
	free(slow->text);
	free(slow);
}

/* Weight (j, k) of a packed matrix, as a level or the weight itself; `form` is the
 * first letter of its form. */
static double
weight_at(const struct tensor *tensor, char form, size_t j, size_t k)
{
	const size_t fours = tensor->shape[1];

	if (tensor->type == TENSOR_F32)
		return (
		    double)((const float *)tensor
				->data)[(j / 16 * tensor->shape[1] + k) * 16 + j % 16];
	if (tensor->type == TENSOR_I8) {
		const int8_t *line =
		    (const int8_t *)tensor->data + (j / 16 * fours + k / 4) * 64;
		return line[4 * (j % 16) + k % 4];
	}
	const uint8_t *line =
	    (const uint8_t *)tensor->data + (j / 64 * fours + k / 4) * 64;
	unsigned shift = (unsigned)(j % 64 / 16 * 2);
	int code = line[4 * (j % 16) + k % 4] >> shift & 3;
	return form == 't' ? code - 1 : 2 * code - 3;
}

/* Bytes of one row, their scale returned. */
static float
quantize(double *q, const float *x, size_t n)
{
	float most = 1e-5f;

	for (size_t i = 0; i < n; i++)
		most = fmaxf(most, fabsf(x[i]));
	for (size_t i = 0; i < n; i++)
		q[i] = (double)rintf(x[i] * (127 / most));
	return most / 127;
}

/* What a matrix takes: n rows, and where they were made bytes before, those. */
struct input {
	const float *x;
	const double *q; /* NULL: made here */
	float scale;
	size_t n, in;
};

/* y (n, out) := x W^T + b of layers.i.name */
static void
linear(float *y, const struct slow_encoder *slow, size_t i, const char *name,
    const struct json *layer, const struct input *input)
{
	const struct tensor *weight = find(slow, "layers.%zu.%s.weight", i, name);
	const struct tensor *scale = find(slow, "layers.%zu.%s.scale", i, name);
	const float *bias = floats(find(slow, "layers.%zu.%s.bias", i, name));
	const size_t in = input->in;
	const size_t out = find(slow, "layers.%zu.%s.bias", i, name)->shape[0];
	struct json form = member(layer, name);
	char word[20];
	double *w = calloc(in, sizeof *w), *q = calloc(input->n * in, sizeof *q);
	float *scales = malloc(input->n * sizeof *scales);

	check(w && q && scales && weight && form.len < sizeof word, name);
	json_string(word, sizeof word, &form);
	const bool real = strcmp(word, "float") == 0;
	for (size_t t = 0; t < input->n; t++) {
		if (real)
			for (size_t k = 0; k < in; k++)
				q[t * in + k] = (double)input->x[t * in + k];
		else if (!input->q)
			scales[t] = quantize(q + t * in, input->x + t * in, in);
		else
			scales[t] = input->scale;
	}
	for (size_t j = 0; j < out; j++) {
		for (size_t k = 0; k < in; k++)
			w[k] = weight_at(weight, word[0], j, k);
		for (size_t t = 0; t < input->n; t++) {
			const double *row =
			    !real && input->q ? input->q + t * in : q + t * in;
			double part[4] = {0}; /* quicker than one */
			for (size_t k = 0; k < in; k += 4)
				for (size_t i4 = 0; i4 < 4; i4++)
					part[i4] += w[k + i4] * row[k + i4];
			double sum = part[0] + part[1] + part[2] + part[3];
			if (real) {
				y[t * out + j] = (float)(sum + (double)bias[j]);
				continue;
			}
			float value = (float)sum * floats(scale)[j];
			value *= scales[t];
			y[t * out + j] = value + bias[j];
		}
	}
	free(scales);
	free(q);
	free(w);
}

/* x (n, width): LN, or RMS norm where there is no bias. */
static void
norm(
    float *x, const struct slow_encoder *slow, const char *name, size_t n, size_t width)
{
	const float *weight = floats(find(slow, "%s.weight", name));
	const struct tensor *bias = find(slow, "%s.bias", name);

	for (size_t t = 0; t < n; t++, x += width) {
		double mean = 0, square = 0;
		for (size_t d = 0; bias && d < width; d++)
			mean += (double)x[d] / (double)width;
		for (size_t d = 0; d < width; d++) {
			double c = (double)x[d] - mean;
			square += c * c / (double)width;
		}
		for (size_t d = 0; d < width; d++) {
			double y = ((double)x[d] - mean) /
				   sqrt(square + slow->epsilon) * (double)weight[d];
			x[d] = (float)(bias ? y + (double)floats(bias)[d] : y);
		}
	}
}

static void
embed(float *x, const struct slow_encoder *slow, const uint32_t *ids, size_t n)
{
	const size_t dims = slow->dims;
	const struct tensor *token = find(slow, "token.weight");
	const struct tensor *scale = find(slow, "token.scale");
	const float *position = floats(find(slow, "position.weight"));

	for (size_t i = 0; i < n; i++)
		for (size_t d = 0; d < dims; d++) {
			size_t at = ids[i] * dims + d;
			float value;
			if (token->type == TENSOR_F32) {
				value = floats(token)[at];
			} else if (token->type == TENSOR_I8) {
				value = (float)((const int8_t *)token->data)[at];
				value *= floats(scale)[ids[i]];
			} else {
				int byte = ((const uint8_t *)token->data)[at / 2];
				value = (float)((d % 2 ? byte >> 4 : byte & 15) - 8);
				value *= floats(scale)[ids[i]];
			}
			x[i * dims + d] = value + position[i * dims + d];
		}
	norm(x, slow, "embedding_norm", n, dims);
}

/* The code of head h's part of x. */
static uint32_t
code_of(const struct slow_encoder *slow, size_t i, size_t h, const struct json *hash,
    const float *x)
{
	const size_t head_dims = slow->dims / slow->heads, bits = number(hash, "bits");
	const bool kernel = is(hash, "function", "kernel");
	const size_t features = kernel ? number(hash, "anchors") : head_dims;
	const float *planes = floats(find(slow, "layers.%zu.hash.planes", i));
	const float *threshold = floats(find(slow, "layers.%zu.hash.threshold", i));
	const float *anchors =
	    kernel ? floats(find(slow, "layers.%zu.hash.anchors", i)) : NULL;
	const float *inverse_sigma =
	    kernel ? floats(find(slow, "layers.%zu.hash.inverse_sigma", i)) : NULL;
	double square = 0, feature[256];
	uint32_t code = 0;

	for (size_t d = 0; d < head_dims; d++)
		square += (double)x[d] * (double)x[d];
	for (size_t m = 0; m < features; m++) {
		double length = fmax(sqrt(square), 1e-6), dot = 0;
		if (!kernel) {
			feature[m] = (double)x[m] / length;
			continue;
		}
		const float *anchor = anchors + (h * features + m) * head_dims;
		for (size_t d = 0; d < head_dims; d++)
			dot += (double)x[d] / length * (double)anchor[d];
		feature[m] = exp((dot - 1) * (double)inverse_sigma[h]);
	}
	for (size_t r = 0; r < bits; r++) {
		double sum = 0;
		for (size_t m = 0; m < features; m++)
			sum +=
			    (double)planes[(h * bits + r) * features + m] * feature[m];
		if (sum >= (double)threshold[h * bits + r])
			code |= UINT32_C(1) << r;
	}
	return code;
}

/* Bits that differ, and groups of bits that do not. */
static void
compare(
    double *differ, double *equal, uint32_t a, uint32_t b, size_t bits, size_t group)
{
	*differ = *equal = 0;
	for (size_t r = 0; r < bits; r++)
		*differ += ((a ^ b) >> r & 1) != 0;
	for (size_t r = 0; group > 0 && r < bits; r += group)
		*equal += ((a ^ b) >> r & ((1u << group) - 1)) == 0;
}

/* One text's attention in one layer. */
struct attention {
	const float *q, *k, *v; /* (n, dims) */
	size_t n;
	const uint32_t *codes; /* (2, n, heads) */
	char similarity;       /* 's': softmax, else its first letter */
	size_t bits, group;
	const float *table, *floor, *gamma, *delta, *epsilon;
};

static struct attention
attention_of(const struct slow_encoder *slow, size_t i, const struct json *form)
{
	struct attention at = {.similarity = 's'};
	char word[20];

	if (is(form, "form", "softmax"))
		return at;
	struct json similarity = member(form, "similarity");
	check(similarity.len < sizeof word, "similarity");
	json_string(word, sizeof word, &similarity);
	at.similarity = word[0];
	at.bits = number(form, "bits");
	if (word[0] == 't')
		at.table = floats(find(slow, "layers.%zu.hash.table", i));
	if (word[0] == 'b') {
		at.group = number(form, "bucket_bits");
		at.floor = floats(find(slow, "layers.%zu.hash.floor", i));
	}
	if (word[0] == 'g') {
		at.gamma = floats(find(slow, "layers.%zu.hash.gamma", i));
		at.delta = floats(find(slow, "layers.%zu.hash.delta", i));
		at.epsilon = floats(find(slow, "layers.%zu.hash.epsilon", i));
	}
	return at;
}

/* What token a takes from token b, before it is divided by the sum. */
static double
weight_of(const struct slow_encoder *slow, const struct attention *at, size_t h,
    size_t a, size_t b)
{
	const size_t head_dims = slow->dims / slow->heads;
	const double bits = (double)at->bits, n = (double)at->n;
	double differ, equal, dot = 0;

	if (at->similarity == 's') {
		for (size_t d = h * head_dims; d < (h + 1) * head_dims; d++)
			dot += (double)at->q[a * slow->dims + d] *
			       (double)at->k[b * slow->dims + d];
		return exp(dot / sqrt((double)head_dims));
	}
	compare(&differ, &equal, at->codes[a * slow->heads + h],
	    at->codes[(at->n + b) * slow->heads + h], at->bits, at->group);
	switch (at->similarity) {
	case 'b':
		return equal + (double)at->floor[h];
	case 't':
		return (double)at->table[h * (at->bits + 1) + (size_t)differ];
	case 'p':
		return bits - 2 * differ + bits + 1;
	default: /* general; epsilon is added elsewhere */
		return (double)at->gamma[h] / (bits * n) * (bits - 2 * differ) +
		       (double)at->delta[h] / n;
	}
}

/* out (n, dims) */
static void
attend(float *out, const struct slow_encoder *slow, const struct attention *at)
{
	const size_t dims = slow->dims, head_dims = dims / slow->heads;
	double *weights = malloc(at->n * sizeof *weights);

	check(weights, "memory");
	for (size_t h = 0; h < slow->heads; h++)
		for (size_t a = 0; a < at->n; a++) {
			double sum = 0;
			for (size_t b = 0; b < at->n; b++)
				sum += weights[b] = weight_of(slow, at, h, a, b);
			if (at->similarity == 'g')
				sum = 1;
			for (size_t d = h * head_dims; d < (h + 1) * head_dims; d++) {
				double o = 0;
				for (size_t b = 0; b < at->n; b++)
					o += weights[b] / sum *
					     (double)at->v[b * dims + d];
				if (at->similarity == 'g')
					o += (double)at->epsilon[h] *
					     (double)at->v[a * dims + d];
				out[a * dims + d] = (float)o;
			}
		}
	free(weights);
}

static void
add(float *x, const float *y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] += y[i];
}

static float *
new_floats(size_t n)
{
	float *x = calloc(n, sizeof *x);

	check(x, "memory");
	return x;
}

static void
attention_part(float *x, uint32_t *codes, const struct slow_encoder *slow, size_t i,
    const struct json *layer, size_t n)
{
	const size_t dims = slow->dims;
	const struct input from_x = {x, NULL, 0, n, dims};
	float *q = new_floats(n * dims), *k = new_floats(n * dims);
	float *v = new_floats(n * dims), *out = new_floats(n * dims);
	const struct json form = member(layer, "attention");
	struct attention at = attention_of(slow, i, &form);
	char name[64];

	linear(q, slow, i, "query", layer, &from_x);
	linear(v, slow, i, "value", layer, &from_x);
	at.q = q, at.k = k, at.v = v, at.n = n, at.codes = codes;
	const bool hash = at.similarity != 's';
	if (hash && is(&form, "shared", "true"))
		memcpy(k, q, n * dims * sizeof *k);
	else
		linear(k, slow, i, "key", layer, &from_x);
	for (size_t t = 0; hash && t < n; t++)
		for (size_t h = 0; h < slow->heads; h++) {
			size_t part = t * dims + h * (dims / slow->heads);
			codes[t * slow->heads + h] =
			    code_of(slow, i, h, &form, q + part);
			codes[(n + t) * slow->heads + h] =
			    code_of(slow, i, h, &form, k + part);
		}
	attend(out, slow, &at);
	snprintf(name, sizeof name, "layers.%zu.context_norm", i);
	if (is(&slow->config, "sub_norm", "true"))
		norm(out, slow, name, n, dims);
	const struct input from_out = {out, NULL, 0, n, dims};
	linear(q, slow, i, "output", layer, &from_out);
	add(x, q, n * dims);
	snprintf(name, sizeof name, "layers.%zu.attention_norm", i);
	norm(x, slow, name, n, dims);
	free(out);
	free(v);
	free(k);
	free(q);
}

static void
feed_forward_part(float *x, const struct slow_encoder *slow, size_t i,
    const struct json *layer, size_t n)
{
	const size_t dims = slow->dims, inner = slow->inner;
	const bool table = is(layer, "gelu", "table");
	float *h = new_floats(n * inner), *y = new_floats(n * dims);
	double *q = calloc(n * inner, sizeof *q);
	struct input input = {x, NULL, 0, n, dims};
	char name[64];

	check(q, "memory");
	linear(h, slow, i, "up", layer, &input);
	input = (struct input){h, NULL, 0, n, inner};
	if (table) {
		const struct tensor *values = find(slow, "layers.%zu.gelu.table", i);
		const float *scale = floats(find(slow, "layers.%zu.gelu.scale", i));
		for (size_t k = 0; k < n * inner; k++) {
			float p = rintf(h[k] * (1 / scale[0]));
			p = fminf(fmaxf(p, -128), 127);
			q[k] = ((const int8_t *)values->data)[128 + (int)p];
		}
		input.q = q;
		input.scale = scale[1];
	}
	for (size_t k = 0; !table && k < n * inner; k++) {
		double z = (double)h[k];
		h[k] = (float)(z / 2 * (1 + erf(z / sqrt(2))));
	}
	snprintf(name, sizeof name, "layers.%zu.inner_norm", i);
	if (is(&slow->config, "sub_norm", "true"))
		norm(h, slow, name, n, inner);
	linear(y, slow, i, "down", layer, &input);
	add(x, y, n * dims);
	snprintf(name, sizeof name, "layers.%zu.feed_forward_norm", i);
	norm(x, slow, name, n, dims);
	free(q);
	free(y);
	free(h);
}

void
slow_encoder_embed(double *vector, uint32_t *codes, const struct slow_encoder *slow,
    const uint32_t *ids, size_t n)
{
	const size_t dims = slow->dims, layer_codes = 2 * n * slow->heads;
	float *x = new_floats(n * dims);
	uint32_t *all = calloc(slow->layers * layer_codes, sizeof *all);
	struct json list = member(&slow->config, "layers");
	struct json_walk walk = json_walk(&list);
	const size_t pooled = is(&slow->config, "pooling", "cls") ? 1 : n;
	double square = 0;

	check(all, "memory");
	embed(x, slow, ids, n);
	for (size_t i = 0; json_next(&walk); i++) {
		attention_part(x, all + i * layer_codes, slow, i, &walk.value, n);
		feed_forward_part(x, slow, i, &walk.value, n);
	}
	for (size_t d = 0; d < dims; d++) {
		vector[d] = 0;
		for (size_t t = 0; t < pooled; t++)
			vector[d] += (double)x[t * dims + d] / (double)pooled;
		square += vector[d] * vector[d];
	}
	for (size_t d = 0; d < dims; d++)
		vector[d] /= sqrt(square);
	if (codes)
		memcpy(codes, all, slow->layers * layer_codes * sizeof *codes);
	free(all);
	free(x);
}
