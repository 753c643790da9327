/* Claim: over a real socket a handler's answer comes back in order, a client that
 * leaves early harms nobody and is noticed while its request is in flight, what is
 * refused costs nothing, and stopping lets requests in flight end. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "server/http.h"

#define BIG (8 << 20) /* more than the kernel takes of an answer nobody reads */
#define H "Host: localhost\r\n"

struct fixture {
	struct pool *pool;
	struct metrics *metrics;
	struct http *http;
	pthread_t thread;
	size_t left;
};

static void
echo(struct http_request *request, unsigned worker)
{
	struct text out = {0};
	(void)worker;
	if (request->args[0])
		text_string(&out, request->args[0]);
	text_bytes(&out, request->body, request->body_n);
	if (request->args[0] && strcmp(request->args[0], "slow") == 0)
		usleep(300000);
	http_reply(request, 200, "text/plain", &out);
}

static void
big(struct http_request *request, unsigned worker)
{
	struct text out = {0};
	(void)worker;
	char *room = text_room(&out, BIG);
	assert_non_null(room);
	memset(room, 'x', BIG);
	out.n = BIG;
	http_reply(request, 200, "text/plain", &out);
}

static void
second_step(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	struct error err;
	(void)worker;
	error_set(&err, ERR_FULL, "second step of %s", request->args[0]);
	http_fail(request, &err);
}

static void
first_step(struct http_request *request, unsigned worker)
{
	(void)worker;
	request->state = malloc(10);
	request->state_free = free;
	http_continue(request, second_step);
}

static atomic_int n_noticed;

/* Works until nobody waits for it, half a second at most. */
static void
work(struct http_request *request, unsigned worker)
{
	struct text out = {0};
	bool left = false;
	(void)worker;
	for (int i = 0; i < 50 && !left; i++) {
		usleep(10000);
		left = atomic_load(&request->given_up);
	}
	atomic_fetch_add(&n_noticed, left);
	text_string(&out, left ? "given up" : "worked");
	http_reply(request, 200, "text/plain", &out);
}

static const struct http_route routes[] = {
    {"/echo/{x}", echo, "echo", HTTP_GET | HTTP_POST, false, false},
    {"/steps/{x}", first_step, "steps", HTTP_GET, false, false},
    {"/loop", echo, "loop", HTTP_GET, true, true},
    {"/big", big, "big", HTTP_GET, false, false},
    {"/known", NULL, "known", HTTP_GET, false, false},
    {"/work", work, "work", HTTP_GET, false, false},
};
static const char *const names[] = {"echo", "steps", "loop", "big", "known", "work"};

static const char *
available(void *context)
{
	return context;
}

static void *
run(void *arg)
{
	struct fixture *f = arg;
	f->left = http_run(f->http);
	return NULL;
}

static unsigned stop_timeout_s = 5;

