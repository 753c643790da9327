#include "server/collection.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/progressive.h"
#include "server/collection_internal.h"

/* The store of a collection and of those that followed it. */
struct shared {
	struct store *store;
	struct progressive
	    *progressive; /* the writer's to set, while no collection
			     that is progressive was seen; NULL: none was */
	atomic_size_t n_owners;
};

struct collection {
	struct collection_settings settings;

	/* Oldest first; version i's codes are part i of the store. */
	struct collection_version versions[STORE_PARTS_MAX];
	struct collection_binarizer *binarizers[STORE_PARTS_MAX];
	size_t n_versions;
	struct shared *shared;
	struct collection_fields *fields;
	char *text; /* settings as JSON, from collection_row */
	atomic_size_t n_owners;
};

/* A collection without versions and binarizers, with the store and the payload indexes
 * of `before`, or none yet where that is NULL. */
static struct collection *
make(const struct collection_settings *settings, const struct collection *before,
    struct error *err)
{
	struct collection *c = array_new(1, sizeof *c);
	struct shared *shared = before ? before->shared : array_new(1, sizeof *shared);
	struct collection_fields *fields =
	    before ? collection_fields_retain(before->fields)
		   : collection_fields_new(err);

	if (!c || !shared || !fields) {
		free(c);
		if (!before)
			free(shared);
		collection_fields_release(fields);
		error_set(err, ERR_MEMORY, "out of memory for a collection");
		return NULL;
	}
	c->fields = fields;
	if (!before)
		atomic_init(&shared->n_owners, 0);
	atomic_fetch_add(&shared->n_owners, 1);
	c->shared = shared;
	atomic_init(&c->n_owners, 1);
	c->settings = *settings;
	c->settings.mean = NULL;
	c->settings.n_mean = 0;
	return c;
}

static struct db_codes
codes_of(const struct collection *c, const struct collection_version *v)
{
	struct db_codes codes = {
	    .collection = c->settings.id,
	    .version = v->codes.version,
	    .shape = v->shape,
	    .has_norm2 = c->settings.distance == COLLECTION_EUCLID,
	};

	memcpy(codes.vector, c->settings.vector, sizeof codes.vector);
	return codes;
}

/* A version behind the others, by the binarizer at its place. */
static const struct collection_version *
add_version(struct collection *c, const struct collection_version *version)
{
	struct collection_version *v = &c->versions[c->n_versions];

	*v = *version;
	v->model = c->binarizers[c->n_versions]->model;
	v->shape = recurrent_info(v->model).shape;
	v->codes = codes_of(c, v);
	c->settings.shape = v->shape;
	c->n_versions++;
	return v;
}

/* Signs of what lies between a vector and its centre say little beside another's. */
static int
check_hamming(const struct collection *c, struct error *err)
{
	if (c->settings.code_distance != DISTANCE_HAMMING ||
	    c->settings.shape.centres == 0)
		return 0;
	return error_set(err, ERR_INPUT,
	    "codes.distance hamming compares signs, which mean little beside the "
	    "centres that the binarizer %.100s has: expected sdc or int8, or a "
	    "binarizer trained with --centres 0",
	    c->settings.binarizer);
}

/* There is what its searches know of plane 0. */
static int
make_progressive(struct shared *shared, struct error *err)
{
	if (!shared->progressive)
		shared->progressive = progressive_new(err);
	return shared->progressive ? 0 : -1;
}

/* A store whose first part is for the codes of a version. */
static int
make_store(struct collection *c, const struct collection_version *v, struct error *err)
{
	struct shared *shared = c->shared;

	shared->store = store_new(v->codes.version, v->shape, v->codes.has_norm2, err);
	if (!shared->store)
		return -1;
	if (!c->settings.progressive)
		return 0;
	if (make_progressive(shared, err) != 0 ||
	    store_want_plane0(shared->store, true, err) != 0)
		return -1;
	store_publish(shared->store);
	return 0;
}

