#include "client/train_options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/vectors.h"
#include "client/options.h"

#define ROWS_MIN 1000
#define ROWS_MAX 100000000
#define PAIRS_WEIGHT 0.1f /* of --floats, where the user has pairs */

static const char help[] =
    "usage: halftone train --vectors F --output MODEL.safetensors [OPTIONS]\n"
    "\n"
    "Learns a binarizer from float vectors (.npy, .fvecs, .bvecs) as your encoder "
    "gives\n"
    "them, without labels. Similarity is the cosine.\n"
    "\n"
    "  --vectors F    at least 1,000 vectors, better 100,000\n"
    "  --output F     the file to write: call it NAME/binarizer.safetensors in the\n"
    "                 server's models directory, and NAME is a binarizer there\n"
    "  --dims M       dimensions of a code, a multiple of 64 (default: the vectors')\n"
    "  --bits B       bits of a dimension, 1 to 4 (default 2)\n"
    "  --rows N       learn from a random choice of N vectors where there are more\n"
    "                 (default 200,000; memory grows with it)\n"
    "  --seed S       of every random choice (default 1)\n"
    "  --method M     refined (default): codes and their decoder by turns; ranks best\n"
    "                 recurrent: blocks of a recurrent binarizer, by gradients\n"
    "                 hash: one perceptron to M x B signs, by gradients, to compare "
    "with\n"
    "  --centres K    of refined codes: vectors are coded by what lies between them "
    "and\n"
    "                 the nearest of K; 4 bytes a document more (default: rows / 64, "
    "of\n"
    "                 1 bit rows / 16, at most 1024; 0: none, which a collection of\n"
    "                 distance hamming wants)\n"
    "  --checkpoint S seconds between checkpoints, at least (default 30)\n"
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
    "Of the two methods by gradients:\n"
    "  --steps N        steps of training, at least 10 a model (default 3,000)\n"
    "  --pairs F        lines \"ROW<TAB>ROW\" of vectors that belong together, counted "
    "from\n"
    "                   0 (default: near neighbours, if --codes or --floats asks)\n"
    "  --queries F      vectors that the first of the two rows is of\n"
    "  --layers N       layers of a block (default 1; 2 of hash), with batch norm\n"
    "  --hidden N       units of the layers between\n"
    "  --estimator E    of gradients through a sign: reste (default), ste, biper\n"
    "  --rate R, --temperature T\n"
    "  --reconstruction W, --ranking W, --codes W, --floats W\n"
    "                   weights of the losses: what a code loses of its vector; "
    "whether\n"
    "                   codes rank as floats do; whether pairs find each other, both\n"
    "                   coded, and with the query as floats (default 1, .3, 0, 0; the\n"
    "                   last .1 with --pairs)\n"
    "  --population N   N models share the steps; the worse take the better ones' "
    "place\n"
    "                   and tuning, and vary it\n"
    "\n"
    "A share of the vectors is held out, and overlap@10 on them is what the model is\n"
    "worth: how many of the ten nearest by floats the codes find. Ctrl-C ends "
    "training\n"
    "and keeps the best so far. What was broken off goes on where OUTPUT.checkpoint "
    "was\n"
    "written, when the same command is given again, and ends as if it never had been.\n"
    "Needs OpenBLAS (package libopenblas0-pthread).\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use.\n";

static const char *const methods[] = {[TRAIN_REFINED] = "refined",
    [TRAIN_RECURRENT] = "recurrent",
    [TRAIN_HASH] = "hash",
    NULL};
static const char *const estimators[] = {"ste", "reste", "biper", NULL};

/* One option: its name, where its value goes and what that may be. */
enum form { TEXT, NUMBER, REAL, WORD };
struct option_row {
	const char *name;
	enum form form;
	size_t place;
	double min, max;          /* NUMBER, REAL */
	const char *const *words; /* WORD: the value is a place in it */
	bool gradients;           /* says nothing to refined codes */
};
#define AT(field) offsetof(struct train_options, field)

