/* Claim: the framing ends a request where RFC 9112 does, refuses what two parsers could
 * read in two ways, and neither depends on how the bytes are cut into packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "server/http_framing.h"
#include "tests/support/guard.h"

#define H "Host: x\r\n"

static const struct {
	const char *bytes;
	int status;  /* 0 = fine */
	size_t ends; /* requests that ended before */
} cases[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", 0, 1},
    {"GET / HTTP/1.0\r\n\r\n", 0, 1},
    {"GET /a%20b?c=%2F&d HTTP/1.1\r\n" H "X:\r\nY: \t z \r\n\r\nGET / HTTP/1.1\r\n" H
     "\r\n",
	0, 2},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" H "\r\n",
	0, 2},
    {"POST / HTTP/1.1\r\n" H "content-length:0\r\n\r\n", 0, 1},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA\r\n"
     "0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n",
	0, 2},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, 1},
    {"HEAD / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, 1},
    {"HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\na", 400, 0},
    {"HEAD / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 0},
    {"HEAD / HTTP/1.1\r\n" H "\r\nPOST / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\na",
	0, 2},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 100\r\n\r\n", 0, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 101\r\n\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length : 1\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
	400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n", 400,
	0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n64\r\n", 0, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n65\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n",
	400, 0},
    {"GET / HTTP/1.1\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H H "\r\n", 400, 0},
    {"GET / HTTP/1.1\n", 400, 0},
    {"GET / HTTP/1.1\r\nA: b\rc\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n A: b\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nno colon\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n: empty\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nA: \x01\r\n", 400, 0},
    {"\r\n", 400, 0},
    {"GET /\r\n", 400, 0},
    {"GET  / HTTP/1.1\r\n", 400, 0},
    {"GET / HTTP/1.1 \r\n", 400, 0},
    {"GET / HTTP/1.2\r\n", 400, 0},
    {"GET x HTTP/1.1\r\n", 400, 0},
    {"GET http://x/ HTTP/1.1\r\n", 400, 0},
    {"GET /% HTTP/1.1\r\n", 400, 0},
    {"GET /\"x HTTP/1.1\r\n", 400, 0},
    {"get / HTTP/1.1\r\n", 501, 0},
    {"TRACE / HTTP/1.1\r\n", 501, 0},
    {"G\x80T / HTTP/1.1\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "\r\nBAD\r\n", 400, 1},
};

/* Feed all bytes in pieces whose lengths `rng` draws (NULL: one piece), each ending at
 * an unreadable page. */
static int
feed(struct http_framing *framing, const char *bytes, size_t n, struct rng *rng)
{
	struct http_framing_refusal refusal = {.status = 0};
	for (size_t i = 0; i < n && !refusal.status;) {
		size_t some = rng ? 1 + rng_below(rng, 7) : n;
		if (some > n - i)
			some = n - i;
		char *piece = guard_copy(bytes + i, some);
		int rc = http_framing_take(framing, piece, some, &refusal);
		assert_int_equal(rc, refusal.status ? -1 : 0);
		guard_free(piece, some);
		i += some;
	}
	if (refusal.status)
		assert_true(strlen(refusal.text) > 10);
	return refusal.status;
}

/* How many requests ended before the bytes ran out or were refused, fed one by one. */
static size_t
count_ends(struct http_framing_limits limits, const char *bytes)
{
	struct http_framing framing;
	struct http_framing_refusal refusal;
	size_t ends = 0;
	http_framing_init(&framing, limits);
	for (; *bytes; bytes++) {
		bool midway = http_framing_midway(&framing);
		if (http_framing_take(&framing, bytes, 1, &refusal))
			break;
		ends += midway && !http_framing_midway(&framing);
	}
	http_framing_free(&framing);
	return ends;
}

static void
test_framing(void **state)
{
	struct http_framing_limits limits = {.header_bytes = 200, .body_bytes = 100};
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *bytes = cases[i].bytes;
		bool whole = false;
		for (int round = 0; round < 20; round++) {
			struct http_framing framing;
			http_framing_init(&framing, limits);
			int status =
			    feed(&framing, bytes, strlen(bytes), round ? &rng : NULL);
			if (status != cases[i].status)
				print_error("case %zu: %d\n", i, status);
			assert_int_equal(status, cases[i].status);
			if (round == 0)
				whole = !http_framing_midway(&framing);
			else if (status == 0)
				assert_int_equal(!http_framing_midway(&framing), whole);
			http_framing_free(&framing);
		}
		size_t ends = count_ends(limits, bytes);
		if (ends != cases[i].ends)
			print_error("case %zu: %zu ended\n", i, ends);
		assert_int_equal(ends, cases[i].ends);
	}
}

static void
test_framing_limits(void **state)
{
	struct http_framing_limits limits = {.header_bytes = 200, .body_bytes = 100};
	char head[400];
	(void)state;

	/* Exactly 200 bytes of head pass, 201 do not. */
	for (int extra = 0; extra < 2; extra++) {
		struct http_framing framing;
		int fixed = snprintf(NULL, 0, "GET / HTTP/1.1\r\n" H "X: \r\n\r\n");
		snprintf(head, sizeof head, "GET / HTTP/1.1\r\n" H "X: %0*d\r\n\r\n",
		    200 - fixed + extra, 0);
		http_framing_init(&framing, limits);
		assert_int_equal(
		    feed(&framing, head, strlen(head), NULL), extra ? 431 : 0);
		http_framing_free(&framing);
	}
	/* A body is counted, and what is half received is midway. */
	struct http_framing framing;
	http_framing_init(&framing, limits);
	assert_false(http_framing_midway(&framing));
	feed(&framing, "P", 1, NULL);
	assert_true(http_framing_midway(&framing));
	const char *rest = "UT / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\na";
	feed(&framing, rest, strlen(rest), NULL);
	assert_true(http_framing_midway(&framing));
	assert_int_equal(framing.bodies, 2);
	feed(&framing, "b", 1, NULL);
	assert_false(http_framing_midway(&framing));
	http_framing_free(&framing);
	/* No memory for a line is a refusal, not a crash. */
	array_fail_at(1);
	http_framing_init(&framing, limits);
	int status = feed(&framing, "GET / HTTP/1.1\r\n", 16, NULL);
	array_fail_at(0);
	assert_int_equal(status, 500);
	http_framing_free(&framing);
}

/* Noise never ends in a state that reads outside its buffers. */
static void
test_framing_noise(void **state)
{
	static const char alphabet[] =
	    "GET / HTTP/1.1\r\n\r\nHost: x\r\nContent-Length: 9";
	struct rng rng;
	(void)state;

	rng_init(&rng, test_seed(), 1);
	for (int round = 0; round < 3000; round++) {
		struct http_framing framing;
		char bytes[120];
		http_framing_init(&framing, (struct http_framing_limits){
						.header_bytes = 100, .body_bytes = 50});
		memcpy(bytes, cases[round % 8].bytes, 16);
		for (size_t i = 16; i < sizeof bytes; i++)
			bytes[i] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
		feed(&framing, bytes, sizeof bytes, &rng);
		http_framing_free(&framing);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_framing),
	    cmocka_unit_test(test_framing_limits),
	    cmocka_unit_test(test_framing_noise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
