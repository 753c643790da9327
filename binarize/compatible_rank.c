#include "binarize/compatible_rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/adam.h"
#include "binarize/recurrent_model.h"

#define BATCH 512
#define STEPS 64   /* of 200, pairs that were not learned from gain less */
#define RATE 0.06f /* of the map's own numbers; falls to 0 over the steps */
#define TEMPERATURE 0.05f
#define STREAM 0x52414E4B

struct ranking {
	const struct recurrent *old;
	struct recurrent_scratch *scratch;
	const struct compatible_pairs *pairs;
	size_t n, m, d; /* of a batch, of a code, of a new vector */
	size_t *order;  /* (pairs->n): the first n are the batch */
	float *now;     /* (n, d) */
	float *codes;   /* (n, m): f v */
	float *asked;   /* (n, m): T^T of now, then its gradient */
	float *wanted;  /* (n, n): by the vectors, then their softmax */
	float *scores;  /* (n, n): by the codes, then the gradient */
	float *slopes;  /* (m, d): the map's gradient */
	double *sum;    /* (d + m): of now and codes, of all batches */
	struct adam adam;
	struct rng rng;
};

static void
ranking_free(struct ranking *r)
{
	recurrent_scratch_free(r->scratch);
	free(r->order);
	free(r->now);
	free(r->codes);
	free(r->asked);
	free(r->wanted);
	free(r->scores);
	free(r->slopes);
	free(r->sum);
	adam_free(&r->adam);
}

static int
ranking_init(struct ranking *r, struct error *err)
{
	size_t n = r->n, m = r->m, d = r->d;

	r->order = array_new(r->pairs->n, sizeof *r->order);
	r->now = array_new_aligned(n * d, sizeof *r->now);
	r->codes = array_new_aligned(n * m, sizeof *r->codes);
	r->asked = array_new_aligned(n * m, sizeof *r->asked);
	r->wanted = array_new_aligned(n * n, sizeof *r->wanted);
	r->scores = array_new_aligned(n * n, sizeof *r->scores);
	r->slopes = array_new_aligned(m * d, sizeof *r->slopes);
	r->sum = array_new(d + m, sizeof *r->sum);
	if (!r->sum || !r->order || !r->now || !r->codes || !r->asked || !r->wanted ||
	    !r->scores || !r->slopes)
		return error_set(err, ERR_MEMORY, "out of memory for ranking");
	for (size_t i = 0; i < r->pairs->n; i++)
		r->order[i] = i;
	r->scratch = recurrent_scratch_new(r->old, err);
	return r->scratch ? adam_init(&r->adam, m * d, err) : -1;
}

/* Another random n of the pairs, the old ones coded. */
static int
take_batch(struct ranking *r, struct error *err)
{
	struct code_shape shape = recurrent_info(r->old).shape;
	uint8_t wire[CODE_BYTES_MAX], levels[CODE_DIMS_MAX];

	for (size_t i = 0; i < r->n; i++) {
		size_t j = i + rng_below(&r->rng, r->pairs->n - i);
		size_t row = r->order[j];
		struct recurrent_numbers numbers;
		r->order[j] = r->order[i];
		r->order[i] = row;
		memcpy(r->now + i * r->d, r->pairs->now + row * r->d,
		    r->d * sizeof *r->now);
		if (recurrent_encode(r->old, r->scratch, wire, &numbers,
			r->pairs->old + row * r->pairs->old_dims, err) != 0)
			return -1;
		code_to_levels(levels, wire, shape);
		for (size_t k = 0; k < r->d; k++)
			r->sum[k] += (double)r->now[i * r->d + k];
		for (size_t k = 0; k < r->m; k++) {
			float x = numbers.factor * code_value(levels[k], shape.bits);
			r->codes[i * r->m + k] = x;
			r->sum[r->d + k] += (double)x;
		}
	}
	return 0;
}

/* row (n) := softmax(row / t) over all but number i, which is 0. */
static void
softmax_of_others(float *row, size_t n, size_t i)
{
	float peak = -INFINITY;
	double sum = 0.0;

	row[i] = -INFINITY;
	for (size_t j = 0; j < n; j++)
		peak = fmaxf(peak, row[j]);
	for (size_t j = 0; j < n; j++) {
		row[j] = expf((row[j] - peak) / TEMPERATURE);
		sum += (double)row[j];
	}
	for (size_t j = 0; j < n; j++)
		row[j] = (float)((double)row[j] / sum);
}

/* The gradient of the loss in the map, of the batch that was taken. */
static void
backward(struct ranking *r, const float *map, const struct blas *blas)
{
	size_t n = r->n, m = r->m, d = r->d;
	const struct blas_matrix now = {r->now, d, false}, codes = {r->codes, m, false};
	const struct blas_matrix now_t = {r->now, d, true},
				 codes_t = {r->codes, m, true};
	const struct blas_matrix map_t = {map, d, true};
	const struct blas_matrix asked = {r->asked, m, false};
	const struct blas_matrix asked_t = {r->asked, m, true};
	const struct blas_matrix scores = {r->scores, n, false};
	const float scale = 1.0f / (TEMPERATURE * (float)n);

	blas_gemm(blas, &(struct blas_gemm){n, n, d, 1, now, now_t, 0, r->wanted, n});
	blas_gemm(blas, &(struct blas_gemm){n, m, d, 1, now, map_t, 0, r->asked, m});
	blas_gemm(
	    blas, &(struct blas_gemm){n, n, m, 1, asked, codes_t, 0, r->scores, n});
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < n; i++) {
		float *s = r->scores + i * n, *w = r->wanted + i * n;
		softmax_of_others(w, n, i);
		softmax_of_others(s, n, i);
		for (size_t j = 0; j < n; j++)
			s[j] = (s[j] - w[j]) * scale;
	}
	blas_gemm(blas, &(struct blas_gemm){n, m, n, 1, scores, codes, 0, r->asked, m});
	blas_gemm(blas, &(struct blas_gemm){m, d, n, 1, asked_t, now, 0, r->slopes, d});
}

/* mean := the mean of n - T f v, of all batches. */
static void
find_mean(float *mean, const struct ranking *r, const float *map)
{
	double scale = 1.0 / (double)(STEPS * r->n);

	for (size_t k = 0; k < r->d; k++) {
		double left = r->sum[k];
		for (size_t i = 0; i < r->m; i++)
			left -= (double)map[i * r->d + k] * r->sum[r->d + i];
		mean[k] = (float)(left * scale);
	}
}

int
compatible_rank(float *map, float *mean, const struct recurrent *old,
    const struct compatible_pairs *pairs, const struct blas *blas, uint64_t seed,
    struct error *err)
{
	struct recurrent_info info = recurrent_info(old);
	struct ranking r = {.old = old,
	    .pairs = pairs,
	    .n = pairs->n < BATCH ? pairs->n : BATCH,
	    .m = info.shape.dims,
	    .d = pairs->dims};
	int rc = ranking_init(&r, err);

	size_t size = r.m * r.d;
	float rate = RATE * (float)sqrt(recurrent_dot(map, map, size) / (double)size);
	rng_init(&r.rng, seed, STREAM);
	for (int step = 0; rc == 0 && step < STEPS; step++) {
		rc = take_batch(&r, err);
		if (rc != 0)
			break;
		backward(&r, map, blas);
		adam_step(
		    &r.adam, map, r.slopes, rate * (1.0f - (float)step / (float)STEPS));
	}
	if (rc == 0)
		find_mean(mean, &r, map);
	ranking_free(&r);
	return rc;
}
