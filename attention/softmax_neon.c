#include "attention/softmax_kernels.h"

#if defined(__aarch64__)
#include "attention/softmax_lanes.h"

void
softmax_neon(const struct attend *attend, float *scratch)
{
	attend_softmax(attend, scratch);
}

#endif
