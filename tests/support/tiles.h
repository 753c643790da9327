#ifndef TESTS_SUPPORT_TILES_H
#define TESTS_SUPPORT_TILES_H

#include <stddef.h>

/*
 * Tile instructions (AMX int8) on a processor that lacks them.
 *
 * There each one raises SIGILL.  The handler decodes it, does to the thread's own eight
 * tiles and to memory what a processor would, and goes on behind it: compiled code runs
 * as it is, some thousand times slower.  What a processor refuses (tiles without a
 * configuration or a shape, shapes that do not fit, reserved fields) aborts with a line
 * that says why.  Modelled: ldtilecfg, sttilecfg, tilerelease, tilezero, tileloadd,
 * tileloaddt1, tilestored, tdpb{ss,su,us,uu}d, palette 1, start row 0.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1,
 * chapter 18 and volume 2.
 */

/* Let tile instructions run in this process: natively if cpu_has(CPU_AMX), else by the
 * handler.  NULL, or why neither can be.  cmocka puts handlers of its own in place
 * before each test, so each test calls this. */
const char *tiles_start(void);

/* How many instructions this thread has had emulated. */
size_t tiles_emulated(void);

/* Run `run` with 2 .. 5, each in a thread of its own, all at once, after tiles_start;
 * what the first that does not return NULL returns. */
void *tiles_in_threads(void *(*run)(void *number));

#endif /* TESTS_SUPPORT_TILES_H */
