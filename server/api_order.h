#ifndef SERVER_API_ORDER_H
#define SERVER_API_ORDER_H

#include "server/api.h"

/*
 * Points in the order of a number in their payloads, as an index of integers or floats
 * has it: `"order_by": "key"` or {"key", "direction": "asc"|"desc", "start_from": N}.
 *
 * A point comes once for each different number that the key leads to, and not at all
 * without one.  Integers and other numbers are two orders in the index, which are
 * merged: an integer compares with a float as a float.  Equal numbers come in the order
 * of their slots; "desc" is "asc" backwards.
 *
 * Part of a request's state, owner only.  Start from {0}.
 */
#define API_ORDER_AHEAD 256 /* entries that are read at once */

struct api_order {
	struct path *path; /* NULL: none was asked for */
	enum db_fields_order order;
	bool has_start;
	struct json start;

	/* The rest is its own. */
	uint16_t field;
	struct api_order_side {
		enum db_fields_kind kind;
		struct db_fields_number next; /* where reading goes on */
		bool done;                    /* it has been read to its end */
		struct db_fields_number ahead[API_ORDER_AHEAD];
		size_t i, n; /* of ahead */
	} sides[2], *last;   /* the side of the one that was found last */
};

/* Read `order_by` of a request, if it is there.  ERR_INPUT; ERR_UNSUPPORTED: start_from
 * is a date. */
int api_order_read(struct api_order *order, const struct json *root, struct error *err);
void api_order_free(struct api_order *order);

/* Begin, if an order was asked for.  ERR_INPUT: the key has no index of numbers;
 * ERR_UNAVAILABLE: it is not complete yet. */
int api_order_begin(struct api_order *order, const struct collection *collection,
    struct db_txn *txn, struct error *err);

/* *found := whether there is another; then *slot := the row that has it, of a point
 * with passages each of them. */
int api_order_next(struct api_order *order, const struct collection *collection,
    struct db_txn *txn, bool *found, uint32_t *slot, struct error *err);

/* Append the number of the one that was found last; null of one beyond floats. */
void api_order_value(struct text *out, const struct api_order *order);

#endif /* SERVER_API_ORDER_H */
