/*
 * Claims: URLs and keys are taken or refused as the header says; answers with a length,
 * in chunks and up to the end of the connection are read alike, in one piece or byte by
 * byte; the connection is used again, and opened again when the server has closed it;
 * every prefix of an answer is an error; so is what is no HTTP; IPv6 works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "client/remote.h"
#include "tests/support/fake_server.h"
#include "tests/support/guard.h"

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

/* What the fake server sends, whatever is asked; and what it has seen.  The test's
 * thread owns it between requests, the server's during one: `turns` hands it over. */
struct script {
	atomic_uint turns;
	const char *bytes;
	size_t len;
	size_t piece;
	bool close;
	unsigned connections;
	char head[4096];
	char body[4096];
};

static void
on_request(struct fake_reply *reply, const struct fake_request *request, void *arg)
{
	struct script *s = arg;
	atomic_fetch_add(&s->turns, 1);
	memcpy(reply->bytes, s->bytes, s->len);
	reply->len = s->len;
	reply->piece = s->piece;
	reply->close = s->close;
	s->connections = request->connection + 1;
	snprintf(s->head, sizeof s->head, "%s", request->head);
	snprintf(s->body, sizeof s->body, "%s", request->body);
	atomic_fetch_add(&s->turns, 1);
}

static void
set_script(struct script *s, const char *bytes)
{
	s->bytes = bytes;
	s->len = strlen(bytes);
}

/* GET /, or POST /x with a body. */
static int
ask(struct script *s, struct remote *remote, struct remote_answer *answer,
    const struct text *body, struct error *err)
{
	atomic_fetch_add(&s->turns, 1);
	int rc = remote_request(remote, answer, body == NULL ? "GET" : "POST",
	    body == NULL ? "/" : "/x", body, err);
	atomic_fetch_add(&s->turns, 1);
	return rc;
}

static struct remote *
open_port(int port, const char *host)
{
	struct remote_address address;
	struct error err;
	char url[64];
	snprintf(url, sizeof url, "http://%s:%d", host, port);
	assert_int_equal(remote_address_read(&address, url, NULL, &err), 0);
	struct remote *remote = remote_open(&address, &err);
	assert_non_null(remote);
	return remote;
}

