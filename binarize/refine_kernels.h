#ifndef BINARIZE_REFINE_KERNELS_H
#define BINARIZE_REFINE_KERNELS_H

#include "binarize/refine.h"

/* What refine.c does in bulk; refine_lanes.h is compiled for each level of vectors. */
#define REFINE_PANEL 16 /* rows of a matrix that are multiplied together */
#define REFINE_PARTS 4  /* of the dimensions, each with a step of its own */

/* A matrix (rows, columns) in panels of pairs, a line of 64 bytes holding two columns
 * of a panel's rows: refine_at says where a number is. */
struct refine_matrix {
	const int16_t *panels; /* 64-byte aligned */
	size_t rows;           /* a multiple of 64 */
	size_t columns;        /* even */
};

static inline size_t
refine_at(size_t columns, size_t r, size_t k)
{
	size_t line = r / REFINE_PANEL * (columns / 2) + k / 2;
	return (line * REFINE_PANEL + r % REFINE_PANEL) * 2 + k % 2;
}

/* How levels may change. */
struct refine_rule {
	struct refine_matrix gram; /* (dims, dims): h Q Q^T in units */
	const int32_t *own;        /* (dims): its diagonal */
	size_t passes_max;
	int top; /* the largest level's odd number */
};

/* What no |c| reaches: the price of a step out of the code. */
#define REFINE_BLOCKED (1 << 30)

struct refine_kernel {
	enum cpu_level level;
	const char *name;

	/* y (n, rows) := M x of each of x (n, columns).  No sum may leave 32 bits. */
	void (*product)(
	    int32_t *y, const struct refine_matrix *matrix, const int16_t *x, size_t n);

	/* Change levels of v (dims) and c (dims) until nothing is gained. */
	void (*descend)(int16_t *v, int32_t *c, const struct refine_rule *rule);
};

extern const struct refine_kernel refine_scalar;
#if defined(__x86_64__)
extern const struct refine_kernel refine_avx2;
extern const struct refine_kernel refine_avx512;
#elif defined(__aarch64__)
extern const struct refine_kernel refine_neon;
#endif

#endif /* BINARIZE_REFINE_KERNELS_H */
