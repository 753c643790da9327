#include "attention/training/fast/hash.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "attention/training/fast/hash_codes.h"
#include "attention/training/fast/hash_pairs.h"
#include "base/alloc.h"

/* ---- Memory ---- */

struct work {
	struct head *heads; /* (heads) */
	struct sums *sums;  /* (threads, heads) */
	float *scratch;     /* (threads, scratch_size) */
	size_t scratch_size;
};

/* The next `rows` rows of the scratch; counts alone where there is none. */
static void *
take(float *scratch, size_t *used, size_t rows, size_t width)
{
	float *at = scratch ? scratch + *used : NULL;

	*used += (rows * width + 15) / 16 * 16;
	return at;
}

static struct side
take_side(const struct piece *p, float *scratch, size_t *used)
{
	const size_t n = p->hash->longest;
	struct side s = {
	    .x = take(scratch, used, n, p->wide.dims),
	    .x_d = take(scratch, used, n, p->wide.dims),
	    .inverse = take(scratch, used, n, 1),
	    .z = take(scratch, used, n, p->wide.bits),
	    .z_d = take(scratch, used, n, p->wide.bits),
	    .h = take(scratch, used, n, p->wide.bits),
	    .word = take(scratch, used, n, 1),
	};

	s.feature = s.x;
	s.feature_d = s.x_d;
	if (p->hash->anchors) {
		s.near = take(scratch, used, n, p->wide.features);
		s.feature = take(scratch, used, n, p->wide.features);
		s.feature_d = take(scratch, used, n, p->wide.features);
	}
	return s;
}

/* A piece over a thread's scratch; how many floats it has of it. */
static size_t
lay_out(struct piece *p, const struct fast_hash *hash, float *scratch)
{
	const size_t n = hash->longest;
	size_t used = 0;

	*p = (struct piece){.hash = hash};
	p->features = hash->anchors ? hash->anchors : hash->dims;
	p->wide = (struct widths){lanes_up(hash->dims), lanes_up(p->features),
	    lanes_up(hash->bits), lanes_up(n)};
	p->queries = take_side(p, scratch, &used);
	p->keys = hash->k ? take_side(p, scratch, &used) : p->queries;
	p->v = take(scratch, &used, n, p->wide.dims);
	p->v_turned = take(scratch, &used, hash->dims, p->wide.tokens);
	p->v_d = take(scratch, &used, n, p->wide.dims);
	p->out = take(scratch, &used, n, p->wide.dims);
	p->out_d = take(scratch, &used, n, p->wide.dims);
	p->weight = take(scratch, &used, n, p->wide.tokens);
	p->weight_d = take(scratch, &used, n, p->wide.tokens);
	p->total = take(scratch, &used, n, 1);
	p->differ = take(scratch, &used, n, p->wide.tokens);
	p->equal = take(scratch, &used, 1, p->wide.tokens);
	p->apart = take(scratch, &used, 1, p->wide.tokens);
	return used;
}

static void
work_free(struct work *work)
{
	free(work->scratch);
	free(work->sums);
	free(work->heads);
}

/* to (rows, width) and turned (n, turned_width) := from (rows, n) and its transpose. */
static void
lay_rows(float *to, size_t width, float *turned, size_t turned_width, const float *from,
    size_t rows, size_t n)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < n; j++) {
			to[i * width + j] = from[i * n + j];
			turned[j * turned_width + i] = from[i * n + j];
		}
}

static void
head_init(struct head *head, const struct piece *p, size_t h)
{
	const struct fast_hash *hash = p->hash;
	const struct widths *wide = &p->wide;
	const size_t groups = hash->bits / hash->bucket_bits;

	if (hash->anchors) {
		lay_rows(head->anchor, wide->dims, head->anchor_turned, wide->features,
		    hash->anchor + h * hash->anchors * hash->dims, hash->anchors,
		    hash->dims);
		head->inverse_sigma = hash->inverse_sigma[h];
	}
	lay_rows(head->planes, wide->features, head->planes_turned, wide->bits,
	    hash->planes + h * hash->bits * p->features, hash->bits, p->features);
	memcpy(head->threshold, hash->threshold + h * hash->bits,
	    hash->bits * sizeof(float));
	memcpy(
	    head->table, hash->table + h * (groups + 1), (groups + 1) * sizeof(float));
	/* By both neighbours; at the ends, by the one there is. */
	for (size_t g = 0; g <= groups; g++) {
		const size_t from = g ? g - 1 : 0, to = g < groups ? g + 1 : groups;
		head->slope[g] =
		    (head->table[to] - head->table[from]) / (float)(to - from);
	}
}

