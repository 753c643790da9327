#ifndef SERVER_DB_FIELDS_INTERNAL_H
#define SERVER_DB_FIELDS_INTERNAL_H

#include <roaring/roaring.h>
#include <string.h>

#include "base/bytes.h"
#include "server/db_fields.h"
#include "server/db_internal.h"

/* What the files of server/db_fields share. */

/*
 * All keys begin with collection (4 bytes), field (2), kind (1).
 *
 * numbers: nothing more -> values of 12 bytes: the number's place in the order of its
 *          kind, slot
 * terms:   the term, '\0', upper half of the slot -> checksum, and the lower halves as
 *          a bitmap in CRoaring's portable form
 *          kind DB_FIELDS_STATE: nothing more -> 1 byte: 1 = complete
 */
#define DB_FIELDS_STATE ((enum db_fields_kind)'c')
#define DB_FIELDS_PREFIX_BYTES 7
#define DB_FIELDS_NUMBER_BYTES 12
#define DB_FIELDS_ENTRY_MAX (DB_FIELDS_PREFIX_BYTES + TERM_BYTES_MAX + 5)

static inline bool
db_fields_is_number(char kind)
{
	return kind == DB_FIELDS_INTEGER || kind == DB_FIELDS_DOUBLE;
}

/* The front of a key, with a term if it is not NULL; returns its length. */
static inline size_t
db_fields_prefix(uint8_t key[DB_FIELDS_ENTRY_MAX], uint32_t collection, uint16_t number,
    enum db_fields_kind kind, const struct term *term)
{
	bytes_put32be(key, collection);
	key[4] = (uint8_t)(number >> 8);
	key[5] = (uint8_t)number;
	key[6] = (uint8_t)kind;
	if (term)
		memcpy(key + DB_FIELDS_PREFIX_BYTES, term->bytes, term->n);
	return DB_FIELDS_PREFIX_BYTES + (term ? term->n : 0);
}

/* The bitmap in a value of `terms`; roaring_bitmap_free it.  NULL: ERR_FORMAT. */
roaring_bitmap_t *db_fields_bitmap(
    struct db_txn *txn, const MDB_val *value, struct error *err);

#endif /* SERVER_DB_FIELDS_INTERNAL_H */
