#include "base/heap.h"

#include <math.h>
#include <stdlib.h>

void
heap_init(struct heap *heap, struct hit *hits, size_t k)
{
	heap->hits = hits;
	heap->k = k;
	heap->n = 0;
}

/* Sink `hit` from the root: the worse child moves up until hit is worst. */
static void
sink(struct heap *heap, struct hit hit)
{
	struct hit *h = heap->hits;
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= heap->n)
			break;
		if (child + 1 < heap->n && hit_better(h[child], h[child + 1]))
			child++;
		if (!hit_better(hit, h[child]))
			break;
		h[i] = h[child];
		i = child;
	}
	h[i] = hit;
}

void
heap_push(struct heap *heap, struct hit hit)
{
	struct hit *h = heap->hits;

	if (heap->n == heap->k) {
		if (heap->k > 0 && hit_better(hit, h[0]))
			sink(heap, hit);
		return;
	}
	/* Rise: parents that are better than the new hit move down. */
	size_t i = heap->n++;
	while (i > 0 && hit_better(h[(i - 1) / 2], hit)) {
		h[i] = h[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h[i] = hit;
}

float
heap_threshold(const struct heap *heap)
{
	if (heap->n < heap->k)
		return -INFINITY;
	return heap->k > 0 ? heap->hits[0].score : INFINITY;
}

static int
compare(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	return hit_better(*y, *x) - hit_better(*x, *y);
}

void
heap_sort(struct heap *heap)
{
	qsort(heap->hits, heap->n, sizeof *heap->hits, compare);
}
