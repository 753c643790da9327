#include "client/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "base/clock.h"

static atomic_bool requested;

static void
on_signal(int number)
{
	(void)number;
	atomic_store(&requested, true);
}

void
stop_watch(void)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	struct sigaction action = {
	    .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		struct sigaction old;
		/* A shell has a job in its background ignore Ctrl-C: let it. */
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
}

bool
stop_requested(void)
{
	return atomic_load(&requested);
}

void
stop_sleep(double seconds)
{
	const double slice_s = 0.05;
	uint64_t start = clock_ns();
	double left;
	while (!stop_requested() && (left = seconds - clock_since(start)) > 0) {
		struct timespec t = {
		    .tv_nsec = (long)((left < slice_s ? left : slice_s) * 1e9),
		};
		nanosleep(&t, NULL);
	}
}
