#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "binarize/fit.h"
#include "client/train_job.h"

/* Refined codes and their decoder, learned by turns (binarize/fit.h). */

#define TURNS_MAX 24
#define LEAST_GAIN 0.002 /* a turn that misses less by a smaller share is the last */

struct refined {
	struct fit *fit;
	uint64_t turns;        /* taken */
	uint64_t checked;      /* of them; one less where a check was broken off */
	double missed, before; /* in the last turn and in the one before */
};

/* Of each of the two matrices. */
static size_t
numbers_of(const struct training *t)
{
	return (size_t)t->shape.dims * t->sample.dims;
}

static int
open_refined(struct training *t, struct error *err)
{
	const struct fit_config config = {.blas = t->blas,
	    .shape = t->shape,
	    .seed = t->options->seed,
	    .input_dims = t->sample.dims};
	struct refined *r = array_new(1, sizeof *r);
	if (!r)
		return error_set(err, ERR_MEMORY, "out of memory for training");
	t->learner = r;
	t->n_numbers = 2 * numbers_of(t); /* both matrices */
	r->missed = 1.0;
	r->fit = fit_new(&config, t->sample.rows, t->n, err);
	return r->fit ? 0 : -1;
}

static void
close_refined(struct training *t)
{
	struct refined *r = t->learner;
	if (r)
		fit_free(r->fit);
	free(r);
	t->learner = NULL;
}

static uint64_t
units_refined(const struct training *t, uint64_t *done)
{
	*done = ((const struct refined *)t->learner)->turns;
	return TURNS_MAX;
}

static struct recurrent *
model_of(
    const struct training *t, const float *map, const float *base, struct error *err)
{
	const struct recurrent_refined_config config = {
	    .input_dims = (uint32_t)t->sample.dims,
	    .shape = t->shape,
	    .mean = t->centres ? NULL : t->mean,
	    .centres = t->centres,
	    .map = map,
	    .base = base};
	return recurrent_new_refined(&config, err);
}

static struct recurrent *
model_refined(struct training *t, struct error *err)
{
	return model_of(t, t->best, t->best + numbers_of(t), err);
}

static int
round_refined(struct training *t, struct train_round *round, struct error *err)
{
	struct refined *r = t->learner;
	if (r->checked == r->turns) {
		double missed;
		if (fit_turn(r->fit, &missed, err) != 0)
			return -1;
		r->before = r->missed;
		r->missed = missed;
		r->turns++;
	}
	struct recurrent *model = model_of(t, fit_map(r->fit), fit_base(r->fit), err);
	int rc = model ? train_check_run(&round->overlap, &t->check, model, err) : -1;
	recurrent_free(model);
	if (rc != 0)
		return -1;
	r->checked = r->turns;
	round->done = r->turns;
	round->loss = r->missed;
	round->last = r->turns >= TURNS_MAX ||
		      (r->turns > 2 && r->missed > r->before * (1 - LEAST_GAIN));
	return 0;
}

static void
keep_refined(struct training *t)
{
	const struct refined *r = t->learner;
	size_t n = numbers_of(t);
	memcpy(t->best, fit_map(r->fit), n * sizeof *t->best);
	memcpy(t->best + n, fit_base(r->fit), n * sizeof *t->best);
}

static void
parts_refined(struct training *t, struct checkpoint *checkpoint)
{
	struct refined *r = t->learner;
	fit_parts(r->fit, checkpoint);
	checkpoint_add(checkpoint, "turns", TENSOR_I64, &r->turns, 1);
	checkpoint_add(checkpoint, "checked", TENSOR_I64, &r->checked, 1);
	checkpoint_add(checkpoint, "missed", TENSOR_U8, &r->missed, sizeof r->missed);
	checkpoint_add(checkpoint, "before", TENSOR_U8, &r->before, sizeof r->before);
}

const struct train_method train_refined = {
    .unit = "turn",
    .loss = "missed",
    .open = open_refined,
    .close = close_refined,
    .units = units_refined,
    .round = round_refined,
    .keep = keep_refined,
    .model = model_refined,
    .parts = parts_refined,
};
