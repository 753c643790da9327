#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "server/collection_internal.h"

/* The payload indexes of a collection. */

#define NUMBER_MAX UINT16_MAX

static const char *const type_names[] = {
    [DB_FIELD_KEYWORD] = "keyword",
    [DB_FIELD_INTEGER] = "integer",
    [DB_FIELD_FLOAT] = "float",
    [DB_FIELD_BOOL] = "bool",
    [DB_FIELD_TEXT] = "text",
};

const char *
collection_field_type_name(enum db_field_type type)
{
	return type_names[type];
}

int
collection_field_type_parse(
    enum db_field_type *type, const char *name, struct error *err)
{
	for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
		if (strcmp(type_names[i], name) == 0) {
			*type = (enum db_field_type)i;
			return 0;
		}
	}
	return error_set(err, ERR_INPUT,
	    "expected the type keyword, integer, float, bool, text or uuid, not "
	    "\"%.64s\"",
	    name);
}

/* ---- a set of them ---- */

struct collection_fields *
collection_fields_new(struct error *err)
{
	struct collection_fields *fields = array_new(1, sizeof *fields);

	if (!fields) {
		error_set(err, ERR_MEMORY, "out of memory for payload indexes");
		return NULL;
	}
	fields->next = 1;
	atomic_init(&fields->n_owners, 1);
	return fields;
}

struct collection_fields *
collection_fields_retain(struct collection_fields *fields)
{
	atomic_fetch_add(&fields->n_owners, 1);
	return fields;
}

void
collection_fields_release(struct collection_fields *fields)
{
	if (!fields || atomic_fetch_sub(&fields->n_owners, 1) > 1)
		return;
	for (size_t i = 0; i < fields->n; i++)
		path_free(fields->paths[i]);
	free(fields);
}

/* A field behind the others. */
static int
add(struct collection_fields *fields, const char *key, enum db_field_type type,
    uint16_t number, struct error *err)
{
	size_t n = fields->n;

	if (n == COLLECTION_FIELDS_MAX)
		return error_set(err, ERR_INPUT,
		    "expected at most %d payload indexes of a collection, not one "
		    "more: delete one first",
		    COLLECTION_FIELDS_MAX);
	fields->paths[n] = path_new(key, strlen(key), err);
	if (!fields->paths[n])
		return -1;
	fields->fields[n] = (struct db_field){number, type, fields->paths[n]};
	fields->n++;
	return 0;
}

/* Those of `before`, with the numbers that they have, but for one. */
static struct collection_fields *
copy_without(
    const struct collection_fields *before, const struct path *key, struct error *err)
{
	struct collection_fields *fields = collection_fields_new(err);

	if (!fields)
		return NULL;
	fields->next = before->next;
	for (size_t i = 0; i < before->n; i++) {
		const struct db_field *f = &before->fields[i];
		if (path_equal(f->path, key))
			continue;
		if (add(fields, path_key(f->path), f->type, f->number, err) != 0) {
			collection_fields_release(fields);
			return NULL;
		}
	}
	return fields;
}

/* ---- of a collection ---- */

const struct db_field *
collection_fields(const struct collection *c, size_t *n)
{
	const struct collection_fields *fields = collection_fields_of(c);

	*n = fields->n;
	return fields->fields;
}

const struct db_field *
collection_field(const struct collection *c, const struct path *key)
{
	size_t n;
	const struct db_field *fields = collection_fields(c, &n);

	for (size_t i = 0; i < n; i++)
		if (path_equal(fields[i].path, key))
			return &fields[i];
	return NULL;
}

struct collection *
collection_indexed(const struct collection *before, const struct path *key,
    enum db_field_type type, struct error *err)
{
	struct collection_fields *fields =
	    copy_without(collection_fields_of(before), key, err);

	if (!fields)
		return NULL;
	if (fields->next > NUMBER_MAX) {
		error_set(err, ERR_FULL,
		    "all %d numbers of payload indexes that a collection has were "
		    "used: make a new collection",
		    NUMBER_MAX);
	} else if (add(fields, path_key(key), type, (uint16_t)fields->next, err) == 0) {
		fields->next++;
		return collection_make_like(before, fields, err);
	}
	collection_fields_release(fields);
	return NULL;
}

struct collection *
collection_unindexed(
    const struct collection *before, const struct path *key, struct error *err)
{
	struct collection_fields *fields =
	    copy_without(collection_fields_of(before), key, err);

	return fields ? collection_make_like(before, fields, err) : NULL;
}

/* ---- as they are kept ---- */

bool
collection_fields_print(cJSON *object, const struct collection_fields *fields)
{
	if (fields->next == 1)
		return true;
	cJSON *list = cJSON_AddArrayToObject(object, "fields");
	for (size_t i = 0; i < fields->n; i++) {
		const struct db_field *f = &fields->fields[i];
		cJSON *item = cJSON_CreateObject();
		if (!list || !item || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return false;
		}
		if (!cJSON_AddStringToObject(item, "key", path_key(f->path)) ||
		    !cJSON_AddStringToObject(item, "type", type_names[f->type]) ||
		    !cJSON_AddNumberToObject(item, "number", f->number))
			return false;
	}
	return list && cJSON_AddNumberToObject(object, "next_field", fields->next);
}

/* Numbers rise, below that of the next one, and no key is there twice. */
static int
read_field(struct collection_fields *fields, const struct json *item, struct error *err)
{
	char key[PATH_BYTES_MAX + 1], name[64];
	enum db_field_type type = DB_FIELD_KEYWORD;
	uint64_t number;

	if (!collection_get_text(key, sizeof key, item, "key") ||
	    !collection_get_text(name, sizeof name, item, "type") ||
	    !collection_get_u64(&number, item, "number", fields->next - 1) ||
	    number == 0 ||
	    (fields->n > 0 && fields->fields[fields->n - 1].number >= number))
		return error_set(err, ERR_INPUT,
		    "expected a key, a type and a number above those before and below "
		    "next_field, not %.*s",
		    item->len < 80 ? (int)item->len : 80, item->text);
	if (collection_field_type_parse(&type, name, err) != 0 ||
	    add(fields, key, type, (uint16_t)number, err) != 0)
		return -1;
	for (size_t i = 0; i + 1 < fields->n; i++)
		if (path_equal(fields->paths[i], fields->paths[fields->n - 1]))
			return error_set(err, ERR_INPUT,
			    "expected a key once, not %.80s twice", key);
	return 0;
}

int
collection_fields_read(
    struct collection_fields *fields, const char *text, size_t n, struct error *err)
{
	struct json root, list;
	uint64_t next;

	if (json_check(&root, text, n, err) != 0)
		goto fail;
	if (!json_member(&root, "fields", &list))
		return 0;
	if (list.type != JSON_ARRAY ||
	    !collection_get_u64(&next, &root, "next_field", NUMBER_MAX + 1) ||
	    next == 0) {
		error_set(err, ERR_INPUT, "expected a list and next_field beside it");
		goto fail;
	}
	fields->next = (uint32_t)next;
	struct json_walk walk = json_walk(&list);
	while (json_next(&walk))
		if (read_field(fields, &walk.value, err) != 0)
			goto fail;
	return 0;
fail:
	if (err->code == ERR_INPUT)
		err->code = ERR_FORMAT;
	return error_prefix(err, "stored settings: fields");
}
