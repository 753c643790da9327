#ifndef ATTENTION_SOFTMAX_H
#define ATTENTION_SOFTMAX_H

#include <stddef.h>

#include "attention/attend.h"
#include "base/cpu.h"

/*
 * Softmax attention, the control: o_i = sum_j w_ij v_j / sum_j w_ij with
 * w_ij = exp(<q_i, k_j> / sqrt(head_dims) - max_j).  float32; blocked so that the
 * scores of some queries stay in the first cache.  The same bits from every kernel.
 * A score is the sum over d of q_d k_d by fma, times 1 / sqrt(head_dims); the w of a
 * query are 16 partial sums (key j goes to sum j % 16), added up pairwise; o is the sum
 * over j of w_ij v_j by fma, times 1 / (sum of w).  exp is within 2e-7 relative, and no
 * smaller than e^-87.
 *
 * Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762.
 * Allocates nothing; any thread may call, each with its own scratch.
 */

/* Floats of scratch for texts of up to n tokens; 64-byte aligned is fastest. */
size_t softmax_scratch(size_t n, size_t head_dims);

typedef void softmax_fn(const struct attend *attend, float *scratch);

/* The kernel of exactly this level, NULL without; the best at or below
 * cpu_ceiling(). */
softmax_fn *softmax_find(enum cpu_level level);
softmax_fn *softmax_best(void);

#endif /* ATTENTION_SOFTMAX_H */
