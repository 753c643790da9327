#include "attention/softmax_kernels.h"

#if defined(__x86_64__)
#include "attention/softmax_lanes.h"

void
softmax_avx2(const struct attend *attend, float *scratch)
{
	attend_softmax(attend, scratch);
}

#endif
