#include "client/stop.h"

#include <signal.h>
#include <stdatomic.h>
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
	struct sigaction action = {
	    .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
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
