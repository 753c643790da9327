#ifndef ATTENTION_SOFTMAX_H
#define ATTENTION_SOFTMAX_H

#include <stddef.h>

#include "attention/attend.h"
#include "base/cpu.h"

/*
 * Softmax attention, the control: o_i = sum_j w_ij v_j / sum_j w_ij with
 * w_ij = exp(<q_i, k_j> / sqrt(head_dims) - max_j).  float32; blocked so that the
 * scores of some queries stay in the first cache.  The same bits from every kernel.
 * exp is within 1e-6 relative.
 *
 * Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762.
 * Allocates nothing; any thread may call, each with its own scratch.
 */

/* Floats of scratch for texts of up to n tokens. */
size_t softmax_scratch(size_t n, size_t head_dims);

typedef void softmax_fn(const struct attend *attend, float *scratch);

/* The kernel of exactly this level, NULL without; the best at or below
 * cpu_ceiling(). */
softmax_fn *softmax_find(enum cpu_level level);
softmax_fn *softmax_best(void);

#endif /* ATTENTION_SOFTMAX_H */
