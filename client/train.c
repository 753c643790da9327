#include "client/train.h"

#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/alloc.h"
#include "base/clock.h"
#include "base/vectors.h"
#include "binarize/fit.h"
#include "client/options.h"
#include "client/stop.h"
#include "client/train_check.h"
#include "client/train_compatible.h"
#include "client/train_sample.h"

/* Rows that are learned from, and beside them rows to see what it is worth: as many
 * documents as a tenth of the sample, up to these numbers. */
#define ROWS_MAX 200000
#define DOCUMENTS_MAX 10000
#define QUERIES_MAX 500
#define ROWS_MIN 1000

#define TURNS_MAX 24
#define LEAST_GAIN 0.002 /* a turn that misses less by a smaller share is the last */

#define BITS_DEFAULT 2

static const char help[] =
    "usage: halftone train --vectors F --output MODEL.safetensors [OPTIONS]\n"
    "\n"
    "Learns a binarizer from float vectors (.npy, .fvecs, .bvecs) as your encoder "
    "gives\n"
    "them, without labels. Similarity is the cosine.\n"
    "\n"
    "  --vectors F    at least 1,000 vectors, better 100,000; of more than 200,000 a\n"
    "                 random choice is taken\n"
    "  --output F     the file to write: call it NAME/binarizer.safetensors in the\n"
    "                 server's models directory, and NAME is a binarizer there\n"
    "  --dims M       dimensions of a code, a multiple of 64 (default: the vectors')\n"
    "  --bits B       bits of a dimension, 1 to 4 (default 2)\n"
    "  --seed S       of every random choice (default 1)\n"
    "\n"
    "An index survives a new model where that can search the codes of the old one:\n"
    "\n"
    "  --compatible-with OLD  a binarizer's file, or untrained; the new one's queries\n"
    "                 search its codes\n"
    "  --old-vectors F  where OLD is of another encoder: the same items as --vectors,\n"
    "                 row by row, by that one; best are documents that are in the "
    "index\n"
    "  --old-dims M, --old-bits B  of its codes, if OLD makes any (a rotation)\n"
    "\n"
    "A share of the vectors is held out, and overlap@10 on them is what the model is\n"
    "worth: how many of the ten nearest by floats the codes find. Ctrl-C ends "
    "training\n"
    "and keeps the best so far. Needs OpenBLAS (package libopenblas0-pthread).\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use.\n";

enum {
	OPT_VECTORS = 256,
	OPT_OUTPUT,
	OPT_DIMS,
	OPT_BITS,
	OPT_SEED,
	OPT_COMPATIBLE,
	OPT_OLD_VECTORS,
	OPT_OLD_DIMS,
	OPT_OLD_BITS,
};

static const struct option long_options[] = {
    {"vectors", required_argument, NULL, OPT_VECTORS},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"dims", required_argument, NULL, OPT_DIMS},
    {"bits", required_argument, NULL, OPT_BITS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"compatible-with", required_argument, NULL, OPT_COMPATIBLE},
    {"old-vectors", required_argument, NULL, OPT_OLD_VECTORS},
    {"old-dims", required_argument, NULL, OPT_OLD_DIMS},
    {"old-bits", required_argument, NULL, OPT_OLD_BITS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
	const char *vectors;
	const char *output;
	struct code_shape shape; /* dims 0: not named */
	uint32_t seed;
	struct train_compatible_options old;
};

static int
parse(struct arguments *a, int argc, char **argv, bool *done)
{
	int option;
	bool right = true;
	*done = true;
	while (right &&
	       (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_VECTORS:
			a->vectors = optarg;
			break;
		case OPT_OUTPUT:
			a->output = optarg;
			break;
		case OPT_DIMS:
			right = options_number(&a->shape.dims, "--dims", optarg,
			    CODE_DIMS_STEP, CODE_DIMS_MAX);
			break;
		case OPT_BITS:
			right = options_number(
			    &a->shape.bits, "--bits", optarg, 1, CODE_BITS_MAX);
			break;
		case OPT_SEED:
			right =
			    options_number(&a->seed, "--seed", optarg, 0, UINT32_MAX);
			break;
		case OPT_COMPATIBLE:
			a->old.model = optarg;
			break;
		case OPT_OLD_VECTORS:
			a->old.vectors = optarg;
			break;
		case OPT_OLD_DIMS:
			right = options_number(&a->old.shape.dims, "--old-dims", optarg,
			    CODE_DIMS_STEP, CODE_DIMS_MAX);
			break;
		case OPT_OLD_BITS:
			right = options_number(
			    &a->old.shape.bits, "--old-bits", optarg, 1, CODE_BITS_MAX);
			break;
		case 'h':
			fputs(help, stdout);
			return OPTIONS_OK;
		default:
			return options_hint();
		}
	}
	if (!right)
		return OPTIONS_USAGE;
	if (a->shape.dims % CODE_DIMS_STEP != 0)
		return options_usage("expected --dims to be a multiple of %d, not %u",
		    CODE_DIMS_STEP, a->shape.dims);
	if (optind != argc)
		return options_usage(
		    "expected no \"%s\" behind the options", argv[optind]);
	if (a->vectors == NULL || a->output == NULL)
		return options_usage("expected --vectors and --output");
	enum vectors_format format;
	struct error err;
	if (vectors_format_of(&format, a->vectors, &err) == -1)
		return options_refused(&err);
	int code = train_compatible_check(&a->old);
	*done = code != OPTIONS_OK;
	return code;
}

