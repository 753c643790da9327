#ifndef BINARIZE_RECURRENT_MODEL_H
#define BINARIZE_RECURRENT_MODEL_H

#include "base/tensors.h"
#include "binarize/recurrent.h"
#include "binarize/refine.h"

/* What the parts of recurrent.h share.  Internal to binarize/recurrent*.c; threads as
 * there. */

#define RECURRENT_ROUNDS 4
#define RECURRENT_LAYERS_MAX 8
#define RECURRENT_WIDTH_MAX 65536

/* One linear layer, y = W x + b; borrowed from the model's file. */
struct recurrent_linear {
	const struct tensor *weight; /* F32 (out, in) */
	const struct tensor *bias;   /* F32 (out) */
};

/* Linear layers with ReLU between them. */
struct recurrent_block {
	struct recurrent_linear layers[RECURRENT_LAYERS_MAX];
	size_t n;
};

struct recurrent {
	struct recurrent_info info;
	float *mean; /* (input_dims) */

	/* Rotations: coordinate i of round r changes its sign bit where
	 * signs[r * n + i] says so. */
	size_t n;
	uint32_t *signs; /* (RECURRENT_ROUNDS, n) of 0 or 1 << 31 */

	struct tensors *file;       /* what a model came from, unless a rotation */
	const struct tensor *query; /* Q: F32 (dims, input_dims), unless a rotation */

	/* Refined models. */
	struct refine *refine;
	const struct tensor *start; /* W: F32 (dims, input_dims) */
	struct tensor tensors[2];   /* where there is no file: Q and W as tensors */
	float *numbers[2];          /* and their numbers */

	/* Learned models; reconstruct[p], residual[p] make plane p >= 1. */
	struct recurrent_block base;
	struct recurrent_block reconstruct[CODE_BITS_MAX];
	struct recurrent_block residual[CODE_BITS_MAX];
	const struct tensor *length[CODE_BITS_MAX]; /* F32 (1) of g_p; NULL: 1 */
	size_t width;                               /* of the widest layer */
};

/* Vectors that refined models encode together. */
#define RECURRENT_BATCH 24

/* What refine.h makes of some vectors; all but x have `dims` numbers a vector. */
struct recurrent_refined {
	int16_t *x; /* (RECURRENT_BATCH, refine_inputs(input_dims)) */
	int32_t *y;
	int32_t *c;
	int16_t *v;
};

struct recurrent_scratch {
	struct recurrent_refined refined; /* for models of that kind */
	float *u;        /* (input_dims): the centred vector at unit length */
	float *y;        /* (max(n, dims)): its projection */
	float *v;        /* (dims): the code's values */
	float *r;        /* (max(input_dims, dims)): what is still missing */
	float *low[2];   /* (width): between layers */
	uint8_t *levels; /* (dims) */
};

/* The step t that suits a unit Gaussian at this number of bits. */
float recurrent_step(uint32_t bits);

/* sum a_i b_i, in double and in one fixed order. */
double recurrent_dot(const float *a, const float *b, size_t n);

/* A model without a kind: its info and mean.  NULL: ERR_INPUT, ERR_MEMORY. */
struct recurrent *recurrent_base_new(
    uint32_t input_dims, struct code_shape shape, const float *mean, struct error *err);

/* Take a refined model's matrices out of model->file; ERR_FORMAT, ERR_MEMORY. */
int recurrent_refined_open(struct recurrent *model, struct error *err);

/* Room for refined models; ERR_MEMORY.  To be freed as the scratch's, whole or not. */
int recurrent_refined_scratch(
    struct recurrent_refined *r, const struct recurrent *model, struct error *err);

/* Vector i of refined->x := s->u. */
void recurrent_refined_take(
    const struct recurrent *model, struct recurrent_scratch *s, size_t i);

/* y, v, c := of the first n vectors of refined->x. */
void recurrent_refined_code(
    const struct recurrent *model, struct recurrent_scratch *s, size_t n);

/* |Q^T v| of vector i, once coded. */
double recurrent_refined_length(
    const struct recurrent *model, const struct recurrent_scratch *s, size_t i);

/* s->y := Q u of s->u. */
void recurrent_refined_project(
    const struct recurrent *model, struct recurrent_scratch *s);

/* s->y := Q Q^T v of vector 0, once coded. */
void recurrent_refined_decode(
    const struct recurrent *model, struct recurrent_scratch *s);

/* levels (dims) := of vector i, once coded. */
void recurrent_refined_levels(const struct recurrent *model,
    const struct recurrent_scratch *s, size_t i, uint8_t *levels);

/* Fill model->n and signs from its info; ERR_MEMORY. */
int recurrent_rotation_init(struct recurrent *model, struct error *err);

/* y (n) := P of y's first input_dims entries; the first dims entries count. */
void recurrent_rotation_forward(const struct recurrent *model, float *y);

/* y (n) := P^T of y's first dims entries; the first input_dims entries count. */
void recurrent_rotation_backward(const struct recurrent *model, float *y);

/* v (dims) := the code's values of u, by the learned blocks. */
void recurrent_blocks_code(
    const struct recurrent *model, struct recurrent_scratch *scratch);

/* y (out) := W x, without bias where bias is NULL. */
void recurrent_blocks_linear(
    float *y, const float *x, const struct tensor *weight, const struct tensor *bias);

/* The F32 tensor of model->file called `name` of this shape, all of it finite; NULL:
 * ERR_FORMAT. */
const struct tensor *recurrent_blocks_expect(struct recurrent *model, const char *name,
    size_t n_dims, const size_t shape[], struct error *err);

/* Take the learned blocks out of model->file and check them; ERR_FORMAT. */
int recurrent_blocks_open(struct recurrent *model, struct error *err);

#endif /* BINARIZE_RECURRENT_MODEL_H */
