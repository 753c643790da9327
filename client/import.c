#include "client/import.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/code.h"
#include "client/import_job.h"
#include "client/options.h"
#include "client/stop.h"

static const char help[] =
    "usage: halftone import --collection C [OPTIONS] FILE...\n"
    "\n"
    "Stores documents in a collection, which is made if it does not exist.\n"
    "\n"
    "A FILE of lines (JSONL; \"-\" is standard input) holds one object a line:\n"
    "  {\"id\": 7, \"text\": \"...\", \"title\": \"any other key is payload\"}\n"
    "with one of \"text\" (embedded by the server), \"vector\" (numbers) and \"code\"\n"
    "(base64; \"norm\" beside it is its vector's length, for Dot and Euclid, else 1;\n"
    "\"binarizer_id\" whose code it is: needed once the collection has codes of "
    "several).\n"
    "\"id\" is a whole number below 2^64 or a string; a line without one "
    "gets\n"
    "its number: lines are counted from 1 over all files. Rows of .npy, .fvecs and\n"
    ".bvecs files get their number as id, counted from 0 over all files; the mean of\n"
    "the first 10,000 is subtracted in the codes of a collection made for them.\n"
    "An id that is there already is replaced, so an import may be repeated.\n"
    "The first document that is wrong, or that the server refuses, ends the import "
    "and\n"
    "is named by file and line; all before it are stored, of those behind it perhaps\n"
    "some.\n"
    "\n"
    "  --collection C     the collection (required)\n"
    "  --url U            the server (default " REMOTE_URL_DEFAULT ")\n"
    "  --api-key-file F   file with the API key (default: $HALFTONE_API_KEY)\n"
    "  --format NAME      jsonl, npy, fvecs or bvecs (default: by the file's name)\n"
    "  --batch N          documents in a request (default 256)\n"
    "  --connections N    requests at a time (default 4); of lines with the same id\n"
    "                     the last one surely wins only with 1\n"
    "  --keep-text        keep the text, as payload \"text\"\n"
    "  --chunk            texts may be long: they are embedded in overlapping\n"
    "                     passages, of which the best one decides\n"
    "For a collection that is made:\n"
    "  --bits B           bits of a dimension, 1 to 4\n"
    "  --dims M           dimensions of a code, a multiple of 64\n"
    "  --progressive      searches read the first bit of a dimension first: several\n"
    "                     times faster, one hit in some hundred may be lost\n"
    "  --text-model NAME  what embeds text (default: " OPTIONS_TEXT_MODEL ")\n"
    "  --distance D       Cosine, Dot or Euclid (default Cosine)\n"
    "\n"
    "The last line on stderr says how many documents were stored in how many seconds.\n"
    "Exit codes: 0 all are stored, 1 some are not, 2 wrong use.\n";

enum {
	OPT_COLLECTION = 256,
	OPT_URL,
	OPT_KEY,
	OPT_FORMAT,
	OPT_BITS,
	OPT_DIMS,
	OPT_PROGRESSIVE,
	OPT_MODEL,
	OPT_DISTANCE,
	OPT_BATCH,
	OPT_CONNECTIONS,
	OPT_KEEP_TEXT,
	OPT_CHUNK,
};

static const struct option long_options[] = {
    {"collection", required_argument, NULL, OPT_COLLECTION},
    {"url", required_argument, NULL, OPT_URL},
    {"api-key-file", required_argument, NULL, OPT_KEY},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"bits", required_argument, NULL, OPT_BITS},
    {"dims", required_argument, NULL, OPT_DIMS},
    {"progressive", no_argument, NULL, OPT_PROGRESSIVE},
    {"text-model", required_argument, NULL, OPT_MODEL},
    {"distance", required_argument, NULL, OPT_DISTANCE},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"keep-text", no_argument, NULL, OPT_KEEP_TEXT},
    {"chunk", no_argument, NULL, OPT_CHUNK},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
	const char *url;
	const char *key_path;
	const char *format; /* NULL = by name */
	int first_file;     /* index in argv */
};

static bool
set_distance(struct import_settings *s, const char *name)
{
	static const char *const names[] = {"Cosine", "Dot", "Euclid"};
	for (size_t i = 0; i < 3; i++) {
		if (strcasecmp(name, names[i]) == 0) {
			s->distance = names[i];
			return true;
		}
	}
	options_usage("expected --distance Cosine, Dot or Euclid, not \"%s\"", name);
	return false;
}

static bool
set_dims(struct import_settings *s, const char *text)
{
	if (!options_number(&s->dims, "--dims", text, CODE_DIMS_STEP, CODE_DIMS_MAX))
		return false;
	if (s->dims % CODE_DIMS_STEP == 0)
		return true;
	options_usage(
	    "expected --dims to be a multiple of %d, not %u", CODE_DIMS_STEP, s->dims);
	return false;
}

static bool
set_format(struct arguments *a, const char *name)
{
	static const char *const names[] = {"jsonl", "npy", "fvecs", "bvecs"};
	for (size_t i = 0; i < 4; i++) {
		if (strcmp(name, names[i]) == 0) {
			a->format = names[i];
			return true;
		}
	}
	options_usage("expected --format jsonl, npy, fvecs or bvecs, not \"%s\"", name);
	return false;
}

