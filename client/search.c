#include "client/search.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/code.h"
#include "base/json.h"
#include "base/text.h"
#include "client/options.h"
#include "client/remote.h"

#define LIMIT_DEFAULT 10
#define LIMIT_MAX 10000
#define WIDTH_DEFAULT 100 /* columns, where stdout is no terminal */

static const char help[] =
    "usage: halftone search --collection C [OPTIONS] \"query text\"\n"
    "\n"
    "Prints the documents of a collection that are nearest to a text: rank, score, id\n"
    "and what their payload tells most.\n"
    "\n"
    "  --collection C     the collection (required)\n"
    "  --url U            the server (default " REMOTE_URL_DEFAULT ")\n"
    "  --api-key-file F   file with the API key (default: $HALFTONE_API_KEY)\n"
    "  --limit K          hits, 1 to 10000 (default 10)\n"
    "  --bits B           read the first B bits of each dimension of the codes alone\n"
    "                     (default: all): what a collection of B bits would find, or\n"
    "                     less; not faster\n"
    "  --filter JSON      among the documents that match alone, as the server's API "
    "has\n"
    "                     it: '{\"must\": {\"key\": \"year\", \"range\": {\"gte\": "
    "2020}}}'\n"
    "  --json             print the server's result as it is, on one line\n"
    "\n"
    "Exit codes: 0 searched (even if nothing is there), 1 failed, 2 wrong use.\n";

enum {
	OPT_COLLECTION = 256,
	OPT_URL,
	OPT_KEY,
	OPT_LIMIT,
	OPT_BITS,
	OPT_FILTER,
	OPT_JSON
};

static const struct option long_options[] = {
    {"collection", required_argument, NULL, OPT_COLLECTION},
    {"url", required_argument, NULL, OPT_URL},
    {"api-key-file", required_argument, NULL, OPT_KEY},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"bits", required_argument, NULL, OPT_BITS},
    {"filter", required_argument, NULL, OPT_FILTER},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
	const char *collection;
	const char *url;
	const char *key_path;
	struct remote_address address;
	const char *text;
	const char *filter; /* NULL = none */
	uint32_t limit;
	uint32_t bits; /* 0 = all */
	bool json;
};

/* What it says is the server's to judge. */
static int
check_filter(const char *filter, struct error *err)
{
	struct json root;

	if (filter == NULL)
		return 0;
	if (json_check(&root, filter, strlen(filter), err) == -1)
		return error_prefix(err, "--filter");
	if (root.type != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "--filter: expected an object, not %s",
		    json_type_name(root.type));
	return 0;
}

/* OPTIONS_OK, or the exit code after a message or the help (*done). */
static int
parse(struct arguments *a, int argc, char **argv, bool *done)
{
	struct error err;
	int option;
	*done = true;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case OPT_COLLECTION:
			a->collection = optarg;
			break;
		case OPT_URL:
			a->url = optarg;
			break;
		case OPT_KEY:
			a->key_path = optarg;
			break;
		case OPT_LIMIT:
			if (!options_number(&a->limit, "--limit", optarg, 1, LIMIT_MAX))
				return OPTIONS_USAGE;
			break;
		case OPT_BITS:
			if (!options_number(
				&a->bits, "--bits", optarg, 1, CODE_BITS_MAX))
				return OPTIONS_USAGE;
			break;
		case OPT_FILTER:
			a->filter = optarg;
			break;
		case OPT_JSON:
			a->json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return OPTIONS_OK;
		default:
			return options_hint();
		}
	}
	if (a->collection == NULL || a->collection[0] == '\0')
		return options_usage("expected --collection C");
	if (optind + 1 < argc)
		return options_usage(
		    "expected one query text, not %d; put it in quotes", argc - optind);
	if (optind == argc || argv[optind][0] == '\0')
		return options_usage("expected a query text that is not empty");
	if (check_filter(a->filter, &err) == -1 ||
	    remote_address_read(&a->address, a->url, a->key_path, &err) == -1)
		return options_refused(&err);
	a->text = argv[optind];
	*done = false;
	return OPTIONS_OK;
}

/* Print UTF-8 text on what is left of a line of `width` columns: control characters
 * as spaces, cut at a whole character with "..." at its end. */
static void
print_cut(const char *text, size_t n, size_t width)
{
	size_t columns = 0, cut = n, i = 0;
	while (i < n && columns <= width) {
		if (columns == width - 3)
			cut = i;
		i++;
		while (i < n && ((unsigned char)text[i] & 0xC0) == 0x80)
			i++;
		columns++;
	}
	bool whole = columns <= width;
	size_t stop = whole ? n : cut;
	for (i = 0; i < stop; i++) {
		unsigned char c = (unsigned char)text[i];
		bool c1 =
		    c == 0xC2 && i + 1 < stop && (unsigned char)text[i + 1] < 0xA0;
		if (c < 0x20 || c == 0x7f || c1)
			putchar(' ');
		else
			putchar(c);
		i += c1;
	}
	puts(whole ? "" : "...");
}

/* Print a JSON string (or any other value as it stands). */
static void
print_value(const struct json *value, size_t width)
{
	if (value->type != JSON_STRING) {
		print_cut(value->text, value->len, width);
		return;
	}
	char *text = array_new(value->len + 1, 1);
	if (text == NULL)
		return;
	size_t n = json_string(text, value->len + 1, value);
	print_cut(text, n, width);
	free(text);
}

/* The first of `names` (ended by NULL) that the payload has as a string. */
static bool
find_first(struct json *value, const struct json *payload, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (json_member(payload, *names, value) && value->type == JSON_STRING &&
		    value->len > 2)
			return true;
	}
	return false;
}

