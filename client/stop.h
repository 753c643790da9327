#ifndef CLIENT_STOP_H
#define CLIENT_STOP_H

#include <stdbool.h>

/*
 * Ctrl-C (SIGINT) and SIGTERM as a wish to stop: the first one is noted and the
 * command ends in order, the second one ends the process at once.
 */

/* Watch for the two signals from now on, except one that this process was started to
 * ignore. */
void stop_watch(void);

/* Whether one has come; any thread. */
bool stop_requested(void);

/* Sleep that long, less if a stop is requested meanwhile; any thread. */
void stop_sleep(double seconds);

#endif /* CLIENT_STOP_H */
