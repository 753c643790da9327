#ifndef ATTENTION_SOFTMAX_KERNELS_H
#define ATTENTION_SOFTMAX_KERNELS_H

#include "attention/softmax.h"

/* The functions behind softmax_find, each compiled from softmax_lanes.h.  One of a
 * level that the build's architecture lacks is not there; code of a level runs only
 * after cpu_has(level). */
void softmax_scalar(const struct attend *attend, float *scratch);
#if defined(__x86_64__)
void softmax_avx2(const struct attend *attend, float *scratch);
void softmax_avx512(const struct attend *attend, float *scratch);
#elif defined(__aarch64__)
void softmax_neon(const struct attend *attend, float *scratch);
#endif

/* Where things are in the scratch of a text of n tokens, in floats. */
struct softmax_layout {
	size_t groups;       /* of 16 keys */
	size_t score_stride; /* between the scores of two queries */
	size_t values, scores;
	size_t floats; /* all of it */
};

/* Queries whose scores are held at a time. */
#define SOFTMAX_QUERIES 6

static inline struct softmax_layout
softmax_layout(size_t n, size_t head_dims)
{
	struct softmax_layout l = {.groups = (n + 15) / 16};

	/* Not a multiple of the distance at which lines share a place in a cache. */
	l.score_stride = 16 * (l.groups + 1);
	l.values = 16 * l.groups * head_dims; /* the keys come first */
	l.scores = l.values + n * head_dims;
	l.floats = l.scores + SOFTMAX_QUERIES * l.score_stride;
	return l;
}

#endif /* ATTENTION_SOFTMAX_KERNELS_H */
