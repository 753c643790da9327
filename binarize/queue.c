#include "binarize/queue.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/loss.h"

int
queue_init(
    struct queue *queue, size_t capacity, size_t planes, size_t dims, struct error *err)
{
	assert(capacity >= 1);
	memset(queue, 0, sizeof *queue);
	queue->v = array_new_aligned(planes * capacity * dims, sizeof *queue->v);
	queue->unit = array_new(planes * capacity, sizeof *queue->unit);
	queue->factor = array_new(planes * capacity, sizeof *queue->factor);
	queue->ids = array_new(capacity, sizeof *queue->ids);
	if (!queue->v || !queue->unit || !queue->factor || !queue->ids) {
		queue_free(queue);
		return error_set(err, ERR_MEMORY,
		    "out of memory for a queue of %zu codes", capacity);
	}
	queue->capacity = capacity;
	queue->planes = planes;
	queue->dims = dims;
	return 0;
}

void
queue_free(struct queue *queue)
{
	free(queue->v);
	free(queue->unit);
	free(queue->factor);
	free(queue->ids);
	memset(queue, 0, sizeof *queue);
}

void
queue_push(
    struct queue *queue, const struct learn_codes *codes, size_t n, const uint64_t *ids)
{
	size_t m = queue->dims;
	assert(codes->planes == queue->planes && codes->dims == m && n <= codes->rows);
	for (size_t i = 0; i < n; i++) {
		for (size_t p = 0; p < queue->planes; p++) {
			size_t at = p * queue->capacity + queue->next;
			const float *v = codes->v + (p * codes->rows + i) * m;
			memcpy(queue->v + at * m, v, m * sizeof *v);
			queue->unit[at] = loss_scale(codes, p, i, LOSS_CODES);
			queue->factor[at] = loss_scale(codes, p, i, LOSS_FLOATS);
		}
		queue->ids[queue->next] = ids[i];
		queue->next = (queue->next + 1) % queue->capacity;
		if (queue->n < queue->capacity)
			queue->n++;
	}
}
