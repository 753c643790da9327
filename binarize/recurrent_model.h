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
	char id[RECURRENT_ID_BYTES];
	float *mean; /* (input_dims) */

	/* Rotations: coordinate i of round r changes its sign bit where
	 * signs[r * n + i] says so. */
	size_t n;
	uint32_t *signs; /* (RECURRENT_ROUNDS, n) of 0 or 1 << 31 */

	struct tensors *file;       /* what a model was opened from; NULL: none */
	const struct tensor *query; /* Q: F32 (dims, input_dims), unless a rotation */

	struct refine *refine; /* refined models */

	/* Of refined models without a file, and of older ones' codes, Q is here. */
	struct tensor map_tensor;
	float *map;

	/* The older binarizers it knows. */
	struct recurrent *older[RECURRENT_OLDER_MAX];
	size_t n_older;
	const struct recurrent *newer; /* RECURRENT_OLDER: the model that knows it */

	/* Learned models; reconstruct[p], residual[p] make plane p >= 1. */
	struct recurrent_block base;
	struct recurrent_block reconstruct[CODE_BITS_MAX];
	struct recurrent_block residual[CODE_BITS_MAX];
	const struct tensor *length[CODE_BITS_MAX]; /* F32 (1) of g_p; NULL: 1 */
	void *folded; /* where it has no file: the tensors, of learn_fold.c */
	size_t width; /* of the widest layer */
};

struct recurrent_scratch {
	float *u;        /* (input_dims): the centred vector at unit length */
	float *y;        /* (max(n, dims)): its projection */
	float *v;        /* (dims): the code's values */
	float *r;        /* (max(input_dims, dims)): what is still missing */
	float *low[2];   /* (width): between layers */
	uint8_t *levels; /* (dims) */
	struct recurrent_scratch *newer; /* RECURRENT_OLDER: of the model that knows */
};

/* The step t that suits a unit Gaussian at this number of bits. */
float recurrent_step(uint32_t bits);

/* sum a_i b_i, in double and in one fixed order. */
double recurrent_dot(const float *a, const float *b, size_t n);

/* A model without a kind: its info and mean.  NULL: ERR_INPUT, ERR_MEMORY. */
struct recurrent *recurrent_base_new(
    uint32_t input_dims, struct code_shape shape, const float *mean, struct error *err);

/* Q := a copy of map (dims, input_dims); ERR_MEMORY. */
int recurrent_map_set(struct recurrent *model, const float *map, struct error *err);

/* Fill in the id, from the file's bytes unless it is a rotation (NULL: not needed). */
void recurrent_id_set(struct recurrent *model, const void *bytes, size_t n);

/* Take what it knows of older binarizers out of model->file; ERR_FORMAT, ERR_MEMORY. */
int recurrent_older_open(struct recurrent *model, struct error *err);

/* The same on its way into a file: two tensors and two texts each, and their number. */
#define RECURRENT_OLDER_TENSORS_MAX (2 * RECURRENT_OLDER_MAX)
#define RECURRENT_OLDER_TEXTS_MAX (2 * RECURRENT_OLDER_MAX + 1)
struct recurrent_older_list {
	struct tensor tensors[RECURRENT_OLDER_TENSORS_MAX];
	size_t n_tensors;
	struct tensors_pair texts[RECURRENT_OLDER_TEXTS_MAX];
	size_t n_texts;
	char names[4 * RECURRENT_OLDER_MAX][32];
	char bits[RECURRENT_OLDER_MAX][12], number[24];
};
void recurrent_older_save(
    struct recurrent_older_list *list, const struct recurrent *model);

/* Take a refined model's map out of model->file; ERR_FORMAT, ERR_MEMORY. */
int recurrent_refined_open(struct recurrent *model, struct error *err);

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
