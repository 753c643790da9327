#ifndef BINARIZE_RECURRENT_H
#define BINARIZE_RECURRENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/code.h"
#include "base/error.h"

/*
 * Recurrent binarization: float vectors into codes (base/code.h) and back.
 *
 * A model takes x (input_dims floats) to u = (x - mu) / |x - mu|, mu being its mean
 * (zeros: none), and u to a code of `bits` sign planes: plane 0 is the sign of a
 * projection of u, each further plane the sign of what the planes before it have
 * missed.  There are three kinds:
 *
 * RECURRENT_ROTATION needs no training.  P is a seeded random rotation; with
 *     y = sqrt(dims) * P u / |P u|     (its coordinates are about unit Gaussian)
 *     s_p = sign(y - t * sum_{r<p} 2^-r s_r),   sign(0) = +1
 * and t the step that fits a unit Gaussian best at this number of bits.  P: zeros are
 * appended to u until n = max(input_dims rounded up to 64, dims); four rounds of random
 * signs and fast Walsh-Hadamard transforms; if dims < n the first dims coordinates are
 * kept, times sqrt(n / dims).  O(n log n), no matrix, and the same bits on every
 * machine.
 *
 * RECURRENT_LEARNED is the model of the paper (Gan et al., "Binary Embedding-based
 * Retrieval at Tencent", KDD 2023, arXiv:2302.08714, section 3.2):
 *     v = sign(W(u))
 *     v += 2^-p * sign(R_p(u - g_p B_p(v) / |B_p(v)|)),    p = 1 .. bits - 1
 * where W, B_p, R_p are perceptrons with batch norm folded in, and g_p is 1 (as in the
 * paper) unless the model says otherwise.  A linear map Q (tensor query.weight) takes
 * the place of P for queries and factors.
 *
 * RECURRENT_REFINED has that map, learned by fit.h, which need not be a rotation, and W
 * as one more: v is the code that misses little of u under Q, found level by level from
 * W u on (refine.h).
 *
 * A refined model may have centres instead of a mean (centres.h; Cosine alone needs no
 * lengths).  Then u is what lies between x / |x| and the nearest centre c, at unit
 * length, and x is estimated by f (a c + Q^T v): f has the length of that difference
 * for unit x, and a, the share in the code's place (base/code.h), is chosen so that the
 * estimate's inner product with c is that of x.  (As RaBitQ's estimate from lists,
 * where a second float does the same for q = c.)
 *
 * With v the values of x's code (base/code.h), the inner product with any q is
 * estimated without x by
 *     <q, x> ~ <q, mu> + f <Q q, v>,    f = |x - mu|^2 / <Q (x - mu), v>
 * (Q = P for rotations), which is exact for q = x - mu and, over random rotations,
 * right on average (as Gao & Long, "RaBitQ", SIGMOD 2024, arXiv:2405.12497,
 * theorem 3.2, show for one bit).  Refined codes decode to what is expected of x, not
 * to x and noise, and rank best at its length: there f = |x - mu| / |Q^T v|, and with
 * centres <q, x> ~ f (a <q, c> + <Q q, v>).
 *
 * A model may know older binarizers: for each a matrix T and a vector a by which the
 * older one's codes decode into this model's vectors, whatever they were made from,
 *     x ~ a + f T v,    so that  <q, x> ~ <q, a> + f <T^T q, v>
 * has the form of the estimate above, with a for mu and T^T for Q, and the factors
 * stay as they were (compatible.h finds T and a, and where the older one's centres lie
 * among this model's vectors).
 *
 * The first b planes of a code are a b-plane code; but for refined models, whose levels
 * depend on one another, it is the one that the same model gives.
 *
 * A struct recurrent never changes once made: any thread may use it, each with its own
 * scratch.  Floats are added in a fixed order, so equal inputs give equal codes and
 * factors on every machine.
 */
enum recurrent_kind {
	RECURRENT_ROTATION,
	RECURRENT_LEARNED,
	RECURRENT_REFINED,
	RECURRENT_OLDER, /* what recurrent_searching gives for another's codes */
};