/* Plane 0 comes first where there are others, and is worth more than a sign. */
static int
check_progressive(const struct collection *c, struct error *err)
{
	if (!c->settings.progressive ||
	    (c->settings.code_distance != DISTANCE_HAMMING &&
		c->settings.shape.bits > 1))
		return 0;
	return error_set(err, ERR_INPUT,
	    "codes.progressive looks at plane 0 before the others: expected codes of "
	    "2 bits or more and the distance int8 or sdc, not %u and %s",
	    c->settings.shape.bits,
	    collection_code_distance_name(c->settings.code_distance));
}

/* What the settings say of the newest version. */
static struct collection_version
newest_version(const struct collection_settings *s, uint32_t number)
{
	struct collection_version v = {
	    .size = s->size, .shape = s->shape, .codes.version = number};

	memcpy(v.binarizer, s->binarizer, sizeof v.binarizer);
	memcpy(v.text_model, s->text_model, sizeof v.text_model);
	return v;
}

struct collection *
collection_make(
    const struct collection_settings *settings, const char *path, struct error *err)
{
	struct collection_version version = newest_version(settings, 1);
	struct collection *c = make(settings, NULL, err);

	if (!c)
		return NULL;
	c->binarizers[0] = collection_binarizer_new(settings, path, err);
	if (!c->binarizers[0])
		goto fail;
	const struct collection_version *v = add_version(c, &version);
	if (check_hamming(c, err) != 0 || check_progressive(c, err) != 0 ||
	    make_store(c, v, err) != 0)
		goto fail;
	c->versions[0].searching = v->model;
	return c;
fail:
	collection_release(c);
	return NULL;
}

/* Fill in by which models vectors of the newest version search the codes of each. */
static int
reach_all(struct collection *c, struct error *err)
{
	const struct collection_version *newest = &c->versions[c->n_versions - 1];

	for (size_t i = 0; i < c->n_versions; i++) {
		struct collection_version *v = &c->versions[i];
		v->searching = collection_reach(&c->settings, newest, v, err);
		if (!v->searching)
			return -1;
	}
	return 0;
}

/* Bit i: version i is not the newest, has no documents and will have none. */
static unsigned
emptied(const struct collection *c)
{
	struct collection_counts counts[STORE_PARTS_MAX];
	unsigned bits = 0;

	/* What writes a version has a reference to the collection as it was when that
	 * was its newest.  If `c` alone has the binarizer, there is no such collection
	 * any more, and what it wrote has been published: so look at this first. */
	for (size_t i = 0; i + 1 < c->n_versions; i++)
		if (atomic_load(&c->binarizers[i]->n_owners) == 1)
			bits |= 1u << i;
	collection_version_counts(counts, c);
	for (size_t i = 0; i < c->n_versions; i++)
		if (counts[i].rows > 0)
			bits &= ~(1u << i);
	return bits;
}

/* The versions of `before`, those left out that are emptied. */
static int
take_versions(struct collection *c, const struct collection *before, struct error *err)
{
	unsigned left_out = emptied(before);

	for (size_t i = 0; i < before->n_versions; i++) {
		if (left_out >> i & 1)
			continue;
		c->versions[c->n_versions] = before->versions[i];
		c->binarizers[c->n_versions++] =
		    collection_binarizer_retain(before->binarizers[i]);
	}
	if (c->n_versions < STORE_PARTS_MAX)
		return 0;
	return error_set(err, ERR_INPUT,
	    "expected at most %d versions of codes, the newest and those with "
	    "documents, not one more: import the documents of an older one again "
	    "first",
	    STORE_PARTS_MAX);
}

struct collection *
collection_make_next(const struct collection *before,
    const struct collection_settings *settings, const char *path, struct error *err)
{
	uint32_t number = collection_codes(before)->version + 1;
	struct collection_version version = newest_version(settings, number);
	struct collection *c = make(settings, before, err);

	if (!c)
		return NULL;
	if (take_versions(c, before, err) != 0)
		goto fail;
	c->binarizers[c->n_versions] = collection_binarizer_new(settings, path, err);
	if (!c->binarizers[c->n_versions])
		goto fail;
	add_version(c, &version);
	if (check_hamming(c, err) != 0 || reach_all(c, err) != 0)
		goto fail;
	return c;
fail:
	collection_release(c);
	return NULL;
}

