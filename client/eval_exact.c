#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/heap.h"
#include "client/eval.h"
#include "client/stop.h"

int
eval_ranks_new(struct eval_ranks *ranks, size_t n_queries, struct error *err)
{
	ranks->n_queries = n_queries;
	ranks->docs = array_new(n_queries, EVAL_DEPTH * sizeof *ranks->docs);
	ranks->counts = array_new(n_queries, sizeof *ranks->counts);
	if (ranks->docs != NULL && ranks->counts != NULL)
		return 0;
	eval_ranks_free(ranks);
	return error_set(err, ERR_MEMORY, "no memory for the results");
}

void
eval_ranks_free(struct eval_ranks *ranks)
{
	free(ranks->docs);
	free(ranks->counts);
	*ranks = (struct eval_ranks){NULL, NULL, 0};
}

struct trec_ranking
eval_ranks_of(const struct eval_ranks *ranks, size_t query)
{
	return (struct trec_ranking){
	    ranks->docs + query * EVAL_DEPTH, ranks->counts[query]};
}

void
eval_vectors_free(struct eval_vectors *vectors)
{
	free(vectors->values);
	free(vectors->valid);
	*vectors = (struct eval_vectors){NULL, NULL, 0, 0};
}

void
eval_embedded_free(struct eval_embedded *embedded)
{
	eval_vectors_free(&embedded->corpus);
	eval_vectors_free(&embedded->queries);
}

/* The texts of one side: which are embedded, and as what. */
struct side {
	const struct beir_text *texts;
	const struct beir_query *index; /* row -> text; NULL = the same */
	enum encoder_role role;
};

/* Embed the text of row i. */
static void
embed_row(struct eval_vectors *out, size_t i, const struct encoder *encoder,
    struct encoder_scratch *scratch, const struct side *side)
{
	const struct beir_text *text =
	    &side->texts[side->index == NULL ? i : side->index[i].query];
	struct error err;
	struct encoder_output output = {.vector = out->values + i * out->dims};
	int rc = encoder_embed(
	    encoder, scratch, &output, side->role, text->text, text->len, &err);
	out->valid[i] = rc == 0;
	if (rc == -1)
		memset(output.vector, 0, out->dims * sizeof(float));
}

static int
embed_all(struct eval_vectors *out, const struct encoder *encoder,
    const struct side *side, struct error *err)
{
	bool failed = false;
#pragma omp parallel
	{
		struct error mine;
		struct encoder_scratch *scratch = encoder_scratch_new(encoder, &mine);
		if (scratch == NULL) {
#pragma omp atomic write
			failed = true;
		}
#pragma omp for schedule(dynamic, 64)
		for (size_t i = 0; i < out->n; i++) {
			if (scratch != NULL && !stop_requested())
				embed_row(out, i, encoder, scratch, side);
		}
		encoder_scratch_free(scratch);
	}
	if (failed)
		return error_set(err, ERR_MEMORY, "no memory to embed texts");
	return stop_requested() ? error_set(err, ERR_NONE, "stopped") : 0;
}

static int
new_vectors(struct eval_vectors *v, size_t n, size_t dims, struct error *err)
{
	v->n = n;
	v->dims = dims;
	v->values = array_new(n, dims * sizeof *v->values);
	v->valid = array_new(n, 1);
	if (v->values == NULL || v->valid == NULL)
		return error_set(err, ERR_MEMORY, "no memory for %zu embeddings", n);
	return 0;
}

int
eval_embed(struct eval_embedded *embedded, const struct eval_task *task,
    const char *model, struct error *err)
{
	const struct side corpus = {
	    .texts = task->corpus.items, .role = ENCODER_DOCUMENT};
	const struct side queries = {.texts = task->queries.items,
	    .index = task->qrels.queries,
	    .role = ENCODER_QUERY};

	*embedded = (struct eval_embedded){.corpus = {.n = 0}};
	struct encoder *encoder = encoder_open(model, err);
	if (encoder == NULL)
		return -1;
	size_t dims = encoder_dims(encoder);
	int rc = new_vectors(&embedded->corpus, task->corpus.n, dims, err);
	if (rc == 0)
		rc = new_vectors(&embedded->queries, task->qrels.n_queries, dims, err);
	if (rc == 0)
		rc = embed_all(&embedded->corpus, encoder, &corpus, err);
	if (rc == 0)
		rc = embed_all(&embedded->queries, encoder, &queries, err);
	encoder_close(encoder);
	if (rc == -1)
		eval_embedded_free(embedded);
	return rc;
}

typedef float four __attribute__((vector_size(16)));

static four
load(const float *from)
{
	four v;
	memcpy(&v, from, sizeof v);
	return v;
}

/* sum_i a_i b_i in 16 lanes that are added in one order: the same on every machine. */
static float
inner(const float *a, const float *b, size_t n)
{
	four s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	float sum = 0;
	size_t i = 0;
	for (; i + 16 <= n; i += 16) {
		s0 += load(a + i) * load(b + i);
		s1 += load(a + i + 4) * load(b + i + 4);
		s2 += load(a + i + 8) * load(b + i + 8);
		s3 += load(a + i + 12) * load(b + i + 12);
	}
	s0 = (s0 + s1) + (s2 + s3);
	for (size_t j = 0; j < 4; j++)
		sum += s0[j];
	for (; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static void
search_one(struct eval_ranks *ranks, size_t query, const struct eval_embedded *e)
{
	struct hit hits[EVAL_DEPTH];
	struct heap heap;
	const struct eval_vectors *c = &e->corpus;
	const float *q = e->queries.values + query * c->dims;

	heap_init(&heap, hits, EVAL_DEPTH);
	for (size_t i = 0; e->queries.valid[query] && i < c->n; i++) {
		float score = inner(q, c->values + i * c->dims, c->dims);
		if (c->valid[i])
			heap_push(&heap, (struct hit){score, (uint32_t)i});
	}
	heap_sort(&heap);
	for (size_t i = 0; i < heap.n; i++)
		ranks->docs[query * EVAL_DEPTH + i] = hits[i].slot;
	ranks->counts[query] = (uint32_t)heap.n;
}

int
eval_exact(
    struct eval_ranks *ranks, const struct eval_embedded *embedded, struct error *err)
{
#pragma omp parallel for schedule(dynamic, 16)
	for (size_t i = 0; i < embedded->queries.n; i++) {
		if (!stop_requested())
			search_one(ranks, i, embedded);
	}
	return stop_requested() ? error_set(err, ERR_NONE, "stopped") : 0;
}
