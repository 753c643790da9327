#ifndef ATTENTION_LANES_NEON_H
#define ATTENTION_LANES_NEON_H

/* attention/lanes.h in four registers. */
#include <arm_neon.h>

#define LANES_TILE 1

struct lanes {
	float32x4_t a, b, c, d;
};
struct lanes_mask {
	uint32x4_t a, b, c, d;
};
struct lanes_int {
	int32x4_t a, b, c, d;
};

static inline struct lanes
lanes_load(const float *p)
{
	return (struct lanes){
	    vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}

static inline void
lanes_store(float *p, struct lanes x)
{
	vst1q_f32(p, x.a);
	vst1q_f32(p + 4, x.b);
	vst1q_f32(p + 8, x.c);
	vst1q_f32(p + 12, x.d);
}

static inline struct lanes
lanes_set(float x)
{
	float32x4_t v = vdupq_n_f32(x);

	return (struct lanes){v, v, v, v};
}

static inline struct lanes
lanes_add(struct lanes x, struct lanes y)
{
	return (struct lanes){vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b),
	    vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d)};
}

static inline struct lanes
lanes_sub(struct lanes x, struct lanes y)
{
	return (struct lanes){vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b),
	    vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d)};
}

static inline struct lanes
lanes_mul(struct lanes x, struct lanes y)
{
	return (struct lanes){vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b),
	    vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d)};
}

static inline struct lanes
lanes_div(struct lanes x, struct lanes y)
{
	return (struct lanes){vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b),
	    vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d)};
}

static inline struct lanes
lanes_fma(struct lanes x, struct lanes y, struct lanes z)
{
	return (struct lanes){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b),
	    vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}

static inline struct lanes
lanes_abs(struct lanes x)
{
	return (struct lanes){
	    vabsq_f32(x.a), vabsq_f32(x.b), vabsq_f32(x.c), vabsq_f32(x.d)};
}

static inline struct lanes_mask
lanes_less(struct lanes x, struct lanes y)
{
	return (struct lanes_mask){vcltq_f32(x.a, y.a), vcltq_f32(x.b, y.b),
	    vcltq_f32(x.c, y.c), vcltq_f32(x.d, y.d)};
}

static inline struct lanes_mask
lanes_at_least(struct lanes x, struct lanes y)
{
	return (struct lanes_mask){vcgeq_f32(x.a, y.a), vcgeq_f32(x.b, y.b),
	    vcgeq_f32(x.c, y.c), vcgeq_f32(x.d, y.d)};
}

static inline struct lanes
lanes_select(struct lanes_mask m, struct lanes x, struct lanes y)
{
	return (struct lanes){vbslq_f32(m.a, x.a, y.a), vbslq_f32(m.b, x.b, y.b),
	    vbslq_f32(m.c, x.c, y.c), vbslq_f32(m.d, x.d, y.d)};
}

static inline struct lanes
lanes_min(struct lanes x, struct lanes y)
{
	return lanes_select(lanes_less(x, y), x, y);
}

static inline struct lanes
lanes_max(struct lanes x, struct lanes y)
{
	return lanes_select(lanes_less(y, x), x, y);
}

static inline uint32_t
lanes_mask_bits(struct lanes_mask m)
{
	static const uint32_t weights[4] = {1, 2, 4, 8};
	uint32x4_t w = vld1q_u32(weights);

	return vaddvq_u32(vandq_u32(m.a, w)) | vaddvq_u32(vandq_u32(m.b, w)) << 4 |
	       vaddvq_u32(vandq_u32(m.c, w)) << 8 | vaddvq_u32(vandq_u32(m.d, w)) << 12;
}

static inline float32x4_t
lanes_scale2_quarter(float32x4_t x, float32x4_t t)
{
	int32x4_t k = vshlq_n_s32(vreinterpretq_s32_f32(t), 23);

	return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), k));
}

static inline struct lanes
lanes_scale2(struct lanes x, struct lanes t)
{
	return (struct lanes){lanes_scale2_quarter(x.a, t.a),
	    lanes_scale2_quarter(x.b, t.b), lanes_scale2_quarter(x.c, t.c),
	    lanes_scale2_quarter(x.d, t.d)};
}

static inline struct lanes_int
lanes_to_int(struct lanes x)
{
	return (struct lanes_int){vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b),
	    vcvtnq_s32_f32(x.c), vcvtnq_s32_f32(x.d)};
}

static inline struct lanes_int
lanes_int_set(int32_t x)
{
	int32x4_t v = vdupq_n_s32(x);

	return (struct lanes_int){v, v, v, v};
}

static inline struct lanes_int
lanes_int_add(struct lanes_int x, struct lanes_int y)
{
	return (struct lanes_int){vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b),
	    vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
}

static inline struct lanes_int
lanes_int_load8(const int8_t *p)
{
	int8x16_t bytes = vld1q_s8(p);
	int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);

	return (struct lanes_int){vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
	    vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
}

static inline void
lanes_int_store8(int8_t *p, struct lanes_int x)
{
	int16x8_t low = vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b));
	int16x8_t high = vcombine_s16(vmovn_s32(x.c), vmovn_s32(x.d));

	vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

static inline int32_t
lanes_int_sum(struct lanes_int x)
{
	return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d)));
}

static inline float
lanes_sum(struct lanes x)
{
	float32x4_t q = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
	float32x2_t pair = vadd_f32(vget_low_f32(q), vget_high_f32(q));

	return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
}

static inline float
lanes_top(struct lanes x)
{
	return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.b), vmaxq_f32(x.c, x.d)));
}

/* out[i] := numbers d + i of four rows. */
static inline void
lanes_quads_quarter(float32x4_t *out, const float *const *row, size_t d)
{
	float32x4_t a = vld1q_f32(row[0] + d), b = vld1q_f32(row[1] + d);
	float32x4_t c = vld1q_f32(row[2] + d), e = vld1q_f32(row[3] + d);
	float64x2_t ab = vreinterpretq_f64_f32(vzip1q_f32(a, b));
	float64x2_t ce = vreinterpretq_f64_f32(vzip1q_f32(c, e));

	out[0] = vreinterpretq_f32_f64(vzip1q_f64(ab, ce));
	out[1] = vreinterpretq_f32_f64(vzip2q_f64(ab, ce));
	ab = vreinterpretq_f64_f32(vzip2q_f32(a, b));
	ce = vreinterpretq_f64_f32(vzip2q_f32(c, e));
	out[2] = vreinterpretq_f32_f64(vzip1q_f64(ab, ce));
	out[3] = vreinterpretq_f32_f64(vzip2q_f64(ab, ce));
}

static inline void
lanes_quads(struct lanes *columns, const float *const *row, size_t d)
{
	float32x4_t a[4], b[4], c[4], e[4];

	lanes_quads_quarter(a, row, d);
	lanes_quads_quarter(b, row + 4, d);
	lanes_quads_quarter(c, row + 8, d);
	lanes_quads_quarter(e, row + 12, d);
	for (size_t i = 0; i < 4; i++)
		columns[i] = (struct lanes){a[i], b[i], c[i], e[i]};
}

#endif /* ATTENTION_LANES_NEON_H */
