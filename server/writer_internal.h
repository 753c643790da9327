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

#endif /* SERVER_WRITER_INTERNAL_H */
