#include "client/convert.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "attention/convert.h"
#include "client/options.h"

static const char help[] =
    "usage: halftone convert --from DIR --layers int8|float --output DIR [OPTIONS]\n"
    "\n"
    "Makes a model that halftone serves from a folder of the BERT family as Hugging "
    "Face\n"
    "has it: config.json, vocab.txt, model.safetensors (uncased, GELU, absolute "
    "positions).\n"
    "\n"
    "  --from DIR              the folder\n"
    "  --layers int8|float     int8: a quarter of the memory, several times as fast,\n"
    "                          nearly the same embeddings; float: the same embeddings\n"
    "  --output DIR            made if it is not there; its model is replaced\n"
    "  --pooling mean|cls      how pieces become one embedding (default: what the "
    "model\n"
    "                          says in 1_Pooling/config.json)\n"
    "  --query-prefix TEXT     put before a text that is a query (default: the "
    "model's\n"
    "                          prompt \"query\", else nothing)\n"
    "  --document-prefix TEXT  put before a text that is a document (default: the "
    "model's\n"
    "                          prompt \"document\" or \"passage\", else nothing)\n"
    "\n"
    "Some models were trained with prefixes that their folders may not tell:\n"
    "  bge-small-en-v1.5        --query-prefix 'Represent this sentence for searching "
    "relevant passages: '\n"
    "  e5-small-v2              --query-prefix 'query: ' --document-prefix 'passage: "
    "'\n"
    "  snowflake-arctic-embed-xs  in its folder; the same words as bge-small's\n"
    "\n"
    "Embeddings always have length 1. The conversions of one model share their\n"
    "\"coordinates\", so documents may be embedded with float and queries with int8.\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use.\n";

enum { OPT_FROM = 256, OPT_LAYERS, OPT_OUTPUT, OPT_POOLING, OPT_QUERY, OPT_DOCUMENT };

static const struct option long_options[] = {
    {"from", required_argument, NULL, OPT_FROM},
    {"layers", required_argument, NULL, OPT_LAYERS},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"pooling", required_argument, NULL, OPT_POOLING},
    {"query-prefix", required_argument, NULL, OPT_QUERY},
    {"document-prefix", required_argument, NULL, OPT_DOCUMENT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What the command line says, as it stands there. */
struct arguments {
	struct convert_options options;
	const char *layers;
};

/* The options are there and say something that is known. */
static int
check(struct arguments *a, int extra)
{
	struct convert_options *o = &a->options;

	if (extra > 0)
		return options_usage("expected options only; name folders with --from "
				     "and --output");
	if (!o->from || !a->layers || !o->output)
		return options_usage("expected --from DIR, --layers int8|float and "
				     "--output DIR; %s is missing",
		    !o->from     ? "--from"
		    : !a->layers ? "--layers"
				 : "--output");
	if (strcmp(a->layers, "int8") == 0)
		o->layers = LINEAR_INT8;
	else if (strcmp(a->layers, "float") == 0)
		o->layers = LINEAR_FLOAT;
	else
		return options_usage(
		    "expected --layers as int8 or float, not \"%s\"", a->layers);
	if (o->pooling && strcmp(o->pooling, "mean") != 0 &&
	    strcmp(o->pooling, "cls") != 0)
		return options_usage(
		    "expected --pooling as mean or cls, not \"%s\"", o->pooling);
	return OPTIONS_OK;
}

static int
parse(struct arguments *a, int argc, char **argv, bool *done)
{
	int option;

	*done = true;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_FROM:
			a->options.from = optarg;
			break;
		case OPT_LAYERS:
			a->layers = optarg;
			break;
		case OPT_OUTPUT:
			a->options.output = optarg;
			break;
		case OPT_POOLING:
			a->options.pooling = optarg;
			break;
		case OPT_QUERY:
			a->options.query_prefix = optarg;
			break;
		case OPT_DOCUMENT:
			a->options.document_prefix = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return OPTIONS_OK;
		default:
			return options_hint();
		}
	}
	*done = false;
	return check(a, argc - optind);
}

/* What was made goes to stdout, what the user may not expect to stderr. */
static void
tell(const struct arguments *a, const struct convert_summary *made)
{
	if (!made->normalized)
		fprintf(stderr,
		    "halftone convert: %s has no step Normalize; the embeddings of the "
		    "converted model have length 1 all the same\n",
		    a->options.from);
	printf("%s: %zu layers (%s), %zu dimensions, %zu pieces in the vocabulary, "
	       "texts of up to %zu, pooling %s\n",
	    a->options.output, made->layers, a->layers, made->dims, made->vocabulary,
	    made->pieces_max, made->cls ? "cls" : "mean");
	if (made->query_prefix[0])
		printf("queries begin with \"%s\"\n", made->query_prefix);
	if (made->document_prefix[0])
		printf("documents begin with \"%s\"\n", made->document_prefix);
}

int
convert_main(int argc, char **argv)
{
	struct arguments a = {0};
	struct convert_summary made;
	struct error err;
	bool done;

	options_begin("convert", argv);
	int rc = parse(&a, argc, argv, &done);
	if (rc != OPTIONS_OK || done)
		return rc;
	if (convert_model(&made, &a.options, &err) != 0)
		return options_refused(&err);
	tell(&a, &made);
	return OPTIONS_OK;
}
