#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What the commands' command lines have in common.  Messages go to stderr, each
 * begins with "halftone COMMAND: ".  Main thread only.
 */

/* Exit codes of every command. */
enum { OPTIONS_OK = 0, OPTIONS_FAILED = 1, OPTIONS_USAGE = 2 };

/* Name the command, for the messages, and let getopt_long start anew. */
void options_begin(const char *command, char **argv);

/* Print a message about wrong use and where help is; returns OPTIONS_USAGE. */
int options_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Print where help is, after getopt_long has said what is wrong; OPTIONS_USAGE. */
int options_hint(void);

/* Print what went wrong; returns OPTIONS_FAILED. */
int options_failed(const struct error *err);

/* Print what is wrong with what an option says, or names: wrong use if the error is
 * ERR_INPUT, else as options_failed. */
int options_refused(const struct error *err);

/* *out := the whole number in `text`, min .. max; else a message and false. */
bool options_number(
    uint32_t *out, const char *option, const char *text, uint32_t min, uint32_t max);

/* The text model to use where none is named. */
#define OPTIONS_TEXT_MODEL "halftone-mini"

/* out (cap) := the directory of that model: in models/ beside this program, or beside
 * the folder it is in.  ERR_NOT_FOUND. */
int options_default_model(char *out, size_t cap, struct error *err);

#endif /* CLIENT_OPTIONS_H */