/* Take one option; false after a message. */
static bool
set_option(struct import_settings *s, struct arguments *a, int option)
{
	switch (option) {
	case OPT_COLLECTION:
		s->collection = optarg;
		return true;
	case OPT_URL:
		a->url = optarg;
		return true;
	case OPT_KEY:
		a->key_path = optarg;
		return true;
	case OPT_FORMAT:
		return set_format(a, optarg);
	case OPT_BITS:
		return options_number(&s->bits, "--bits", optarg, 1, CODE_BITS_MAX);
	case OPT_DIMS:
		return set_dims(s, optarg);
	case OPT_PROGRESSIVE:
		s->progressive = true;
		return true;
	case OPT_MODEL:
		s->text_model = optarg;
		return true;
	case OPT_DISTANCE:
		return set_distance(s, optarg);
	case OPT_BATCH:
		return options_number(
		    &s->batch, "--batch", optarg, 1, IMPORT_BATCH_MAX);
	case OPT_CONNECTIONS:
		return options_number(&s->connections, "--connections", optarg, 1,
		    UPLOAD_CONNECTIONS_MAX);
	case OPT_KEEP_TEXT:
		s->keep_text = true;
		return true;
	case OPT_CHUNK:
		s->chunk = true;
		return true;
	default: /* getopt_long has said what is wrong */
		options_hint();
		return false;
	}
}

/* OPTIONS_OK, or the exit code after a message or the help (*done). */
static int
parse(struct import_settings *s, struct arguments *a, int argc, char **argv, bool *done)
{
	struct error err;
	int option;
	*done = true;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return OPTIONS_OK;
		}
		if (!set_option(s, a, option))
			return OPTIONS_USAGE;
	}
	if (s->collection == NULL || s->collection[0] == '\0')
		return options_usage("expected --collection C");
	if (optind == argc)
		return options_usage(
		    "expected at least one FILE (\"-\" is standard input)");
	if (remote_address_read(&s->address, a->url, a->key_path, &err) == -1)
		return options_refused(&err);
	a->first_file = optind;
	*done = false;
	return OPTIONS_OK;
}

/* Bytes of all files; 0 if one of them has no size, so that no share is shown. */
static uint64_t
total_bytes(char **files, int n)
{
	uint64_t total = 0;
	for (int i = 0; i < n; i++) {
		struct stat st;
		if (stat(files[i], &st) == -1 || !S_ISREG(st.st_mode))
			return 0;
		total += (uint64_t)st.st_size;
	}
	return total;
}

static int
import_file(
    struct import_job *job, const char *path, const char *format, struct error *err)
{
	static const char *const names[] = {"npy", "fvecs", "bvecs"};
	static const enum vectors_format formats[] = {
	    VECTORS_NPY, VECTORS_FVECS, VECTORS_BVECS};
	enum vectors_format by_name;
	struct error ignored;

	for (size_t i = 0; format != NULL && i < 3; i++) {
		if (strcmp(format, names[i]) == 0)
			return import_vectors(job, path, formats[i], err);
	}
	if (format == NULL && vectors_format_of(&by_name, path, &ignored) == 0)
		return import_vectors(job, path, by_name, err);
	return import_lines(job, path, err);
}

/* Wait for what is under way and say how it went; the exit code. */
static int
finish(struct import_job *job, int rc, const struct error *why, uint64_t start_ns)
{
	struct upload_counts counts = {0};
	struct error end = {ERR_NONE, ""};
	/* The documents before a bad line are whole: they are stored, so that the rest
	 * of the file can be imported once the line is mended. */
	if (rc == -1 && why->code != ERR_NONE && job->upload != NULL)
		import_flush(job, &end);
	/* What the server refused stands before what was read last: it is said first.
	 */
	if (job->upload != NULL && upload_finish(job->upload, &counts, &end) == -1 &&
	    (rc == 0 || end.code != ERR_NONE))
		rc = -1;
	else
		end = *why;
	job->progress.note[0] = '\0';
	progress_end(
	    &job->progress, counts.acknowledged, job->read_bytes + job->file_bytes);
	double seconds = clock_since(start_ns);
	if (rc == -1 && end.code == ERR_NONE)
		fputs("stopped; import the same again to go on: what is stored is "
		      "replaced by itself\n",
		    stderr);
	else if (rc == -1)
		options_failed(&end);
	double reading = seconds - counts.waiting_s;
	fprintf(stderr,
	    "%llu document%s stored%s in %.3f s, %.0f/s: %.3f s reading, %.3f s "
	    "waiting "
	    "for the server, %llu request%s repeated\n",
	    (unsigned long long)counts.acknowledged,
	    counts.acknowledged == 1 ? "" : "s", rc == -1 ? " (not all)" : "", seconds,
	    seconds > 0 ? (double)counts.acknowledged / seconds : 0, reading,
	    counts.waiting_s, (unsigned long long)counts.retries,
	    counts.retries == 1 ? "" : "s");
	return rc == -1 ? OPTIONS_FAILED : OPTIONS_OK;
}

int
import_main(int argc, char **argv)
{
	struct import_job job = {
	    .settings = {.batch = IMPORT_BATCH_DEFAULT,
		.connections = UPLOAD_CONNECTIONS_DEFAULT},
	};
	struct arguments arguments = {.url = REMOTE_URL_DEFAULT};
	struct error err = {ERR_NONE, ""};
	uint64_t start_ns = clock_ns();
	bool done;
	int rc = 0;

	options_begin("import", argv);
	int code = parse(&job.settings, &arguments, argc, argv, &done);
	if (done)
		return code;
	char **files = argv + arguments.first_file;
	int n_files = argc - arguments.first_file;
	stop_watch();
	progress_start(&job.progress, "document", total_bytes(files, n_files));
	for (int i = 0; i < n_files && rc == 0; i++)
		rc = import_file(&job, files[i], arguments.format, &err);
	code = finish(&job, rc, &err, start_ns);
	upload_close(job.upload);
	text_free(&job.points);
	return code;
}