static const struct option_row rows[] = {
    {"vectors", TEXT, AT(vectors), 0, 0, NULL, false},
    {"output", TEXT, AT(output), 0, 0, NULL, false},
    {"pairs", TEXT, AT(pairs), 0, 0, NULL, true},
    {"queries", TEXT, AT(queries), 0, 0, NULL, true},
    {"dims", NUMBER, AT(shape.dims), CODE_DIMS_STEP, CODE_DIMS_MAX, NULL, false},
    {"bits", NUMBER, AT(shape.bits), 1, CODE_BITS_MAX, NULL, false},
    {"rows", NUMBER, AT(rows), ROWS_MIN, ROWS_MAX, NULL, false},
    {"seed", NUMBER, AT(seed), 0, UINT32_MAX, NULL, false},
    {"method", WORD, AT(kind), 0, 0, methods, false},
    {"checkpoint", NUMBER, AT(checkpoint), 0, 86400, NULL, false},
    {"centres", NUMBER, AT(centres), 0, CODE_CENTRES_MAX, NULL, false},
    {"compatible-with", TEXT, AT(old.model), 0, 0, NULL, false},
    {"old-vectors", TEXT, AT(old.vectors), 0, 0, NULL, false},
    {"old-dims", NUMBER, AT(old.shape.dims), CODE_DIMS_STEP, CODE_DIMS_MAX, NULL,
	false},
    {"old-bits", NUMBER, AT(old.shape.bits), 1, CODE_BITS_MAX, NULL, false},
    {"steps", NUMBER, AT(steps), 1, 100000000, NULL, true},
    {"layers", NUMBER, AT(layers), 1, 8, NULL, true},
    {"hidden", NUMBER, AT(hidden), 1, 65536, NULL, true},
    {"estimator", WORD, AT(estimator), 0, 0, estimators, true},
    {"rate", REAL, AT(rate), 1e-7, 1, NULL, true},
    {"temperature", REAL, AT(temperature), 1e-3, 10, NULL, true},
    {"reconstruction", REAL, AT(reconstruction), 0, 1000, NULL, true},
    {"ranking", REAL, AT(ranking), 0, 1000, NULL, true},
    {"codes", REAL, AT(codes), 0, 1000, NULL, true},
    {"floats", REAL, AT(floats), 0, 1000, NULL, true},
    {"population", NUMBER, AT(population), 1, TRAIN_POPULATION_MAX, NULL, true},
};
#define ROWS (sizeof rows / sizeof *rows)

static bool
read_real(float *out, const struct option_row *row, const char *text)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end != '\0' || !(value >= row->min && value <= row->max)) {
		options_usage("expected --%s to be a number %g to %g, not \"%s\"",
		    row->name, row->min, row->max, text);
		return false;
	}
	*out = (float)value;
	return true;
}

static bool
read_word(uint32_t *out, const struct option_row *row, const char *text)
{
	char list[80] = "";
	for (uint32_t i = 0; row->words[i]; i++) {
		if (strcmp(row->words[i], text) == 0) {
			*out = i;
			return true;
		}
		size_t n = strlen(list);
		snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "",
		    row->words[i]);
	}
	options_usage(
	    "expected --%s to be one of %s, not \"%s\"", row->name, list, text);
	return false;
}

/* Put the value `text` where the row says; false after a message. */
static bool
take(struct train_options *options, const struct option_row *row, const char *text)
{
	char name[32];
	void *place = (char *)options + row->place;
	switch (row->form) {
	case TEXT:
		memcpy(place, &text, sizeof text);
		return true;
	case NUMBER:
		snprintf(name, sizeof name, "--%s", row->name);
		return options_number(
		    place, name, text, (uint32_t)row->min, (uint32_t)row->max);
	case REAL:
		return read_real(place, row, text);
	case WORD:
		return read_word(place, row, text);
	}
	return false;
}

/* The result takes the place of the file that has its name: of none that is read. */
static int
check_output(const struct train_options *o)
{
	const char *files[] = {
	    o->vectors, o->queries, o->pairs, o->old.vectors, o->old.model};
	struct stat output, input;
	if (stat(o->output, &output) != 0)
		return OPTIONS_OK;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (files[i] && stat(files[i], &input) == 0 &&
		    input.st_dev == output.st_dev && input.st_ino == output.st_ino)
			return options_usage(
			    "expected --output to be another file than %s, which it "
			    "would replace",
			    files[i]);
	return OPTIONS_OK;
}

