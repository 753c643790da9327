#ifndef BINARIZE_REFINE_KERNELS_H
#define BINARIZE_REFINE_KERNELS_H

#include "binarize/refine.h"

/* What refine.c does in bulk, compiled from refine_lanes.h for each level. */
#define REFINE_PANEL 16      /* rows of a matrix that are multiplied together */
#define REFINE_PANEL_STEP 64 /* a matrix has a multiple of so many */

/* A matrix (rows, columns) in panels: number (r, k) is at
 * (r / REFINE_PANEL * columns + k) * REFINE_PANEL + r % REFINE_PANEL. */
struct refine_matrix {
	const float *panels; /* 64-byte aligned */
	size_t rows;         /* a multiple of REFINE_PANEL_STEP */
	size_t columns;
};

/* How levels may change. */
struct refine_rule {
	const float *gram;  /* (dims, dims): Q Q^T */
	const float *least; /* (dims): nothing is gained where |c_i| is not above it */
	size_t dims;
	size_t changes_max; /* of one code */
	float step;         /* between levels */
	float top;          /* the largest level */
};

struct refine_kernel {
	enum cpu_level level;
	const char *name;

	/* y (n, rows) := M x of each of x (n, columns) */
	void (*product)(
	    float *y, const struct refine_matrix *matrix, const float *x, size_t n);

	/* Change levels of v (dims) and c (dims) until nothing is gained. */
	void (*descend)(float *v, float *c, const struct refine_rule *rule);
};

/* The best at or below cpu_ceiling() that agreed with the scalar one at first use. */
const struct refine_kernel *refine_kernel_best(void);

/* panels := the matrix (rows, columns), in the order that products want. */
void refine_to_panels(float *panels, const float *matrix, size_t rows, size_t columns);

extern const struct refine_kernel refine_scalar;
#if defined(__x86_64__)
extern const struct refine_kernel refine_avx2;
extern const struct refine_kernel refine_avx512;
#elif defined(__aarch64__)
extern const struct refine_kernel refine_neon;
#endif

#endif /* BINARIZE_REFINE_KERNELS_H */
