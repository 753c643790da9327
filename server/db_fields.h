#ifndef SERVER_DB_FIELDS_H
#define SERVER_DB_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/row_set.h"
#include "server/db.h"
#include "server/path.h"
#include "server/term.h"

/*
 * Payload indexes: which rows have a value, without reading payloads.
 *
 * A *field* is a key of a collection's payloads that is indexed.  Every row of a point
 * (all of its passages) is entered under each value that the key leads to in the
 * point's payload, each element of an array by itself:
 *
 *     numbers  collection, field, kind -> values in order, each with its row
 *     terms    collection, field, kind, term, slots by 65,536 -> a bitmap of rows
 *
 * What is entered for a payload follows from the field alone, so an index answers as
 * the payloads themselves would: numbers of both kinds are entered exactly, and rows
 * are also entered under what says that there is anything (DB_FIELDS_VALUE), null, or
 * something that the field's type does not hold (DB_FIELDS_OTHER).
 *
 * Changes are gathered in the writing transaction, and are sorted and written before it
 * commits or is read.  Transactions, threads and errors are those of db.h.
 */
enum db_field_type {
	DB_FIELD_KEYWORD, /* strings */
	DB_FIELD_INTEGER, /* numbers: these two are one but for their names */
	DB_FIELD_FLOAT,
	DB_FIELD_BOOL,
	DB_FIELD_TEXT, /* words of strings (server/term.h) */
};

struct db_field {
	uint16_t number; /* not used before in this collection */
	enum db_field_type type;
	const struct path *path;
};

/* An index that is being made: its rows are added by the caller, in as many
 * transactions as it likes, and db_fields_set_complete says when all are there.  From
 * now on the directory is of format DB_FORMAT_FIELDS. */
int db_fields_new(
    struct db_txn *txn, uint32_t collection, uint16_t number, struct error *err);
int db_fields_set_complete(
    struct db_txn *txn, uint32_t collection, uint16_t number, struct error *err);

/* It answers nothing at once; its entries are left for db_purge. */
int db_fields_drop(
    struct db_txn *txn, uint32_t collection, uint16_t number, struct error *err);

/* Rows that have, or had, this payload (a JSON object that passed json_check, or
 * nothing with payload_len 0). */
struct db_fields_rows {
	uint32_t collection;
	const uint32_t *slots; /* (n) */
	size_t n;
	const char *payload;
	size_t payload_len;
};

/* Enter rows into n fields, complete or not; take them out.  The payload may be a
 * record's, but both write, and afterwards it is no longer valid.  Of what is said
 * twice of a row and a value in one transaction the last counts, so a payload is
 * replaced by removing the old and adding the new. */
int db_fields_add(struct db_txn *txn, const struct db_field *fields, size_t n,
    const struct db_fields_rows *rows, struct error *err);
int db_fields_remove(struct db_txn *txn, const struct db_field *fields, size_t n,
    const struct db_fields_rows *rows, struct error *err);

/* ---- asking ---- */

/* One field, as a transaction sees it. */
struct db_fields_at {
	struct db_txn *txn;
	uint32_t collection;
	uint16_t number;
};

/* *complete := whether it may be asked; one that never was or was dropped may not. */
int db_fields_complete(
    const struct db_fields_at *at, bool *complete, struct error *err);

/* Kinds of entries; their letters are part of the format. */
enum db_fields_kind {
	DB_FIELDS_INTEGER = 'i', /* numbers that json_i64 takes */
	DB_FIELDS_DOUBLE = 'd',  /* the other numbers */
	DB_FIELDS_STRING = 's',
	DB_FIELDS_WORD = 'w',
	DB_FIELDS_FALSE = 'f', /* these have no term */
	DB_FIELDS_TRUE = 't',
	DB_FIELDS_VALUE = 'v', /* anything but null and an empty array */
	DB_FIELDS_NULL = 'n',  /* null, not as an element */
	DB_FIELDS_OTHER =
	    'o', /* an element that is no null and not of the field's type */
};

/* rows := it and the rows that have the term; NULL where the kind has none. */
int db_fields_term(struct row_set *rows, const struct db_fields_at *at,
    enum db_fields_kind kind, const struct term *term, struct error *err);

/* rows := it and the rows that have any string for which `skip` is not true. */
typedef bool db_fields_skip(void *arg, const struct term *term);
int db_fields_strings(struct row_set *rows, const struct db_fields_at *at,
    db_fields_skip *skip, void *arg, struct error *err);

/* rows := it and the rows with a number of the kind whose place in the order of its
 * kind is low .. high. */
int db_fields_numbers(struct row_set *rows, const struct db_fields_at *at,
    enum db_fields_kind kind, uint64_t low, uint64_t high, struct error *err);

/* An entry: a number's place and a row that has it. */
struct db_fields_number {
	uint64_t place;
	uint32_t slot;
};

/* numbers (*n) := entries of the kind in order, by place and then by slot, from the
 * first that is not before `from`; downwards: in reverse, from the first that is not
 * behind it.  *n := how many; fewer only where there are no more. */
enum db_fields_order { DB_FIELDS_UP, DB_FIELDS_DOWN };
int db_fields_numbers_from(struct db_fields_number *numbers, size_t *n,
    const struct db_fields_at *at, enum db_fields_kind kind,
    const struct db_fields_number *from, enum db_fields_order order, struct error *err);

/* Places: rising with the number, and between those of two numbers that follow each
 * other there is none with an entry (-0.0 has that of 0.0). */
uint64_t db_fields_integer(int64_t number);
int64_t db_fields_integer_at(uint64_t place);
uint64_t db_fields_double(double number);
double db_fields_double_at(uint64_t place);

#endif /* SERVER_DB_FIELDS_H */