#define RECURRENT_INPUT_DIMS_MAX 65536
#define RECURRENT_UNTRAINED_SEED 1 /* of the rotations that nobody has trained */

struct recurrent;

/* What the model is; mean (input_dims) is valid until recurrent_free. */
struct recurrent_info {
	enum recurrent_kind kind;
	uint32_t input_dims;
	struct code_shape shape; /* dims = 0, bits = 0: a file that takes any */
	uint64_t seed;           /* rotations only */
	const float *mean;       /* NULL from recurrent_peek */
};

struct recurrent_rotation_config {
	uint32_t input_dims;     /* 1 .. RECURRENT_INPUT_DIMS_MAX */
	struct code_shape shape; /* without centres, whatever it says of them */
	uint64_t seed;
	/* (input_dims), of vectors as they will be encoded (normalised for Cosine);
	 * copied; NULL = zeros */
	const float *mean;
};

/* An untrained model.  NULL: ERR_INPUT, ERR_MEMORY. */
struct recurrent *recurrent_new(
    const struct recurrent_rotation_config *config, struct error *err);

/* What fit.h has found. */
struct recurrent_refined_config {
	uint32_t input_dims;
	struct code_shape shape;
	const float *mean;    /* (input_dims), copied; NULL = zeros, as with centres */
	const float *centres; /* (shape.centres, input_dims), copied; NULL = none */
	const float *map;     /* Q (dims, input_dims), copied */
	const float *base;    /* W (dims, input_dims), copied */
};

/* A refined model.  NULL: ERR_INPUT, ERR_MEMORY. */
struct recurrent *recurrent_new_refined(
    const struct recurrent_refined_config *config, struct error *err);

/* What the file at `path` holds (docs/formats.md), without loading it: for a rotation
 * shape is 0 x 0, as it makes codes of any shape.  ERR_NOT_FOUND, ERR_IO, ERR_FORMAT,
 * ERR_MEMORY. */
int recurrent_peek(struct recurrent_info *info, const char *path, struct error *err);

/* Load the model at `path` for codes of `shape`'s dims and bits; a learned model makes
 * one shape only (ERR_INPUT for another), and the centres are its own.  Otherwise as
 * recurrent_peek. */
struct recurrent *recurrent_open(
    const char *path, struct code_shape shape, struct error *err);

/* Write the model to `path`, whole or not at all; a rotation's shape is not written.
 * ERR_IO, ERR_FULL, ERR_MEMORY. */
int recurrent_save(const struct recurrent *model, const char *path, struct error *err);

void recurrent_free(struct recurrent *model);

struct recurrent_info recurrent_info(const struct recurrent *model);

/* 16 hexadecimal digits that tell whose codes these are (docs/formats.md); "" for a
 * learned model that came from no file.  Valid until recurrent_free. */
#define RECURRENT_ID_BYTES 17
const char *recurrent_id(const struct recurrent *model);

/* What a model knows of an older binarizer: id and shape of its codes, T and a above.
 * All copied. */
struct recurrent_older {
	const char *id;
	struct code_shape shape;
	const float *mean;    /* a (input_dims) */
	const float *map;     /* T^T (shape.dims, input_dims) */
	const float *centres; /* (shape.centres, input_dims); NULL = none */
};
#define RECURRENT_OLDER_MAX 16

/* Have the model know it, and save it with it.  Before any other thread sees the
 * model.  ERR_INPUT: an id that is none, is known or the model's own; numbers that are
 * not finite; one too many.  ERR_MEMORY. */
int recurrent_add_older(
    struct recurrent *model, const struct recurrent_older *older, struct error *err);

/* The model by which queries in `model`'s vector space search codes made by the
 * binarizer `id`: `model` itself if they are its own; NULL: it does not know them.
 * Valid as long as `model`.  Another's takes queries and decodes, each with a scratch
 * of its own, and has the shape of its codes; it encodes nothing. */
const struct recurrent *recurrent_searching(
    const struct recurrent *model, const char *id);

