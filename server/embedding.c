#include "server/embedding.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"

/* A pass: what one worker embeds at once. */
struct pass {
	struct pool_task task; /* first: a pass is found by its task */
	struct embedding *embedding;
	struct encoder_item items[EMBEDDING_ITEMS];
	struct embedding_job *jobs[EMBEDDING_ITEMS]; /* of each item */
	struct encoder_item *origin[EMBEDDING_ITEMS];
	bool queued; /* in the pool, or running */
};

struct line {
	struct embedding_job *first;
	struct embedding_job **last;
};

struct embedding {
	const struct encoder *encoder;
	struct pool *pool;
	struct metrics *metrics;
	unsigned n_passes;
	struct encoder_scratch **scratches; /* (n_passes), a worker's own */
	struct pass *passes;                /* (n_passes) */

	pthread_mutex_t lock; /* guards the rest, `queued`, the line's part of jobs */
	struct line lines[2]; /* of small jobs, of large ones */
	bool large_next;      /* whose turn it is while both wait */
};

/* Let one more worker come if there is work and a pass is free.  Locked. */
static void
call_worker(struct embedding *embedding)
{
	if (!embedding->lines[false].first && !embedding->lines[true].first)
		return;
	for (unsigned i = 0; i < embedding->n_passes; i++) {
		struct pass *pass = &embedding->passes[i];
		if (pass->queued)
			continue;
		pass->queued = true;
		pool_submit(embedding->pool, &pass->task);
		return;
	}
}

static void
append(struct line *line, struct embedding_job *job)
{
	job->next = NULL;
	*line->last = job;
	line->last = &job->next;
}

static struct embedding_job *
remove_first(struct line *line)
{
	struct embedding_job *job = line->first;

	line->first = job->next;
	if (!line->first)
		line->last = &line->first;
	return job;
}

/* Whether nobody wants what is left of the first job: it leaves the line, and joins
 * *done unless a pass has items of it.  Locked. */
static bool
drop_first(struct line *line, struct embedding_job **done)
{
	struct embedding_job *job = line->first;

	if (!job->given_up || !atomic_load(job->given_up))
		return false;
	remove_first(line);
	job->done += job->n - job->taken;
	job->taken = job->n;
	if (job->done == job->n) {
		job->next = *done;
		*done = job;
	}
	return true;
}

/* Fill the pass from one line; how many items.  *done: jobs that were given up.
 * Locked. */
static size_t
take_from(struct pass *pass, struct line *line, struct embedding_job **done)
{
	const size_t turn = encoder_turn(pass->embedding->encoder);
	size_t n = 0, pieces = 0;

	while (line->first && n < EMBEDDING_ITEMS) {
		struct embedding_job *job = line->first;
		if (drop_first(line, done))
			continue;
		struct encoder_item *item = &job->items[job->taken];
		/* The first text goes in whatever its length. */
		if (n > 0 && pieces + item->n > turn)
			break;
		pieces += item->n;
		pass->items[n] = *item;
		pass->jobs[n] = job;
		pass->origin[n++] = item;
		if (++job->taken == job->n)
			remove_first(line);
	}
	/* What is left of a large job lets the others go first. */
	if (n > 0 && line->first == pass->jobs[n - 1] && line->first->large)
		append(line, remove_first(line));
	return n;
}

/* Fill the pass from the line whose turn it is, or the other.  Locked. */
static size_t
take(struct pass *pass, struct embedding_job **done)
{
	struct embedding *embedding = pass->embedding;
	bool large = embedding->large_next;
	size_t n = take_from(pass, &embedding->lines[large], done);

	if (n == 0) {
		large = !large;
		n = take_from(pass, &embedding->lines[large], done);
	}
	embedding->large_next = !large;
	return n;
}

static void
run(struct pool_task *task, unsigned worker)
{
	struct pass *pass = (struct pass *)(void *)task;
	struct embedding *embedding = pass->embedding;
	struct embedding_job *done = NULL;

	pthread_mutex_lock(&embedding->lock);
	size_t n = take(pass, &done);
	call_worker(embedding);
	pthread_mutex_unlock(&embedding->lock);
	if (n > 0) {
		encoder_run(
		    embedding->encoder, embedding->scratches[worker], pass->items, n);
		metrics_pass(embedding->metrics, n);
	}
	pthread_mutex_lock(&embedding->lock);
	for (size_t i = 0; i < n; i++) {
		struct embedding_job *job = pass->jobs[i];
		pass->origin[i]->failed = pass->items[i].failed;
		if (++job->done < job->n)
			continue;
		job->next = done;
		done = job;
	}
	pass->queued = false;
	call_worker(embedding);
	pthread_mutex_unlock(&embedding->lock);
	while (done) {
		struct embedding_job *job = done;
		done = job->next;
		job->on_done(job);
	}
}

struct embedding *
embedding_new(const struct encoder *encoder, struct pool *pool, struct metrics *metrics,
    struct error *err)
{
	struct embedding *embedding = array_new(1, sizeof *embedding);
	unsigned n = pool_threads(pool);

	if (!embedding) {
		error_set(err, ERR_MEMORY, "no memory for a text model's workers");
		return NULL;
	}
	pthread_mutex_init(&embedding->lock, NULL);
	embedding->encoder = encoder;
	embedding->pool = pool;
	embedding->metrics = metrics;
	for (int i = 0; i < 2; i++)
		embedding->lines[i].last = &embedding->lines[i].first;
	embedding->n_passes = n;
	embedding->scratches = array_new(n, sizeof *embedding->scratches);
	embedding->passes = array_new(n, sizeof *embedding->passes);
	if (!embedding->scratches || !embedding->passes) {
		error_set(err, ERR_MEMORY, "no memory for %u workers", n);
		goto fail;
	}
	for (unsigned i = 0; i < n; i++) {
		embedding->passes[i].task.run = run;
		embedding->passes[i].embedding = embedding;
		embedding->scratches[i] = encoder_scratch_new(encoder, err);
		if (!embedding->scratches[i])
			goto fail;
	}
	return embedding;
fail:
	embedding_free(embedding);
	return NULL;
}

void
embedding_free(struct embedding *embedding)
{
	if (!embedding)
		return;
	for (unsigned i = 0; embedding->scratches && i < embedding->n_passes; i++)
		encoder_scratch_free(embedding->scratches[i]);
	free(embedding->scratches);
	free(embedding->passes);
	pthread_mutex_destroy(&embedding->lock);
	free(embedding);
}

void
embedding_submit(struct embedding *embedding, struct embedding_job *job)
{
	size_t pieces = 0;

	for (size_t i = 0; i < job->n; i++)
		pieces += job->items[i].n;
	job->large =
	    pieces > encoder_turn(embedding->encoder) || job->n > EMBEDDING_ITEMS;
	job->taken = job->done = 0;
	pthread_mutex_lock(&embedding->lock);
	append(&embedding->lines[job->large], job);
	call_worker(embedding);
	pthread_mutex_unlock(&embedding->lock);
}
