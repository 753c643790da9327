#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/*
 * What the server's user may choose.
 *
 * One table (config.c) gives every key its name, kind, default, limits and help; a
 * key is the flag --max-body-bytes, the environment variable
 * HALFTONE_MAX_BODY_BYTES and the line "max_body_bytes = 33554432" of a file.  Flags
 * stand above the environment, that above the file, that above the defaults.  Sizes
 * may end in KiB, MiB or GiB.  Owner only.
 */
#define CONFIG_TEXT_MAX 1024

struct config {
	char data[CONFIG_TEXT_MAX];         /* the folder of the store */
	char listen[CONFIG_TEXT_MAX];       /* ADDRESS:PORT; port 0: any free one */
	char models[CONFIG_TEXT_MAX];       /* folder of models; "" = the default */
	char api_key_file[CONFIG_TEXT_MAX]; /* "" = no key */
	char config[CONFIG_TEXT_MAX];       /* the file that was read, "" = none */
	char log_level[CONFIG_TEXT_MAX];    /* debug, info, warn, error */
	bool insecure;                      /* listen to the world without a key */
	uint64_t threads;                   /* 0 = one a processor */
	uint64_t max_body_bytes;
	uint64_t max_bodies_bytes;  /* of all requests at once */
	uint64_t max_answer_bytes;  /* of one answer's result */
	uint64_t max_answers_bytes; /* of all that are not sent yet */
	uint64_t max_header_bytes;
	uint64_t max_connections;
	uint64_t max_in_flight; /* requests being answered */
	uint64_t request_timeout_s;
	uint64_t filter_timeout_s;
	uint64_t idle_timeout_s;
	uint64_t stop_timeout_s;
	uint64_t max_points_per_request;
	uint64_t max_limit;    /* of a query; also of its offset */
	uint64_t max_searches; /* of one batch of queries */
	uint64_t max_payload_bytes;
	uint64_t max_text_bytes;
	uint64_t max_passages;        /* of one chunked text */
	uint64_t max_inputs;          /* texts of one embeddings request */
	uint64_t max_texts_bytes;     /* of all being embedded, with their vectors */
	uint64_t max_batch;           /* queries that share one scan */
	uint64_t max_queued_searches; /* waiting for the scan thread; more get 429 */
	uint64_t max_queued_writes;   /* waiting for the disk; more get 429 */
	uint64_t max_queued_bytes;    /* of all of them */
	uint64_t map_bytes;           /* address space of the store, its largest size */
};

enum config_action {
	CONFIG_RUN,
	CONFIG_HELP,
	CONFIG_VERSION,
	CONFIG_PRINT,
	CONFIG_HEALTHCHECK,
};

/* Fill *config and *action from the command line, the environment and the file that
 * one of them names.  ERR_INPUT names the key, what was expected and what came;
 * ERR_IO: the file.  A variable HALFTONE_X that is no key is only warned about:
 * service managers invent such names.  `data` may come back empty; the caller knows
 * whether it needs it. */
int config_load(struct config *config, enum config_action *action, char *const argv[],
    char *const envp[], struct error *err);

/* Every key with its value, in the form of a file. */
void config_print(FILE *out, const struct config *config);

/* The text of --help. */
void config_help(FILE *out);

#endif /* SERVER_CONFIG_H */
