#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/log.h"
#include "index/distance.h"
#include "server/address.h"
#include "server/api.h"
#include "server/config.h"
#include "server/healthcheck.h"

#define KEY_BYTES_MAX 256

/* The key on the first line of the file, without white space at its ends. */
static int
read_key(char key[KEY_BYTES_MAX], const char *path, struct error *err)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return error_set(
		    err, ERR_IO, "api_key_file: %s: %s", path, strerror(errno));
	char line[KEY_BYTES_MAX + 2] = "";
	bool got = fgets(line, sizeof line, file) != NULL;
	fclose(file);
	size_t n = strlen(line), from = 0;
	while (n && isspace((unsigned char)line[n - 1]))
		n--;
	while (from < n && isspace((unsigned char)line[from]))
		from++;
	if (!got || n == from || n - from >= KEY_BYTES_MAX)
		return error_set(err, ERR_INPUT,
		    "api_key_file: expected a key of 1 to %d bytes on the first line "
		    "of %s",
		    KEY_BYTES_MAX - 1, path);
	memcpy(key, line + from, n - from);
	key[n - from] = '\0';
	return 0;
}

/* A server that the world can reach needs a key, or a user who says it does not. */
static int
check_exposure(const struct config *config, struct error *err)
{
	struct sockaddr_storage address;
	socklen_t n;
	if (address_parse(&address, &n, config->listen, err))
		return -1;
	if (address_is_loopback(&address) || config->api_key_file[0])
		return 0;
	if (config->insecure) {
		log_event(LOG_WARN, "insecure",
		    "listen=%s anybody who reaches this address may read and write",
		    config->listen);
		return 0;
	}
	return error_set(err, ERR_INPUT,
	    "listen: %.80s can be reached from other machines; set api_key_file, or "
	    "say --insecure",
	    config->listen);
}

/* path (PATH_MAX) := of this program. */
static bool
own_path(char *path)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (n <= 0)
		return false;
	path[n] = '\0';
	return true;
}

/* A thread that has done its part of a scan sleeps: waiting awake took a third of the
 * processor time of a client that asks one query at a time.  OpenMP reads how threads
 * wait when the program is loaded, so it is loaded again; where that fails, they wait
 * as they do. */
static void
wait_asleep(char **argv)
{
	char path[PATH_MAX];

	if (!getenv("OMP_WAIT_POLICY") &&
	    setenv("OMP_WAIT_POLICY", "passive", 1) == 0 && own_path(path))
		execv(path, argv);
}

/* models/ beside the folder of this program, if it is there. */
static void
default_models(struct config *config)
{
	char path[PATH_MAX];
	ssize_t n;

	if (!own_path(path))
		return;
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(path, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
	struct stat st;
	n = (ssize_t)strlen(path);
	if ((size_t)n + sizeof "/models" > CONFIG_TEXT_MAX)
		return;
	memcpy(path + n, "/models", sizeof "/models");
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		memcpy(config->models, path, strlen(path) + 1);
}

static size_t
processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (size_t)n : 1;
}

/* What a collection needs for texts may have been taken away since it was made. */
static void
warn_of_model(const struct api *api, const struct collection_settings *s,
    const char *setting, const char *model)
{
	struct error err;

	if (model[0] && !models_find(api->models, model, &err))
		log_event(LOG_WARN, "no_model",
		    "collection=\"%s\" %s=\"%s\" it takes and finds no texts until "
		    "the folder of --models has this model",
		    s->name, setting, model);
}

static void
warn_of_models(const struct api *api, struct collection *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct collection_settings *s = collection_settings(list[i]);
		warn_of_model(api, s, "text_model", s->text_model);
		warn_of_model(api, s, "query_model", s->query_model);
	}
}

/* Read the collections, then serve; while this runs the health routes answer. */
static int
load(struct api *api, struct error *err)
{
	const struct config *config = api->config;
	struct batch_options batch = {.kernel = distance_best(),
	    .threads = config->threads ? config->threads : processors(),
	    .batch_max = config->max_batch,
	    .waiting_max = config->max_queued_searches,
	    .metrics = api->metrics};
	struct writer_options writer = {.queue_bytes_max = config->max_queued_bytes,
	    .queue_operations_max = config->max_queued_writes};
	struct collection **list;
	size_t n, points = 0;
	uint64_t start_ns = clock_ns();

	api->registry = registry_open(api->db, err);
	if (!api->registry)
		return -1;
	api->writer = writer_start(api->db, api->registry, &writer, err);
	if (!api->writer)
		return -1;
	api->batch = batch_start(&batch, err);
	if (!api->batch)
		return -1;
	if (registry_list(&list, &n, api->registry, err))
		return -1;
	for (size_t i = 0; i < n; i++)
		points += collection_count(list[i]);
	warn_of_models(api, list, n);
	registry_list_free(list, n);
	atomic_store(&api->state, API_READY);
	log_event(LOG_INFO, "ready",
	    "address=%s collections=%zu points=%zu seconds=%.3f",
	    http_address(api->http), n, points, clock_since(start_ns));
	return 0;
}