static int
check_files(const struct train_options *o)
{
	const char *files[] = {o->vectors, o->queries};
	struct error err;
	for (size_t i = 0; i < 2; i++) {
		enum vectors_format format;
		if (files[i] && vectors_format_of(&format, files[i], &err) == -1)
			return options_refused(&err);
	}
	return check_output(o);
}

uint32_t
train_options_layers(const struct train_options *o)
{
	if (o->layers > 0)
		return o->layers;
	return o->kind == TRAIN_HASH ? 2 : 1;
}

/* named (ROWS): which options were given. */
static int
check_gradients(const struct train_options *o, const bool *named)
{
	for (size_t i = 0; i < ROWS; i++)
		if (o->kind == TRAIN_REFINED && named[i] && rows[i].gradients)
			return options_usage(
			    "expected --method recurrent or hash with --%s, as refined "
			    "codes are not learned by gradients",
			    rows[i].name);
	return OPTIONS_OK;
}

static int
check(const struct train_options *o)
{
	if (o->shape.dims % CODE_DIMS_STEP != 0)
		return options_usage("expected --dims to be a multiple of %d, not %u",
		    CODE_DIMS_STEP, o->shape.dims);
	if (o->vectors == NULL || o->output == NULL)
		return options_usage("expected --vectors and --output");
	if (o->queries && !o->pairs)
		return options_usage(
		    "expected --pairs with --queries, to say which belong together");
	if (o->kind != TRAIN_REFINED &&
	    o->reconstruction + o->ranking + o->codes + o->floats <= 0.0f)
		return options_usage("expected a loss whose weight is not 0");
	if (o->kind != TRAIN_REFINED && o->steps < TRAIN_ROUNDS * o->population)
		return options_usage(
		    "expected --steps of at least %u, %d for each model, not %u",
		    TRAIN_ROUNDS * o->population, TRAIN_ROUNDS, o->steps);
	if (o->hidden > 0 && train_options_layers(o) < 2)
		return options_usage("expected --layers of at least 2 with --hidden, "
				     "which says how wide they are between");
	if (o->kind != TRAIN_REFINED && o->centres != TRAIN_CENTRES_AUTO)
		return options_usage(
		    "expected --centres with --method refined, whose codes may have "
		    "them");
	int code = check_files(o);
	return code == OPTIONS_OK ? train_compatible_check(&o->old) : code;
}

int
train_options_parse(struct train_options *o, int argc, char **argv, bool *done)
{
	struct option names[ROWS + 2] = {{NULL, 0, NULL, 0}};
	bool named[ROWS] = {false};
	int c;
	for (size_t i = 0; i < ROWS; i++)
		names[i] = (struct option){
		    rows[i].name, required_argument, NULL, 256 + (int)i};
	names[ROWS] = (struct option){"help", no_argument, NULL, 'h'};

	*done = true;
	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return OPTIONS_OK;
		}
		if (c < 256)
			return options_hint();
		if (!take(o, &rows[c - 256], optarg))
			return OPTIONS_USAGE;
		named[c - 256] = true;
	}
	if (optind != argc)
		return options_usage(
		    "expected no \"%s\" behind the options", argv[optind]);
	if (o->floats < 0)
		o->floats = o->pairs ? PAIRS_WEIGHT : 0.0f;
	int code = check_gradients(o, named);
	if (code == OPTIONS_OK)
		code = check(o);
	*done = code != OPTIONS_OK;
	return code;
}

void
train_options_settings(const struct train_options *o, char *text, size_t cap)
{
	int n =
	    snprintf(text, cap, "%s %ux%u seed %u rows %u centres %d", methods[o->kind],
		o->shape.dims, o->shape.bits, o->seed, o->rows, (int)o->centres);
	if (o->kind == TRAIN_REFINED || n < 0 || (size_t)n >= cap)
		return;
	snprintf(text + n, cap - (size_t)n,
	    " steps %u layers %u,%u %s rate %g,%g losses %g,%g,%g,%g population %u",
	    o->steps, o->layers, o->hidden, estimators[o->estimator], (double)o->rate,
	    (double)o->temperature, (double)o->reconstruction, (double)o->ranking,
	    (double)o->codes, (double)o->floats, o->population);
}
