#ifndef ATTENTION_LINEAR_H
#define ATTENTION_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/error.h"

/*
 * Linear layers of an encoder: y = x W^T + b for the n tokens of a pass.
 *
 * A layer has one of four forms.  W is (out, in), a row an output channel:
 *
 *     ternary     levels t in {-1, 0, 1}       stored as c = t + 1, 2 bits
 *     four-level  levels t in {-3, -1, 1, 3}   stored as c = (t + 3) / 2, 2 bits
 *     int8        levels t in -127 .. 127      stored as they are
 *     float       w itself                     float32
 *
 * The first three take activations as signed bytes q, -127 .. 127, with one scale a
 * token, and give
 *
 *     acc_j = sum_k t_jk q_k                              an exact integer
 *     y_j   = (((float)acc_j * scale_j) * scale_x) + bias_j    rounded after each step
 *
 * so every kernel gives the same float bits.  (|acc| <= 127 * 127 * in must fit an
 * int32: in <= LINEAR_DIMS_MAX.)  The float form is y_j = fma(x_k, w_jk, y_j) over
 * k = 0 .. in - 1 from y_j = bias_j, the same in every kernel too.
 *
 * Packed weights serve every instruction set as they lie in the file:
 *
 *     2 bits  (out / 64, in / 4, 64) bytes: byte 4 c + b of line (n, g) holds, in its
 *             bits 2 f and 2 f + 1, the code of row 64 n + 16 f + c, column 4 g + b:
 *             line & (3 << 2 f) is 16 rows x 4 columns, as vpdpbusd and tiles take it
 *     int8    (out / 16, in / 4, 64) bytes: byte 4 c + b of line (n, g) is the level
 *             of row 16 n + c, column 4 g + b
 *     float   (out / 16, in, 16): number c of line (n, k) is row 16 n + c, column k
 *
 * Nothing here allocates or fails where it returns nothing; a broken precondition is a
 * bug.  Any thread may call.
 *
 * Sources: Liu et al., "Binary and Ternary Natural Language Generation", ACL 2023,
 * arXiv:2306.01841 (ternary weights, int8 activations); Ma et al., arXiv:2402.17764
 * (absmax per token).
 */
#define LINEAR_DIMS_MAX 65536 /* of in and out */
#define LINEAR_DIMS_STEP 64   /* in and out are multiples of it */

enum linear_form {
	LINEAR_TERNARY,
	LINEAR_FOUR_LEVEL,
	LINEAR_INT8,
	LINEAR_FLOAT,
};

/* "ternary", "four-level", "int8", "float" */
const char *linear_form_name(enum linear_form form);

/* A layer: plain memory, all of it borrowed. */
struct linear {
	enum linear_form form;
	size_t in, out;
	const void *weight; /* packed; 64-byte aligned is fastest, 4-byte needed */
	const float *scale; /* (out), finite, >= 0; NULL for float */
	const float *bias;  /* (out), finite */
};

/* Bytes of the packed weights. */
size_t linear_weight_bytes(enum linear_form form, size_t in, size_t out);

/* packed (linear_weight_bytes) := levels (out, in) of a form but float. */
void linear_pack(
    void *packed, const int8_t *levels, enum linear_form form, size_t in, size_t out);

/* packed := weights (out, in) of the float form. */
void linear_pack_float(float *packed, const float *weights, size_t in, size_t out);

/* levels (out, in) := what is packed; not for float. */
void linear_unpack(
    int8_t *levels, const void *packed, enum linear_form form, size_t in, size_t out);

/* 0 if every number of the layer is one that its form can have (codes 0 .. 2 for
 * ternary, levels -127 .. 127, finite scales >= 0, finite biases); the weights of a
 * float layer are not looked at.  ERR_FORMAT names what came and where. */
int linear_check(const struct linear *layer, struct error *err);

/* The activations of n tokens. */
struct linear_input {
	size_t n;
	const float *x;  /* (n, in): read by the float form alone */
	const int8_t *q; /* (n, in), -127 .. 127: read by the others, like the rest */
	const float *scale; /* (n) */
	const int32_t *sum; /* (n) of the q of a token */
};

/* What becomes of y (n, out). */
enum linear_then {
	LINEAR_STORE, /* y := it */
	LINEAR_ADD,   /* y := y + it */
	/* q := table[128 + clamp(rne(it * step), -128, 127)]; NaN counts as -128 */
	LINEAR_TABLE,
};

struct linear_output {
	enum linear_then then;
	float *y;            /* (n, out), rows `stride` apart; STORE and ADD */
	size_t stride;       /* in floats, >= out */
	int8_t *q;           /* (n, out); TABLE */
	const int8_t *table; /* (256) */
	float step;          /* 1 / the scale of the table's index */
};

/* Kernels of one instruction set.  One function a form; `out` says what is done with
 * the result, so that nothing is written twice. */
typedef void linear_forward_fn(const struct linear *layer,
    const struct linear_input *in, const struct linear_output *out);

struct linear_kernel {
	enum cpu_level level;
	const char *name;
	linear_forward_fn *two_bit; /* ternary and four-level */
	linear_forward_fn *int8;
	linear_forward_fn *real; /* float */
};

/* The kernels of exactly this level; NULL if this build or this processor lacks them.
 * Does not look at $SIMD. */
const struct linear_kernel *linear_find(enum cpu_level level);

/* The best kernels at or below cpu_ceiling() that agreed with the scalar ones in a
 * self-test at first use; never NULL.  A kernel that fails is logged and skipped. */
const struct linear_kernel *linear_best(void);

static inline void
linear_forward(const struct linear_kernel *kernel, const struct linear *layer,
    const struct linear_input *in, const struct linear_output *out)
{
	if (layer->form == LINEAR_FLOAT)
		kernel->real(layer, in, out);
	else if (layer->form == LINEAR_INT8)
		kernel->int8(layer, in, out);
	else
		kernel->two_bit(layer, in, out);
}

#endif /* ATTENTION_LINEAR_H */
