#include "attention/softmax_kernels.h"

#include "attention/softmax_lanes.h"

void
softmax_scalar(const struct attend *attend, float *scratch)
{
	attend_softmax(attend, scratch);
}