static void
test_urls(void **state)
{
	(void)state;
	static const struct {
		const char *url, *host, *port;
	} good[] = {
	    {"http://127.0.0.1:6333", "127.0.0.1", "6333"},
	    {"http://localhost", "localhost", "6333"},
	    {"http://a.example:1/", "a.example", "1"},
	    {"http://[::1]:65535", "::1", "65535"},
	    {"http://[fe80::1]/", "fe80::1", "6333"},
	};
	static const char *const bad[] = {"", "127.0.0.1:6333", "https://a", "http://",
	    "http://:80", "http://a:", "http://a:0", "http://a:65536",
	    "http://a:123456", "http://a:8x", "http://a/path", "http://[::1",
	    "http://[::1]x", "http://a b", "http://user@a", "ftp://a"};
	struct remote_address address;
	struct error err;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(
		    remote_address_read(&address, good[i].url, NULL, &err), 0);
		assert_string_equal(address.host, good[i].host);
		assert_string_equal(address.port, good[i].port);
		assert_string_equal(address.api_key, "");
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		err.code = ERR_NONE;
		assert_int_equal(remote_address_read(&address, bad[i], NULL, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
	}
}

static void
test_keys(void **state)
{
	(void)state;
	const char *url = "http://a";
	struct remote_address address;
	struct error err;
	char path[4096];
	snprintf(path, sizeof path, "%s/key", test_folder());
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs("from-file \nsecond line\n", file);
	fclose(file);
	setenv("HALFTONE_API_KEY", "from-environment", 1);
	assert_int_equal(remote_address_read(&address, url, NULL, &err), 0);
	assert_string_equal(address.api_key, "from-environment");
	assert_int_equal(remote_address_read(&address, url, path, &err), 0);
	assert_string_equal(address.api_key, "from-file");
	setenv("HALFTONE_API_KEY", "a\r\nX: y", 1);
	assert_int_equal(remote_address_read(&address, url, NULL, &err), -1);
	unsetenv("HALFTONE_API_KEY");
	assert_int_equal(remote_address_read(&address, url, "/nowhere", &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(remote_address_read(&address, url, path, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
}

static void
test_answers(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *body;
		int status;
		bool close;
	} answers[] = {
	    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200, false},
	    {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", 200, false},
	    {"HTTP/1.1 204 No\r\n\r\n", "", 204, false},
	    {"HTTP/1.1 200 OK\ncontent-length:5 \n\nhello", "hello", 200, false},
	    {"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 404 No\r\n"
	     "Content-Length: 2\r\n\r\n{}",
		"{}", 404, false},
	    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"
	     "3;x=y\r\nllo\r\n0\r\nTrailer: z\r\n\r\n",
		"hello", 200, false},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
		"ok", 200, true},
	    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 200, true},
	    {"HTTP/1.1 200 OK\r\n\r\nto the end", "to the end", 200, true},
	};
	struct script script = {0};
	struct remote_answer answer;
	struct error err;
	struct text body = {NULL, 0, 0, false};
	text_string(&body, "{\"a\":1}");
	struct fake_server *server = fake_server_start(on_request, &script, false);
	assert_non_null(server);
	struct remote *remote = open_port(fake_server_port(server), "127.0.0.1");
	for (size_t piece = 0; piece < 2; piece++) {
		for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
			set_script(&script, answers[i].bytes);
			script.piece = piece;
			script.close = answers[i].close;
			if (ask(&script, remote, &answer, &body, &err) != 0)
				fail_msg("answer %zu: %s", i, err.text);
			assert_int_equal(answer.status, answers[i].status);
			assert_string_equal(answer.body, answers[i].body);
			assert_int_equal(answer.len, strlen(answers[i].body));
			assert_string_equal(script.body, "{\"a\":1}");
			assert_non_null(strstr(script.head, "POST /x HTTP/1.1\r\n"));
			assert_non_null(strstr(script.head, "\r\nHost: 127.0.0.1:"));
			assert_non_null(
			    strstr(script.head, "\r\nContent-Length: 7\r\n"));
			assert_null(strstr(script.head, "api-key"));
		}
	}
	/* Three answers in each round end their connection; all others share one. */
	assert_int_equal(script.connections, 6);
	remote_close(remote);
	remote_close(NULL);
	fake_server_stop(server);
	text_free(&body);
}