/* The nth string of a payload, from 0. */
static bool
find_string(struct json *value, const struct json *payload, size_t nth)
{
	struct json_walk w = json_walk(payload);
	while (json_next(&w)) {
		if (w.value.type == JSON_STRING && nth-- == 0) {
			*value = w.value;
			return true;
		}
	}
	return false;
}

/* A line for what names the document, unless its id says it already, and a line for
 * what describes it. */
static void
print_payload(const struct json *payload, const struct json *id, size_t width)
{
	static const char *const titles[] = {"title", "name", "heading", NULL};
	static const char *const texts[] = {
	    "summary", "description", "abstract", "text", "snippet", NULL};
	struct json title, text;
	bool has_title = find_first(&title, payload, titles);
	bool has_text = find_first(&text, payload, texts);
	if (!has_title && !has_text) {
		has_title = find_string(&title, payload, 0);
		has_text = find_string(&text, payload, 1);
	}
	if (has_title &&
	    (title.len != id->len || memcmp(title.text, id->text, id->len) != 0)) {
		fputs("    ", stdout);
		print_value(&title, width - 4);
	}
	if (has_text) {
		fputs("    ", stdout);
		print_value(&text, width - 4);
	}
}

static size_t
terminal_width(void)
{
	struct winsize size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1 || size.ws_col < 40)
		return WIDTH_DEFAULT;
	return size.ws_col;
}

/* Of a document in passages: which one it was. */
static void
print_passage(const struct json *passage)
{
	struct json index, start, end;
	uint64_t i, from, to;

	if (json_member(passage, "index", &index) && json_u64(&i, &index) &&
	    json_member(passage, "start", &start) && json_u64(&from, &start) &&
	    json_member(passage, "end", &end) && json_u64(&to, &end))
		printf("              passage %llu: bytes %llu to %llu of the text\n",
		    (unsigned long long)i, (unsigned long long)from,
		    (unsigned long long)to);
}

/* Print the hits; *n := how many. */
static int
print_hits(const struct json *points, size_t *n, struct error *err)
{
	size_t width = terminal_width();
	struct json_walk w = json_walk(points);
	*n = 0;
	while (json_next(&w)) {
		struct json id, score, payload, passage;
		if (!json_member(&w.value, "id", &id) ||
		    !json_member(&w.value, "score", &score) ||
		    score.type != JSON_NUMBER)
			return error_set(err, ERR_FORMAT,
			    "expected hits with \"id\" and \"score\" from the server");
		printf("%3zu  %7.4f  ", ++*n, json_double(&score));
		print_value(&id, width - 14);
		if (json_member(&w.value, "passage", &passage))
			print_passage(&passage);
		if (json_member(&w.value, "payload", &payload))
			print_payload(&payload, &id, width);
	}
	return 0;
}

static int
print_answer(
    const struct remote_answer *answer, bool as_json, size_t *n, struct error *err)
{
	struct json root, result, points;
	if (json_check(&root, answer->body, answer->len, err) == -1)
		return error_prefix(err, "the server's answer");
	if (!json_member(&root, "result", &result) ||
	    !json_member(&result, "points", &points) || points.type != JSON_ARRAY)
		return error_set(err, ERR_FORMAT,
		    "expected {\"result\": {\"points\": [...]}} from the server");
	*n = json_count(&points);
	if (!as_json)
		return print_hits(&points, n, err);
	fwrite(result.text, 1, result.len, stdout);
	putchar('\n');
	return 0;
}

static int
search(const struct arguments *a, size_t *n, struct error *err)
{
	struct remote_answer answer;
	struct text path = {0}, body = {0};
	text_string(&path, "/collections/");
	text_segment(&path, a->collection);
	text_string(&path, "/points/query");
	text_string(&body, "{\"query\":{\"text\":");
	text_json(&body, a->text, strlen(a->text));
	text_printf(&body, "},\"limit\":%u,\"with_payload\":true", a->limit);
	if (a->bits > 0)
		text_printf(&body, ",\"params\":{\"bits\":%u}", a->bits);
	if (a->filter != NULL) {
		text_string(&body, ",\"filter\":");
		text_string(&body, a->filter);
	}
	text_string(&body, "}");

	struct remote *remote = remote_open(&a->address, err);
	int rc = remote == NULL ? -1 : 0;
	if (rc == 0 && (path.failed || body.failed))
		rc = error_set(err, ERR_MEMORY, "no memory for a request");
	if (rc == 0)
		rc = remote_request(remote, &answer, "POST", path.bytes, &body, err);
	if (rc == 0 && answer.status >= 300)
		rc = remote_refused(&answer, err);
	if (rc == 0)
		rc = print_answer(&answer, a->json, n, err);
	if (rc == 0 && fflush(stdout) != 0)
		rc = error_set(err, ERR_IO, "cannot write the result");
	remote_close(remote);
	text_free(&path);
	text_free(&body);
	return rc;
}

int
search_main(int argc, char **argv)
{
	struct arguments arguments = {
	    .url = REMOTE_URL_DEFAULT, .limit = LIMIT_DEFAULT};
	struct error err = {ERR_NONE, ""};
	uint64_t start_ns = clock_ns();
	size_t n = 0;
	bool done;

	options_begin("search", argv);
	int code = parse(&arguments, argc, argv, &done);
	if (done)
		return code;
	if (search(&arguments, &n, &err) == -1)
		code = options_failed(&err);
	else
		fprintf(stderr, "%zu hit%s in %.3f s\n", n, n == 1 ? "" : "s",
		    clock_since(start_ns));
	return code;
}
