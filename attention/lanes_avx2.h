#ifndef ATTENTION_LANES_AVX2_H
#define ATTENTION_LANES_AVX2_H

/* attention/lanes.h in two registers: lanes 0 .. 7 and 8 .. 15. */
#include <immintrin.h>

#define LANES_TILE 1

struct lanes {
	__m256 a, b;
};
struct lanes_mask {
	__m256 a, b;
};
struct lanes_int {
	__m256i a, b;
};

static inline struct lanes
lanes_load(const float *p)
{
	return (struct lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void
lanes_store(float *p, struct lanes x)
{
	_mm256_storeu_ps(p, x.a);
	_mm256_storeu_ps(p + 8, x.b);
}

static inline struct lanes
lanes_set(float x)
{
	return (struct lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline struct lanes
lanes_add(struct lanes x, struct lanes y)
{
	return (struct lanes){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

static inline struct lanes
lanes_sub(struct lanes x, struct lanes y)
{
	return (struct lanes){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

static inline struct lanes
lanes_mul(struct lanes x, struct lanes y)
{
	return (struct lanes){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

static inline struct lanes
lanes_div(struct lanes x, struct lanes y)
{
	return (struct lanes){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

static inline struct lanes
lanes_fma(struct lanes x, struct lanes y, struct lanes z)
{
	return (struct lanes){
	    _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}

static inline struct lanes
lanes_abs(struct lanes x)
{
	const __m256 sign = _mm256_set1_ps(-0.0f);

	return (struct lanes){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}

static inline struct lanes
lanes_min(struct lanes x, struct lanes y)
{
	return (struct lanes){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}

static inline struct lanes
lanes_max(struct lanes x, struct lanes y)
{
	return (struct lanes){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

static inline struct lanes_mask
lanes_less(struct lanes x, struct lanes y)
{
	return (struct lanes_mask){
	    _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}

static inline struct lanes_mask
lanes_at_least(struct lanes x, struct lanes y)
{
	return (struct lanes_mask){
	    _mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ)};
}

static inline struct lanes
lanes_select(struct lanes_mask m, struct lanes x, struct lanes y)
{
	return (struct lanes){
	    _mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
}

static inline uint32_t
lanes_mask_bits(struct lanes_mask m)
{
	return (uint32_t)_mm256_movemask_ps(m.a) | (uint32_t)_mm256_movemask_ps(m.b)
						       << 8;
}

static inline __m256
lanes_scale2_half(__m256 x, __m256 t)
{
	__m256i k = _mm256_slli_epi32(_mm256_castps_si256(t), 23);

	return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), k));
}

static inline struct lanes
lanes_scale2(struct lanes x, struct lanes t)
{
	return (struct lanes){lanes_scale2_half(x.a, t.a), lanes_scale2_half(x.b, t.b)};
}

static inline struct lanes_int
lanes_to_int(struct lanes x)
{
	return (struct lanes_int){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}

static inline struct lanes_int
lanes_int_set(int32_t x)
{
	return (struct lanes_int){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}

static inline struct lanes_int
lanes_int_add(struct lanes_int x, struct lanes_int y)
{
	return (struct lanes_int){
	    _mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

static inline struct lanes_int
lanes_int_load8(const int8_t *p)
{
	__m128i bytes = _mm_loadu_si128((const __m128i *)p);

	return (struct lanes_int){_mm256_cvtepi8_epi32(bytes),
	    _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}

static inline void
lanes_int_store8(int8_t *p, struct lanes_int x)
{
	/* Packing goes by halves: 0-3 8-11 | 4-7 12-15, put in order before the last
	 * step. */
	__m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xD8);

	_mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(words),
					   _mm256_extracti128_si256(words, 1)));
}

static inline int32_t
lanes_int_sum(struct lanes_int x)
{
	__m256i e = _mm256_add_epi32(x.a, x.b);
	__m128i q =
	    _mm_add_epi32(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));

	q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4E));
	return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xB1)));
}

static inline float
lanes_sum(struct lanes x)
{
	__m256 e = _mm256_add_ps(x.a, x.b);
	__m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

static inline float
lanes_top(struct lanes x)
{
	__m256 e = _mm256_max_ps(x.a, x.b);
	__m128 q = _mm_max_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

	q = _mm_max_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* out[i] := numbers d + i of rows 0 .. 3 and of rows 4 .. 7. */
static inline void
lanes_quads_half(__m256 *out, const float *const *row, size_t d)
{
	__m256 x[4];

#pragma GCC unroll 4
	for (size_t j = 0; j < 4; j++)
		x[j] = _mm256_insertf128_ps(
		    _mm256_castps128_ps256(_mm_loadu_ps(row[j] + d)),
		    _mm_loadu_ps(row[j + 4] + d), 1);
	__m256 low = _mm256_unpacklo_ps(x[0], x[1]);
	__m256 high = _mm256_unpacklo_ps(x[2], x[3]);
	out[0] = _mm256_shuffle_ps(low, high, 0x44);
	out[1] = _mm256_shuffle_ps(low, high, 0xEE);
	low = _mm256_unpackhi_ps(x[0], x[1]);
	high = _mm256_unpackhi_ps(x[2], x[3]);
	out[2] = _mm256_shuffle_ps(low, high, 0x44);
	out[3] = _mm256_shuffle_ps(low, high, 0xEE);
}

static inline void
lanes_quads(struct lanes *columns, const float *const *row, size_t d)
{
	__m256 a[4], b[4];

	lanes_quads_half(a, row, d);
	lanes_quads_half(b, row + 8, d);
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
		columns[i] = (struct lanes){a[i], b[i]};
}

#endif /* ATTENTION_LANES_AVX2_H */
