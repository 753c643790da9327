#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/replace.h"
#include "client/stop.h"
#include "client/train_job.h"

/* A training that can be broken off. */
struct loop {
	struct training *t;
	const struct train_method *method;
	struct checkpoint *checkpoint;
	char *path;
	uint64_t saved_ns;
};

/* Allocated; NULL: no memory. */
static char *
checkpoint_path(const struct training *t)
{
	static const char ending[] = ".checkpoint";
	const char *output = t->options->output;
	char *path = array_new(strlen(output) + sizeof ending, 1);
	if (path)
		sprintf(path, "%s%s", output, ending);
	return path;
}

int
train_loop_check(const struct training *t, struct error *err)
{
	const struct checkpoint_task task = {t->settings, t->vectors};
	char *path = checkpoint_path(t);
	int rc = path ? replace_check(path, err)
		      : error_set(err, ERR_MEMORY, "out of memory for a path");
	if (rc == 0 && checkpoint_check(path, &task, err) != 0 &&
	    err->code != ERR_NOT_FOUND)
		rc = -1;
	free(path);
	return rc;
}

/* Write where training is, unless that was done a moment ago; false where it could not
 * be.  Training goes on without, but not without a word. */
static bool
save(struct loop *l, double every_s)
{
	const struct training *t = l->t;
	const struct checkpoint_task task = {t->settings, t->vectors};
	struct error err;
	if (clock_since(l->saved_ns) < every_s)
		return true;
	l->saved_ns = clock_ns();
	if (checkpoint_save(l->checkpoint, l->path, &task, &err) == 0)
		return true;
	progress_break(&l->t->progress);
	fprintf(stderr, "warning: no checkpoint: %s\n", err.text);
	return false;
}

/* Go on from a checkpoint, if there is one. */
static int
resume(struct loop *l, struct error *err)
{
	struct training *t = l->t;
	const struct checkpoint_task task = {t->settings, t->vectors};
	uint64_t done;

	l->method->parts(t, l->checkpoint);
	checkpoint_add(l->checkpoint, "best", TENSOR_F32, t->best, t->n_numbers);
	checkpoint_add(l->checkpoint, "best_overlap", TENSOR_U8, &t->best_overlap,
	    sizeof t->best_overlap);
	if (checkpoint_load(l->checkpoint, l->path, &task, err) != 0)
		return err->code == ERR_NOT_FOUND ? 0 : -1;
	uint64_t all = l->method->units(t, &done);
	fprintf(stderr, "going on from %s, at %s %llu of %llu\n", l->path,
	    l->method->unit, (unsigned long long)done, (unsigned long long)all);
	return 0;
}

static int
run(struct loop *l, struct error *err)
{
	struct training *t = l->t;
	struct train_round round = {.last = false};
	uint64_t done, all = l->method->units(t, &done);
	int rc = 0;

	progress_start_units(&t->progress, l->method->unit, done, all);
	l->saved_ns = clock_ns();
	while (rc == 0 && !round.last && !stop_requested()) {
		rc = l->method->round(t, &round, err);
		if (rc != 0)
			break;
		if (round.overlap > t->best_overlap) {
			t->best_overlap = round.overlap;
			l->method->keep(t);
		}
		snprintf(t->progress.note, sizeof t->progress.note,
		    "%s %.4f, overlap@10 %.4f, best %.4f", l->method->loss, round.loss,
		    round.overlap, t->best_overlap);
		progress_show(&t->progress, round.done, 0);
		if (!round.last)
			save(l, t->options->checkpoint);
	}
	l->method->units(t, &done);
	progress_end(&t->progress, done, 0);
	t->broken_off = !round.last && (rc == 0 || err->code == ERR_NONE);
	if (!t->broken_off)
		return rc;
	if (save(l, 0))
		fprintf(stderr, "stopped; the same command goes on from %s\n", l->path);
	return t->best_overlap < 0 ? error_set(err, ERR_NONE, "stopped") : 0;
}

int
train_loop(struct training *t, const struct train_method *method, struct error *err)
{
	struct loop l = {.t = t, .method = method};
	l.path = checkpoint_path(t);
	l.checkpoint = array_new(1, sizeof *l.checkpoint);
	t->best = array_new_aligned(t->n_numbers, sizeof *t->best);
	t->best_overlap = -1.0;
	int rc = 0;
	if (!l.path || !l.checkpoint || !t->best)
		rc = error_set(err, ERR_MEMORY, "out of memory for training");
	if (rc == 0)
		rc = resume(&l, err);
	if (rc == 0)
		rc = run(&l, err);
	free(l.checkpoint);
	free(l.path);
	return rc;
}

void
train_loop_forget(const struct training *t)
{
	char *path = checkpoint_path(t);
	if (path && !t->broken_off)
		unlink(path);
	free(path);
}
