#ifndef SERVER_API_GROUP_H
#define SERVER_API_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api.h"

/*
 * Hits are rows, answers have points: of the rows of a chunked point the first hit, its
 * best passage, stands for it.  The scan is exact, so the first n different points
 * among the hits are the n best; where the hits have too few, more are asked for. Owner
 * only.
 */
struct api_group {
	struct db_txn *txn;
	uint32_t collection;
	const struct point_id *without; /* (n_without): points that are left out */
	size_t n_without;
	uint32_t *seen; /* first slot + 1 of the chunked points so far; 0 = empty */
	size_t mask;
	size_t n_left; /* points of the snapshot that no hit has shown yet */
};

/* Rows to ask for so that n points are likely to be among them. */
size_t api_group_rows(size_t n, const struct collection *collection);

/* Of the n_hits rows that came when k were asked for too few were different points: how
 * many rows to ask for next, more than k; 0 if these were all. */
size_t api_group_more(size_t n_hits, size_t k, const struct store_snapshot *snapshot);

/* Make room for the points of n hits of a snapshot; the rest of *group is the caller's.
 * Free in any case.  ERR_MEMORY. */
int api_group_init(struct api_group *group, size_t n,
    const struct store_snapshot *snapshot, struct error *err);
void api_group_free(struct api_group *group);

/* Take the next of the n hits: 1 = it is its point's first, and
 * *record is that of its row; 0 = it is not, or it is gone from the file, or left out;
 * -1 as db_record. */
int api_group_next(struct api_group *group, struct db_record *record,
    const struct hit *hit, struct error *err);

/* Append `,"passage":{...}` of a row that is one. */
void api_group_passage(struct text *out, const struct db_record *record);

#endif /* SERVER_API_GROUP_H */
