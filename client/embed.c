#include "client/embed.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/vectors.h"
#include "client/lines.h"
#include "client/options.h"
#include "client/stop.h"

#define GROUP 1024 /* lines that are embedded at a time, by all processors */

static const char help[] =
    "usage: halftone embed [--model DIR] [--input-type query|document]\n"
    "                      [--output F.npy] [FILE]\n"
    "\n"
    "Embeds each line of FILE (standard input if it is missing or \"-\") with a "
    "model,\n"
    "without a server.\n"
    "\n"
    "  --model DIR        the model (default: models/" OPTIONS_TEXT_MODEL
    "\n                     beside this program)\n"
    "  --input-type T     what the lines are, for a model that puts words before "
    "queries\n"
    "                     or documents; without it they are taken as they are\n"
    "  --output F.npy     write an array of float32, a row for each line; without it\n"
    "                     lines {\"vector\": [...]} go to standard output\n"
    "\n"
    "A line that cannot be embedded (it is empty, or means nothing to the model) ends\n"
    "the run. Exit codes: 0 done, 1 failed, 2 wrong use.\n";

enum { OPT_MODEL = 256, OPT_INPUT_TYPE, OPT_OUTPUT };

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"input-type", required_argument, NULL, OPT_INPUT_TYPE},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
	const char *model; /* NULL = the default */
	enum encoder_role role;
	const char *output;
	const char *file;
};

/* Some lines and their embeddings. */
struct group {
	const struct encoder *encoder;
	enum encoder_role role;
	char *texts[GROUP];
	size_t lens[GROUP];
	uint64_t numbers[GROUP];
	size_t n;
	float *vectors; /* (GROUP, dims) */
	size_t failed;  /* the first line that could not be embedded; n = none */
	struct error error;
};

static int
parse(struct arguments *a, int argc, char **argv, bool *done)
{
	int option;
	*done = true;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_MODEL:
			a->model = optarg;
			break;
		case OPT_INPUT_TYPE:
			if (strcmp(optarg, "query") == 0)
				a->role = ENCODER_QUERY;
			else if (strcmp(optarg, "document") == 0)
				a->role = ENCODER_DOCUMENT;
			else
				return options_usage("expected --input-type query or "
						     "document, not \"%s\"",
				    optarg);
			break;
		case OPT_OUTPUT:
			a->output = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return OPTIONS_OK;
		default:
			return options_hint();
		}
	}
	if (argc - optind > 1)
		return options_usage("expected one FILE at most");
	a->file = optind < argc ? argv[optind] : "-";
	enum vectors_format format;
	struct error err;
	if (a->output != NULL && (vectors_format_of(&format, a->output, &err) == -1 ||
				     format != VECTORS_NPY))
		return options_usage(
		    "expected --output to end in .npy, not \"%s\"", a->output);
	*done = false;
	return OPTIONS_OK;
}

static void
free_texts(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->texts[i]);
	g->n = 0;
}

static void
note_failure(struct group *g, size_t i, const struct error *err)
{
#pragma omp critical
	if (i < g->failed) {
		g->failed = i;
		g->error = *err;
	}
}

/* Embed all lines of the group, on all processors. */
static int
embed_group(struct group *g, const char *name, struct error *err)
{
	size_t dims = encoder_dims(g->encoder);
	g->failed = g->n;
#pragma omp parallel
	{
		struct error mine;
		struct encoder_scratch *scratch =
		    encoder_scratch_new(g->encoder, &mine);
		if (scratch == NULL)
			note_failure(g, 0, &mine);
#pragma omp for schedule(dynamic, 16)
		for (size_t i = 0; i < g->n; i++) {
			struct encoder_output out = {.vector = g->vectors + i * dims};
			if (scratch != NULL &&
			    encoder_embed(g->encoder, scratch, &out, g->role,
				g->texts[i], g->lens[i], &mine) == -1)
				note_failure(g, i, &mine);
		}
		encoder_scratch_free(scratch);
	}
	if (g->failed == g->n)
		return 0;
	*err = g->error;
	return error_prefix(
	    err, "%s:%llu", name, (unsigned long long)g->numbers[g->failed]);
}

