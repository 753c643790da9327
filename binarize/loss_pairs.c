#include <assert.h>
#include <math.h>
#include <string.h>

#include "binarize/loss_model.h"

/* One direction of one plane: n rows of queries against the other half of the batch
 * and the queue. */
struct side {
	const struct learn_codes *codes;
	const struct loss_pairs *pairs;
	size_t plane, n, columns; /* columns = n + the queue's rows */
	size_t query, document;   /* the batch's rows where each half begins */
	const float *q;           /* (n, dims) */
	const float *v;           /* (n, dims) */
	const float *queued;      /* (queue->n, dims) */
	const float *queued_scale;
};

static struct side
side_of(const struct learn_codes *codes, const struct loss_pairs *pairs, size_t plane,
    size_t query)
{
	size_t m = codes->dims, n = codes->rows / 2;
	const struct queue *queue = pairs->queue;
	const float *v = codes->v + plane * codes->rows * m;
	struct side s = {.codes = codes,
	    .pairs = pairs,
	    .plane = plane,
	    .n = n,
	    .columns = n,
	    .query = query,
	    .document = n - query};
	s.q = (pairs->query == LOSS_CODES ? v : codes->y) + query * m;
	s.v = v + s.document * m;
	if (queue) {
		size_t at = plane * queue->capacity;
		s.columns += queue->n;
		s.queued = queue->v + at * m;
		s.queued_scale =
		    (pairs->query == LOSS_CODES ? queue->unit : queue->factor) + at;
	}
	return s;
}

/* scores (n, columns) := <q_i, v_j>. */
static void
multiply(struct loss *loss, const struct side *s)
{
	size_t m = s->codes->dims;
	struct blas_gemm product = {.m = s->n,
	    .n = s->n,
	    .k = m,
	    .alpha = 1.0f,
	    .a = {s->q, m, false},
	    .b = {s->v, m, true},
	    .c = loss->scores,
	    .c_stride = s->columns};
	blas_gemm(loss->blas, &product);
	product.n = s->columns - s->n;
	product.b.data = s->queued;
	product.c = loss->scores + s->n;
	if (product.n > 0)
		blas_gemm(loss->blas, &product);
}

/* What makes <q_i, .> a score. */
static float
query_scale(const struct loss *loss, const struct side *s, size_t i)
{
	return s->pairs->query == LOSS_CODES ? loss->scale[s->query + i] : 1.0f;
}

static float
document_scale(const struct loss *loss, const struct side *s, size_t j)
{
	return j < s->n ? loss->scale[s->document + j] : s->queued_scale[j - s->n];
}

static uint64_t
id_of(const struct side *s, size_t j)
{
	return j < s->n ? s->pairs->ids[j] : s->pairs->queue->ids[j - s->n];
}

/* Choose row i's negatives; its loss, and slopes of score / temperature in its hits. */
static double
choose(struct loss *loss, const struct side *s, size_t i)
{
	const float *row = loss->scores + i * s->columns;
	struct loss_chosen *chosen = &loss->chosen[i];
	float scale = query_scale(loss, s, i) / s->pairs->temperature;
	struct heap heap;
	heap_init(&heap, loss->hits + i * loss->size.hardest, s->pairs->hardest);
	for (size_t j = 0; j < s->columns; j++) {
		struct hit hit = {
		    scale * row[j] * document_scale(loss, s, j), (uint32_t)j};
		if (hit.score >= heap_threshold(&heap) &&
		    id_of(s, j) != s->pairs->ids[i])
			heap_push(&heap, hit);
	}
	heap_sort(&heap);
	double positive = (double)(scale * row[i] * document_scale(loss, s, i));
	double peak = positive, sum = 0.0;
	for (size_t k = 0; k < heap.n; k++)
		peak = fmax(peak, (double)heap.hits[k].score);
	for (size_t k = 0; k < heap.n; k++)
		sum += exp((double)heap.hits[k].score - peak);
	sum += exp(positive - peak);
	for (size_t k = 0; k < heap.n; k++)
		heap.hits[k].score =
		    (float)(exp((double)heap.hits[k].score - peak) / sum);
	chosen->n = heap.n;
	chosen->positive = (float)(exp(positive - peak) / sum - 1.0);
	return log(sum) + peak - positive;
}

/* From `slope`, the gradient at the score of row i and column j: gradients at both. */
static void
add_score(struct loss *loss, const struct side *s, size_t i, size_t j, float slope)
{
	size_t m = s->codes->dims, base = s->plane * s->codes->rows;
	float *dq =
	    s->pairs->query == LOSS_CODES ? s->codes->dv + base * m : s->codes->dy;
	const float *q = s->q + i * m;
	const float *v = j < s->n ? s->v + j * m : s->queued + (j - s->n) * m;
	float of_q = query_scale(loss, s, i), of_v = document_scale(loss, s, j);
	double along = (double)slope * (double)loss->scores[i * s->columns + j];
	float both = slope * of_q * of_v;
	dq += (s->query + i) * m;
	for (size_t k = 0; k < m; k++)
		dq[k] += both * v[k];
	if (s->pairs->query == LOSS_CODES)
		loss->dscale[s->query + i] += along * (double)of_v;
	if (j >= s->n)
		return;
	float *dv = s->codes->dv + (base + s->document + j) * m;
	for (size_t k = 0; k < m; k++)
		dv[k] += both * q[k];
	loss->dscale[s->document + j] += along * (double)of_q;
}

/* The loss of one direction, times share. */
static double
side_loss(struct loss *loss, const struct side *s, double share)
{
	double sum = 0.0;
	float unit = (float)(share / (double)s->pairs->temperature);
	multiply(loss, s);
#pragma omp parallel for if (s->n * s->columns >= LOSS_PARALLEL_MIN)
	for (size_t i = 0; i < s->n; i++)
		loss->values[i] = choose(loss, s, i);
	for (size_t i = 0; i < s->n; i++) {
		const struct hit *hits = loss->hits + i * loss->size.hardest;
		sum += loss->values[i];
		add_score(loss, s, i, i, unit * loss->chosen[i].positive);
		for (size_t k = 0; k < loss->chosen[i].n; k++)
			add_score(loss, s, i, hits[k].slot, unit * hits[k].score);
	}
	return share * sum;
}

double
loss_pairs(
    struct loss *loss, const struct learn_codes *codes, const struct loss_pairs *pairs)
{
	size_t rows = codes->rows;
	double sum = 0.0;
	assert(rows % 2 == 0 && rows <= loss->size.rows);
	assert(pairs->hardest >= 1 && pairs->hardest <= loss->size.hardest);
	assert(!pairs->queue || pairs->queue->n <= loss->size.queue);
	for (size_t p = 0; p < codes->planes; p++) {
		if (pairs->weights[p] == 0.0f)
			continue;
		double share = (double)pairs->weights[p] / (double)rows;
		for (size_t i = 0; i < rows; i++)
			loss->scale[i] = loss_scale(codes, p, i, pairs->query);
		memset(loss->dscale, 0, rows * sizeof *loss->dscale);
		for (size_t query = 0; query < rows; query += rows / 2) {
			struct side s = side_of(codes, pairs, p, query);
			sum += side_loss(loss, &s, share);
		}
		for (size_t i = 0; i < rows; i++)
			loss_scale_backward(codes, p, i, pairs->query, loss->dscale[i]);
	}
	return sum;
}