/* What a run works on. */
struct training {
	struct code_shape shape;
	uint32_t seed;
	struct train_sample sample; /* training rows, then documents, then queries */
	size_t n;                   /* training rows */
	float *mean;                /* (dims) of them */
	float *units;               /* (n, dims): without the mean, at length 1 */
	struct blas *blas;
	struct train_check check;
	struct recurrent *best;
	double best_overlap;
	struct train_compatible *old; /* NULL: compatible with none */
};

static int
threads(void)
{
#ifdef _OPENMP
	return omp_get_max_threads();
#else
	return 1;
#endif
}

/* units := rows without their mean, at length 1; zeros where nothing is left. */
static int
centre(struct training *t, struct error *err)
{
	size_t d = t->sample.dims;
	double *sum = array_new(d, sizeof *sum);
	t->mean = array_new(d, sizeof *t->mean);
	t->units = array_new_aligned(t->n, d * sizeof *t->units);
	if (!sum || !t->mean || !t->units) {
		free(sum);
		return error_set(
		    err, ERR_MEMORY, "out of memory for %zu vectors", t->n);
	}
	for (size_t i = 0; i < t->n; i++)
		for (size_t j = 0; j < d; j++)
			sum[j] += (double)t->sample.rows[i * d + j];
	for (size_t j = 0; j < d; j++)
		t->mean[j] = (float)(sum[j] / (double)t->n);
	free(sum);
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < t->n; i++) {
		const float *x = t->sample.rows + i * d;
		float *u = t->units + i * d;
		double square = 0.0;
		for (size_t j = 0; j < d; j++) {
			u[j] = x[j] - t->mean[j];
			square += (double)u[j] * (double)u[j];
		}
		float scale = square > 0.0 ? (float)(1.0 / sqrt(square)) : 0.0f;
		for (size_t j = 0; j < d; j++)
			u[j] *= scale;
	}
	return 0;
}