static int
work_init(struct work *work, const struct fast_hash *hash)
{
	struct piece p;

	work->scratch_size = lay_out(&p, hash, NULL);
	work->heads = array_new_aligned(hash->heads, sizeof(*work->heads));
	work->sums =
	    array_new_aligned(hash->threads * hash->heads, sizeof(*work->sums));
	work->scratch =
	    array_new_aligned(hash->threads, work->scratch_size * sizeof(float));
	if (!work->heads || !work->sums || !work->scratch) {
		work_free(work);
		return -1;
	}
	for (size_t h = 0; h < hash->heads; h++)
		head_init(&work->heads[h], &p, h);
	return 0;
}

/* ---- One text and head ---- */

/* Where head h's rows of text t begin in a (texts, longest, heads, width) array. */
static size_t
rows_at(const struct fast_hash *hash, size_t t, size_t h, size_t width)
{
	return (t * hash->longest * hash->heads + h) * width;
}

/* What forward finds, out included. */
INLINE void
see(struct piece *p, size_t t, size_t h)
{
	const struct fast_hash *hash = p->hash;
	const size_t at = rows_at(hash, t, h, hash->dims);

	p->n = (size_t)hash->length[t];
	make_codes(p, &p->queries, hash->q + at);
	if (hash->k)
		make_codes(p, &p->keys, hash->k + at);
	gather(p->v, p, hash->v + at);
	attend(p);
}

/* words (longest, at a step of heads); 0 behind the text's end. */
static void
put_words(int64_t *words, const struct piece *p, const struct side *s)
{
	for (size_t i = 0; i < p->hash->longest; i++)
		words[i * p->hash->heads] = i < p->n ? s->word[i] : 0;
}

INLINE void
sum_squares(const struct piece *p, size_t which, const struct side *s)
{
	for (size_t i = 0; i < p->n; i++)
#pragma omp simd
		for (size_t r = 0; r < p->hash->bits; r++) {
			const double z = s->z[i * p->wide.bits + r];
			p->sums->z[which][r] += z;
			p->sums->square[which][r] += z * z;
		}
}

FAST_CLONES static void
forward(struct piece *p, size_t t, size_t h)
{
	const struct fast_hash *hash = p->hash;

	see(p, t, h);
	scatter(hash->out + rows_at(hash, t, h, hash->dims), p, p->out);
	put_words(hash->words_q + rows_at(hash, t, h, 1), p, &p->queries);
	sum_squares(p, 0, &p->queries);
	if (hash->k) {
		put_words(hash->words_k + rows_at(hash, t, h, 1), p, &p->keys);
		sum_squares(p, 1, &p->keys);
	}
}

/* h, and no gradient yet. */
INLINE void
start_signs(const struct piece *p, struct side *s)
{
	clear(s->z_d, p->n, p->wide.bits);
	for (size_t i = 0; i < p->n * p->wide.bits; i++)
		s->h[i] = s->z[i] >= 0 ? 1.0f : -1.0f;
}

FAST_CLONES static void
backward(struct piece *p, size_t t, size_t h, const struct fast_hash_gradient *gradient)
{
	const struct fast_hash *hash = p->hash;
	const size_t at = rows_at(hash, t, h, hash->dims), width = p->wide.tokens;

	see(p, t, h);
	gather(p->out_d, p, gradient->out + at);
	start_signs(p, &p->queries);
	if (hash->k)
		start_signs(p, &p->keys);
	weights_gradient(p);
	bits_gradient(p, &p->queries, &p->keys, width, 1);
	bits_gradient(p, &p->keys, &p->queries, 1, width);
	codes_gradient(p, &p->queries, hash->deviation_q + h * hash->bits);
	scatter(gradient->q + at, p, p->queries.x_d);
	if (hash->k) {
		codes_gradient(p, &p->keys, hash->deviation_k + h * hash->bits);
		scatter(gradient->k + at, p, p->keys.x_d);
	}
	scatter(gradient->v + at, p, p->v_d);
}

