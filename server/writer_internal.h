#ifndef SERVER_WRITER_INTERNAL_H
#define SERVER_WRITER_INTERNAL_H

#include "server/writer.h"

/* What the files of server/writer share. */

/* The rows of a point: one, or its passages. */
size_t writer_n_rows(const struct writer_point *point);
struct db_code writer_code(const struct writer_point *point, size_t i);

/* Do one operation in the transaction of its group; the registry says what is there. An
 * operation that is wrong fails alone: 0 with op->result.err set.  -1: the transaction
 * is lost, with *err. */
int writer_do(struct writer_operation *op, struct registry *registry,
    struct db_txn *txn, struct error *err);

/* op->result.err := op->err: it is wrong, and changed nothing. */
int writer_fail_alone(struct writer_operation *op);

/* Whether a point of these rows is one that the operation's filter, if it has one,
 * matches by now: 1, 0, -1. */
int writer_still_matches(const struct writer_operation *op, struct db_txn *txn,
    const struct db_rows *rows, struct error *err);

/* Take a point's rows out of the collection's payload indexes; enter them. */
int writer_unindex_rows(const struct writer_operation *op, struct db_txn *txn,
    const struct db_rows *rows, struct error *err);
int writer_index_rows(const struct writer_operation *op, struct db_txn *txn,
    const struct db_rows *rows, const char *payload, size_t payload_len,
    struct error *err);

/* Store op->made, a collection that is to take the place of op->current. */
int writer_put_made(struct writer_operation *op, struct db_txn *txn, struct error *err);

/* WRITER_PAYLOAD, _INDEX, _UNINDEX; as writer_do. */
int writer_do_payload(
    struct writer_operation *op, struct db_txn *txn, struct error *err);
int writer_do_index(struct writer_operation *op, struct db_txn *txn, struct error *err);
int writer_do_unindex(
    struct writer_operation *op, struct db_txn *txn, struct error *err);

/* Indexes that lack rows, one after the other. */
struct writer_fill {
	struct collection *collection; /* a reference; NULL: look for one */
	uint16_t number;               /* of the field */
	uint32_t slot;                 /* before which every row is entered */
};

/* Enter some rows, in a transaction of its own.  *more: there may be others.  Nothing
 * is lost by a failure, nor by who forgets where it was. */
int writer_fill(struct writer_fill *fill, bool *more, struct registry *registry,
    struct db *db, struct error *err);
void writer_fill_forget(struct writer_fill *fill);

/* Whether the operation's index, if it is there, has every row. */
int writer_index_is_full(bool *full, const struct writer_operation *op,
    struct registry *registry, struct db *db, struct error *err);

#endif /* SERVER_WRITER_INTERNAL_H */
