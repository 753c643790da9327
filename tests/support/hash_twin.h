#ifndef TESTS_SUPPORT_HASH_TWIN_H
#define TESTS_SUPPORT_HASH_TWIN_H

#include <stddef.h>
#include <stdint.h>

#include "attention/hash.h"

/* The slow twin of attention/hash.h: its formulas in double, one after the other. */

/* margin (n, heads, bits) := how far each sum is above its threshold, as a share of the
 * sum of the magnitudes of what was added up; the bit is margin >= 0. */
void hash_twin_margins(
    double *margin, const struct hash *hash, const float *x, size_t n, size_t stride);

/* The weight that head h gives a pair of codes (general: that of h_i h_j alone). */
double hash_twin_weight(const struct hash *hash, size_t h, uint32_t a, uint32_t b);

/* out (n, heads * head_dims) := attention, pair by pair. */
void hash_twin_attend(double *out, const struct attend *attend, const struct hash *hash,
    const uint32_t *q, const uint32_t *k);

#endif /* TESTS_SUPPORT_HASH_TWIN_H */
