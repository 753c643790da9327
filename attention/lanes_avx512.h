#ifndef ATTENTION_LANES_AVX512_H
#define ATTENTION_LANES_AVX512_H

/* attention/lanes.h in one register. */
#include <immintrin.h>

#define LANES_TILE 4

struct lanes {
	__m512 v;
};
struct lanes_mask {
	__mmask16 m;
};
struct lanes_int {
	__m512i v;
};

static inline struct lanes
lanes_load(const float *p)
{
	return (struct lanes){_mm512_loadu_ps(p)};
}

static inline void
lanes_store(float *p, struct lanes x)
{
	_mm512_storeu_ps(p, x.v);
}

static inline struct lanes
lanes_set(float x)
{
	return (struct lanes){_mm512_set1_ps(x)};
}

static inline struct lanes
lanes_add(struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_add_ps(a.v, b.v)};
}

static inline struct lanes
lanes_sub(struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_sub_ps(a.v, b.v)};
}

static inline struct lanes
lanes_mul(struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_mul_ps(a.v, b.v)};
}

static inline struct lanes
lanes_div(struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_div_ps(a.v, b.v)};
}

static inline struct lanes
lanes_fma(struct lanes a, struct lanes b, struct lanes c)
{
	return (struct lanes){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

static inline struct lanes
lanes_abs(struct lanes x)
{
	return (struct lanes){_mm512_abs_ps(x.v)};
}

static inline struct lanes
lanes_min(struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_min_ps(a.v, b.v)};
}

static inline struct lanes
lanes_max(struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_max_ps(a.v, b.v)};
}

static inline struct lanes_mask
lanes_less(struct lanes a, struct lanes b)
{
	return (struct lanes_mask){_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}

static inline struct lanes_mask
lanes_at_least(struct lanes a, struct lanes b)
{
	return (struct lanes_mask){_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)};
}

static inline struct lanes
lanes_select(struct lanes_mask m, struct lanes a, struct lanes b)
{
	return (struct lanes){_mm512_mask_blend_ps(m.m, b.v, a.v)};
}

static inline uint32_t
lanes_mask_bits(struct lanes_mask m)
{
	return m.m;
}

static inline struct lanes
lanes_scale2(struct lanes x, struct lanes t)
{
	__m512i k = _mm512_slli_epi32(_mm512_castps_si512(t.v), 23);

	return (struct lanes){
	    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), k))};
}

static inline struct lanes_int
lanes_to_int(struct lanes x)
{
	return (struct lanes_int){_mm512_cvtps_epi32(x.v)};
}

static inline struct lanes_int
lanes_int_set(int32_t x)
{
	return (struct lanes_int){_mm512_set1_epi32(x)};
}

static inline struct lanes_int
lanes_int_add(struct lanes_int a, struct lanes_int b)
{
	return (struct lanes_int){_mm512_add_epi32(a.v, b.v)};
}

static inline struct lanes_int
lanes_int_load8(const int8_t *p)
{
	return (struct lanes_int){
	    _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))};
}

static inline void
lanes_int_store8(int8_t *p, struct lanes_int x)
{
	_mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(x.v));
}

static inline int32_t
lanes_int_sum(struct lanes_int x)
{
	return _mm512_reduce_add_epi32(x.v);
}

static inline float
lanes_sum(struct lanes x)
{
	__m256 e =
	    _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
	__m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

static inline float
lanes_top(struct lanes x)
{
	__m256 e =
	    _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
	__m128 q = _mm_max_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

	q = _mm_max_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* Numbers d .. d + 3 of row j, row j + 4, row j + 8 and row j + 12. */
static inline __m512
lanes_quad(const float *const *row, size_t j, size_t d)
{
	__m512 x = _mm512_castps128_ps512(_mm_loadu_ps(row[j] + d));

	x = _mm512_insertf32x4(x, _mm_loadu_ps(row[j + 4] + d), 1);
	x = _mm512_insertf32x4(x, _mm_loadu_ps(row[j + 8] + d), 2);
	return _mm512_insertf32x4(x, _mm_loadu_ps(row[j + 12] + d), 3);
}

static inline void
lanes_quads(struct lanes *columns, const float *const *row, size_t d)
{
	__m512 a = lanes_quad(row, 0, d), b = lanes_quad(row, 1, d);
	__m512 c = lanes_quad(row, 2, d), e = lanes_quad(row, 3, d);
	__m512 ab = _mm512_unpacklo_ps(a, b), ce = _mm512_unpacklo_ps(c, e);

	columns[0].v = _mm512_shuffle_ps(ab, ce, 0x44);
	columns[1].v = _mm512_shuffle_ps(ab, ce, 0xEE);
	ab = _mm512_unpackhi_ps(a, b);
	ce = _mm512_unpackhi_ps(c, e);
	columns[2].v = _mm512_shuffle_ps(ab, ce, 0x44);
	columns[3].v = _mm512_shuffle_ps(ab, ce, 0xEE);
}

#endif /* ATTENTION_LANES_AVX512_H */