/* ---- What all texts give together ---- */

/* deviation (heads, bits) of z over all tokens, by the sums of all threads. */
static void
put_deviation(float *deviation, const struct work *work, const struct fast_hash *hash,
    size_t which)
{
	double n = 0;

	for (size_t t = 0; t < hash->texts; t++)
		n += (double)hash->length[t];
	for (size_t h = 0; h < hash->heads; h++)
		for (size_t r = 0; r < hash->bits; r++) {
			double z = 0, square = 0;
			for (size_t t = 0; t < hash->threads; t++) {
				const struct sums *s = &work->sums[t * hash->heads + h];
				z += s->z[which][r];
				square += s->square[which][r];
			}
			const double variance = square / n - z / n * (z / n);
			deviation[h * hash->bits + r] =
			    fmaxf((float)sqrt(fmax(variance, 0)), 1e-6f);
		}
}

/* to (rows, n) += from (rows, width) */
static void
add_rows(float *to, const float *from, size_t rows, size_t n, size_t width)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < n; j++)
			to[i * n + j] += from[i * width + j];
}

/* Parameters' gradients := the sums of all threads, in the threads' order. */
static void
put_parameters(const struct fast_hash_gradient *gradient, const struct work *work,
    const struct fast_hash *hash)
{
	struct piece p;
	const size_t bits = hash->bits, groups = bits / hash->bucket_bits;

	lay_out(&p, hash, NULL);
	for (size_t i = 0; i < hash->threads * hash->heads; i++) {
		const struct sums *s = &work->sums[i];
		const size_t h = i % hash->heads;
		if (hash->anchors) {
			add_rows(gradient->anchor + h * hash->anchors * hash->dims,
			    s->anchor, hash->anchors, hash->dims, p.wide.dims);
			gradient->inverse_sigma[h] += s->inverse_sigma;
		}
		add_rows(gradient->planes + h * bits * p.features, s->planes, bits,
		    p.features, p.wide.features);
		add_rows(gradient->threshold + h * bits, s->threshold, 1, bits, bits);
		add_rows(gradient->table + h * (groups + 1), s->table, 1, groups + 1,
		    groups + 1);
	}
}

/* ---- All texts and heads ---- */

/* Every thread goes over pieces of its own; gradient NULL: forward. */
static void
each_piece(const struct work *work, const struct fast_hash *hash,
    const struct fast_hash_gradient *gradient)
{
	const size_t pieces = hash->texts * hash->heads;

#pragma omp parallel num_threads((int)hash->threads)
	{
		const size_t thread = (size_t)omp_get_thread_num();
		struct piece p;
		lay_out(&p, hash, work->scratch + thread * work->scratch_size);
#pragma omp for schedule(static, 1)
		for (size_t i = 0; i < pieces; i++) {
			const size_t h = i % hash->heads;
			p.head = &work->heads[h];
			p.sums = &work->sums[thread * hash->heads + h];
			if (gradient)
				backward(&p, i / hash->heads, h, gradient);
			else
				forward(&p, i / hash->heads, h);
		}
	}
}

static void
check(const struct fast_hash *hash)
{
	assert(hash->bits > 0 && hash->bits <= FAST_HASH_BITS_MAX);
	assert(hash->bucket_bits > 0 && hash->bits % hash->bucket_bits == 0);
	assert(hash->dims > 0 && hash->dims <= FAST_HASH_WIDTH_MAX);
	assert(hash->anchors <= FAST_HASH_WIDTH_MAX);
	assert(hash->threads > 0);
}

int
fast_hash_forward(const struct fast_hash *hash)
{
	struct work work;

	check(hash);
	if (work_init(&work, hash))
		return -1;
	each_piece(&work, hash, NULL);
	put_deviation(hash->deviation_q, &work, hash, 0);
	if (hash->k)
		put_deviation(hash->deviation_k, &work, hash, 1);
	work_free(&work);
	return 0;
}

int
fast_hash_backward(
    const struct fast_hash *hash, const struct fast_hash_gradient *gradient)
{
	struct work work;

	check(hash);
	if (work_init(&work, hash))
		return -1;
	each_piece(&work, hash, gradient);
	put_parameters(gradient, &work, hash);
	work_free(&work);
	return 0;
}