/* Working memory for one thread at one model.  NULL: ERR_MEMORY. */
struct recurrent_scratch;
struct recurrent_scratch *recurrent_scratch_new(
    const struct recurrent *model, struct error *err);
void recurrent_scratch_free(struct recurrent_scratch *scratch);

/* What is kept of one vector beside its code. */
struct recurrent_numbers {
	float factor; /* f above; 0 where x = mu, and no centres */
	float norm2;  /* |x|^2 */
};

/* wire (code_bytes(shape)), *numbers := the code of x (input_dims).  ERR_INPUT for a
 * number that is not finite, for the zero vector, and for |x| over 1.8e19. */
int recurrent_encode(const struct recurrent *model, struct recurrent_scratch *scratch,
    uint8_t *wire, struct recurrent_numbers *numbers, const float *x,
    struct error *err);

/* Where codes of several vectors go. */
struct recurrent_codes {
	uint8_t *wire;                     /* (n, code_bytes(shape)) */
	struct recurrent_numbers *numbers; /* (n) */
};

/* The same of each of x (n, input_dims), bit for bit, and faster for refined models:
 * the number of vectors that were encoded, which is n, or that of the first that cannot
 * be, with err as above; codes behind it are spoilt. */
size_t recurrent_encode_many(const struct recurrent *model,
    struct recurrent_scratch *scratch, const struct recurrent_codes *codes,
    const float *x, size_t n, struct error *err);

/* The factor of a code that came without its vector: norm / |v| (refined codes: norm /
 * |Q^T v| or |a c + Q^T v|), norm = |x| (1 for Cosine). */
float recurrent_factor(const struct recurrent *model, struct recurrent_scratch *scratch,
    const uint8_t *wire, float norm);

/* What the factor of a code of `bits` planes is to be multiplied with where its first
 * `planes` (1 .. bits) alone are read: what is to be expected of untrained codes, and
 * found of refined ones too (docs/design.md). */
float recurrent_prefix(uint32_t bits, uint32_t planes);

/* x (input_dims) := mu + f Q^T v or f (a c + Q^T v), the vector whose inner product
 * with any q is the estimate above.  (If a rotation's dims < n, it is longer than what
 * was encoded.) */
void recurrent_decode(const struct recurrent *model, struct recurrent_scratch *scratch,
    float *x, const uint8_t *wire, float factor);

/* u (n) := x - mean at length 1, or zeros where they are the same; the length before. u
 * and x may be one; mean NULL: zeros. */
double recurrent_centre(float *u, const float *x, const float *mean, size_t n);

/* A query as signed bytes:
 *     <q, x> ~ base + f * (a * bases[c's number] + scale * sum_i k_i v_i) */
struct recurrent_query {
	int8_t *k; /* (dims), the caller's, -127 .. 127 */
	float scale;
	float base;   /* <q, mu> */
	float *bases; /* (centres), the caller's: <q, c>; not read without centres */
};

/* The query q (input_dims) rounded to 8 bits (to even, largest = 127).  Fills
 * query->k's and ->bases' memory, scale and base.  ERR_INPUT as recurrent_encode. */
int recurrent_query_int8(const struct recurrent *model,
    struct recurrent_scratch *scratch, struct recurrent_query *query, const float *q,
    struct error *err);

/* levels (dims) := the query's own code, of q as it is, without the mean, or of what
 * lies between it and its centre. */
int recurrent_query_code(const struct recurrent *model,
    struct recurrent_scratch *scratch, uint8_t *levels, const float *q,
    struct error *err);

/* The query's own code in the form of an int8 query: k_i = 2 c_i - (2^bits - 1), the
 * odd numbers, and scale with the query's factor in it.  Of a refined model Q Q^T v
 * (with centres Q of what q's code decodes to), which is what the code stands for where
 * codes meet, rounded to 8 bits. */
int recurrent_query_sdc(const struct recurrent *model,
    struct recurrent_scratch *scratch, struct recurrent_query *query, const float *q,
    struct error *err);

#endif /* BINARIZE_RECURRENT_H */
