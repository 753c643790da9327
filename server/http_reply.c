#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/http_internal.h"

static const struct {
	int status;
	const char *reason;
	const char *openai_type;
} reasons[] = {
    {200, "OK", ""}, {204, "No Content", ""}, {302, "Found", ""},
    {400, "Bad Request", "invalid_request_error"},
    {401, "Unauthorized", "authentication_error"},
    {403, "Forbidden", "permission_error"}, {404, "Not Found", "not_found_error"},
    {405, "Method Not Allowed", "invalid_request_error"},
    {408, "Request Timeout", "invalid_request_error"},
    {409, "Conflict", "invalid_request_error"},
    {413, "Content Too Large", "invalid_request_error"},
    {429, "Too Many Requests", "rate_limit_error"},
    {431, "Request Header Fields Too Large", "invalid_request_error"},
    {501, "Not Implemented", "not_implemented_error"},
    {503, "Service Unavailable", "server_error"},
    {507, "Insufficient Storage", "server_error"},
    {500, "Internal Server Error", "server_error"}, /* stands for all others */
};
#define N_REASONS (sizeof reasons / sizeof *reasons)

static size_t
find_reason(int status)
{
	size_t i = 0;
	while (i < N_REASONS - 1 && reasons[i].status != status)
		i++;
	return i;
}

const char *
http_reply_reason(int status)
{
	return reasons[find_reason(status)].reason;
}

int
http_status(enum error_code code)
{
	static const int statuses[] = {
	    [ERR_NONE] = 500,
	    [ERR_INPUT] = 400,
	    [ERR_NOT_FOUND] = 404,
	    [ERR_EXISTS] = 409,
	    [ERR_TOO_LARGE] = 413,
	    [ERR_BUSY] = 429,
	    [ERR_UNSUPPORTED] = 501,
	    [ERR_FULL] = 507,
	    [ERR_UNAVAILABLE] = 503,
	    [ERR_TIMEOUT] = 408,
	    [ERR_FORMAT] = 500,
	    [ERR_MEMORY] = 503,
	    [ERR_IO] = 500,
	};
	return (size_t)code < sizeof statuses / sizeof *statuses ? statuses[code] : 500;
}

static void
json_or_null(struct text *out, const char *string)
{
	if (string)
		text_json(out, string, strlen(string));
	else
		text_string(out, "null");
}

void
http_error_text(struct text *out, const struct http_error_body *body)
{
	text_string(
	    out, body->openai ? "{\"error\":{\"message\":" : "{\"status\":{\"error\":");
	text_json(out, body->message, strlen(body->message));
	if (body->openai) {
		text_printf(out, ",\"type\":\"%s\",\"param\":",
		    reasons[find_reason(body->status)].openai_type);
		json_or_null(out, body->param);
		text_string(out, ",\"code\":");
		json_or_null(out, body->code);
		text_string(out, "}}");
	} else {
		text_printf(out, "},\"time\":%.9f}", body->seconds);
	}
}

/* Put the request on the loop's list. */
static void
hand_back(struct http_request *request)
{
	struct http *http = request->http;
	uint64_t one = 1;

	pthread_mutex_lock(&http->lock);
	bool first = !http->done;
	request->next = http->done;
	http->done = request;
	pthread_mutex_unlock(&http->lock);
	if (first)
		(void)!write(http->wake_fd, &one, sizeof one);
}

/* Count the answer against the limit of all; false: there is no room.  Where nothing
 * waits there is room for any, or "try again" would never come true. */
static bool
count_answer(struct http_request *request, size_t n)
{
	struct http *http = request->http;
	if (n < HTTP_ANSWER_COUNTED_BYTES || (request->route && request->route->open))
		return true;
	size_t waiting = atomic_fetch_add(&http->answers, n);
	if (waiting == 0 || waiting + n <= http->options.answers_max_bytes) {
		request->counted = n;
		return true;
	}
	atomic_fetch_sub(&http->answers, n);
	return false;
}

void
http_reply(
    struct http_request *request, int status, const char *type, struct text *body)
{
	if (body->failed) {
		struct error err;
		text_free(body);
		error_set(&err, ERR_MEMORY, "no memory for the answer; ask for less");
		http_fail(request, &err);
		return;
	}
	if (!count_answer(request, body->n)) {
		struct error err;
		text_free(body);
		error_set(&err, ERR_BUSY,
		    "the answers that wait to be sent are over %llu bytes together "
		    "(max_answers_bytes); try again",
		    (unsigned long long)request->http->options.answers_max_bytes);
		http_fail(request, &err);
		return;
	}
	request->status = status;
	request->type = type;
	request->reply = *body;
	*body = (struct text){0};
	hand_back(request);
}

void
http_fail(struct http_request *request, const struct error *err)
{
	struct text body = {0};
	struct http_error_body error = {.openai = request->openai,
	    .status = http_status(err->code),
	    .message = err->text,
	    .param = request->error_param,
	    .code = request->error_code,
	    .seconds = clock_since(request->start_ns)};

	/* Unavailable is what a start or a stop is, not a fault. */
	if (error.status >= 500 && error.status != 501 && err->code != ERR_UNAVAILABLE)
		log_event(LOG_ERROR, "request", "id=%s status=%d error=\"%s\"",
		    request->id, error.status, err->text);
	http_error_text(&body, &error);
	if (body.failed)
		text_free(&body); /* an empty body is all that memory allows */
	request->status = error.status;
	request->type = "application/json";
	request->reply = body;
	hand_back(request);
}

