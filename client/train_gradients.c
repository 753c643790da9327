#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/descent.h"
#include "binarize/neighbours.h"
#include "client/stop.h"
#include "client/train_job.h"
#include "client/train_population.h"

/* The recurrent model and the hash, learned by gradients (binarize/descent.h): one
 * model, or a population of them that share the steps. */

#define PAIRS 128 /* of a batch */
#define HARDEST 16
#define QUEUE 4096

struct gradients {
	struct descent *models[TRAIN_POPULATION_MAX];
	struct train_member members[TRAIN_POPULATION_MAX];
	size_t n, best; /* best: in the last round */
	uint64_t rounds;
	uint64_t interval; /* steps of a model in a round */
	struct rng rng;
	uint32_t *left, *right; /* of struct descent_data */
	uint64_t *ids;
};

/* Every training row and one near it, rows that share a neighbour being one item; where
 * no loss looks at pairs any other row does as well. */
static int
find_pairs(struct gradients *g, struct descent_data *data, const struct training *t,
    struct error *err)
{
	bool wanted = t->options->codes > 0 || t->options->floats > 0;
	data->u = t->sample.rows;
	data->n = data->n_pairs = t->n;
	for (size_t i = 0; i < t->n; i++)
		g->right[i] = (uint32_t)((i + 1) % t->n);
	if (wanted && neighbours_find(g->right, t->blas, data->u, data->n,
			  t->sample.dims, err) != 0)
		return -1;
	for (size_t i = 0; i < data->n_pairs; i++)
		g->ids[i] = g->right[i];
	return 0;
}

/* The user's: left ends lie before right ends. */
static void
take_pairs(struct gradients *g, struct descent_data *data, const struct training *t)
{
	data->u = t->pairs.rows;
	data->n = 2 * t->pairs.n;
	data->n_pairs = t->pairs.n;
	for (size_t i = 0; i < data->n_pairs; i++) {
		g->right[i] = (uint32_t)(data->n_pairs + i);
		g->ids[i] = t->pairs.items[i];
	}
}

static int
prepare_data(struct gradients *g, struct descent_data *data, const struct training *t,
    struct error *err)
{
	size_t n = t->options->pairs ? t->pairs.n : t->n;
	g->left = array_new(n, sizeof *g->left);
	g->right = array_new(n, sizeof *g->right);
	g->ids = array_new(n, sizeof *g->ids);
	if (!g->left || !g->right || !g->ids)
		return error_set(err, ERR_MEMORY, "out of memory for pairs");
	for (size_t i = 0; i < n; i++)
		g->left[i] = (uint32_t)i;
	data->left = g->left;
	data->right = g->right;
	data->ids = g->ids;
	if (!t->options->pairs)
		return find_pairs(g, data, t, err);
	take_pairs(g, data, t);
	return 0;
}

static struct descent_config
config_of(const struct training *t, uint64_t steps)
{
	const struct train_options *o = t->options;
	size_t d = t->sample.dims;
	struct descent_config config = {.blas = t->blas,
	    .model = {.input_dims = (uint32_t)d, .shape = t->shape},
	    .estimator = (enum estimator_kind)o->estimator,
	    .seed = o->seed,
	    .steps = steps,
	    .pairs = PAIRS,
	    .hardest = HARDEST,
	    .queue = QUEUE};
	size_t m = t->shape.dims;
	config.model.layers = train_options_layers(o);
	config.model.hidden = o->hidden ? o->hidden : 2 * (d < m ? d : m);
	config.model.norm = config.model.layers > 1;
	return config;
}

static int
open_gradients(struct training *t, struct error *err)
{
	const struct train_options *o = t->options;
	struct descent_data data = {.n = 0};
	struct gradients *g = array_new(1, sizeof *g);
	if (!g)
		return error_set(err, ERR_MEMORY, "out of memory for training");
	t->learner = g;
	if (prepare_data(g, &data, t, err) != 0)
		return -1;
	g->n = o->population;
	g->interval = o->steps / (TRAIN_ROUNDS * g->n);
	struct descent_config config = config_of(t, g->interval * TRAIN_ROUNDS);
	const struct descent_tuning tuning = {.rate = o->rate,
	    .temperature = o->temperature,
	    .reconstruction = o->reconstruction,
	    .ranking = o->ranking,
	    .codes = o->codes,
	    .floats = o->floats};
	rng_init(&g->rng, o->seed, TRAIN_POPULATION_STREAM);
	for (size_t i = 0; i < g->n; i++) {
		g->models[i] = descent_new(&config, &tuning, &data, err);
		if (!g->models[i])
			return -1;
		g->members[i].descent = g->models[i];
		config.seed++;
	}
	train_population_spread(g->members, g->n, &g->rng);
	struct dense_size size = learn_size(descent_learn(g->models[0]));
	t->n_numbers = size.params + size.running;
	return 0;
}

