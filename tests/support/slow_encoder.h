#ifndef TESTS_SUPPORT_SLOW_ENCODER_H
#define TESTS_SUPPORT_SLOW_ENCODER_H

#include <stddef.h>
#include <stdint.h>

/*
 * The slow twin of a "halftone-encoder": docs/formats.md written down once more, from
 * the files, in double, one text at a time, without any of attention/.  Activations are
 * rounded to float where they stand between two steps, so that what is decided by a
 * rounding (a level, a bit of a code) is nearly always decided alike.
 *
 * A model that it cannot read ends the test.
 */
struct slow_encoder;

struct slow_encoder *slow_encoder_open(const char *dir);
void slow_encoder_close(struct slow_encoder *slow);

/* vector (hidden_size) := the embedding of n pieces.  codes (num_hidden_layers, 2, n,
 * heads) := the hash codes of the queries and keys, 0 where there are none; may be
 * NULL. */
void slow_encoder_embed(double *vector, uint32_t *codes,
    const struct slow_encoder *slow, const uint32_t *ids, size_t n);

#endif /* TESTS_SUPPORT_SLOW_ENCODER_H */
