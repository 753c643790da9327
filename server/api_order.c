#include "server/api_order.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "server/path.h"

/* ---- reading ---- */

static int
read_direction(struct api_order *order, const struct json *object, struct error *err)
{
	struct json value;
	int has = api_member(&value, object, "direction", JSON_STRING, err);

	if (has <= 0)
		return has;
	if (json_equals(&value, "desc"))
		order->order = DB_FIELDS_DOWN;
	else if (!json_equals(&value, "asc"))
		return error_set(err, ERR_INPUT,
		    "direction: expected \"asc\" or \"desc\", not %.*s",
		    value.len < 40 ? (int)value.len : 40, value.text);
	return 0;
}

static int
read_start(struct api_order *order, const struct json *object, struct error *err)
{
	if (!json_member(object, "start_from", &order->start) ||
	    order->start.type == JSON_NULL)
		return 0;
	if (order->start.type == JSON_STRING)
		return error_set(err, ERR_UNSUPPORTED,
		    "start_from: dates are not served; expected a number");
	if (order->start.type != JSON_NUMBER)
		return error_set(err, ERR_INPUT,
		    "start_from: expected a number, not %s",
		    json_type_name(order->start.type));
	order->has_start = true;
	return 0;
}

static int
read_members(struct api_order *order, const struct json *object, struct json *key,
    struct error *err)
{
	int has = api_member(key, object, "key", JSON_STRING, err);

	if (has < 0)
		return -1;
	if (!has)
		return error_set(err, ERR_INPUT, "expected a member 'key'");
	return read_direction(order, object, err) || read_start(order, object, err) ? -1
										    : 0;
}

int
api_order_read(struct api_order *order, const struct json *root, struct error *err)
{
	char text[PATH_BYTES_MAX + 1];
	struct json value, key;

	if (!json_member(root, "order_by", &value) || value.type == JSON_NULL)
		return 0;
	key = value;
	if (value.type == JSON_OBJECT) {
		if (read_members(order, &value, &key, err))
			return error_prefix(err, "order_by");
	} else if (value.type != JSON_STRING) {
		return error_set(err, ERR_INPUT,
		    "order_by: expected a key or {\"key\": ...}, not %s",
		    json_type_name(value.type));
	}
	if (api_string(text, sizeof text, &key, "order_by: the key", err))
		return -1;
	order->path = path_new(text, strlen(text), err);
	return order->path ? 0 : error_prefix(err, "order_by");
}

void
api_order_free(struct api_order *order)
{
	path_free(order->path);
}

/* ---- where it begins ---- */

/* The side's first place when it begins at this number; false: it has none there. */
static bool
start_integers(
    struct api_order_side *side, enum db_fields_order order, const struct json *start)
{
	double number = json_double(start);
	int64_t integer;

	if (!json_i64(&integer, start)) {
		number = order == DB_FIELDS_UP ? ceil(number) : floor(number);
		if (number >= 0x1p63 || number < -0x1p63) {
			/* Every integer is on one side of it. */
			return (number > 0) == (order == DB_FIELDS_DOWN);
		}
		integer = (int64_t)number;
	}
	side->next.place = db_fields_integer(integer);
	return true;
}

static void
begin_side(struct api_order *order, struct api_order_side *side)
{
	bool up = order->order == DB_FIELDS_UP;

	side->next.place = up ? 0 : UINT64_MAX;
	side->next.slot = up ? 0 : UINT32_MAX;
	if (!order->has_start)
		return;
	if (side->kind == DB_FIELDS_DOUBLE)
		side->next.place = db_fields_double(json_double(&order->start));
	else
		side->done = !start_integers(side, order->order, &order->start);
}

int
api_order_begin(struct api_order *order, const struct collection *collection,
    struct db_txn *txn, struct error *err)
{
	bool complete;

