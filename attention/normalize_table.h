#ifndef ATTENTION_NORMALIZE_TABLE_H
#define ATTENTION_NORMALIZE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "attention/normalize.h"

/* Where the reference's tables say something else than utf8proc's (of any of its
 * Unicode versions named in normalize.h).  Any thread may call. */

/* What the reference makes of some code points: each is of this kind, has no
 * decomposition, and is a starter (combining class 0) or of utf8proc's class. */
struct normalize_exception {
	uint32_t first, last;
	enum normalize_kind kind;
	bool starter;
};

/* The exception for a code point, or NULL. */
const struct normalize_exception *normalize_exception(uint32_t code);

/* The lower case of a code point as the reference has it. */
uint32_t normalize_lower(uint32_t code);

#endif /* ATTENTION_NORMALIZE_TABLE_H */
