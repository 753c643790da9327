#ifndef ATTENTION_ATTEND_H
#define ATTENTION_ATTEND_H

#include <stddef.h>

/*
 * What attention works on: the queries, keys and values of the n tokens of one text.
 * Head h of a token is columns h * head_dims .. of its row.  There is no padding: every
 * row is a token.
 */
struct attend {
	const float *q, *k, *v; /* (n, heads * head_dims), rows `stride` apart */
	size_t stride;          /* in floats */
	float *out;             /* (n, heads * head_dims), contiguous; no alias */
	size_t n;               /* tokens, 1 .. ATTEND_TOKENS_MAX */
	size_t heads;
	size_t head_dims; /* a multiple of 16, at most ATTEND_HEAD_DIMS_MAX */
};

#define ATTEND_TOKENS_MAX 512
#define ATTEND_HEAD_DIMS_MAX 128
#define ATTEND_HEADS_MAX 64

#endif /* ATTENTION_ATTEND_H */
