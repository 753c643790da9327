#include "client/eval.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/vectors.h"
#include "binarize/choice.h"
#include "client/options.h"
#include "client/stop.h"

static const char help[] =
    "usage: halftone eval --corpus F --queries F --qrels F (--url U | --model DIR)\n"
    "                     [OPTIONS]\n"
    "       halftone eval --corpus V.npy --queries V.npy --bits B [OPTIONS]\n"
    "\n"
    "Measures retrieval on a judged collection of documents in BEIR's form: corpus "
    "and\n"
    "queries are lines {\"id\" or \"_id\", \"title\", \"text\"}, qrels are lines\n"
    "query-id TAB doc-id TAB grade. A document's text is title, space, text.\n"
    "\n"
    "  --url U            import into a temporary collection of this server, ask it, "
    "and\n"
    "                     drop the collection\n"
    "  --model DIR        embed in this process; alone: search in this process, "
    "beside\n"
    "                     --url: for overlap@k only\n"
    "  --bits B           bits of a dimension, 1 to 4; 0 (the default with --model "
    "alone)\n"
    "                     is exact search by floats\n"
    "  --dims M           dimensions of a code, a multiple of 64 (default: the "
    "model's)\n"
    "  --binarizer NAME   what makes the codes: a file (with --url: a name the server\n"
    "                     knows), or untrained (default: beside the model, the one "
    "learned\n"
    "                     for these bits and dims, or else of any shape)\n"
    "  --text-model NAME  the server's model (default: the last part of --model DIR, "
    "or\n"
    "                     " OPTIONS_TEXT_MODEL ")\n"
    "  --api-key-file F   file with the API key (default: $HALFTONE_API_KEY)\n"
    "  --json             print one JSON object\n"
    "  --ranks F.npy      write the numbers of the first 100 documents of each query\n"
    "\n"
    "nDCG@10, recall@10 and recall@100 are those of trec_eval: linear gain, relevant "
    "is\n"
    "grade > 0; the mean is over the queries that have judgements, and one of which "
    "no\n"
    "document is relevant counts as 0. overlap@k is the share of the exact float top "
    "k\n"
    "that was found; it needs --model. A document's bytes are its code and its "
    "factor.\n"
    "\n"
    "Vectors (.npy, .fvecs, .bvecs) instead of texts are coded and searched in this\n"
    "process, by cosine, and overlap@k is what is measured.\n"
    "\n"
    "  --searched-by F    the binarizer that queries are asked by, trained with\n"
    "                     --compatible-with that of the documents\n"
    "  --old-corpus V     the vectors that documents are coded from, row by row "
    "those of\n"
    "                     --corpus (default: those)\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use.\n";

enum {
	OPT_CORPUS = 256,
	OPT_QUERIES,
	OPT_QRELS,
	OPT_URL,
	OPT_MODEL,
	OPT_BITS,
	OPT_DIMS,
	OPT_BINARIZER,
	OPT_TEXT_MODEL,
	OPT_KEY,
	OPT_RANKS,
	OPT_SEARCHED_BY,
	OPT_OLD_CORPUS,
	OPT_JSON,
};

static const struct option long_options[] = {
    {"corpus", required_argument, NULL, OPT_CORPUS},
    {"queries", required_argument, NULL, OPT_QUERIES},
    {"qrels", required_argument, NULL, OPT_QRELS},
    {"url", required_argument, NULL, OPT_URL},
    {"model", required_argument, NULL, OPT_MODEL},
    {"bits", required_argument, NULL, OPT_BITS},
    {"dims", required_argument, NULL, OPT_DIMS},
    {"binarizer", required_argument, NULL, OPT_BINARIZER},
    {"text-model", required_argument, NULL, OPT_TEXT_MODEL},
    {"api-key-file", required_argument, NULL, OPT_KEY},
    {"ranks", required_argument, NULL, OPT_RANKS},
    {"searched-by", required_argument, NULL, OPT_SEARCHED_BY},
    {"old-corpus", required_argument, NULL, OPT_OLD_CORPUS},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
	const char *corpus;
	const char *queries;
	const char *qrels;
	const char *url;
	const char *model;
	const char *binarizer; /* NULL = not named */
	const char *text_model;
	const char *key_path;
	const char *ranks;
	const char *searched_by;
	const char *old_corpus;
	bool vectors;                  /* corpus and queries are files of them */
	struct remote_address address; /* where a url is named */
	struct code_shape shape;       /* zeros: not named */
	bool json;
};

