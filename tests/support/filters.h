#ifndef TESTS_SUPPORT_FILTERS_H
#define TESTS_SUPPORT_FILTERS_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "base/rng.h"
#include "server/point_id.h"

/*
 * Random payloads and filters over a few keys, and an evaluator as dumb as the
 * documentation reads: on trees, with its own paths, lists and words.
 *
 * Numbers are cJSON_Raw, so that 1 and 1.0 stay two.
 */
#define FILTERS_IDS 40 /* filters_id(0 ..) are the ids that filters name */

struct point_id filters_id(size_t i);

cJSON *filters_payload(struct rng *rng);
cJSON *filters_filter(struct rng *rng);

/* Over these keys alone, and without nested and values_count. */
cJSON *filters_filter_of(struct rng *rng, const char *const *keys, size_t n);

/* As JSON, some letters escaped; free() it. */
char *filters_print(struct rng *rng, const cJSON *json);

/* text_key: a key whose match.text goes by words; NULL = none. */
bool filters_match(const cJSON *filter, const struct point_id *id, const cJSON *payload,
    const char *text_key);

/* The keys that filters use. */
extern const char *const filters_keys[];
extern const size_t filters_n_keys;

#endif /* TESTS_SUPPORT_FILTERS_H */
