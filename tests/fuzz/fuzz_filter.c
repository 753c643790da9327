/*
 * Input: a filter, '\0', a payload.
 *
 * Claims: any JSON is refused as a filter, with a reason, or read; one that was read is
 * answered for any payload, the same with must around it, and the other way round with
 * must_not; with an index of text on some keys it is read too.
 */
#include "base/text.h"
#include "server/filter.h"
#include "tests/fuzz/fuzz.h"

static struct filter *
parse(const char *text, size_t n, const struct db_field *fields, size_t n_fields)
{
	struct error err;
	struct json root;

	if (json_check(&root, text, n, &err) != 0)
		return NULL;
	struct filter *filter = filter_new(&root, fields, n_fields, &err);
	if (!filter) {
		FUZZ_CHECK(err.code == ERR_INPUT || err.code == ERR_UNSUPPORTED ||
			   err.code == ERR_TOO_LARGE);
		FUZZ_CHECK(strlen(err.text) > 0);
	}
	return filter;
}

/* Whether {"LIST": FILTER} matches; *read: it could be read (it is deeper). */
static bool
matches_within(const char *list, struct fuzz_part filter, const struct point_id *id,
    struct fuzz_part payload, bool *read)
{
	struct text text = {0};

	text_printf(&text, "{\"%s\":", list);
	text_bytes(&text, filter.bytes, filter.n);
	text_string(&text, "}");
	FUZZ_CHECK(!text.failed);
	struct filter *outer = parse(text.bytes, text.n, NULL, 0);
	*read = outer != NULL;
	bool matches = outer && filter_match(outer, id, payload.bytes, payload.n);
	filter_free(outer);
	text_free(&text);
	return matches;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_part text = fuzz_part(&data, &n);
	struct fuzz_part payload = {(const char *)data, n};
	struct error err;
	struct json root;
	struct point_id id;
	bool read;

	point_id_from_number(&id, 7);
	struct filter *filter = parse(text.bytes, text.n, NULL, 0);
	if (!filter)
		return 0;
	if (n == 0 || json_check(&root, payload.bytes, n, &err) != 0 ||
	    root.type != JSON_OBJECT)
		payload.n = 0;
	else
		payload = (struct fuzz_part){root.text, root.len};
	bool matches = filter_match(filter, &id, payload.bytes, payload.n);
	filter_free(filter);
	if (matches_within("must", text, &id, payload, &read) != matches)
		FUZZ_CHECK(!read);
	if (matches_within("must_not", text, &id, payload, &read) == matches)
		FUZZ_CHECK(!read);

	struct db_field fields[2] = {
	    {.type = DB_FIELD_TEXT, .path = path_new("s", 1, &err)},
	    {.type = DB_FIELD_TEXT, .path = path_new("a[].b", 5, &err)}};
	FUZZ_CHECK(fields[0].path && fields[1].path);
	filter = parse(text.bytes, text.n, fields, 2);
	if (filter)
		filter_match(filter, &id, payload.bytes, payload.n);
	filter_free(filter);
	path_free((struct path *)(uintptr_t)fields[0].path);
	path_free((struct path *)(uintptr_t)fields[1].path);
	return 0;
}