struct report {
	double ndcg_10;
	double recall_10;
	double recall_100;
	double overlap_10; /* negative: unknown */
	double overlap_100;
	size_t bytes_per_document;
};

static bool
set_option(struct arguments *a, int option)
{
	const char **const texts[] = {&a->corpus, &a->queries, &a->qrels, &a->url,
	    &a->model, NULL, NULL, &a->binarizer, &a->text_model, &a->key_path,
	    &a->ranks, &a->searched_by, &a->old_corpus};
	switch (option) {
	case OPT_BITS:
		return options_number(
		    &a->shape.bits, "--bits", optarg, 0, CODE_BITS_MAX);
	case OPT_DIMS:
		if (!options_number(&a->shape.dims, "--dims", optarg, CODE_DIMS_STEP,
			CODE_DIMS_MAX))
			return false;
		if (a->shape.dims % CODE_DIMS_STEP == 0)
			return true;
		options_usage("expected --dims to be a multiple of %d, not %u",
		    CODE_DIMS_STEP, a->shape.dims);
		return false;
	case OPT_JSON:
		a->json = true;
		return true;
	default:
		if (option < OPT_CORPUS || option > OPT_OLD_CORPUS) {
			options_hint(); /* getopt_long has said the rest */
			return false;
		}
		*texts[option - OPT_CORPUS] = optarg;
		return true;
	}
}

/* The options of a corpus of vectors. */
static int
parse_vectors(struct arguments *a, bool *done)
{
	struct error err;
	enum vectors_format format;
	if (a->queries == NULL || a->shape.bits == 0)
		return options_usage(
		    "expected --queries and --bits 1 to 4 with a corpus of vectors");
	if (a->qrels != NULL || a->url != NULL || a->model != NULL ||
	    a->text_model != NULL)
		return options_usage("expected no --qrels, --url, --model or "
				     "--text-model with a corpus of vectors");
	if (a->old_corpus != NULL && a->searched_by == NULL)
		return options_usage("expected --searched-by with --old-corpus");
	if (vectors_format_of(&format, a->queries, &err) == -1 ||
	    (a->old_corpus != NULL &&
		vectors_format_of(&format, a->old_corpus, &err) == -1))
		return options_refused(&err);
	a->vectors = true;
	*done = false;
	return OPTIONS_OK;
}

static int
parse(struct arguments *a, int argc, char **argv, bool *done)
{
	struct error err;
	int option;
	bool bits_named = false;
	enum vectors_format format;
	*done = true;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return OPTIONS_OK;
		}
		if (!set_option(a, option))
			return OPTIONS_USAGE;
		bits_named = bits_named || option == OPT_BITS;
	}
	if (optind != argc)
		return options_usage(
		    "expected no \"%s\" behind the options", argv[optind]);
	if (a->corpus != NULL && vectors_format_of(&format, a->corpus, &err) == 0)
		return parse_vectors(a, done);
	if (a->corpus == NULL || a->queries == NULL || a->qrels == NULL)
		return options_usage("expected --corpus, --queries and --qrels");
	if (a->url == NULL && a->model == NULL)
		return options_usage("expected --url U or --model DIR");
	if (a->searched_by != NULL || a->old_corpus != NULL)
		return options_usage("expected a corpus of vectors with "
				     "--searched-by and --old-corpus");
	if (a->url != NULL && bits_named && a->shape.bits == 0)
		return options_usage(
		    "expected --bits 1 to 4 with --url: a server keeps codes");
	if (a->url == NULL && a->shape.bits == 0 &&
	    (a->shape.dims != 0 || a->binarizer != NULL))
		return options_usage(
		    "expected --bits 1 to 4 with --dims and --binarizer");
	if (a->url != NULL &&
	    remote_address_read(&a->address, a->url, a->key_path, &err) == -1)
		return options_refused(&err);
	*done = false;
	return OPTIONS_OK;
}

