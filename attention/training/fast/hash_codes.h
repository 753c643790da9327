#ifndef ATTENTION_TRAINING_FAST_HASH_CODES_H
#define ATTENTION_TRAINING_FAST_HASH_CODES_H

/* From rows of q or k to codes, and back with the gradients. */
#include <math.h>

#include "attention/training/fast/hash_piece.h"

/* x := x / max(|x|, 1e-6) */
INLINE void
make_units(const struct piece *p, struct side *s)
{
	for (size_t i = 0; i < p->n; i++) {
		float *x = s->x + i * p->wide.dims;
		lanes sum = {0};
		for (size_t d = 0; d < p->wide.dims; d += LANES)
			sum += lanes_load(x + d) * lanes_load(x + d);
		const float length = sqrtf(lanes_sum(sum));
		s->inverse[i] = 1 / (length > 1e-6f ? length : 1e-6f);
		for (size_t d = 0; d < p->wide.dims; d += LANES)
			lanes_store(x + d, lanes_load(x + d) * s->inverse[i]);
	}
}

/* feature := exp((<x, anchor> - 1) / sigma); columns behind the anchors are never read
 * but times 0. */
INLINE void
make_features(const struct piece *p, struct side *s)
{
	const size_t size = p->n * p->wide.features;

	for (size_t i = 0; i < size; i++)
		s->near[i] = -1;
	product_add((struct product){.c = s->near,
	    .a = s->x,
	    .b = p->head->anchor_turned,
	    .a_row = p->wide.dims,
	    .a_step = 1,
	    .rows = p->n,
	    .inner = p->hash->dims,
	    .cols = p->wide.features});
	for (size_t i = 0; i < size; i += LANES)
		lanes_store(s->feature + i,
		    lanes_exp(lanes_load(s->near + i) * p->head->inverse_sigma));
}

/* Bit r set where z_r >= 0. */
INLINE uint32_t
word_of(const float *z, size_t bits)
{
	lanes_bits found = {0};
	lanes_bits bit = {1, 2, 4, 8, 16, 32, 64, 128};
	uint32_t word = 0;

	for (size_t r = 0; r < bits; r += LANES, bit <<= LANES)
		found |= (lanes_bits)(lanes_load(z + r) >= 0.0f) & bit;
	for (size_t i = 0; i < LANES; i++)
		word |= found[i];
	return word & UINT32_MAX >> (BITS - bits); /* none behind the last */
}

/* From rows of q or k to z and words. */
INLINE void
make_codes(const struct piece *p, struct side *s, const float *from)
{
	const size_t bits = p->wide.bits;

	gather(s->x, p, from);
	make_units(p, s);
	if (p->hash->anchors)
		make_features(p, s);
	for (size_t i = 0; i < p->n; i++)
		for (size_t r = 0; r < bits; r++)
			s->z[i * bits + r] = -p->head->threshold[r];
	product_add((struct product){.c = s->z,
	    .a = s->feature,
	    .b = p->head->planes_turned,
	    .a_row = p->wide.features,
	    .a_step = 1,
	    .rows = p->n,
	    .inner = p->features,
	    .cols = bits});
	for (size_t i = 0; i < p->n; i++)
		s->word[i] = word_of(s->z + i * bits, p->hash->bits);
}

/* Slope of Sign, hashing.py, at x. */
INLINE lanes
sign_slope(lanes x, float power)
{
	const lanes size = lanes_choose(x < 0.0f, -x, x);
	lanes slope = lanes_set(1);

	if (power != 1) {
		const float curve = (1 - power) / power;
		const lanes base = lanes_choose(size < 0.1f, lanes_set(0.1f), size);
		slope = lanes_exp(lanes_log(base) * curve) / power;
		slope = lanes_choose(size <= 0.1f, lanes_set(powf(0.1f, curve)), slope);
	}
	return lanes_where(size <= 1.5f, slope);
}

