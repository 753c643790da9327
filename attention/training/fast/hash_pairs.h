#ifndef ATTENTION_TRAINING_FAST_HASH_PAIRS_H
#define ATTENTION_TRAINING_FAST_HASH_PAIRS_H

/* From codes and values to what attention gives, and back with the gradients. */
#include "attention/training/fast/hash_piece.h"

/* The lowest bit of each group of bits. */
static uint32_t
lowest_bits(const struct fast_hash *hash)
{
	uint32_t lowest = 0;

	for (size_t r = 0; r < hash->bits; r += hash->bucket_bits)
		lowest |= UINT32_C(1) << r;
	return lowest;
}

/* In how many groups of bits a word differs from each of the n others. */
INLINE void
count_groups(
    uint32_t *differ, const struct piece *p, uint32_t word, const uint32_t *others)
{
	const size_t bucket_bits = p->hash->bucket_bits;
	const uint32_t lowest = lowest_bits(p->hash);

	for (size_t j = 0; j < p->n; j += LANES) {
		const lanes_bits x = lanes_load_bits(others + j) ^ word;
		lanes_bits any = x;
		for (size_t s = 1; s < bucket_bits; s++)
			any |= x >> (uint32_t)s;
		lanes_store_bits(differ + j, lanes_count(any & lowest));
	}
}

/* Weights of all pairs, their rows' sums, and out. */
INLINE void
attend(struct piece *p)
{
	const size_t width = p->wide.tokens;

	for (size_t i = 0; i < p->n; i++) {
		uint32_t *differ = p->differ + i * width;
		float *weight = p->weight + i * width, total = 0;
		count_groups(differ, p, p->queries.word[i], p->keys.word);
#pragma omp simd reduction(+ : total)
		for (size_t j = 0; j < p->n; j++) {
			weight[j] = p->head->table[differ[j]];
			total += weight[j];
		}
		p->total[i] = total;
	}
	clear(p->out, p->n, p->wide.dims);
	product_add((struct product){.c = p->out,
	    .a = p->weight,
	    .b = p->v,
	    .a_row = width,
	    .a_step = 1,
	    .rows = p->n,
	    .inner = p->n,
	    .cols = p->wide.dims});
	for (size_t i = 0; i < p->n; i++)
		for (size_t d = 0; d < p->wide.dims; d++)
			p->out[i * p->wide.dims + d] /= p->total[i];
}

/* From out_d to v_d, to the table's sums, and to weight_d: the loss's gradient by the
 * product of a bit of one code and the same of the other, where a pair moves it. */
INLINE void
weights_gradient(struct piece *p)
{
	const size_t width = p->wide.tokens, dims = p->wide.dims;
	float table[4][BITS + 1] = {{0}};

	for (size_t i = 0; i < p->n; i++) {
		float *out_d = p->out_d + i * dims, *weight_d = p->weight_d + i * width;
		lanes dot = {0};
		for (size_t d = 0; d < dims; d += LANES) {
			const lanes share = lanes_load(out_d + d) / p->total[i];
			lanes_store(out_d + d, share);
			dot += share * lanes_load(p->out + i * dims + d);
		}
		const float lost = -lanes_sum(dot);
		for (size_t j = 0; j < width; j++)
			weight_d[j] = lost;
	}
	for (size_t j = 0; j < p->n; j++)
		for (size_t d = 0; d < p->hash->dims; d++)
			p->v_turned[d * width + j] = p->v[j * dims + d];
	product_add((struct product){.c = p->weight_d,
	    .a = p->out_d,
	    .b = p->v_turned,
	    .a_row = dims,
	    .a_step = 1,
	    .rows = p->n,
	    .inner = p->hash->dims,
	    .cols = width});
	clear(p->v_d, p->n, dims);
	product_add((struct product){.c = p->v_d,
	    .a = p->weight,
	    .b = p->out_d,
	    .a_row = 1,
	    .a_step = width,
	    .rows = p->n,
	    .inner = p->n,
	    .cols = dims});
	for (size_t i = 0; i < p->n; i++)
		for (size_t j = 0; j < p->n; j++) {
			const uint32_t differ = p->differ[i * width + j];
			float *weight_d = p->weight_d + i * width + j;
			table[j % 4][differ] += *weight_d;
			*weight_d *= -0.5f * p->head->slope[differ];
		}
	for (size_t g = 0; g <= BITS; g++)
		for (size_t i = 0; i < 4; i++)
			p->sums->table[g] += table[i][g];
}

/* The bits of a word that a pair with each of the n others moves, as all other bits of
 * the bit's group agree: those of equal groups, and the one by which a group differs.
 */
INLINE void
movable_bits(uint32_t *equal, uint32_t *apart, const struct piece *p, uint32_t word,
    const uint32_t *others)
{
	const size_t bucket_bits = p->hash->bucket_bits;
	const uint32_t lowest = lowest_bits(p->hash);
	const uint32_t full = UINT32_MAX >> (BITS - bucket_bits);

	for (size_t j = 0; j < p->n; j += LANES) {
		const lanes_bits x = lanes_load_bits(others + j) ^ word;
		lanes_bits one = x, two = {0};
		for (size_t s = 1; s < bucket_bits; s++) {
			two |= one & x >> (uint32_t)s;
			one |= x >> (uint32_t)s;
		}
		lanes_store_bits(equal + j, (~one & lowest) * full);
		lanes_store_bits(apart + j, (one & ~two & lowest) * full & x);
	}
}

/* z_d += gradient by own's bits; pair (i, j) of own and other is at weight_d +
 * i * row + j * step. */
INLINE void
buckets_gradient(const struct piece *p, const struct side *own,
    const struct side *other, size_t row, size_t step)
{
	lanes_bits bit[BITS / LANES];

	for (size_t r = 0; r < BITS; r++)
		bit[r / LANES][r % LANES] = UINT32_C(1) << r;
	for (size_t i = 0; i < p->n; i++) {
		lanes sum[BITS / LANES] = {{0}};
		movable_bits(p->equal, p->apart, p, own->word[i], other->word);
		for (size_t j = 0; j < p->n; j++) {
			const lanes d = lanes_set(p->weight_d[i * row + j * step]);
			const uint32_t equal = p->equal[j], apart = p->apart[j];
#pragma GCC unroll 4
			for (size_t t = 0; t < BITS / LANES; t++) {
				sum[t] += lanes_where((equal & bit[t]) == bit[t], d);
				sum[t] -= lanes_where((apart & bit[t]) == bit[t], d);
			}
		}
		for (size_t r = 0; r < p->wide.bits; r += LANES) {
			float *z_d = own->z_d + i * p->wide.bits + r;
			const lanes h = lanes_load(own->h + i * p->wide.bits + r);
			lanes_store(z_d, lanes_load(z_d) + h * sum[r / LANES]);
		}
	}
}

/* The same; groups of one bit have no other bits. */
INLINE void
bits_gradient(const struct piece *p, const struct side *own, const struct side *other,
    size_t row, size_t step)
{
	if (p->hash->bucket_bits > 1) {
		buckets_gradient(p, own, other, row, step);
		return;
	}
	product_add((struct product){.c = own->z_d,
	    .a = p->weight_d,
	    .b = other->h,
	    .a_row = row,
	    .a_step = step,
	    .rows = p->n,
	    .inner = p->n,
	    .cols = p->wide.bits});
}

#endif /* ATTENTION_TRAINING_FAST_HASH_PAIRS_H */