struct collection *
collection_make_like(const struct collection *before, struct collection_fields *fields,
    struct error *err)
{
	struct collection *c = make(&before->settings, before, err);

	if (!c) {
		collection_fields_release(fields);
		return NULL;
	}
	for (size_t i = 0; i < before->n_versions; i++)
		c->binarizers[i] = collection_binarizer_retain(before->binarizers[i]);
	memcpy(c->versions, before->versions, sizeof c->versions);
	c->n_versions = before->n_versions;
	collection_fields_release(c->fields);
	c->fields = fields;
	return c;
}

struct collection *
collection_with_progressive(
    const struct collection *before, bool progressive, struct error *err)
{
	struct collection_fields *fields = collection_fields_retain(before->fields);
	struct collection *c = collection_make_like(before, fields, err);

	if (!c)
		return NULL;
	c->settings.progressive = progressive;
	if (check_progressive(c, err) != 0 ||
	    (progressive && make_progressive(c->shared, err) != 0)) {
		collection_release(c);
		return NULL;
	}
	return c;
}

struct loading {
	struct store *store;
	size_t part;
	struct code_shape shape;
	size_t n_rows;
};

static int
on_code(void *arg, uint32_t slot, const struct db_code *code, struct error *err)
{
	struct loading *loading = arg;
	const struct store_row row = {
	    code->wire, code->factor, code->norm2, loading->part};

	if (slot >= STORE_SLOTS_MAX)
		return error_set(
		    err, ERR_FORMAT, "a stored point has the slot %u", slot);
	if (code_check(code->wire, loading->shape, err) != 0) {
		err->code = ERR_FORMAT;
		return error_prefix(err, "a stored point");
	}
	loading->n_rows++;
	return store_put(loading->store, slot, &row, err);
}

/* A version's codes are all staged: how many of them are extra rows? */
static int
load_extra(struct collection *c, size_t version, size_t n_rows, struct db_txn *txn,
    struct error *err)
{
	uint64_t n;

	if (db_extra_rows(txn, &c->versions[version].codes, &n, err) != 0)
		return -1;
	if (n > 0 && n >= n_rows)
		return error_set(err, ERR_FORMAT,
		    "expected fewer extra rows than the %zu that there are, not "
		    "%" PRIu64,
		    n_rows, n);
	return n ? store_add_extra(c->shared->store, version, (int64_t)n, err) : 0;
}

/* Read a version's binarizer and codes in; an older one without codes has had its
 * time. */
static int
load_version(struct collection *c, const struct collection_stored *stored, size_t i,
    struct db_txn *txn, struct error *err)
{
	const struct collection_stored_version *v = &stored->versions[i];
	const struct db_codes codes = codes_of(c, &v->version);
	size_t n = c->n_versions;
	bool any = true;

	if (i + 1 < stored->n && db_codes_any(txn, &codes, &any, err) != 0)
		return -1;
	if (!any)
		return 0;
	c->binarizers[n] = collection_binarizer_load(v, c->settings.id, txn, err);
	if (!c->binarizers[n])
		return -1;
	const struct collection_version *added = add_version(c, &v->version);
	uint32_t number = added->codes.version;
	if (n == 0 ? make_store(c, added, err) != 0
		   : store_add_part(c->shared->store, number, added->shape, err) != 0)
		return -1;
	struct loading loading = {
	    .store = c->shared->store, .part = n, .shape = added->shape};
	if (db_codes_each(txn, &added->codes, on_code, &loading, err) != 0)
		return -1;
	return load_extra(c, n, loading.n_rows, txn, err);
}

static int
load(struct collection *c, const struct collection_stored *stored, struct db_txn *txn,
    struct error *err)
{
	for (size_t i = 0; i < stored->n; i++)
		if (load_version(c, stored, i, txn, err) != 0)
			return -1;
	if (reach_all(c, err) != 0) {
		err->code = ERR_FORMAT;
		return -1;
	}
	store_publish(c->shared->store);
	return 0;
}

