/*
 * What the data directory costs: acknowledged (committed and synced) points a second
 * from 1, 8 and 64 clients that each wait for their one point; bulk writing; the time
 * from the start to ready and the anonymous memory of 1,000,000 codes of 512 x 2 bits.
 * usage: bench_storage DIR [points]      (DIR is made and left; about 0.4 GB)
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "bench/harness.h"
#include "server/db.h"
#include "server/registry.h"
#include "server/writer.h"

#define NAME "bench_storage"
#define WIRE 128
#define BATCH 1000
#define CLIENTS_MAX 64
#define SECONDS 3.0

static const struct collection_settings settings = {
    .name = "c", .size = 512, .shape = {512, 2, 0}, .code_distance = DISTANCE_INT8};

struct place {
	struct db *db;
	struct registry *registry;
	struct writer *writer;
	struct collection *collection;
};

static void *
need(void *p, const struct error *err)
{
	if (!p)
		harness_fail(NAME, err->text);
	return p;
}

static void
on_done(struct writer_operation *operation, const struct writer_result *result)
{
	if (result->err)
		harness_fail(NAME, result->err->text);
	sem_post(operation->arg);
}

static void
run(struct writer *writer, struct writer_operation operation)
{
	struct error err;
	sem_t done;

	sem_init(&done, 0, 0);
	operation.on_done = on_done;
	operation.arg = &done;
	if (writer_submit(writer, &operation, &err) != 0)
		harness_fail(NAME, err.text);
	while (sem_wait(&done) != 0)
		continue;
	sem_destroy(&done);
}

static void
place_open(struct place *place, const char *dir)
{
	const struct writer_options options = {0};
	struct error err;

	place->db = need(db_open(dir, 0, &err), &err);
	place->registry = need(registry_open(place->db, &err), &err);
	place->writer =
	    need(writer_start(place->db, place->registry, &options, &err), &err);
	place->collection = registry_find(place->registry, settings.name, &err);
	if (!place->collection) {
		place->collection = need(collection_new(&settings, NULL, &err), &err);
		run(place->writer, (struct writer_operation){.kind = WRITER_CREATE,
				       .collection = place->collection});
	}
}

static void
place_close(struct place *place)
{
	writer_stop(place->writer);
	collection_release(place->collection);
	registry_close(place->registry);
	db_close(place->db);
}

/* ---- clients that wait ---- */

struct client {
	struct place *place;
	uint64_t first, n;
	uint64_t end_ns;
	pthread_t thread;
};

static void *
client_run(void *arg)
{
	struct client *client = arg;
	uint8_t wire[WIRE] = {1};
	static const char payload[] = "{\"title\":\"a document of ordinary length\"}";

	while (clock_ns() < client->end_ns) {
		struct writer_point point = {.wire = wire,
		    .factor = 1,
		    .payload = payload,
		    .payload_len = sizeof payload - 1};
		point_id_from_number(&point.id, client->first + client->n++);
		run(client->place->writer,
		    (struct writer_operation){.kind = WRITER_UPSERT,
			.collection = client->place->collection,
			.points = &point,
			.n = 1});
	}
	return NULL;
}

static void
bench_clients(const char *dir)
{
	static const size_t counts[] = {1, 8, 64};
	static struct client clients[CLIENTS_MAX];
	struct place place;

	for (size_t k = 0; k < 3; k++) {
		place_open(&place, dir);
		uint64_t start = clock_ns(), n = 0;
		for (size_t i = 0; i < counts[k]; i++) {
			clients[i] = (struct client){.place = &place,
			    .first = (k * CLIENTS_MAX + i) << 32,
			    .end_ns = start + (uint64_t)(SECONDS * 1e9)};
			if (pthread_create(
				&clients[i].thread, NULL, client_run, &clients[i]) != 0)
				harness_fail(NAME, "cannot start a thread");
		}
		for (size_t i = 0; i < counts[k]; i++) {
			pthread_join(clients[i].thread, NULL);
			n += clients[i].n;
		}
		double s = clock_since(start);
		struct writer_stats stats = writer_stats(place.writer);
		printf("%2zu clients, one point each: %7.0f points/s acknowledged, "
		       "%5.0f commits/s, %.2f ms a point\n",
		    counts[k], (double)n / s, (double)stats.commits / s,
		    1e3 * s * (double)counts[k] / (double)n);
		place_close(&place);
	}
}

/* ---- a million ---- */

static void
bench_import(const char *dir, size_t n_points)
{
	static uint8_t wires[BATCH][WIRE];
	static struct writer_point points[BATCH];
	struct place place;
	struct rng rng;

	rng_init(&rng, 1, 1);
	place_open(&place, dir);
	struct harness_watch watch = harness_start();
	for (size_t first = 0; first < n_points; first += BATCH) {
		for (size_t i = 0; i < BATCH; i++) {
			for (size_t k = 0; k < WIRE; k += 8) {
				uint64_t bits = rng_u64(&rng);
				memcpy(wires[i] + k, &bits, 8);
			}
			points[i] =
			    (struct writer_point){.wire = wires[i], .factor = 0.1f};
			point_id_from_number(&points[i].id, first + i);
		}
		run(place.writer, (struct writer_operation){.kind = WRITER_UPSERT,
				      .collection = place.collection,
				      .points = points,
				      .n = BATCH});
	}
	struct harness_time t = harness_stop(watch);
	printf("batches of %d: %.0f points/s acknowledged (%.2f s, processor %.2f s)\n",
	    BATCH, (double)n_points / t.wall, t.wall, t.cpu);
	place_close(&place);
}

static void
bench_load(const char *dir, size_t n_points)
{
	struct place place;
	struct collection_bytes bytes;
	struct error err;
	size_t before = harness_rss_anon();

	(void)n_points;
	struct harness_watch watch = harness_start();
	place_open(&place, dir);
	struct harness_time t = harness_stop(watch);
	size_t rss = harness_rss_anon() - before;
	size_t n = collection_count(place.collection);
	double least = (double)n * (WIRE + 4);
	if (collection_bytes(&bytes, place.collection, place.db, &err) != 0)
		harness_fail(NAME, err.text);
	printf("%zu points of 512 x 2 bits: ready in %.2f s (processor %.2f s)\n", n,
	    t.wall, t.cpu);
	printf("RssAnon %.1f MB, %.2f of codes and factors (%.1f MB)\n",
	    (double)rss / 1e6, (double)rss / least, least / 1e6);
	printf("on the disk: codes %.1f MB, ids %.1f MB, points %.1f MB\n",
	    (double)bytes.disk_codes / 1e6, (double)bytes.disk_ids / 1e6,
	    (double)bytes.disk_points / 1e6);
	place_close(&place);
}

/* Each part in a process of its own, so that memory is its alone. */
static void
in_child(void (*part)(const char *, size_t), const char *dir, size_t n_points)
{
	int status;

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		part(dir, n_points);
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		harness_fail(NAME, "a part failed");
}

int
main(int argc, char **argv)
{
	char dir[4096];

	harness_check_simd(NAME);
	if (argc < 2)
		harness_fail(NAME, "usage: bench_storage DIR [points]");
	size_t n_points = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	mkdir(argv[1], 0755);
	snprintf(dir, sizeof dir, "%s/clients", argv[1]);
	bench_clients(dir);
	snprintf(dir, sizeof dir, "%s/million", argv[1]);
	in_child(bench_import, dir, n_points);
	in_child(bench_load, dir, n_points);
	return 0;
}