static void
test_reopened(void **state)
{
	(void)state;
	struct script script = {.close = true}; /* though it does not say so */
	struct remote_answer answer;
	struct error err;
	set_script(&script, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	struct fake_server *server = fake_server_start(on_request, &script, false);
	int port = fake_server_port(server);
	struct remote *remote = open_port(port, "127.0.0.1");
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(ask(&script, remote, &answer, NULL, &err), 0);
		assert_string_equal(answer.body, "ok");
		assert_int_equal(script.connections, i + 1);
	}
	fake_server_stop(server);
	assert_int_equal(ask(&script, remote, &answer, NULL, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	remote_close(remote);
}

static void
test_prefixes(void **state)
{
	(void)state;
	static const char *const whole[] = {
	    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	};
	struct script script = {.close = true};
	struct remote_answer answer;
	struct error err;
	struct fake_server *server = fake_server_start(on_request, &script, false);
	struct remote *remote = open_port(fake_server_port(server), "127.0.0.1");
	for (size_t i = 0; i < 2; i++) {
		set_script(&script, whole[i]);
		for (script.len = 0; script.len < strlen(whole[i]); script.len++) {
			assert_int_equal(ask(&script, remote, &answer, NULL, &err), -1);
			assert_true(err.code == ERR_IO || err.code == ERR_FORMAT);
		}
		assert_int_equal(ask(&script, remote, &answer, NULL, &err), 0);
	}
	remote_close(remote);
	fake_server_stop(server);
}

static void
test_no_http(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "SSH-2.0-OpenSSH_9.2\r\n",
	    "HTTP/2 200\r\n\r\n",
	    "HTTP/1.1 OK\r\n\r\n",
	    "HTTP/1.1 20 OK\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
	    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	    CHUNKED "-5\r\nhello\r\n",
	    CHUNKED "xyz\r\n",
	    CHUNKED "2\r\nhello\r\n0\r\n\r\n",
	};
	struct script script = {.close = true};
	struct remote_answer answer;
	struct error err;
	struct fake_server *server = fake_server_start(on_request, &script, false);
	struct remote *remote = open_port(fake_server_port(server), "127.0.0.1");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		set_script(&script, bad[i]);
		assert_int_equal(ask(&script, remote, &answer, NULL, &err), -1);
		if (err.code != ERR_FORMAT)
			fail_msg("answer %zu: %s", i, err.text);
	}
	set_script(&script, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n");
	assert_int_equal(ask(&script, remote, &answer, NULL, &err), -1);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	/* Headers without end. */
	char *long_head = malloc(60000);
	assert_non_null(long_head);
	memset(long_head, 'x', 59999);
	long_head[59999] = '\0';
	memcpy(long_head, "HTTP/1.1 200 OK\r\nA: ", 20);
	set_script(&script, long_head);
	assert_int_equal(ask(&script, remote, &answer, NULL, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	free(long_head);
	remote_close(remote);
	fake_server_stop(server);
}

static void
test_refusals(void **state)
{
	(void)state;
	struct script script = {0};
	struct remote_answer answer;
	struct error err;
	struct fake_server *server = fake_server_start(on_request, &script, false);
	struct remote *remote = open_port(fake_server_port(server), "127.0.0.1");
	script.close = true;
	set_script(&script,
	    "HTTP/1.1 404 Not Found\r\n\r\n"
	    "{\"status\":{\"error\":\"Not found: collection \\u00e9\"},\"time\":0.0}");
	assert_int_equal(ask(&script, remote, &answer, NULL, &err), 0);
	assert_int_equal(remote_refused(&answer, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_string_equal(
	    err.text, "the server answered 404: Not found: collection \xC3\xA9");
	set_script(&script,
	    "HTTP/1.1 429 Busy\r\nretry-after-ms: 250\r\nRetry-After: 1\r\n"
	    "Content-Length: 4\r\n\r\nbusy");
	assert_int_equal(ask(&script, remote, &answer, NULL, &err), 0);
	assert_true(remote_busy(answer.status));
	assert_true(answer.says_when);
	assert_true(answer.retry_after_s == 0.25);
	assert_true(remote_pause(&answer, 1) == 0.25);
	answer.retry_after_s = 0;
	assert_true(remote_pause(&answer, 1) == REMOTE_PAUSE_MIN_S);
	answer.says_when = false;
	assert_true(remote_pause(&answer, 1) == 1);
	remote_refused(&answer, &err);
	assert_int_equal(err.code, ERR_BUSY);
	assert_string_equal(err.text, "the server answered 429: busy");
	remote_close(remote);
	fake_server_stop(server);
}

static void
test_ipv6(void **state)
{
	(void)state;
	struct script script = {0};
	struct remote_answer answer;
	struct error err;
	struct fake_server *server = fake_server_start(on_request, &script, true);
	if (server == NULL)
		skip(); /* no ::1 on this machine */
	set_script(&script, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	struct remote *remote = open_port(fake_server_port(server), "[::1]");
	assert_int_equal(ask(&script, remote, &answer, NULL, &err), 0);
	assert_non_null(strstr(script.head, "\r\nHost: [::1]:"));
	remote_close(remote);
	fake_server_stop(server);
}

static void
test_memory(void **state)
{
	(void)state;
	struct script script = {0};
	struct remote_answer answer;
	struct error err;
	set_script(&script, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	struct fake_server *server = fake_server_start(on_request, &script, false);
	int rc = -1;
	long k = 1;
	for (; rc == -1; k++) {
		struct remote *remote =
		    open_port(fake_server_port(server), "127.0.0.1");
		array_fail_at(k);
		rc = ask(&script, remote, &answer, NULL, &err);
		array_fail_at(0);
		if (rc == -1)
			assert_int_equal(err.code, ERR_MEMORY);
		remote_close(remote);
	}
	assert_true(k > 2);
	fake_server_stop(server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_urls),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_reopened),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_no_http),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_ipv6),
	    cmocka_unit_test(test_memory),
	};
	unsetenv("HALFTONE_API_KEY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
