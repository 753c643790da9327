#include "binarize/descent.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "binarize/adam.h"
#include "binarize/loss.h"
#include "binarize/queue.h"

#define LONGEST 5       /* a gradient, after clipping */
#define MOMENTUM 0.99f  /* of the follower */
#define POWER_END 3.0f  /* ReSTE's, at the end of training */
#define WARM 0.0625f    /* the share of the steps over which the rate rises */
#define STREAM 0x444553 /* "DES": of the seed */

struct descent {
	struct descent_config config;
	struct descent_tuning tuning;
	struct descent_data data;
	struct learn *learn, *slow;
	struct learn_pass *pass, *slow_pass;
	struct loss *loss;
	struct adam adam;
	struct queue queue;
	struct rng rng;
	uint64_t steps;
	float *batch;  /* (2 pairs, input_dims): left ends, then right ends */
	uint64_t *ids; /* (2 pairs): each pair's, twice */
};

/* batch, ids := random pairs. */
static void
draw(struct descent *t)
{
	size_t d = t->config.model.input_dims, n = t->config.pairs;
	const struct descent_data *data = &t->data;
	for (size_t i = 0; i < n; i++) {
		size_t pair = rng_below(&t->rng, data->n_pairs);
		memcpy(t->batch + i * d, data->u + data->left[pair] * d,
		    d * sizeof *t->batch);
		memcpy(t->batch + (n + i) * d, data->u + data->right[pair] * d,
		    d * sizeof *t->batch);
		t->ids[i] = t->ids[n + i] = data->ids[pair];
	}
}

static int
open_all(struct descent *t, struct error *err)
{
	const struct descent_config *config = &t->config;
	const struct learn_config *model = &config->model;
	size_t rows = 2 * config->pairs, d = model->input_dims;
	const struct loss_size size = {.rows = rows,
	    .dims = model->shape.dims,
	    .input_dims = d,
	    .queue = config->queue,
	    .hardest = config->hardest};

	t->batch = array_new_aligned(rows * d, sizeof *t->batch);
	t->ids = array_new(rows, sizeof *t->ids);
	if (!t->batch || !t->ids)
		return error_set(err, ERR_MEMORY, "out of memory for a batch");
	if (!(t->learn = learn_new(model, err)) || !(t->slow = learn_new(model, err)) ||
	    !(t->pass = learn_pass_new(t->learn, config->blas, rows, err)) ||
	    !(t->slow_pass = learn_pass_new(t->slow, config->blas, rows, err)) ||
	    !(t->loss = loss_new(&size, config->blas, err)))
		return -1;
	if (adam_init(&t->adam, learn_size(t->learn).params, err) != 0)
		return -1;
	return queue_init(
	    &t->queue, config->queue, model->shape.bits, model->shape.dims, err);
}

struct descent *
descent_new(const struct descent_config *config, const struct descent_tuning *tuning,
    const struct descent_data *data, struct error *err)
{
	assert(config->pairs >= 1 && config->queue >= 1 && config->hardest >= 1);
	assert(data->n_pairs >= 1 && config->steps >= 1);
	struct descent *t = array_new(1, sizeof *t);
	if (!t) {
		error_set(err, ERR_MEMORY, "out of memory for training");
		return NULL;
	}
	t->config = *config;
	t->tuning = *tuning;
	t->data = *data;
	rng_init(&t->rng, config->seed, STREAM);
	if (open_all(t, err) != 0)
		goto err0;
	draw(t);
	if (learn_start_rotation(
		t->pass, config->seed, t->batch, 2 * config->pairs, err) != 0)
		goto err0;
	learn_follow(t->slow, t->learn, 0.0f);
	return t;
err0:
	descent_free(t);
	return NULL;
}

void
descent_free(struct descent *t)
{
	if (!t)
		return;
	learn_pass_free(t->pass);
	learn_pass_free(t->slow_pass);
	learn_free(t->learn);
	learn_free(t->slow);
	loss_free(t->loss);
	adam_free(&t->adam);
	queue_free(&t->queue);
	free(t->batch);
	free(t->ids);
	free(t);
}

/* The sum of the losses; their gradients are added at codes. */
static double
find_losses(struct descent *t, const struct learn_codes *codes)
{
	const struct descent_tuning *tuning = &t->tuning;
	float weights[CODE_BITS_MAX];
	double sum = 0.0;
	struct loss_pairs pairs = {.temperature = tuning->temperature,
	    .hardest = t->config.hardest,
	    .weights = weights,
	    .ids = t->ids,
	    .queue = &t->queue};
	const float all[] = {
	    tuning->reconstruction, tuning->ranking, tuning->codes, tuning->floats};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		for (size_t p = 0; p < codes->planes; p++)
			weights[p] = all[i] / (float)codes->planes;
		if (i == 0)
			sum += loss_reconstruction(t->loss, codes, weights);
		else if (i == 1 && all[i] != 0.0f)
			sum +=
			    loss_ranking(t->loss, codes, weights, tuning->temperature);
		else if (i > 1) {
			pairs.query = i == 2 ? LOSS_CODES : LOSS_FLOATS;
			sum += loss_pairs(t->loss, codes, &pairs);
		}
	}
	return sum;
}

