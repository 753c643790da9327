#include "server/collection.h"

/* How much a collection holds. */

struct collection_counts
collection_counts(const struct collection *c)
{
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	struct collection_counts counts = {
	    .points = snapshot->n_live - snapshot->n_extra, .rows = snapshot->n_live};

	store_release(snapshot);
	return counts;
}

/* The part of a version's codes; NULL: it is gone. */
static const struct store_part *
part_of(const struct store_snapshot *snapshot, const struct collection_version *v)
{
	for (size_t p = 0; p < snapshot->n_parts; p++)
		if (snapshot->parts[p].number == v->codes.version)
			return &snapshot->parts[p];
	return NULL;
}

void
collection_version_counts(struct collection_counts *counts, const struct collection *c)
{
	struct store_snapshot *snapshot = store_acquire(collection_store(c));

	for (size_t i = 0; i < collection_n_versions(c); i++) {
		const struct store_part *part =
		    part_of(snapshot, collection_version(c, i));
		counts[i] = (struct collection_counts){0};
		if (part)
			counts[i] = (struct collection_counts){
			    .points = part->n_live - part->n_extra,
			    .rows = part->n_live};
	}
	store_release(snapshot);
}

size_t
collection_count(const struct collection *c)
{
	return collection_counts(c).points;
}

/* Bytes of blocks in the data directory, if rows stand one after the other. */
static uint64_t
disk_codes(const struct collection *c, const struct store_snapshot *snapshot)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < collection_n_versions(c); i++) {
		const struct store_part *part =
		    part_of(snapshot, collection_version(c, i));
		const struct db_codes *codes = &collection_version(c, i)->codes;
		uint32_t rows = db_codes_rows(codes);
		if (!part)
			continue;
		/* Of one version holes count too. */
		uint32_t n = snapshot->n_parts == 1 ? snapshot->n_slots : part->n_live;
		bytes += (n + (uint64_t)rows - 1) / rows * db_codes_block_bytes(codes);
	}
	return bytes;
}

int
collection_bytes(struct collection_bytes *bytes, const struct collection *c,
    struct db *db, struct error *err)
{
	struct db_sizes sizes;
	struct store_bytes memory = store_bytes(collection_store(c));
	struct store_snapshot *snapshot = store_acquire(collection_store(c));
	uint64_t n = snapshot->n_live, codes = disk_codes(c, snapshot);

	store_release(snapshot);
	if (db_sizes(db, &sizes, err) != 0)
		return -1;
	uint64_t all = sizes.n_rows > n ? sizes.n_rows : n;
	*bytes = (struct collection_bytes){
	    .memory_codes = memory.codes,
	    .memory_plane0 = memory.plane0,
	    .memory_factors = memory.factors,
	    .memory_tables = memory.tables,
	    .disk_codes = codes,
	    .disk_ids = all ? sizes.ids_bytes * n / all : 0,
	    .disk_points = all ? sizes.points_bytes * n / all : 0,
	};
	return 0;
}