/* z_d was the gradient by the signs and becomes that by z; deviations are constants. */
INLINE void
signs_gradient(const struct piece *p, struct side *s, const float *deviation)
{
	float inverse[BITS] = {0};

	for (size_t r = 0; r < p->hash->bits; r++)
		inverse[r] = 1 / deviation[r];
	for (size_t i = 0; i < p->n; i++)
		for (size_t r = 0; r < p->wide.bits; r += LANES) {
			float *z_d = s->z_d + i * p->wide.bits + r;
			const lanes by = lanes_load(inverse + r);
			const lanes z = lanes_load(s->z + i * p->wide.bits + r);
			const lanes slope = sign_slope(z * by, p->hash->power);
			lanes_store(z_d, lanes_load(z_d) * slope * by);
			lanes_store(p->sums->threshold + r,
			    lanes_load(p->sums->threshold + r) - lanes_load(z_d));
		}
}

/* From feature_d to x_d, the anchors' sums on the way. */
INLINE void
features_gradient(const struct piece *p, struct side *s)
{
	const size_t width = p->wide.features, dims = p->wide.dims;
	lanes sigma = {0};

	for (size_t i = 0; i < p->n * width; i += LANES) {
		const lanes d =
		    lanes_load(s->feature_d + i) * lanes_load(s->feature + i);
		sigma += d * lanes_load(s->near + i);
		lanes_store(s->feature_d + i, d * p->head->inverse_sigma);
	}
	p->sums->inverse_sigma += lanes_sum(sigma);
	product_add((struct product){.c = p->sums->anchor,
	    .a = s->feature_d,
	    .b = s->x,
	    .a_row = 1,
	    .a_step = width,
	    .rows = p->features,
	    .inner = p->n,
	    .cols = dims});
	clear(s->x_d, p->n, dims);
	product_add((struct product){.c = s->x_d,
	    .a = s->feature_d,
	    .b = p->head->anchor,
	    .a_row = width,
	    .a_step = 1,
	    .rows = p->n,
	    .inner = p->features,
	    .cols = dims});
}

/* x_d was the gradient by the unit vector and becomes that by q or k. */
INLINE void
units_gradient(const struct piece *p, struct side *s)
{
	for (size_t i = 0; i < p->n; i++) {
		const float *x = s->x + i * p->wide.dims;
		float *x_d = s->x_d + i * p->wide.dims;
		lanes sum = {0};
		for (size_t d = 0; d < p->wide.dims; d += LANES)
			sum += lanes_load(x + d) * lanes_load(x_d + d);
		/* A length below the least divides by a constant. */
		const float along = s->inverse[i] < 1e6f ? lanes_sum(sum) : 0;
		for (size_t d = 0; d < p->wide.dims; d += LANES)
			lanes_store(
			    x_d + d, (lanes_load(x_d + d) - along * lanes_load(x + d)) *
					 s->inverse[i]);
	}
}

/* From z_d, by the signs, to x_d, by q or k. */
INLINE void
codes_gradient(const struct piece *p, struct side *s, const float *deviation)
{
	const size_t bits = p->wide.bits, width = p->wide.features;

	signs_gradient(p, s, deviation);
	product_add((struct product){.c = p->sums->planes,
	    .a = s->z_d,
	    .b = s->feature,
	    .a_row = 1,
	    .a_step = bits,
	    .rows = p->hash->bits,
	    .inner = p->n,
	    .cols = width});
	clear(s->feature_d, p->n, width);
	product_add((struct product){.c = s->feature_d,
	    .a = s->z_d,
	    .b = p->head->planes,
	    .a_row = bits,
	    .a_step = 1,
	    .rows = p->n,
	    .inner = p->hash->bits,
	    .cols = width});
	if (p->hash->anchors)
		features_gradient(p, s);
	units_gradient(p, s);
}

#endif /* ATTENTION_TRAINING_FAST_HASH_CODES_H */
