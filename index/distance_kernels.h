#ifndef INDEX_DISTANCE_KERNELS_H
#define INDEX_DISTANCE_KERNELS_H

#include "index/distance.h"

/* The tables behind distance_find.  A table of a level that the build's architecture
 * lacks is not there; code of a level runs only after cpu_has(level). */
extern const struct distance_kernel distance_scalar;
#if defined(__x86_64__)
extern const struct distance_kernel distance_avx2;
extern const struct distance_kernel distance_avx512;
extern const struct distance_kernel distance_amx;
#elif defined(__aarch64__)
extern const struct distance_kernel distance_neon;
#endif

/* For one query alone memory is all: it asks for each line some time before it wants
 * it, as processors do not look ahead beyond a page (on AVX2 a fifth less time; from
 * farther ahead, more of it is lost behind the end of a chunk).  What lies there may be
 * anything. */
static inline void
distance_fetch(const uint8_t *line)
{
	__builtin_prefetch(line + 1536);
}

/* The score of a row by its integer. */
static inline float
distance_score(int32_t dot, const struct distance_query *q,
    const struct distance_rows *rows, size_t row)
{
	if (q->kind == DISTANCE_HAMMING)
		return (float)dot / (float)q->shape.dims;
	float score = q->scale * (float)dot;
	if (rows->place) {
		struct code_place place = rows->place[row];
		score = code_share_value(place.share) * q->bases[place.centre] + score;
	}
	score = q->terms.base + rows->factor[row] * score;
	if (q->terms.metric == DISTANCE_EUCLID)
		score = 2.0f * score - rows->norm2[row];
	return score;
}

#if defined(__x86_64__)
bool distance_avx2_reach_at(uint16_t *reached, const int32_t *dots, size_t n_blocks,
    const struct distance_query *q, const struct distance_rows *rows, float least);
size_t distance_avx2_batch_least(const struct distance_query *like);
size_t distance_avx2_batch_bytes(const struct distance_query *like, size_t n);
void distance_avx2_batch_prepare(const struct distance_batch *batch);
void distance_avx2_batch_dots(int32_t *dots, size_t stride,
    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
    void *work);

/* Tiles are for batches: one query is left to these. */
distance_dots_fn distance_avx512_hamming, distance_avx512_dot1, distance_avx512_dot2,
    distance_avx512_dot4;
bool distance_avx512_reach(
    uint16_t *reached, const int32_t *dots, size_t n_blocks, int32_t least);
size_t distance_avx512_batch_least(const struct distance_query *like);
void distance_avx512_batch_dots(int32_t *dots, size_t stride,
    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
    void *work);
#endif

/* Of a kernel without its own. */
bool distance_scalar_reach_at(uint16_t *reached, const int32_t *dots, size_t n_blocks,
    const struct distance_query *q, const struct distance_rows *rows, float least);
size_t distance_scalar_batch_least(const struct distance_query *like);
size_t distance_scalar_batch_bytes(const struct distance_query *like, size_t n);
void distance_scalar_batch_prepare(const struct distance_batch *batch);
void distance_scalar_batch_dots(int32_t *dots, size_t stride,
    const struct distance_batch *batch, const uint8_t *blocks, size_t n_blocks,
    void *work);

/* Whether the kernel agrees with the scalar one on a few small shapes with every field,
 * kind, metric and tail, alone and in batches. */
bool distance_agrees(const struct distance_kernel *kernel);

#endif /* INDEX_DISTANCE_KERNELS_H */