/* Split the sample and find what floats find in the part held out. */
static int
prepare(struct training *t, struct error *err)
{
	size_t n = t->sample.n, d = t->sample.dims;
	size_t documents = n / 10 < DOCUMENTS_MAX ? n / 10 : DOCUMENTS_MAX;
	size_t queries = documents / 4 < QUERIES_MAX ? documents / 4 : QUERIES_MAX;

	if (n < ROWS_MIN)
		return error_set(err, ERR_FORMAT,
		    "expected at least %d vectors to learn from, not %zu", ROWS_MIN, n);
	t->n = n - documents - queries;
	if (t->shape.dims == 0)
		t->shape.dims = (uint32_t)((d + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP *
					   CODE_DIMS_STEP);
	if (code_shape_check(t->shape, err) != 0)
		return -1;
	if (!(t->blas = blas_open(threads(), err)) || centre(t, err) != 0)
		return -1;
	t->check = (struct train_check){.blas = t->blas,
	    .documents = t->sample.rows + t->n * d,
	    .queries = t->sample.rows + (t->n + documents) * d,
	    .n_documents = documents,
	    .n_queries = queries,
	    .dims = d};
	return train_check_init(&t->check, err);
}

/* What may disappoint, and what to do about it. */
static void
warn(const struct training *t)
{
	size_t d = t->sample.dims;
	double square = 0.0;
	for (size_t j = 0; j < d; j++)
		square += (double)t->mean[j] * (double)t->mean[j];
	if (t->n < 10 * (size_t)t->shape.dims)
		fprintf(stderr,
		    "warning: %zu vectors are few for %u dimensions: expect less than "
		    "from %zu\n",
		    t->n, t->shape.dims, 100 * (size_t)t->shape.dims);
	if (d < 256)
		fprintf(stderr,
		    "warning: vectors of %zu dimensions lose more by binarizing than "
		    "longer ones: take more bits, or --dims %zu\n",
		    d,
		    2 * ((d + CODE_DIMS_STEP - 1) / CODE_DIMS_STEP * CODE_DIMS_STEP));
	if (square > 0.5)
		fprintf(stderr,
		    "warning: the vectors lie in a narrow cone (their mean has the "
		    "length %.2f): the encoder tells them apart badly\n",
		    sqrt(square));
}

static int
check_untrained(struct training *t, double *overlap, struct error *err)
{
	const struct recurrent_rotation_config config = {
	    .input_dims = (uint32_t)t->sample.dims,
	    .shape = t->shape,
	    .seed = RECURRENT_UNTRAINED_SEED,
	    .mean = t->mean};
	struct recurrent *model = recurrent_new(&config, err);
	int rc = model ? train_check_run(overlap, &t->check, model, err) : -1;
	recurrent_free(model);
	return rc;
}

/* See what the map of this turn is worth, and keep it if it is the best. */
static int
check_turn(
    struct training *t, const struct fit *fit, double *overlap, struct error *err)
{
	const struct recurrent_refined_config config = {
	    .input_dims = (uint32_t)t->sample.dims,
	    .shape = t->shape,
	    .mean = t->mean,
	    .map = fit_map(fit)};
	struct recurrent *model = recurrent_new_refined(&config, err);
	if (!model)
		return -1;
	if (train_check_run(overlap, &t->check, model, err) != 0) {
		recurrent_free(model);
		return -1;
	}
	if (t->best && *overlap <= t->best_overlap) {
		recurrent_free(model);
		return 0;
	}
	recurrent_free(t->best);
	t->best = model;
	t->best_overlap = *overlap;
	return 0;
}

static int
learn(struct training *t, struct error *err)
{
	const struct fit_config config = {.blas = t->blas,
	    .shape = t->shape,
	    .seed = t->seed,
	    .input_dims = t->sample.dims};
	struct fit *fit = fit_new(&config, t->units, t->n, err);
	if (!fit)
		return -1;
	double before = 1.0, missed = 1.0, overlap = 0.0;
	uint64_t start = clock_ns();
	int rc = 0;
	for (int turn = 1; rc == 0 && turn <= TURNS_MAX && !stop_requested(); turn++) {
		rc = fit_turn(fit, &missed, err);
		if (rc == 0)
			rc = check_turn(t, fit, &overlap, err);
		if (rc != 0)
			break;
		double seconds = clock_since(start);
		fprintf(stderr,
		    "turn %2d  missed %.4f  overlap@10 %.4f  %.0f s, at most %.0f s "
		    "left\n",
		    turn, missed, overlap, seconds,
		    seconds / turn * (TURNS_MAX - turn));
		if (turn > 2 && missed > before * (1 - LEAST_GAIN))
			break;
		before = missed;
	}
	fit_free(fit);
	if (rc == 0 && !t->best)
		rc = error_set(err, ERR_NONE, "stopped");
	return rc;
}

static int
run(struct training *t, const struct arguments *a, struct error *err)
{
	double untrained;

	if (train_sample_load(&t->sample, a->vectors,
		ROWS_MAX + DOCUMENTS_MAX + QUERIES_MAX, a->seed, err) != 0)
		return -1;
	if (a->old.model &&
	    !(t->old = train_compatible_new(&a->old, &t->sample, a->seed, err)))
		return -1;
	if (prepare(t, err) != 0)
		return -1;
	warn(t);
	fprintf(stderr,
	    "%zu of %llu vectors of %zu dimensions to %u x %u bits; held out %zu and "
	    "%zu "
	    "queries\n",
	    t->n, (unsigned long long)t->sample.count, t->sample.dims, t->shape.dims,
	    t->shape.bits, t->check.n_documents, t->check.n_queries);
	if (check_untrained(t, &untrained, err) != 0 || learn(t, err) != 0)
		return -1;
	const struct train_compatible_parts parts = {.n = t->n,
	    .n_documents = t->check.n_documents,
	    .blas = t->blas,
	    .seed = t->seed};
	if ((t->old && train_compatible_add(t->best, t->old, &parts, err) != 0) ||
	    recurrent_save(t->best, a->output, err) != 0)
		return -1;
	printf("overlap@10 %.4f, untrained %.4f\n", t->best_overlap, untrained);
	return 0;
}

int
train_main(int argc, char **argv)
{
	struct arguments arguments = {.shape = {.bits = BITS_DEFAULT}, .seed = 1};
	struct error err = {ERR_NONE, ""};
	uint64_t start_ns = clock_ns();
	bool done;

	options_begin("train", argv);
	int code = parse(&arguments, argc, argv, &done);
	if (done)
		return code;
	stop_watch();
	struct training t = {.shape = arguments.shape, .seed = arguments.seed};
	if (run(&t, &arguments, &err) != 0)
		code = err.code == ERR_NONE ? OPTIONS_FAILED : options_failed(&err);
	fprintf(stderr, "%s in %.3f s\n",
	    code == OPTIONS_OK     ? "trained"
	    : err.code == ERR_NONE ? "stopped, nothing written,"
				   : "failed",
	    clock_since(start_ns));
	recurrent_free(t.best);
	train_compatible_free(t.old);
	train_check_free(&t.check);
	blas_close(t.blas);
	train_sample_free(&t.sample);
	free(t.units);
	free(t.mean);
	return code;
}
