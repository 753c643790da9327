#include <ctype.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "server/address.h"
#include "server/http_internal.h"
#include "server/http_origin.h"

#define KEY_MAX 512

static int
hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* A copy of a path segment with %XX resolved; NULL if memory is short, it is too
 * long, or holds a zero byte. */
static char *
decode(const char *segment, size_t n)
{
	char *out = n <= 3 * HTTP_SEGMENT_MAX ? array_new(n + 1, 1) : NULL;
	size_t length = 0;
	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char c = segment[i];
		if (c == '%') { /* the framing has seen two hexadecimal digits */
			c = (char)(hex(segment[i + 1]) * 16 + hex(segment[i + 2]));
			i += 2;
		}
		if (c == '\0' || length == HTTP_SEGMENT_MAX) {
			free(out);
			return NULL;
		}
		out[length++] = c;
	}
	return out;
}

/* Whether the path (without query) fits the pattern; spans[] := what {x} took. */
struct span {
	const char *at;
	size_t n;
};

static bool
fits(struct span spans[HTTP_ARGS_MAX], const char *pattern, const char *path)
{
	size_t n_spans = 0;
	while (*pattern) {
		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		size_t n = strcspn(path, "/");
		if (n == 0 || n_spans == HTTP_ARGS_MAX)
			return false;
		spans[n_spans++] = (struct span){path, n};
		path += n;
		pattern = strchr(pattern, '}') + 1;
	}
	return *path == '\0';
}

static const struct {
	enum evhttp_cmd_type type;
	enum http_method method;
	const char *name;
} methods[] = {
    {EVHTTP_REQ_GET, HTTP_GET, "GET"},
    {EVHTTP_REQ_POST, HTTP_POST, "POST"},
    {EVHTTP_REQ_PUT, HTTP_PUT, "PUT"},
    {EVHTTP_REQ_DELETE, HTTP_DELETE, "DELETE"},
    {EVHTTP_REQ_PATCH, HTTP_PATCH, "PATCH"},
};
#define N_METHODS (sizeof methods / sizeof *methods)

/* "GET, HEAD, PUT, OPTIONS" */
static void
list_methods(char allow[64], unsigned set)
{
	int n = 0;
	for (size_t i = 0; i < N_METHODS; i++) {
		if (set & methods[i].method)
			n += snprintf(allow + n, 64 - (size_t)n, "%s, %s",
			    methods[i].name,
			    methods[i].method == HTTP_GET ? "HEAD, " : "");
	}
	snprintf(allow + n, 64 - (size_t)n, "OPTIONS");
}

/* Find the route for request->method; returns the methods that the path has. */
static unsigned
find_route(struct http_request *request, const char *path)
{
	const struct http_options *options = &request->http->options;
	unsigned allowed = 0;
	struct span spans[HTTP_ARGS_MAX] = {{0}};

	for (size_t i = 0; i < options->n_routes; i++) {
		const struct http_route *route = &options->routes[i];
		struct span found[HTTP_ARGS_MAX] = {{0}};
		if (!fits(found, route->pattern, path))
			continue;
		if (route->handler)
			allowed |= route->methods;
		if (!request->route && (route->methods & request->method)) {
			request->route = route;
			request->route_index = i;
			memcpy(spans, found, sizeof spans);
		}
	}
	for (size_t i = 0; request->route && i < HTTP_ARGS_MAX && spans[i].at; i++) {
		request->args[i] = decode(spans[i].at, spans[i].n);
		if (!request->args[i]) { /* no such name can exist */
			request->route = NULL;
			request->route_index = options->n_routes;
			return 0;
		}
	}
	return allowed;
}