/* name (cap) := the last part of the path of a folder, or
 * OPTIONS_TEXT_MODEL. */
static void
default_text_model(char *name, size_t cap, const char *model)
{
	size_t n = model == NULL ? 0 : strlen(model);
	while (n > 0 && model[n - 1] == '/')
		n--;
	size_t start = n;
	while (start > 0 && model[start - 1] != '/')
		start--;
	if (n == start)
		snprintf(name, cap, OPTIONS_TEXT_MODEL);
	else
		snprintf(name, cap, "%.*s", (int)(n - start), model + start);
}

static int
ask_server(struct eval_ranks *ranks, struct arguments *a, const struct eval_task *task,
    struct error *err)
{
	char name[256];
	default_text_model(name, sizeof name, a->model);
	struct eval_server server = {
	    .text_model = a->text_model == NULL ? name : a->text_model,
	    .binarizer = a->binarizer,
	    .address = a->address,
	};
	return eval_remote(ranks, &a->shape, task, &server, err);
}

static int
search_codes(struct eval_ranks *ranks, struct arguments *a,
    const struct eval_embedded *embedded, struct error *err)
{
	struct choice beside = {.any.path = NULL};
	const char *binarizer = a->binarizer;
	if (binarizer == NULL) {
		const struct code_shape wish = {
		    a->shape.dims, a->shape.bits, CODE_CENTRES_MAX};
		if (choice_read(&beside, a->model, err) == -1)
			return -1;
		binarizer = choice_path(&beside, wish);
	} else if (strcmp(binarizer, "untrained") == 0) {
		binarizer = NULL;
	}
	uint64_t start = clock_ns();
	struct eval_seconds seconds;
	const struct eval_binarizers binarizers = {.corpus = binarizer};
	int rc = eval_codes(ranks, &seconds, &a->shape, embedded, &binarizers, err);
	if (rc == 0)
		fprintf(stderr, "coded and searched with %s in %.3f s\n",
		    binarizer == NULL ? "the untrained binarizer" : binarizer,
		    clock_since(start));
	choice_free(&beside);
	return rc;
}

/* Means over the judged queries.  `exact` NULL: no overlap. */
static struct report
measure(const struct eval_task *task, const struct eval_ranks *ranks,
    const struct eval_ranks *exact)
{
	struct report r = {.overlap_10 = exact == NULL ? -1 : 0};
	size_t n = task->qrels.n_queries;
	r.overlap_100 = r.overlap_10;
	for (size_t i = 0; i < n; i++) {
		const struct beir_query *q = &task->qrels.queries[i];
		struct trec_judged judged = {task->qrels.list + q->first, q->n};
		struct trec_ranking found = eval_ranks_of(ranks, i);
		r.ndcg_10 += trec_ndcg(found, judged, 10) / (double)n;
		r.recall_10 += trec_recall(found, judged, 10) / (double)n;
		r.recall_100 += trec_recall(found, judged, 100) / (double)n;
		if (exact == NULL)
			continue;
		struct trec_ranking best = eval_ranks_of(exact, i);
		r.overlap_10 += trec_overlap(found, best, 10) / (double)n;
		r.overlap_100 += trec_overlap(found, best, 100) / (double)n;
	}
	return r;
}

static void
print_share(const char *name, double value, bool json)
{
	if (json && value < 0)
		printf("\"%s\": null, ", name);
	else if (json)
		printf("\"%s\": %.6f, ", name, value);
	else if (value < 0)
		printf("%-12s -  (needs --model)\n", name);
	else
		printf("%-12s %.4f\n", name, value);
}

static void
print_report(
    const struct report *r, const struct eval_task *task, uint32_t bits, bool json)
{
	fputs(json ? "{" : "", stdout);
	print_share("ndcg@10", r->ndcg_10, json);
	print_share("recall@10", r->recall_10, json);
	print_share("recall@100", r->recall_100, json);
	print_share("overlap@10", r->overlap_10, json);
	print_share("overlap@100", r->overlap_100, json);
	printf(json ? "\"documents\": %zu, \"queries\": %zu, \"bits\": %u, "
		      "\"bytes_per_document\": %zu}\n"
		    : "%zu documents, %zu queries, %u bits, %zu bytes per document\n",
	    task->corpus.n, task->qrels.n_queries, bits, r->bytes_per_document);
}