static void
close_gradients(struct training *t)
{
	struct gradients *g = t->learner;
	if (!g)
		return;
	for (size_t i = 0; i < g->n; i++)
		descent_free(g->models[i]);
	free(g->left);
	free(g->right);
	free(g->ids);
	free(g);
	t->learner = NULL;
}

static uint64_t
units_gradients(const struct training *t, uint64_t *done)
{
	const struct gradients *g = t->learner;
	*done = 0;
	for (size_t i = 0; i < g->n; i++)
		*done += descent_steps(g->models[i]);
	return g->interval * TRAIN_ROUNDS * g->n;
}

/* Take the steps of a round, with what is left of it where it was broken off; *loss :=
 * their mean. */
static int
take_steps(struct training *t, double *loss, struct error *err)
{
	struct gradients *g = t->learner;
	uint64_t end = (g->rounds + 1) * g->interval, done, n = 0;
	double sum = 0.0;
	(void)units_gradients(t, &done);
	for (size_t i = 0; i < g->n; i++) {
		while (descent_steps(g->models[i]) < end) {
			if (stop_requested())
				return error_set(err, ERR_NONE, "stopped");
			sum += descent_step(g->models[i]);
			n++;
			progress_show(&t->progress, done + n, 0);
		}
	}
	*loss = n > 0 ? sum / (double)n : 0.0;
	return 0;
}

static int
round_gradients(struct training *t, struct train_round *round, struct error *err)
{
	struct gradients *g = t->learner;
	if (take_steps(t, &round->loss, err) != 0)
		return -1;
	for (size_t i = 0; i < g->n; i++) {
		struct recurrent *model =
		    learn_model(descent_learn(g->models[i]), t->mean, err);
		int rc = model ? train_check_run(
				     &g->members[i].overlap, &t->check, model, err)
			       : -1;
		recurrent_free(model);
		if (rc != 0)
			return -1;
	}
	g->rounds++;
	g->best = train_population_best(g->members, g->n);
	(void)units_gradients(t, &round->done);
	round->overlap = g->members[g->best].overlap;
	round->last = g->rounds == TRAIN_ROUNDS;
	if (round->last) {
		struct estimator_indicators signs =
		    descent_indicators(g->models[g->best]);
		progress_break(&t->progress);
		fprintf(stderr,
		    "signs: estimating error %.3f, variance of gradients %.2e\n",
		    signs.error, signs.stability);
		train_population_show(g->members, g->n, g->best);
	} else {
		train_population_evolve(g->members, g->n, &g->rng);
	}
	return 0;
}

static void
keep_gradients(struct training *t)
{
	struct gradients *g = t->learner;
	const struct learn *learn = descent_learn(g->models[g->best]);
	struct dense_numbers numbers = learn_numbers(learn);
	struct dense_size size = learn_size(learn);
	memcpy(t->best, numbers.params, size.params * sizeof *t->best);
	memcpy(t->best + size.params, numbers.running, size.running * sizeof *t->best);
}

static struct recurrent *
model_gradients(struct training *t, struct error *err)
{
	struct gradients *g = t->learner;
	const struct learn *learn = descent_learn(g->models[0]);
	struct dense_numbers numbers = learn_numbers(learn);
	struct dense_size size = learn_size(learn);
	memcpy(numbers.params, t->best, size.params * sizeof *t->best);
	memcpy(numbers.running, t->best + size.params, size.running * sizeof *t->best);
	return learn_model(learn, t->mean, err);
}

static void
parts_gradients(struct training *t, struct checkpoint *checkpoint)
{
	struct gradients *g = t->learner;
	checkpoint_add(checkpoint, "rounds", TENSOR_I64, &g->rounds, 1);
	checkpoint_add(checkpoint, "explore", TENSOR_I64, g->rng.s, 4);
	for (size_t i = 0; i < g->n; i++) {
		snprintf(checkpoint->group, sizeof checkpoint->group, "%zu.", i);
		descent_parts(g->models[i], checkpoint);
	}
	checkpoint->group[0] = '\0';
}

const struct train_method train_gradients = {
    .unit = "step",
    .loss = "loss",
    .open = open_gradients,
    .close = close_gradients,
    .units = units_gradients,
    .round = round_gradients,
    .keep = keep_gradients,
    .model = model_gradients,
    .parts = parts_gradients,
};
