#include "binarize/refine_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

static inline int32x4_t
pairs(int16x8_t w, int16x8_t x)
{
	return vpaddq_s32(
	    vmull_s16(vget_low_s16(w), vget_low_s16(x)), vmull_high_s16(w, x));
}

#define REFINE_PAIRS(w, x) ((ints)pairs((int16x8_t)(w), (int16x8_t)(x)))
#define REFINE_ADD(sum, w, x) ((sum) + REFINE_PAIRS(w, x))
#define REFINE_MAX(a, b) ((ints)vmaxq_s32((int32x4_t)(a), (int32x4_t)(b)))
#define REFINE_MOST(a) vmaxvq_s32((int32x4_t)(a))
#define REFINE_BETTER(a, b, x, y)                                                   \
	((ints)vbslq_s32(vcgtq_s32((int32x4_t)(a), (int32x4_t)(b)), (int32x4_t)(x), \
	    (int32x4_t)(y)))
#define REFINE_LANES 4
#define REFINE_ROWS 4
#include "binarize/refine_lanes.h"

const struct refine_kernel refine_neon = REFINE_KERNEL(CPU_NEON, "neon");

#endif