static int
write_group(const struct group *g, struct vectors_writer *writer, struct error *err)
{
	size_t dims = encoder_dims(g->encoder);
	for (size_t i = 0; i < g->n; i++) {
		const float *row = g->vectors + i * dims;
		if (writer != NULL) {
			if (vectors_save_row(writer, row, err) == -1)
				return -1;
			continue;
		}
		fputs("{\"vector\": [", stdout);
		for (size_t j = 0; j < dims; j++)
			printf("%s%.9g", j > 0 ? ", " : "", (double)row[j]);
		if (puts("]}") == EOF)
			return error_set(
			    err, ERR_IO, "cannot write to standard output");
	}
	return 0;
}

/* Read up to GROUP lines; 1: some; 0: the end; -1: *err. */
static int
read_group(struct group *g, struct lines *lines, struct error *err)
{
	char *text;
	size_t len;
	int rc = 1;
	while (g->n < GROUP && (rc = lines_next(lines, &text, &len, err)) == 1) {
		g->texts[g->n] = array_copy(text, len);
		if (g->texts[g->n] == NULL)
			return error_set(err, ERR_MEMORY, "no memory for a line");
		g->lens[g->n] = len;
		g->numbers[g->n++] = lines_number(lines);
	}
	return rc == -1 ? -1 : g->n > 0;
}

static int
embed_lines(struct group *g, struct lines *lines, struct vectors_writer *writer,
    uint64_t *count, struct error *err)
{
	int rc;
	while ((rc = read_group(g, lines, err)) == 1) {
		if (embed_group(g, lines_name(lines), err) == -1 ||
		    write_group(g, writer, err) == -1)
			return -1;
		*count += g->n;
		free_texts(g);
	}
	if (rc == 0 && stop_requested())
		rc = error_set(err, ERR_NONE, "stopped");
	return rc;
}

/* With the model open: read, embed, write; the output file is whole or not there. */
static int
run(const struct arguments *a, const struct encoder *encoder, uint64_t *count,
    struct error *err)
{
	size_t dims = encoder_dims(encoder);
	struct vectors_writer *writer = NULL;
	struct lines *lines = lines_open(a->file, err);
	struct group *g = array_new(1, sizeof *g);
	float *vectors = array_new(GROUP, dims * sizeof *vectors);
	int rc = -1;
	if (g == NULL || vectors == NULL)
		error_set(err, ERR_MEMORY, "no memory for embeddings");
	else if (lines != NULL &&
		 (a->output == NULL ||
		     (writer = vectors_save_open(a->output, dims, err)) != NULL)) {
		g->encoder = encoder;
		g->role = a->role;
		g->vectors = vectors;
		rc = embed_lines(g, lines, writer, count, err);
	}
	if (rc == 0 && writer != NULL) {
		rc = vectors_save_close(writer, err);
		writer = NULL;
	}
	if (rc == 0 && fflush(stdout) != 0)
		rc = error_set(err, ERR_IO, "cannot write to standard output");
	vectors_save_abandon(writer);
	if (g != NULL)
		free_texts(g);
	free(vectors);
	free(g);
	lines_close(lines);
	return rc;
}

int
embed_main(int argc, char **argv)
{
	struct arguments arguments = {.model = NULL};
	struct error err = {ERR_NONE, ""};
	uint64_t start_ns = clock_ns(), count = 0;
	char model[4200];
	bool done;

	options_begin("embed", argv);
	int code = parse(&arguments, argc, argv, &done);
	if (done)
		return code;
	stop_watch();
	int rc = 0;
	if (arguments.model != NULL)
		snprintf(model, sizeof model, "%s", arguments.model);
	else
		rc = options_default_model(model, sizeof model, &err);
	struct encoder *encoder = rc == 0 ? encoder_open(model, &err) : NULL;
	if (encoder == NULL || run(&arguments, encoder, &count, &err) == -1)
		code = err.code == ERR_NONE ? OPTIONS_FAILED : options_failed(&err);
	encoder_close(encoder);
	double seconds = clock_since(start_ns);
	fprintf(stderr, "%llu line%s %s in %.3f s, %.0f/s\n", (unsigned long long)count,
	    count == 1 ? "" : "s",
	    code == OPTIONS_OK ? "embedded" : "embedded before it ended", seconds,
	    seconds > 0 ? (double)count / seconds : 0);
	return code;
}