	if (!order->path)
		return 0;
	const struct db_field *field = collection_field(collection, order->path);
	if (!field ||
	    (field->type != DB_FIELD_INTEGER && field->type != DB_FIELD_FLOAT))
		return error_set(err, ERR_INPUT,
		    "order_by: expected a key with an index of integers or floats, "
		    "which %.80s is not: make one (PUT "
		    "/collections/{collection}/index)",
		    path_key(order->path));
	order->field = field->number;
	const struct db_fields_at at = {
	    txn, collection_codes(collection)->collection, order->field};
	if (db_fields_complete(&at, &complete, err) != 0)
		return -1;
	if (!complete)
		return error_set(err, ERR_UNAVAILABLE,
		    "order_by: the index of %.80s still lacks points that were there "
		    "before it: try again in a moment",
		    path_key(order->path));
	order->sides[0].kind = DB_FIELDS_INTEGER;
	order->sides[1].kind = DB_FIELDS_DOUBLE;
	for (size_t i = 0; i < 2; i++)
		begin_side(order, &order->sides[i]);
	return 0;
}

/* ---- walking ---- */

/* *number := the one behind it; false: there is none. */
static bool
step(struct db_fields_number *number, enum db_fields_order order)
{
	bool up = order == DB_FIELDS_UP;
	uint32_t last = up ? UINT32_MAX : 0;

	if (number->slot != last) {
		number->slot += up ? 1 : UINT32_MAX; /* - 1 */
		return true;
	}
	if (number->place == (up ? UINT64_MAX : 0))
		return false;
	number->place += up ? 1 : UINT64_MAX; /* - 1 */
	number->slot = up ? 0 : UINT32_MAX;
	return true;
}

/* There is an entry ahead, unless there are no more. */
static int
look_ahead(struct api_order *order, struct api_order_side *side,
    const struct db_fields_at *at, struct error *err)
{
	if (side->i < side->n || side->done)
		return 0;
	side->i = 0;
	side->n = API_ORDER_AHEAD;
	if (db_fields_numbers_from(side->ahead, &side->n, at, side->kind, &side->next,
		order->order, err) != 0)
		return -1;
	side->done = side->n < API_ORDER_AHEAD;
	if (!side->done) {
		side->next = side->ahead[side->n - 1];
		side->done = !step(&side->next, order->order);
	}
	return 0;
}

static double
number_of(const struct api_order_side *side)
{
	uint64_t place = side->ahead[side->i].place;

	return side->kind == DB_FIELDS_DOUBLE ? db_fields_double_at(place)
					      : (double)db_fields_integer_at(place);
}

/* Whether a's entry comes before b's upwards; of the same number and slot the
 * integer. */
static bool
is_less(const struct api_order_side *a, const struct api_order_side *b)
{
	double x = number_of(a), y = number_of(b);

	return x < y || (x == y && a->ahead[a->i].slot <= b->ahead[b->i].slot);
}

/* The side whose entry is next; NULL: both are at their ends. */
static struct api_order_side *
choose(struct api_order *order)
{
	struct api_order_side *a = &order->sides[0], *b = &order->sides[1];

	if (a->i == a->n || b->i == b->n)
		return a->i < a->n ? a : b->i < b->n ? b : NULL;
	return is_less(a, b) == (order->order == DB_FIELDS_UP) ? a : b;
}

int
api_order_next(struct api_order *order, const struct collection *collection,
    struct db_txn *txn, bool *found, uint32_t *slot, struct error *err)
{
	const struct db_fields_at at = {
	    txn, collection_codes(collection)->collection, order->field};

	for (size_t i = 0; i < 2; i++)
		if (look_ahead(order, &order->sides[i], &at, err) != 0)
			return -1;
	struct api_order_side *side = choose(order);
	*found = side != NULL;
	if (!side)
		return 0;
	*slot = side->ahead[side->i].slot;
	struct api_order_side *other = &order->sides[side == order->sides];
	if (other->i < other->n && other->ahead[other->i].slot == *slot &&
	    number_of(other) == number_of(side))
		other->i++;
	side->i++;
	order->last = side;
	return 0;
}

void
api_order_value(struct text *out, const struct api_order *order)
{
	const struct api_order_side *side = order->last;
	uint64_t place = side->ahead[side->i - 1].place;

	if (side->kind == DB_FIELDS_INTEGER)
		text_printf(out, "%" PRId64, db_fields_integer_at(place));
	else
		text_double(out, db_fields_double_at(place));
}
