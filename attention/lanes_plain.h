#ifndef ATTENTION_LANES_PLAIN_H
#define ATTENTION_LANES_PLAIN_H

/* attention/lanes.h in plain C. */
#include <math.h>
#include <string.h>

#define LANES_TILE 1

struct lanes {
	float v[16];
};
struct lanes_mask {
	uint32_t bits;
};
struct lanes_int {
	int32_t v[16];
};

static inline struct lanes
lanes_load(const float *p)
{
	struct lanes x;

	memcpy(x.v, p, sizeof x.v);
	return x;
}

static inline void
lanes_store(float *p, struct lanes x)
{
	memcpy(p, x.v, sizeof x.v);
}

static inline struct lanes
lanes_set(float x)
{
	return (struct lanes){{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}};
}

static inline struct lanes
lanes_add(struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] += b.v[i];
	return a;
}

static inline struct lanes
lanes_sub(struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] -= b.v[i];
	return a;
}

static inline struct lanes
lanes_mul(struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] *= b.v[i];
	return a;
}

static inline struct lanes
lanes_div(struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] /= b.v[i];
	return a;
}

static inline struct lanes
lanes_fma(struct lanes a, struct lanes b, struct lanes c)
{
	for (int i = 0; i < 16; i++)
		a.v[i] = fmaf(a.v[i], b.v[i], c.v[i]);
	return a;
}

static inline struct lanes
lanes_abs(struct lanes x)
{
	for (int i = 0; i < 16; i++)
		x.v[i] = fabsf(x.v[i]);
	return x;
}

static inline struct lanes
lanes_min(struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
	return a;
}

static inline struct lanes
lanes_max(struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
	return a;
}

static inline struct lanes_mask
lanes_less(struct lanes a, struct lanes b)
{
	struct lanes_mask m = {0};

	for (int i = 0; i < 16; i++)
		m.bits |= (uint32_t)(a.v[i] < b.v[i]) << i;
	return m;
}

static inline struct lanes_mask
lanes_at_least(struct lanes a, struct lanes b)
{
	struct lanes_mask m = {0};

	for (int i = 0; i < 16; i++)
		m.bits |= (uint32_t)(a.v[i] >= b.v[i]) << i;
	return m;
}

static inline struct lanes
lanes_select(struct lanes_mask m, struct lanes a, struct lanes b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] = m.bits >> i & 1 ? a.v[i] : b.v[i];
	return a;
}

static inline uint32_t
lanes_mask_bits(struct lanes_mask m)
{
	return m.bits;
}

static inline struct lanes
lanes_scale2(struct lanes x, struct lanes t)
{
	uint32_t bits[16], k[16];

	memcpy(bits, x.v, sizeof bits);
	memcpy(k, t.v, sizeof k);
	for (int i = 0; i < 16; i++)
		bits[i] += k[i] << 23;
	memcpy(x.v, bits, sizeof bits);
	return x;
}

static inline struct lanes_int
lanes_to_int(struct lanes x)
{
	struct lanes_int n;

	/* Beyond 2^22 the magic number would lose bits; a double's does not. */
	for (int i = 0; i < 16; i++)
		n.v[i] = (int32_t)((double)x.v[i] + 0x1.8p52 - 0x1.8p52);
	return n;
}

static inline struct lanes_int
lanes_int_set(int32_t x)
{
	return (struct lanes_int){{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}};
}

static inline struct lanes_int
lanes_int_add(struct lanes_int a, struct lanes_int b)
{
	for (int i = 0; i < 16; i++)
		a.v[i] = (int32_t)((uint32_t)a.v[i] + (uint32_t)b.v[i]);
	return a;
}

static inline struct lanes_int
lanes_int_load8(const int8_t *p)
{
	struct lanes_int x;

	for (int i = 0; i < 16; i++)
		x.v[i] = (int32_t)p[i];
	return x;
}

static inline void
lanes_int_store8(int8_t *p, struct lanes_int x)
{
	for (int i = 0; i < 16; i++)
		p[i] = (int8_t)x.v[i];
}

static inline int32_t
lanes_int_sum(struct lanes_int x)
{
	uint32_t sum = 0;

	for (int i = 0; i < 16; i++)
		sum += (uint32_t)x.v[i];
	return (int32_t)sum;
}

static inline float
lanes_sum(struct lanes x)
{
	for (int half = 8; half > 0; half /= 2)
		for (int i = 0; i < half; i++)
			x.v[i] += x.v[i + half];
	return x.v[0];
}

static inline float
lanes_top(struct lanes x)
{
	for (int i = 1; i < 16; i++)
		x.v[0] = x.v[0] > x.v[i] ? x.v[0] : x.v[i];
	return x.v[0];
}

static inline void
lanes_quads(struct lanes *columns, const float *const *row, size_t d)
{
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 16; j++)
			columns[i].v[j] = row[j][d + i];
}

#endif /* ATTENTION_LANES_PLAIN_H */
