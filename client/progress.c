#include "client/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define BAR_WIDTH 24
#define REDRAW_NS 100000000ull /* on a terminal */
#define LINE_NS 5000000000ull  /* elsewhere */

void
progress_start(struct progress *p, const char *unit, uint64_t size_bytes)
{
	*p = (struct progress){.unit = unit, .size_bytes = size_bytes};
	p->start_ns = p->drawn_ns = clock_ns();
	p->terminal = isatty(STDERR_FILENO) == 1;
}

void
progress_start_units(
    struct progress *p, const char *unit, uint64_t first, uint64_t units)
{
	progress_start(p, unit, 0);
	p->first = first;
	p->units = units;
}

/* The share of the job that is done, 0 where it is not known; and of what this process
 * has to do. */
static double
share_done(const struct progress *p, uint64_t done, uint64_t bytes, double *here)
{
	double size = p->units ? (double)p->units : (double)p->size_bytes;
	double part = size == 0 ? 0 : (p->units ? (double)done : (double)bytes) / size;
	double before = p->units ? (double)p->first / size : 0;
	if (part > 1)
		part = 1;
	*here = before < 1 ? (part - before) / (1 - before) : 1;
	return part;
}

static void
draw(struct progress *p, uint64_t done, uint64_t bytes)
{
	char line[512], bar[BAR_WIDTH + 1], left[64] = "", size[64] = "";
	double seconds = clock_since(p->start_ns), here;
	double part = share_done(p, done, bytes, &here);

	if (seconds < 1e-6)
		seconds = 1e-6;
	if (here > 0)
		snprintf(left, sizeof left, ", %3.0f %%, %.0f s left", part * 100,
		    seconds * (1 - here) / here);
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', (size_t)(part * BAR_WIDTH));
	bar[BAR_WIDTH] = '\0';
	if (p->units == 0)
		snprintf(size, sizeof size, ", %.0f/s, %.2f MB/s",
		    (double)done / seconds, (double)bytes / seconds / 1e6);
	snprintf(line, sizeof line, "%llu %s%s%s%s%s%s", (unsigned long long)done,
	    p->unit, done == 1 ? "" : "s", size, left, p->note[0] == '\0' ? "" : ": ",
	    p->note);
	if (!p->terminal)
		fprintf(stderr, "%s\n", line);
	else if (p->size_bytes != 0 || p->units != 0)
		fprintf(stderr, "\r\033[K[%s] %s", bar, line);
	else
		fprintf(stderr, "\r\033[K%s", line);
	p->drawn = true;
	p->drawn_ns = clock_ns();
}

void
progress_show(struct progress *p, uint64_t done, uint64_t bytes)
{
	if (clock_ns() - p->drawn_ns >= (p->terminal ? REDRAW_NS : LINE_NS))
		draw(p, done, bytes);
}

void
progress_end(struct progress *p, uint64_t done, uint64_t bytes)
{
	if (!p->terminal || !p->drawn)
		return;
	draw(p, done, bytes);
	fputc('\n', stderr);
	p->drawn = false;
}

void
progress_break(struct progress *p)
{
	if (p->terminal && p->drawn)
		fputc('\n', stderr);
	p->drawn = false;
}
