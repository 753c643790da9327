#ifndef SERVER_MEMORY_H
#define SERVER_MEMORY_H

#include <stdint.h>

/*
 * What this process takes of the machine's memory.  Any thread.
 */

/* Bytes in memory that are no file's: codes, tables, queries, answers (RssAnon of
 * Linux); 0 where the system does not tell. */
uint64_t memory_anonymous(void);

#endif /* SERVER_MEMORY_H */