struct collection *
collection_load(struct db_txn *txn, const struct db_collection *row, struct error *err)
{
	struct collection_settings s;
	struct collection_stored stored;

	if (collection_settings_read(
		&s, &stored, row->settings, row->settings_len, err) != 0)
		return NULL;
	if (strcmp(s.name, row->name) != 0) {
		error_set(
		    err, ERR_FORMAT, "its stored settings are those of %.100s", s.name);
		return NULL;
	}
	s.id = row->id;
	struct collection *c = make(&s, NULL, err);
	if (!c)
		return NULL;
	if (collection_fields_read(c->fields, row->settings, row->settings_len, err) !=
		0 ||
	    load(c, &stored, txn, err) != 0) {
		collection_release(c);
		return NULL;
	}
	return c;
}

struct collection *
collection_retain(struct collection *c)
{
	atomic_fetch_add(&c->n_owners, 1);
	return c;
}

void
collection_release(struct collection *c)
{
	if (!c || atomic_fetch_sub(&c->n_owners, 1) > 1)
		return;
	for (size_t i = 0; i < STORE_PARTS_MAX; i++)
		collection_binarizer_release(c->binarizers[i]);
	if (atomic_fetch_sub(&c->shared->n_owners, 1) == 1) {
		store_free(c->shared->store);
		progressive_free(c->shared->progressive);
		free(c->shared);
	}
	collection_fields_release(c->fields);
	cJSON_free(c->text);
	free(c);
}

const struct collection_settings *
collection_settings(const struct collection *c)
{
	return &c->settings;
}

struct store *
collection_store(const struct collection *c)
{
	return c->shared->store;
}

struct collection_fields *
collection_fields_of(const struct collection *c)
{
	return c->fields;
}

void
collection_keep_up(struct collection *c, const struct collection *now)
{
	struct collection_fields *fields = collection_fields_retain(now->fields);

	collection_fields_release(c->fields);
	c->fields = fields;
	c->settings.progressive = now->settings.progressive;
}

struct progressive *
collection_progressive(const struct collection *c)
{
	return c->settings.progressive ? c->shared->progressive : NULL;
}

size_t
collection_n_versions(const struct collection *c)
{
	return c->n_versions;
}

const struct collection_version *
collection_version(const struct collection *c, size_t i)
{
	return &c->versions[i];
}

void
collection_version_file(struct text *file, const struct collection *c, size_t i)
{
	collection_binarizer_file(file, c->binarizers[i]);
}

const struct collection_version *
collection_newest(const struct collection *c)
{
	return &c->versions[c->n_versions - 1];
}

const struct recurrent *
collection_binarizer(const struct collection *c)
{
	return collection_newest(c)->model;
}

const char *
collection_binarizer_id(const struct collection *c)
{
	return recurrent_id(collection_binarizer(c));
}

const struct db_codes *
collection_codes(const struct collection *c)
{
	return &collection_newest(c)->codes;
}

int
collection_code(struct db_txn *txn, const struct collection *c, uint32_t slot,
    size_t *version, bool *found, struct db_code *code, struct error *err)
{
	*found = false;
	for (size_t i = c->n_versions; i-- > 0 && !*found;) {
		*version = i;
		if (db_code(txn, &c->versions[i].codes, slot, found, code, err) != 0)
			return -1;
	}
	return 0;
}

bool
collection_codes_alike(const struct collection *a, const struct collection *b)
{
	return strcmp(collection_binarizer_id(a), collection_binarizer_id(b)) == 0 &&
	       strcmp(a->settings.text_model, b->settings.text_model) == 0 &&
	       strcmp(a->settings.query_model, b->settings.query_model) == 0;
}

int
collection_row(
    struct db_collection *row, struct collection *c, uint32_t id, struct error *err)
{
	const struct collection_binarizer *b = c->binarizers[c->n_versions - 1];
	char *text = collection_settings_print(c, err);

	if (!text)
		return -1;
	cJSON_free(c->text);
	c->text = text;
	c->settings.id = id;
	for (size_t i = 0; i < c->n_versions; i++)
		c->versions[i].codes.collection = id;
	*row = (struct db_collection){
	    .name = c->settings.name,
	    .id = id,
	    .settings = text,
	    .settings_len = strlen(text),
	    .version = collection_codes(c)->version,
	    .binarizer = b->bytes,
	    .binarizer_len = b->n,
	};
	return 0;
}