/* Compares in a time that does not depend on where they differ. */
static bool
same_key(const char *want, const char *given)
{
	char a[KEY_MAX] = {0}, b[KEY_MAX] = {0};
	size_t n_want = strlen(want), n_given = strlen(given);
	unsigned char differ = n_want != n_given || n_given >= KEY_MAX;
	memcpy(a, want, n_want < KEY_MAX ? n_want : KEY_MAX);
	memcpy(b, given, n_given < KEY_MAX ? n_given : KEY_MAX);
	for (size_t i = 0; i < KEY_MAX; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

static bool
has_key(const struct http *http, const struct evkeyvalq *headers)
{
	if (!http->options.api_key)
		return true;
	const char *key = evhttp_find_header(headers, "api-key");
	const char *bearer = evhttp_find_header(headers, "Authorization");
	if (!key && bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
		key = bearer + 7;
	return key && same_key(http->options.api_key, key);
}

void
http_route_new_id(struct http *http, char id[HTTP_ID_TEXT_MAX])
{
	snprintf(id, HTTP_ID_TEXT_MAX, "%016" PRIx64,
	    (http->id_seed + http->n_requests++) * UINT64_C(0x9E3779B97F4A7C15));
}

/* The client's x-request-id if it is harmless, or one of ours. */
static void
set_id(struct http_request *request, const struct evkeyvalq *headers)
{
	const char *id = evhttp_find_header(headers, "x-request-id");
	size_t n = id ? strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz-_."
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		      : 0;
	if (n && !id[n] && n < sizeof request->id)
		memcpy(request->id, id, n + 1);
	else
		http_route_new_id(request->http, request->id);
}

/* Why a request is not given to its handler: a status, and what to say. */
struct refusal {
	int status; /* 0 = it is */
	const char *code;
	char text[244];
};

__attribute__((format(printf, 3, 4))) static struct refusal
refuse(int status, const char *code, const char *fmt, ...)
{
	struct refusal refusal = {.status = status, .code = code};
	va_list args;
	va_start(args, fmt);
	vsnprintf(refusal.text, sizeof refusal.text, fmt, args);
	va_end(args);
	return refusal;
}

/* Requests that a web page of another site may have made a browser send. */
static struct refusal
check_site(const struct http *http, const struct evkeyvalq *headers)
{
	const char *origin = evhttp_find_header(headers, "Origin");
	const char *host = evhttp_find_header(headers, "Host");

	if (origin && (!host || !http_origin_is_host(origin, host)))
		return refuse(403, "other_origin",
		    "expected no header Origin, or that of this server, not '%.60s': "
		    "pages of other sites are not served",
		    origin);
	/* Where a key is asked for, or everybody is let in, a name proves nothing. */
	if (!host || http->options.api_key || address_is_any(&http->listening) ||
	    http_origin_names_us(host, &http->listening))
		return (struct refusal){0};
	return refuse(403, "other_host",
	    "expected localhost or %s as Host, not '%.60s'; other names need an API "
	    "key (api_key_file)",
	    http->address, host);
}

static struct refusal
admit(const struct http_request *request)
{
	const struct http *http = request->http;
	const struct http_route *route = request->route;
	const struct evkeyvalq *headers =
	    evhttp_request_get_input_headers(request->evhttp);
	const char *path = evhttp_request_get_uri(request->evhttp);
	int n = (int)strcspn(path, "?");
	bool open = route && route->open;

	if (n > 80)
		n = 80;
	struct refusal refusal = {.status = 0};
	if (!open)
		refusal = check_site(http, headers);
	if (refusal.status)
		return refusal;
	if (!open && !has_key(http, headers))
		return refuse(401, "invalid_api_key",
		    "expected the API key in the header 'api-key' or 'Authorization: "
		    "Bearer'");
	if (!route && request->allow[0])
		return refuse(405, "method_not_allowed",
		    "%.*s does not take this method; use %s", n, path, request->allow);
	if (!route)
		return refuse(404, "unknown_route",
		    "no such route: %.*s; GET /openapi.yaml lists those served", n,
		    path);
	if (!route->handler)
		return refuse(501, "not_served",
		    "%.*s (%s) is known from other servers' APIs but not served by "
		    "Halftone",
		    n, path, route->name);
	if (http->stop_ns && !open)
		return refuse(
		    503, "stopping", "the server is stopping; try again later");
	const char *why = open ? NULL : http->options.unavailable(request->context);
	if (why)
		return refuse(503, "unavailable", "%s", why);
	if (!open && http->n_in_flight > http->options.in_flight_max)
		return refuse(429, "overloaded",
		    "more than %zu requests are being answered (max_in_flight); try "
		    "again",
		    http->options.in_flight_max);
	return (struct refusal){0};
}

static int
read_input(struct http_request *request, struct error *err)
{
	struct evbuffer *input = evhttp_request_get_input_buffer(request->evhttp);
	const char *query = strchr(evhttp_request_get_uri(request->evhttp), '?');
	request->body = array_new(request->body_n + 1, 1);
	request->query = strdup(query ? query + 1 : "");
	if (!request->body || !request->query)
		return error_set(err, ERR_MEMORY, "no memory for a body of %zu bytes",
		    request->body_n);
	evbuffer_remove(input, request->body, request->body_n);
	return 0;
}

const char *
http_query(const struct http_request *request, const char *name, size_t *n)
{
	size_t length = strlen(name);

	for (const char *at = request->query; *at; at += *at == '&') {
		size_t member = strcspn(at, "&");
		if (member > length && at[length] == '=' &&
		    memcmp(at, name, length) == 0) {
			*n = member - length - 1;
			return at + length + 1;
		}
		at += member;
	}
	return NULL;
}

static void
run_handler(struct pool_task *task, unsigned worker)
{
	struct http_request *request = http_of_task(task);
	request->route->handler(request, worker);
}

static void
dispatch(struct http_request *request, bool options)
{
	struct error err;
	struct text body = {0};
	struct refusal refusal = admit(request);

	if (options && request->allow[0]) {
		http_reply(request, 204, NULL, &body);
	} else if (refusal.status) {
		struct http_error_body error = {.openai = request->openai,
		    .status = refusal.status,
		    .message = refusal.text,
		    .code = refusal.code,
		    .seconds = clock_since(request->start_ns)};
		http_error_text(&body, &error);
		http_reply(request, refusal.status, "application/json", &body);
	} else if (read_input(request, &err)) {
		http_fail(request, &err);
	} else if (request->route->on_loop) {
		request->route->handler(request, 0);
	} else {
		http_continue(request, run_handler);
	}
}

/* evhttp frees the connection: its request's answer has nowhere to go. */
static void
on_close(struct evhttp_connection *evcon, void *arg)
{
	struct http_connection *connection = arg;
	(void)evcon;

	if (connection->request)
		http_reply_give_up(connection->request);
	connection->request = NULL;
}

void
http_route_request(struct evhttp_request *ev, void *arg)
{
	struct http *http = arg;
	struct http_connection *connection = http_connection_of(http, ev);
	struct http_request *request = array_new(1, sizeof *request);
	/* Also of a request that is refused: this is what its answer gives back. */
	size_t body_n = evbuffer_get_length(evhttp_request_get_input_buffer(ev));
	if (!request || !connection || connection->refused_ns) {
		free(request);
		if (connection && !connection->refused_ns)
			http_connection_answered(connection, body_n);
		evhttp_send_reply(ev, 503, "Service Unavailable", NULL);
		return;
	}
	const struct evkeyvalq *headers = evhttp_request_get_input_headers(ev);
	const char *uri = evhttp_request_get_uri(ev);
	const char *accept = evhttp_find_header(headers, "Accept");
	enum evhttp_cmd_type type = evhttp_request_get_command(ev);

	request->http = http;
	request->context = http->options.context;
	request->start_ns = clock_ns();
	request->route_index = http->options.n_routes;
	request->evhttp = ev;
	request->body_n = body_n;
	request->connection = connection;
	request->openai = strncmp(uri, "/v1/", 4) == 0;
	request->head = type == EVHTTP_REQ_HEAD;
	request->wants_html = accept && strncmp(accept, "text/html", 9) == 0;
	request->method = HTTP_GET;
	for (size_t i = 0; i < N_METHODS; i++) {
		if (methods[i].type == type)
			request->method = methods[i].method;
	}
	set_id(request, headers);
	connection->request = request;
	evhttp_connection_set_closecb(
	    evhttp_request_get_connection(ev), on_close, connection);
	http->n_in_flight++;

	char path[3 * HTTP_SEGMENT_MAX];
	size_t n = strcspn(uri, "?");
	if (n >= sizeof path)
		n = 0; /* no route is so long */
	memcpy(path, uri, n);
	path[n] = '\0';
	bool options = type == EVHTTP_REQ_OPTIONS;
	unsigned allowed = find_route(request, path);
	if (allowed && (options || !request->route))
		list_methods(request->allow, allowed);
	dispatch(request, options);
}