void
http_redirect(struct http_request *request, const char *location)
{
	request->location = location;
	request->status = 302;
	request->type = "text/plain";
	hand_back(request);
}

static void
add_headers(struct http_request *request, struct evkeyvalq *headers)
{
	struct http *http = request->http;
	int status = request->status;

	if (request->type && status != 204)
		evhttp_add_header(headers, "Content-Type", request->type);
	evhttp_add_header(headers, "x-request-id", request->id);
	if (request->location)
		evhttp_add_header(headers, "Location", request->location);
	if (request->filename && status == 200) {
		char kept[128];
		snprintf(kept, sizeof kept, "attachment; filename=\"%s\"",
		    request->filename);
		evhttp_add_header(headers, "Content-Disposition", kept);
	}
	if (request->allow[0])
		evhttp_add_header(headers, "Allow", request->allow);
	if (status == 401)
		evhttp_add_header(headers, "WWW-Authenticate", "Bearer");
	if (status == 429 || status == 503) {
		evhttp_add_header(headers, "Retry-After", "1");
		evhttp_add_header(
		    headers, "retry-after-ms", status == 429 ? "100" : "1000");
	}
	/* OpenAI's clients would try these again, with the same result. */
	if (status == 409 || status == 501 || status == 507)
		evhttp_add_header(headers, "x-should-retry", "false");
	if (request->type && strncmp(request->type, "text/html", 9) == 0) {
		evhttp_add_header(headers, "Content-Security-Policy",
		    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
		    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri "
		    "'none'; form-action 'none'; frame-ancestors 'none'");
		evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	}
	if (http->stop_ns || request->connection->broken)
		evhttp_add_header(headers, "Connection", "close");
	if (request->head) {
		char length[32];
		snprintf(length, sizeof length, "%zu", request->reply.n);
		evhttp_add_header(headers, "Content-Length", length);
	}
}

/* A body on its way to the client. */
struct sending {
	struct http *http;
	struct text text;
	uint64_t counted;
};

static void
on_sent(const void *bytes, size_t n, void *arg)
{
	struct sending *sending = arg;
	(void)bytes;
	(void)n;
	atomic_fetch_sub(&sending->http->answers, sending->counted);
	text_free(&sending->text);
	free(sending);
}

/* The reply as a buffer that owns its bytes; NULL without memory. */
static struct evbuffer *
take_reply(struct http_request *request)
{
	struct sending *sending = array_new(1, sizeof *sending);
	struct evbuffer *body = sending ? evbuffer_new() : NULL;

	if (!body || evbuffer_add_reference(body, request->reply.bytes,
			 request->reply.n, on_sent, sending)) {
		if (body)
			evbuffer_free(body);
		free(sending);
		return NULL;
	}
	*sending = (struct sending){request->http, request->reply, request->counted};
	request->reply = (struct text){0};
	request->counted = 0;
	return body;
}

void
http_reply_send(struct http_request *request)
{
	struct http *http = request->http;
	struct http_connection *connection = request->connection;
	double seconds = clock_since(request->start_ns);

	http->n_in_flight--;
	metrics_request(
	    http->options.metrics, request->route_index, request->status, seconds);
	log_event(LOG_DEBUG, "request", "id=%s route=\"%s\" status=%d seconds=%.6f",
	    request->id, request->route ? request->route->name : "none",
	    request->status, seconds);
	if (connection) {
		struct evbuffer *body = NULL;
		add_headers(
		    request, evhttp_request_get_output_headers(request->evhttp));
		if (!request->head && request->reply.n) {
			body = take_reply(request);
			request->status = body ? request->status : 503;
		}
		http_connection_answered(connection, request->body_n);
		evhttp_send_reply(request->evhttp, request->status,
		    http_reply_reason(request->status), body);
		if (body)
			evbuffer_free(body);
	}
	http_reply_free(request);
}

void
http_reply_give_up(struct http_request *request)
{
	request->connection = NULL;
	atomic_store(&request->given_up, true);
}

void
http_reply_free(struct http_request *request)
{
	if (request->state_free)
		request->state_free(request->state);
	if (request->connection)
		request->connection->request = NULL;
	for (size_t i = 0; i < HTTP_ARGS_MAX; i++)
		free(request->args[i]);
	free(request->query);
	atomic_fetch_sub(&request->http->answers, request->counted);
	text_free(&request->reply);
	free(request->body);
	free(request);
}

void
http_continue(
    struct http_request *request, void (*run)(struct pool_task *task, unsigned worker))
{
	request->task.run = run;
	pool_submit(request->http->options.pool, &request->task);
}

struct http_request *
http_of_task(struct pool_task *task)
{
	return (struct http_request *)(void *)((char *)task -
					       offsetof(struct http_request, task));
}