/* Fill the queue with the follower's codes of the batch. */
static void
follow(struct descent *t)
{
	const struct estimator hard = {.kind = ESTIMATOR_STE};
	size_t rows = 2 * t->config.pairs;
	learn_follow(t->slow, t->learn, MOMENTUM);
	const struct learn_codes *codes =
	    learn_forward(t->slow_pass, t->batch, rows, DENSE_EVALUATE, &hard);
	queue_push(&t->queue, codes, rows, t->ids);
}

/* The rate of a step when the share `done` of training is over. */
static float
rate_at(const struct descent *t, float done)
{
	float rate = t->tuning.rate * 0.5f * (1.0f + cosf(3.14159265f * done));
	float step = 1.0f / (float)t->config.steps;
	return done + step < WARM ? rate * (done + step) / WARM : rate;
}

double
descent_step(struct descent *t)
{
	struct dense_numbers numbers = learn_numbers(t->learn);
	size_t n = learn_size(t->learn).params;
	float done = (float)t->steps / (float)t->config.steps;
	struct estimator estimator = {
	    .kind = t->config.estimator, .power = estimator_power(done, POWER_END)};

	draw(t);
	const struct learn_codes *codes = learn_forward(
	    t->pass, t->batch, 2 * t->config.pairs, DENSE_TRAIN, &estimator);
	memset(numbers.grads, 0, n * sizeof *numbers.grads);
	double loss = find_losses(t, codes);
	learn_backward(t->pass);
	if (isfinite(adam_clip(numbers.grads, n, LONGEST)))
		adam_step(&t->adam, numbers.params, numbers.grads, rate_at(t, done));
	if (t->tuning.codes != 0.0f || t->tuning.floats != 0.0f)
		follow(t);
	t->steps++;
	return loss;
}

uint64_t
descent_steps(const struct descent *t)
{
	return t->steps;
}

struct learn *
descent_learn(struct descent *t)
{
	return t->learn;
}

struct descent_tuning *
descent_tuning(struct descent *t)
{
	return &t->tuning;
}

void
descent_copy(struct descent *to, const struct descent *from)
{
	size_t n = from->adam.n, rows = from->queue.capacity * from->queue.planes;
	assert(to->adam.n == n && to->queue.capacity == from->queue.capacity);
	learn_follow(to->learn, from->learn, 0.0f);
	learn_follow(to->slow, from->slow, 0.0f);
	memcpy(to->adam.first, from->adam.first, n * sizeof(float));
	memcpy(to->adam.second, from->adam.second, n * sizeof(float));
	to->adam.steps = from->adam.steps;
	memcpy(to->queue.v, from->queue.v, rows * from->queue.dims * sizeof(float));
	memcpy(to->queue.unit, from->queue.unit, rows * sizeof(float));
	memcpy(to->queue.factor, from->queue.factor, rows * sizeof(float));
	memcpy(to->queue.ids, from->queue.ids,
	    from->queue.capacity * sizeof *to->queue.ids);
	to->queue.n = from->queue.n;
	to->queue.next = from->queue.next;
	to->steps = from->steps;
}

struct estimator_indicators
descent_indicators(const struct descent *t)
{
	struct estimator_indicators mean = {0.0, 0.0};
	uint32_t bits = t->config.model.shape.bits;
	for (uint32_t p = 0; p < bits; p++) {
		struct estimator_indicators plane = learn_indicators(t->pass, p);
		mean.error += plane.error / bits;
		mean.stability += plane.stability / bits;
	}
	return mean;
}

void
descent_parts(struct descent *t, struct checkpoint *c)
{
	struct dense_numbers fast = learn_numbers(t->learn);
	struct dense_numbers slow = learn_numbers(t->slow);
	struct dense_size size = learn_size(t->learn);
	size_t rows = t->queue.capacity * t->queue.planes;

	checkpoint_add(c, "params", TENSOR_F32, fast.params, size.params);
	checkpoint_add(c, "running", TENSOR_F32, fast.running, size.running);
	checkpoint_add(c, "slow.params", TENSOR_F32, slow.params, size.params);
	checkpoint_add(c, "slow.running", TENSOR_F32, slow.running, size.running);
	checkpoint_add(c, "adam.first", TENSOR_F32, t->adam.first, size.params);
	checkpoint_add(c, "adam.second", TENSOR_F32, t->adam.second, size.params);
	checkpoint_add(c, "adam.steps", TENSOR_I64, &t->adam.steps, 1);
	checkpoint_add(c, "queue.v", TENSOR_F32, t->queue.v, rows * t->queue.dims);
	checkpoint_add(c, "queue.unit", TENSOR_F32, t->queue.unit, rows);
	checkpoint_add(c, "queue.factor", TENSOR_F32, t->queue.factor, rows);
	checkpoint_add(c, "queue.ids", TENSOR_I64, t->queue.ids, t->queue.capacity);
	checkpoint_add(c, "queue.n", TENSOR_U8, &t->queue.n, sizeof t->queue.n);
	checkpoint_add(
	    c, "queue.next", TENSOR_U8, &t->queue.next, sizeof t->queue.next);
	checkpoint_add(c, "rng", TENSOR_I64, t->rng.s, 4);
	checkpoint_add(c, "steps", TENSOR_I64, &t->steps, 1);
	checkpoint_add(c, "tuning", TENSOR_U8, &t->tuning, sizeof t->tuning);
}