/* Say what the means hide. */
static void
print_notes(const struct eval_task *task)
{
	size_t empty = 0;
	for (size_t i = 0; i < task->qrels.n_queries; i++) {
		const struct beir_query *q = &task->qrels.queries[i];
		struct trec_judged judged = {task->qrels.list + q->first, q->n};
		empty += trec_relevant(judged) == 0;
	}
	if (empty > 0)
		fprintf(stderr,
		    "%zu queries have no relevant document and count as 0\n", empty);
	if (task->qrels.n_unknown_docs > 0)
		fprintf(stderr,
		    "%zu judgements are of documents that the corpus lacks\n",
		    task->qrels.n_unknown_docs);
	if (task->qrels.n_unknown_queries > 0)
		fprintf(stderr,
		    "%zu judgements are of queries that are not there, and left out\n",
		    task->qrels.n_unknown_queries);
}

static int
load(struct eval_task *task, const struct arguments *a, struct error *err)
{
	if (beir_texts_load(&task->corpus, a->corpus, err) == -1 ||
	    beir_texts_load(&task->queries, a->queries, err) == -1 ||
	    beir_qrels_load(
		&task->qrels, a->qrels, &task->corpus, &task->queries, err) == -1)
		return -1;
	return stop_requested() ? error_set(err, ERR_NONE, "stopped") : 0;
}

/* Embed with the model in this process and rank by floats. */
static int
search_exact(struct eval_ranks *exact, struct eval_embedded *embedded,
    const struct eval_task *task, const char *model, struct error *err)
{
	uint64_t start = clock_ns();
	if (eval_embed(embedded, task, model, err) == -1)
		return -1;
	double embedding_s = clock_since(start);
	start = clock_ns();
	if (eval_exact(exact, embedded, err) == -1)
		return -1;
	fprintf(stderr, "embedded in %.3f s, searched by floats in %.3f s\n",
	    embedding_s, clock_since(start));
	return 0;
}

static int
evaluate(struct arguments *a, struct eval_task *task, struct error *err)
{
	struct eval_ranks exact = {NULL, NULL, 0}, coded = {NULL, NULL, 0};
	struct eval_embedded embedded = {.corpus = {.n = 0}};
	int rc = load(task, a, err);
	if (rc == 0)
		rc = eval_ranks_new(&exact, task->qrels.n_queries, err);
	if (rc == 0)
		rc = eval_ranks_new(&coded, task->qrels.n_queries, err);
	if (rc == 0 && a->model != NULL)
		rc = search_exact(&exact, &embedded, task, a->model, err);
	bool floats = a->url == NULL && a->shape.bits == 0;
	if (rc == 0 && a->url != NULL)
		rc = ask_server(&coded, a, task, err);
	else if (rc == 0 && !floats)
		rc = search_codes(&coded, a, &embedded, err);
	if (rc == 0 && a->ranks != NULL)
		rc = eval_ranks_save(floats ? &exact : &coded, a->ranks, err);
	if (rc == 0) {
		struct report r = measure(
		    task, floats ? &exact : &coded, a->model == NULL ? NULL : &exact);
		r.bytes_per_document = floats ? embedded.corpus.dims * sizeof(float)
					      : code_bytes(a->shape) + sizeof(float);
		print_notes(task);
		print_report(&r, task, floats ? 0 : a->shape.bits, a->json);
	}
	eval_embedded_free(&embedded);
	eval_ranks_free(&exact);
	eval_ranks_free(&coded);
	return rc;
}

