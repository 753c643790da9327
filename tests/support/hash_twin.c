#include "tests/support/hash_twin.h"

#include <math.h>
#include <string.h>

static double
dot(const double *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static void
margins_of_head(double *margin, const struct hash *hash, size_t h, const float *x)
{
	const size_t dims = hash->head_dims;
	const size_t features = hash->function == HASH_KERNEL ? hash->anchors : dims;
	double unit[ATTEND_HEAD_DIMS_MAX], kernel[HASH_ANCHORS_MAX], length = 0;
	const double *feature = unit;

	for (size_t d = 0; d < dims; d++)
		length += (double)x[d] * x[d];
	length = fmax(sqrt(length), 1e-6);
	for (size_t d = 0; d < dims; d++)
		unit[d] = x[d] / length;
	if (hash->function == HASH_KERNEL) {
		const float *anchor = hash->anchor + h * features * dims;
		for (size_t m = 0; m < features; m++, anchor += dims)
			kernel[m] =
			    exp((dot(unit, anchor, dims) - 1) * hash->inverse_sigma[h]);
		feature = kernel;
	}
	for (size_t r = 0; r < hash->bits; r++) {
		const float *plane = hash->planes + (h * hash->bits + r) * features;
		double threshold = hash->threshold[h * hash->bits + r];
		double size = fabs(threshold);
		for (size_t m = 0; m < features; m++)
			size += fabs(feature[m] * plane[m]);
		margin[r] = dot(feature, plane, features) - threshold;
		if (size > 0)
			margin[r] /= size;
	}
}

void
hash_twin_margins(
    double *margin, const struct hash *hash, const float *x, size_t n, size_t stride)
{
	for (size_t i = 0; i < n; i++)
		for (size_t h = 0; h < hash->heads; h++, margin += hash->bits)
			margins_of_head(
			    margin, hash, h, x + i * stride + h * hash->head_dims);
}

double
hash_twin_weight(const struct hash *hash, size_t h, uint32_t a, uint32_t b)
{
	const size_t bits = hash->bits, width = hash->bucket_bits;
	size_t differ = 0, equal = 0;

	for (size_t r = 0; r < bits; r++)
		differ += (a >> r & 1) != (b >> r & 1);
	switch (hash->similarity) {
	case HASH_POSITIVE:
		return (double)bits - 2.0 * (double)differ + (double)bits + 1;
	case HASH_GENERAL:
		return (double)bits - 2.0 * (double)differ;
	case HASH_TABLE:
		return hash->table[h * (bits + 1) + differ];
	default:
		for (size_t r = 0; r < bits; r += width) {
			size_t same = 0;
			for (size_t i = r; i < r + width; i++)
				same += (a >> i & 1) == (b >> i & 1);
			equal += same == width;
		}
		return (double)equal + hash->floor[h];
	}
}

void
hash_twin_attend(double *out, const struct attend *attend, const struct hash *hash,
    const uint32_t *q, const uint32_t *k)
{
	const size_t n = attend->n, dims = hash->head_dims, heads = hash->heads;
	const int general = hash->similarity == HASH_GENERAL;

	memset(out, 0, n * heads * dims * sizeof *out);
	for (size_t i = 0; i < n; i++) {
		for (size_t h = 0; h < heads; h++, out += dims) {
			const float *own = attend->v + i * attend->stride + h * dims;
			double sum = 0;
			for (size_t j = 0; j < n; j++) {
				const float *v =
				    attend->v + j * attend->stride + h * dims;
				double w = hash_twin_weight(
				    hash, h, q[i * heads + h], k[j * heads + h]);
				if (general)
					w = w * hash->gamma[h] /
						(double)(hash->bits * n) +
					    hash->delta[h] / (double)n;
				sum += w;
				for (size_t d = 0; d < dims; d++)
					out[d] += w * v[d];
			}
			for (size_t d = 0; d < dims; d++)
				out[d] = general ? out[d] + hash->epsilon[h] * own[d]
						 : out[d] / sum;
		}
	}
}