static void
start(struct fixture *f, const char *key, const char *unavailable)
{
	struct error err;
	signal(SIGPIPE, SIG_IGN);
	f->pool = pool_new(2, &err);
	f->metrics = metrics_new(names, 6, &err);
	struct http_options options = {.listen = "127.0.0.1:0",
	    .routes = routes,
	    .n_routes = 6,
	    .context = (void *)(uintptr_t)unavailable,
	    .api_key = key,
	    .unavailable = available,
	    .pool = f->pool,
	    .metrics = f->metrics,
	    .body_max_bytes = 1000,
	    .bodies_max_bytes = 3000,
	    .answers_max_bytes = 12 << 20,
	    .header_max_bytes = 1000,
	    .connections_max = 20,
	    .in_flight_max = 4,
	    .request_timeout_s = 5,
	    .idle_timeout_s = 5,
	    .stop_timeout_s = stop_timeout_s};
	f->http = http_new(&options, &err);
	assert_non_null(f->http);
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void
finish(struct fixture *f)
{
	http_stop(f->http);
	pthread_join(f->thread, NULL);
	assert_int_equal(f->left, 0);
	pool_free(f->pool);
	http_free(f->http);
	metrics_free(f->metrics);
}

static int
dial(const struct fixture *f)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	to.sin_port = htons((uint16_t)atoi(strchr(http_address(f->http), ':') + 1));
	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* Send, read until `ends` or the close, return what came (static). */
static const char *
talk(int fd, const char *request, const char *ends)
{
	static char got[65536];
	size_t n = 0;
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	got[0] = '\0';
	while (n < sizeof got - 1) {
		ssize_t some = recv(fd, got + n, sizeof got - 1 - n, 0);
		if (some <= 0)
			break;
		n += (size_t)some;
		got[n] = '\0';
		if (strstr(got, ends))
			break;
	}
	return got;
}

static void
expect(struct fixture *f, const char *request, const char *line, const char *word)
{
	int fd = dial(f);
	const char *got = talk(fd, request, "\1");
	if (strncmp(got, line, strlen(line)) != 0 || !strstr(got, word))
		print_error("%s\n-> %s\n", request, got);
	assert_int_equal(strncmp(got, line, strlen(line)), 0);
	assert_non_null(strstr(got, word));
	close(fd);
}

#define C H "Connection: close\r\n"

static void
test_answers(void **state)
{
	struct fixture f;
	(void)state;
	start(&f, NULL, NULL);
	expect(&f, "GET /echo/a%20b HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 200 OK\r\n",
	    "\r\n\r\na b");
	expect(&f, "POST /echo/a HTTP/1.1\r\n" C "Content-Length: 3\r\n\r\nxyz",
	    "HTTP/1.1 200", "axyz");
	expect(&f, "GET /steps/7 HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 507",
	    "{\"status\":{\"error\":\"second step of 7\"}");
	expect(&f, "HEAD /echo/abc HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 200",
	    "Content-Length: 3\r\n");
	expect(
	    &f, "GET /echo/a/b HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 404", "no such route");
	expect(&f, "GET /echo/ HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 404", "no such route");
	expect(&f, "GET /echo/a%00b HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 404", "");
	expect(&f, "DELETE /echo/a HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 405",
	    "Allow: GET, HEAD, POST, OPTIONS\r\n");
	expect(&f, "OPTIONS /echo/a HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 204",
	    "Allow: GET, HEAD, POST, OPTIONS\r\n");
	expect(&f, "GET /known HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 501",
	    "x-should-retry: false");
	expect(&f, "GET /v1/x HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 404",
	    "{\"error\":{\"message\":");
	expect(&f, "POST /v1/x HTTP/1.1\r\n" C "Content-Length: 1001\r\n\r\n",
	    "HTTP/1.1 413",
	    "{\"error\":{\"message\":\"expected a body of at most 1000");
	expect(&f, "GET /echo/a HTTP/1.1\r\n" C "x-request-id: abc-1\r\n\r\n",
	    "HTTP/1.1 200", "x-request-id: abc-1\r\n");
	expect(&f, "GET /loop HTTP/1.1\r\n" C "X: y\r\n\r\n", "HTTP/1.1 200", "");
	finish(&f);
}

static void
test_key(void **state)
{
	struct fixture f;
	(void)state;
	start(&f, "sesame", NULL);
	expect(&f, "GET /echo/a HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 401",
	    "WWW-Authenticate");
	expect(&f, "GET /echo/a HTTP/1.1\r\n" C "api-key: sesam\r\n\r\n",
	    "HTTP/1.1 401", "");
	expect(&f, "GET /echo/a HTTP/1.1\r\n" C "api-key: sesame2\r\n\r\n",
	    "HTTP/1.1 401", "");
	expect(&f, "GET /echo/a HTTP/1.1\r\n" C "api-key: sesame\r\n\r\n",
	    "HTTP/1.1 200", "");
	expect(&f, "GET /echo/a HTTP/1.1\r\n" C "Authorization: Bearer sesame\r\n\r\n",
	    "HTTP/1.1 200", "");
	expect(&f, "GET /nothing HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 401", "");
	expect(&f, "GET /loop HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 200", "");
	finish(&f);
	start(&f, NULL, "still reading");
	expect(
	    &f, "GET /echo/a HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 503", "still reading");
	expect(&f, "GET /loop HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 200", "");
	finish(&f);
}

static void
test_sites(void **state)
{
	static const char *const good[] = {"Host: 127.0.0.1:1\r\n", "Host: [::1]\r\n",
	    H "Origin: http://localhost\r\n"};
	static const char *const bad[] = {H "Origin: http://evil.example\r\n",
	    H "Origin: null\r\n", "Host: evil.example\r\n",
	    "Host: evil.example\r\nOrigin: http://evil.example\r\n"};
	char request[200];
	struct fixture f;
	(void)state;
	for (int key = 0; key < 2; key++) {
		start(&f, key ? "sesame" : NULL, NULL);
		for (size_t i = 0; i < 3 + 4; i++) {
			const char *site = i < 3 ? good[i] : bad[i - 3];
			snprintf(request, sizeof request,
			    "POST /echo/a HTTP/1.1\r\n%sapi-key: sesame\r\n"
			    "Content-Type: text/plain\r\nContent-Length: 0\r\n"
			    "Connection: close\r\n\r\n",
			    site);
			/* Who has the key may call the server what he likes. */
			bool fine = i < 3 || (key && i >= 5);
			expect(&f, request, fine ? "HTTP/1.1 200" : "HTTP/1.1 403",
			    fine ? "" : "expected");
		}
		expect(&f, "GET /loop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		    "HTTP/1.1 200", "");
		finish(&f);
	}
}

/* Bodies of refused requests, as many on one connection as the limit of all bodies
 * holds six times over; then a good one on another has its room. */
static void
check_given_back(const struct fixture *f, const char *method, const char *path,
    const char *status, const char *good)
{
	static const char *const ends[] = {"\r\n\r\n", "\"time\":"};
	char request[1200];
	int fd = dial(f);
	snprintf(request, sizeof request,
	    "%s %s HTTP/1.1\r\n" H "Content-Length: 900\r\n\r\n%0900d", method, path,
	    0);
	for (int i = 0; i < 20; i++) {
		const char *got = talk(fd, request, ends[strcmp(status, " 204 ") != 0]);
		if (!strstr(got, status))
			print_error(
			    "%s %s: expected %s, got %s\n", method, path, status, got);
		assert_non_null(strstr(got, status));
	}
	int other = dial(f);
	const char *got = talk(other, good, "\1");
	assert_non_null(strstr(got, "HTTP/1.1 200"));
	close(other);
	close(fd);
}

static void
test_bodies_of_refused(void **state)
{
	static const char good[] = "POST /echo/a HTTP/1.1\r\n" C
				   "api-key: sesame\r\nContent-Length: 3\r\n\r\nxyz";
	char plain[1200];
	struct fixture f;
	(void)state;
	start(&f, "sesame", NULL);
	check_given_back(&f, "POST", "/echo/a", " 401 ", good);
	finish(&f);
	start(&f, NULL, NULL);
	check_given_back(&f, "POST", "/nothing", " 404 ", good);
	check_given_back(&f, "PUT", "/echo/a", " 405 ", good);
	check_given_back(&f, "GET", "/known", " 501 ", good);
	check_given_back(&f, "OPTIONS", "/echo/a", " 204 ", good);
	finish(&f);
	start(&f, NULL, "still reading");
	snprintf(plain, sizeof plain,
	    "GET /loop HTTP/1.1\r\n" C "Content-Length: 900\r\n\r\n%0900d", 0);
	check_given_back(&f, "POST", "/echo/a", " 503 ", plain);
	finish(&f);
}

/* Of the sockets of this process, those that http has accepted send at once. */
static void
test_no_delay(void **state)
{
	struct fixture f;
	int checked = 0;
	(void)state;
	start(&f, NULL, NULL);
	int client = dial(&f);
	talk(client, "GET /loop HTTP/1.1\r\n" H "\r\n", "\r\n\r\n");
	for (int fd = 3; fd < 100; fd++) {
		struct sockaddr_in from = {.sin_port = 0}, to = {.sin_port = 0};
		socklen_t n = sizeof from, m = sizeof to;
		int on = 0;
		if (getsockname(fd, (struct sockaddr *)&from, &n) ||
		    getpeername(fd, (struct sockaddr *)&to, &m) ||
		    ntohs(from.sin_port) != atoi(strchr(http_address(f.http), ':') + 1))
			continue;
		n = sizeof on;
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
		assert_true(on);
		checked++;
	}
	assert_int_equal(checked, 1);
	close(client);
	finish(&f);
}

/* Answers of clients that do not read count, until they are read or the client goes. */
static void
test_answers_together(void **state)
{
	static char rest[1 << 20];
	const char *request = "GET /big HTTP/1.1\r\n" C "\r\n";
	struct fixture f;
	(void)state;
	start(&f, NULL, NULL);
	for (int round = 0; round < 2; round++) {
		int lazy = dial(&f);
		assert_non_null(strstr(talk(lazy, request, "\r\n\r\n"), " 200 OK"));
		expect(&f, request, "HTTP/1.1 429", "max_answers_bytes");
		expect(&f, "GET /loop HTTP/1.1\r\n" C "\r\n", "HTTP/1.1 200", "");
		while (round == 0 && recv(lazy, rest, sizeof rest, 0) > 0)
			;
		close(lazy);
		usleep(200000);
	}
	expect(&f, request, "HTTP/1.1 200 OK", "xxx");
	finish(&f);
}

static void
test_order(void **state)
{
	struct fixture f;
	(void)state;
	start(&f, NULL, NULL);
	int fd = dial(&f);
	const char *got = talk(fd,
	    "GET /echo/slow HTTP/1.1\r\n" H "\r\nGET /echo/second HTTP/1.1\r\n" H
	    "\r\nGET /loop HTTP/1.1\r\n" C "x-request-id: third\r\n\r\n",
	    "\1");
	const char *first = strstr(got, "slow"), *second = strstr(got, "second");
	const char *third = strstr(got, "third");
	assert_true(first && second && third && first < second && second < third);
	close(fd);
	finish(&f);
}

static void
test_shedding(void **state)
{
	struct fixture f;
	int fds[8], shed = 0;
	(void)state;
	start(&f, NULL, NULL);
	for (int i = 0; i < 8; i++) {
		const char *request = "GET /echo/slow HTTP/1.1\r\n" C "\r\n";
		fds[i] = dial(&f);
		send(fds[i], request, strlen(request), 0);
	}
	for (int i = 0; i < 8; i++) {
		const char *got = talk(fds[i], "", "\1");
		assert_true(strstr(got, "HTTP/1.1 200") || strstr(got, "HTTP/1.1 429"));
		if (strstr(got, "HTTP/1.1 429")) {
			assert_non_null(strstr(got, "retry-after-ms"));
			assert_non_null(strstr(got, "max_in_flight"));
			shed++;
		}
		close(fds[i]);
	}
	assert_int_equal(shed, 4);
	finish(&f);
}

/* Clients that leave while their request is in flight, and a stop in the middle. */
static void
test_leaving(void **state)
{
	struct fixture f;
	(void)state;
	start(&f, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		const char *request = "GET /echo/slow HTTP/1.1\r\n" H "\r\n";
		int fd = dial(&f);
		send(fd, request, strlen(request), 0);
		usleep(20000);
		if (i == 1) {
			struct linger reset = {.l_onoff = 1};
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		}
		close(fd);
	}
	int fd = dial(&f);
	const char *request = "GET /echo/slow HTTP/1.1\r\n" H "\r\n";
	send(fd, request, strlen(request), 0);
	usleep(50000);
	http_stop(f.http);
	const char *got = talk(fd, "", "\1");
	assert_non_null(strstr(got, "HTTP/1.1 200"));
	assert_non_null(strstr(got, "Connection: close"));
	close(fd);
	finish(&f);
}

/* Whether the work of a client that leaves is noticed soon. */
static bool
noticed(void)
{
	for (int i = 0; i < 30 && atomic_load(&n_noticed) == 0; i++)
		usleep(10000);
	return atomic_exchange(&n_noticed, 0) == 1;
}

static void
test_noticing(void **state)
{
	static const char request[] = "GET /work HTTP/1.1\r\n" H "\r\n";
	struct linger reset = {.l_onoff = 1};
	struct fixture f;
	(void)state;
	start(&f, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		int fd = dial(&f);
		send(fd, request, strlen(request), 0);
		usleep(50000); /* it is at work */
		if (i == 1)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		if (i < 2) {
			close(fd);
			assert_true(noticed());
			continue;
		}
		/* One that only says no more is answered, if not with the work done. */
		char got[1000] = "";
		shutdown(fd, SHUT_WR);
		assert_true(recv(fd, got, sizeof got - 1, MSG_WAITALL) > 0);
		assert_non_null(strstr(got, "given up"));
		assert_true(noticed());
		close(fd);
	}
	/* Who stays is waited for, also with the next request sent meanwhile. */
	int fd = dial(&f);
	send(fd, request, strlen(request), 0);
	usleep(50000);
	const char *got = talk(fd, "GET /echo/next HTTP/1.1\r\n" C "\r\n", "\1");
	assert_non_null(strstr(got, "worked"));
	assert_non_null(strstr(got, "\r\n\r\nnext"));
	close(fd);
	assert_int_equal(atomic_load(&n_noticed), 0);
	finish(&f);
}

/* A stop that does not wait leaves the request to the pool; its answer is dropped. */
static void
test_abandoning(void **state)
{
	struct fixture f;
	const char *request = "GET /echo/slow HTTP/1.1\r\n" H "\r\n";
	(void)state;
	stop_timeout_s = 0;
	start(&f, NULL, NULL);
	stop_timeout_s = 5;
	int fd = dial(&f);
	send(fd, request, strlen(request), 0);
	usleep(100000);
	http_stop(f.http);
	pthread_join(f.thread, NULL);
	assert_int_equal(f.left, 1);
	pool_free(f.pool);
	http_free(f.http);
	metrics_free(f.metrics);
	assert_int_equal(strlen(talk(fd, "", "\1")), 0);
	close(fd);
}

static void
test_new_failing(void **state)
{
	struct error err;
	struct http_options options = {.listen = "nonsense", .connections_max = 10};
	(void)state;
	static const char *const bad[] = {
	    "nonsense", "127.0.0.1", "127.0.0.1:99999", "", ":1"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		options.listen = bad[i];
		assert_null(http_new(&options, &err));
		assert_int_equal(err.code, ERR_INPUT);
	}
	options.listen = "127.0.0.1:0";
	array_fail_at(1);
	assert_null(http_new(&options, &err));
	array_fail_at(0);
	assert_int_equal(err.code, ERR_MEMORY);
	struct fixture f;
	start(&f, NULL, NULL);
	options.listen = http_address(f.http);
	assert_null(http_new(&options, &err)); /* the port is taken */
	assert_int_equal(err.code, ERR_IO);
	finish(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_key),
	    cmocka_unit_test(test_sites),
	    cmocka_unit_test(test_bodies_of_refused),
	    cmocka_unit_test(test_no_delay),
	    cmocka_unit_test(test_answers_together),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_shedding),
	    cmocka_unit_test(test_leaving),
	    cmocka_unit_test(test_noticing),
	    cmocka_unit_test(test_abandoning),
	    cmocka_unit_test(test_new_failing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