static void *
loader(void *arg)
{
	struct api *api = arg;
	struct error err;

	if (load(api, &err)) {
		if (err.code == ERR_UNAVAILABLE && http_stopping(api->http)) {
			log_event(LOG_INFO, "start", "given_up=\"%s\"", err.text);
			return NULL;
		}
		log_event(LOG_ERROR, "start", "error=\"%s\"", err.text);
		atomic_store(&api->state, API_FAILED);
		http_stop(api->http);
	}
	return NULL;
}

static struct http_options
http_options(struct api *api, const char *key)
{
	const struct config *config = api->config;
	return (struct http_options){.listen = config->listen,
	    .routes = api_routes,
	    .n_routes = api_n_routes,
	    .context = api,
	    .api_key = key[0] ? key : NULL,
	    .unavailable = api_unavailable,
	    .pool = api->pool,
	    .metrics = api->metrics,
	    .body_max_bytes = config->max_body_bytes,
	    .bodies_max_bytes = config->max_bodies_bytes,
	    .answers_max_bytes = config->max_answers_bytes,
	    .header_max_bytes = config->max_header_bytes,
	    .connections_max = config->max_connections,
	    .in_flight_max = config->max_in_flight,
	    .request_timeout_s = (unsigned)config->request_timeout_s,
	    .idle_timeout_s = (unsigned)config->idle_timeout_s,
	    .stop_timeout_s = (unsigned)config->stop_timeout_s};
}

/* Serve until told to stop, also while collections are still read; 0, or -1 if the
 * collections could not be read. */
static int
run(struct api *api)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, loader, api);
	if (rc) {
		log_event(LOG_ERROR, "start", "error=\"loader: %s\"", strerror(rc));
		return -1;
	}
	size_t left = http_run(api->http);
	db_stop_loading(api->db);
	pthread_join(thread, NULL);
	if (left)
		log_event(LOG_WARN, "stop", "unanswered=%zu", left);
	return atomic_load(&api->state) == API_FAILED ? -1 : 0;
}

/* Build the server from the bottom up, serve, take it down from the top. */
static int
serve(struct config *config, const char *key)
{
	struct error err;
	struct api api = {.config = config};
	enum cpu_level ceiling;
	unsigned threads = (unsigned)(config->threads ? config->threads : processors());
	int rc = -1;

	if (cpu_ceiling(&ceiling, &err))
		goto err0;
	api.simd = distance_best()->name;
	log_event(LOG_INFO, "starting",
	    "version=%s simd=%s ceiling=%s threads=%u data=%s models=%s",
	    HALFTONE_VERSION, api.simd, cpu_level_name(ceiling), threads, config->data,
	    config->models);
	/* First what makes nothing on the disk. */
	api.models = models_open(config->models[0] ? config->models : NULL, &err);
	if (!api.models)
		goto err0;
	api_name_routes();
	api.metrics = metrics_new(api_route_names, api_n_routes, &err);
	if (!api.metrics)
		goto err1;
	api.pool = pool_new(threads, &err);
	if (!api.pool)
		goto err2;
	if (api_init(&api, &err))
		goto err3;
	struct http_options options = http_options(&api, key);
	api.http = http_new(&options, &err);
	if (!api.http)
		goto err3;
	api.db = db_open(config->data, config->map_bytes, &err);
	if (!api.db)
		goto err3;
	log_event(LOG_INFO, "listening", "address=%s", http_address(api.http));
	err.text[0] = '\0';
	rc = run(&api);
	api_stop(&api);
err3:
	pool_free(api.pool);
	api_free(&api);
	http_free(api.http);
	registry_close(api.registry);
	db_close(api.db);
err2:
	metrics_free(api.metrics);
err1:
	models_close(api.models);
err0:
	if (rc && err.text[0])
		log_event(LOG_ERROR, "start", "error=\"%s\"", err.text);
	if (rc == 0)
		log_event(LOG_INFO, "stopped", "clean=yes");
	return rc ? 1 : 0;
}

int
main(int argc, char **argv)
{
	static struct config config;
	static char key[KEY_BYTES_MAX];
	enum config_action action;
	struct error err;
	(void)argc;

	wait_asleep(argv); /* before anything is read, that could be read only once */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of a write */
	if (config_load(&config, &action, argv, environ, &err))
		goto usage;
	switch (action) {
	case CONFIG_HELP:
		config_help(stdout);
		return 0;
	case CONFIG_VERSION:
		printf("halftone-server %s\n", HALFTONE_VERSION);
		return 0;
	case CONFIG_PRINT:
		config_print(stdout, &config);
		return 0;
	case CONFIG_HEALTHCHECK:
		if (healthcheck_run(config.listen, &err) == 0)
			return 0;
		fprintf(stderr, "halftone-server: %s\n", err.text);
		return 1;
	case CONFIG_RUN:
		break;
	}
	if (!config.data[0]) {
		error_set(&err, ERR_INPUT, "expected --data DIR; see --help");
		goto usage;
	}
	enum cpu_level ceiling;
	if (check_exposure(&config, &err) || cpu_ceiling(&ceiling, &err) ||
	    (config.api_key_file[0] && read_key(key, config.api_key_file, &err)))
		goto usage;
	if (!config.models[0])
		default_models(&config);
	return serve(&config, key);
usage:
	fprintf(stderr, "halftone-server: %s\n", err.text);
	return err.code == ERR_INPUT || err.code == ERR_UNSUPPORTED ? 2 : 1;
}
