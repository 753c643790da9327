/*
 * Load for a Redis vector set: so many connections, each of which asks for the ten
 * nearest of one vector after the other; one thread, as wrk with -t1.  (redis-benchmark
 * and memtier_benchmark send no binary vectors of a file.)  usage:
 * redis_load PORT KEY QUERIES.npy DIMS EF CONNECTIONS SECONDS
 * Prints requests, seconds, the median and 99th percentile in ms, and errors.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define CONNECTIONS_MAX 1024
#define REPLY_MAX 4096
#define SAMPLES_MAX 10000000

struct connection {
	int fd;
	uint64_t sent_ns;
	size_t len;
	char reply[REPLY_MAX + 1];
};

struct load {
	struct sockaddr_in address;
	const char *key, *ef;
	const unsigned char *vectors; /* (n, vector_size) bytes */
	size_t n, vector_size, next;
	float *ms; /* (n_samples) of each answer */
	size_t n_samples, n_errors;
};

static _Noreturn void
fail(const char *what)
{
	perror(what);
	exit(1);
}

/* The matrix lies behind a head of 128 bytes or more whose end is a newline. */
static void
map_queries(struct load *load, const char *path, size_t dims)
{
	struct stat status;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &status) != 0)
		fail(path);
	size_t size = (size_t)status.st_size;
	const unsigned char *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		fail(path);
	const unsigned char *end = memchr(file, '\n', size);
	load->vector_size = dims * sizeof(float);
	if (!end || (size - (size_t)(end + 1 - file)) % load->vector_size != 0) {
		fprintf(stderr, "%s: expected float32 of %zu dims\n", path, dims);
		exit(1);
	}
	load->vectors = end + 1;
	load->n = (size - (size_t)(end + 1 - file)) / load->vector_size;
	close(fd);
}

static void
dial(struct connection *c, const struct load *load)
{
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&load->address,
			     sizeof load->address) != 0)
		fail("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void
ask(struct connection *c, struct load *load)
{
	char request[65536 + 512];
	size_t size = load->vector_size;
	int n = snprintf(request, sizeof request,
	    "*8\r\n$4\r\nVSIM\r\n$%zu\r\n%s\r\n$4\r\nFP32\r\n$%zu\r\n",
	    strlen(load->key), load->key, size);

	memcpy(request + n, load->vectors + load->next * size, size);
	load->next = (load->next + 1) % load->n;
	size += (size_t)n;
	size += (size_t)snprintf(request + size, sizeof request - size,
	    "\r\n$5\r\nCOUNT\r\n$2\r\n10\r\n$2\r\nEF\r\n$%zu\r\n%s\r\n",
	    strlen(load->ef), load->ef);
	c->len = 0;
	c->sent_ns = clock_ns();
	for (size_t done = 0; done < size;) {
		ssize_t wrote = write(c->fd, request + done, size - done);
		if (wrote <= 0)
			fail("write");
		done += (size_t)wrote;
	}
}

/* Whether a whole answer is there: an array of strings, or an error. */
static bool
is_whole(struct connection *c)
{
	char *at = c->reply;

	c->reply[c->len] = '\0';
	if (*at == '-')
		return strstr(at, "\r\n") != NULL;
	long lines = 2 * strtol(at + 1, NULL, 10) + 1; /* ids hold no line's end */
	for (; lines > 0; lines--) {
		at = strstr(at, "\r\n");
		if (!at)
			return false;
		at += 2;
	}
	return true;
}

static void
on_readable(struct connection *c, struct load *load)
{
	ssize_t n = read(c->fd, c->reply + c->len, REPLY_MAX - c->len);

	if (n <= 0)
		fail("read");
	c->len += (size_t)n;
	if (!is_whole(c))
		return;
	if (*c->reply != '*')
		load->n_errors++;
	else if (load->n_samples < SAMPLES_MAX)
		load->ms[load->n_samples++] =
		    (float)((double)(clock_ns() - c->sent_ns) * 1e-6);
	ask(c, load);
}

static int
compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static double
run(struct load *load, size_t n_connections, double seconds)
{
	static struct connection connections[CONNECTIONS_MAX];
	struct epoll_event events[64];
	int poll = epoll_create1(0);

	for (size_t i = 0; i < n_connections; i++) {
		struct epoll_event event = {
		    .events = EPOLLIN, .data.ptr = &connections[i]};
		dial(&connections[i], load);
		epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].fd, &event);
	}
	uint64_t start = clock_ns();
	for (size_t i = 0; i < n_connections; i++)
		ask(&connections[i], load);
	while (clock_since(start) < seconds) {
		int n = epoll_wait(poll, events, 64, 100);
		for (int i = 0; i < n; i++)
			on_readable(events[i].data.ptr, load);
	}
	return clock_since(start);
}

int
main(int argc, char **argv)
{
	struct load load = {.address = {.sin_family = AF_INET}};

	if (argc != 8) {
		fprintf(stderr, "usage: redis_load PORT KEY QUERIES.npy DIMS EF "
				"CONNECTIONS SECONDS\n");
		return 2;
	}
	load.address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	load.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	load.key = argv[2];
	load.ef = argv[5];
	map_queries(&load, argv[3], strtoull(argv[4], NULL, 10));
	size_t n_connections = strtoull(argv[6], NULL, 10);
	bool fits = load.vector_size <= 65536 && n_connections <= CONNECTIONS_MAX;
	load.ms = fits ? malloc(SAMPLES_MAX * sizeof *load.ms) : NULL;
	if (!load.ms) {
		fprintf(stderr,
		    "redis_load: expected at most %d connections, vectors of "
		    "64 KiB, and 40 MB of memory\n",
		    CONNECTIONS_MAX);
		return 1;
	}
	double s = run(&load, n_connections, strtod(argv[7], NULL));
	size_t n = load.n_samples;
	qsort(load.ms, n, sizeof *load.ms, compare);
	printf("%zu %.6f %.4f %.4f %zu\n", n, s, n ? (double)load.ms[n / 2] : 0,
	    n ? (double)load.ms[n * 99 / 100] : 0, load.n_errors);
	return 0;
}