static void
print_vectors(const struct arguments *a, const struct eval_ranks *found,
    const struct eval_ranks *exact, const struct eval_seconds *seconds, size_t n)
{
	double overlap_10 = 0, overlap_100 = 0;
	for (size_t i = 0; i < found->n_queries; i++) {
		struct trec_ranking got = eval_ranks_of(found, i);
		struct trec_ranking best = eval_ranks_of(exact, i);
		overlap_10 += trec_overlap(got, best, 10) / (double)found->n_queries;
		overlap_100 += trec_overlap(got, best, 100) / (double)found->n_queries;
	}
	fputs(a->json ? "{" : "", stdout);
	print_share("overlap@10", overlap_10, a->json);
	print_share("overlap@100", overlap_100, a->json);
	printf(a->json ? "\"documents\": %zu, \"queries\": %zu, \"bits\": %u, "
			 "\"bytes_per_document\": %zu, \"encode_seconds\": %.6f, "
			 "\"search_seconds\": %.6f}\n"
		       : "%zu documents, %zu queries, %u bits, %zu bytes per document, "
			 "coded in %.3f s, searched in %.3f s\n",
	    n, found->n_queries, a->shape.bits, code_bytes(a->shape) + sizeof(float),
	    seconds->encode, seconds->search);
}

/* The corpus := what was there before it. */
static int
take_old_corpus(struct eval_embedded *embedded, const char *path, struct error *err)
{
	size_t n = embedded->corpus.n;
	eval_vectors_free(&embedded->corpus);
	memset(&embedded->corpus, 0, sizeof embedded->corpus);
	if (eval_vectors_load(&embedded->corpus, path, err) == -1)
		return -1;
	if (embedded->corpus.n == n)
		return 0;
	return error_set(err, ERR_FORMAT,
	    "%s: expected %zu vectors, as many as the corpus has, not %zu", path, n,
	    embedded->corpus.n);
}

static int
evaluate_vectors(struct arguments *a, struct error *err)
{
	struct eval_ranks exact = {NULL, NULL, 0}, found = {NULL, NULL, 0};
	struct eval_embedded embedded = {.corpus = {.n = 0}};
	struct eval_seconds seconds;
	struct eval_binarizers binarizers = {a->binarizer, a->searched_by};
	if (binarizers.corpus != NULL && strcmp(binarizers.corpus, "untrained") == 0)
		binarizers.corpus = NULL;
	int rc = eval_vectors_load_both(&embedded, a->corpus, a->queries, err);
	if (rc == 0)
		rc = eval_ranks_new(&exact, embedded.queries.n, err);
	if (rc == 0)
		rc = eval_ranks_new(&found, embedded.queries.n, err);
	if (rc == 0)
		rc = eval_exact(&exact, &embedded, err);
	if (rc == 0 && a->old_corpus != NULL)
		rc = take_old_corpus(&embedded, a->old_corpus, err);
	if (rc == 0)
		rc = eval_codes(
		    &found, &seconds, &a->shape, &embedded, &binarizers, err);
	if (rc == 0 && a->ranks != NULL)
		rc = eval_ranks_save(&found, a->ranks, err);
	if (rc == 0)
		print_vectors(a, &found, &exact, &seconds, embedded.corpus.n);
	eval_embedded_free(&embedded);
	eval_ranks_free(&exact);
	eval_ranks_free(&found);
	return rc;
}

int
eval_main(int argc, char **argv)
{
	struct arguments arguments = {.corpus = NULL};
	struct eval_task task = {.corpus = {NULL, 0, NULL}};
	struct error err = {ERR_NONE, ""};
	uint64_t start_ns = clock_ns();
	bool done;

	options_begin("eval", argv);
	int code = parse(&arguments, argc, argv, &done);
	if (done)
		return code;
	stop_watch();
	int rc = arguments.vectors ? evaluate_vectors(&arguments, &err)
				   : evaluate(&arguments, &task, &err);
	if (rc == -1 && err.code == ERR_NONE)
		fputs("stopped\n", stderr);
	if (rc == -1)
		code = err.code == ERR_NONE ? OPTIONS_FAILED : options_failed(&err);
	else if (fflush(stdout) != 0)
		code = OPTIONS_FAILED;
	fprintf(stderr, "%s in %.3f s\n", code == OPTIONS_OK ? "evaluated" : "failed",
	    clock_since(start_ns));
	beir_qrels_free(&task.qrels);
	beir_texts_free(&task.corpus);
	beir_texts_free(&task.queries);
	return code;
}
