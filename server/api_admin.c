#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/api.h"
#include "server/memory.h"

/* Who we are, whether we serve, and what we count. */

/* server/page.html and docs/openapi.yaml, linked in as bytes. */
extern const char _binary_server_page_html_start[], _binary_server_page_html_end[];
extern const char _binary_docs_openapi_yaml_start[], _binary_docs_openapi_yaml_end[];

void
api_root(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct text out = {0};
	(void)worker;

	if (request->wants_html) {
		http_redirect(request, "/ui");
		return;
	}
	text_printf(&out,
	    "{\"title\":\"halftone - vector search "
	    "engine\",\"version\":\"%s\",\"commit\":\"\",\"halftone\":\"%s\",\"simd\":"
	    "\"%s\"}",
	    API_VERSION, HALFTONE_VERSION, api->simd);
	http_reply(request, 200, "application/json", &out);
}

void
api_page(struct http_request *request, unsigned worker)
{
	const char *start = _binary_server_page_html_start;
	const char *end = _binary_server_page_html_end;
	struct text out = {0};
	(void)worker;

	text_bytes(&out, start, (size_t)(end - start));
	http_reply(request, 200, "text/html; charset=utf-8", &out);
}

void
api_contract(struct http_request *request, unsigned worker)
{
	const char *start = _binary_docs_openapi_yaml_start;
	const char *end = _binary_docs_openapi_yaml_end;
	struct text out = {0};
	(void)worker;

	text_bytes(&out, start, (size_t)(end - start));
	http_reply(request, 200, "application/yaml", &out);
}

void
api_healthz(struct http_request *request, unsigned worker)
{
	struct text out = {0};
	(void)worker;

	text_string(&out, "healthz check passed");
	http_reply(request, 200, "text/plain", &out);
}

void
api_readyz(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	const char *why =
	    http_stopping(api->http) ? "the server is stopping" : api_unavailable(api);
	struct text out = {0};
	struct error err;
	(void)worker;

	if (!why && api->db && db_broken(api->db))
		why = "the disk refused a write; restart the server when it is well";
	if (why) {
		error_set(&err, ERR_UNAVAILABLE, "%s", why);
		http_fail(request, &err);
		return;
	}
	text_string(&out, "all shards are ready");
	http_reply(request, 200, "text/plain", &out);
}

/* A label's value: '"', '\' and line ends are escaped. */
static void
label(struct text *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			text_printf(out, "\\%c", *value);
		else if (*value == '\n')
			text_string(out, "\\n");
		else
			text_bytes(out, value, 1);
	}
}

static void
series(struct text *out, const char *name, const char *collection, const char *part,
    uint64_t value)
{
	text_printf(out, "%s{collection=\"", name);
	label(out, collection);
	if (part)
		text_printf(out, "\",part=\"%s", part);
	text_printf(out, "\"} %" PRIu64 "\n", value);
}

/* Versions of codes that hold documents, or the one. */
static size_t
n_versions(const struct collection *collection)
{
	struct collection_counts counts[STORE_PARTS_MAX];
	size_t n = 0;

	collection_version_counts(counts, collection);
	for (size_t i = 0; i < collection_n_versions(collection); i++)
		n += counts[i].rows > 0;
	return n > 0 ? n : 1;
}

static void
collection_metrics(
    struct text *out, struct collection *const *list, size_t n, struct db *db)
{
	text_string(out, "# TYPE halftone_points gauge\n");
	for (size_t i = 0; i < n; i++)
		series(out, "halftone_points", collection_settings(list[i])->name, NULL,
		    collection_count(list[i]));
	text_string(out, "# TYPE halftone_code_versions gauge\n");
	for (size_t i = 0; i < n; i++)
		series(out, "halftone_code_versions",
		    collection_settings(list[i])->name, NULL, n_versions(list[i]));
	text_string(out, "# TYPE halftone_collection_bytes gauge\n");
	for (size_t i = 0; i < n; i++) {
		const char *name = collection_settings(list[i])->name;
		struct collection_bytes b;
		struct error err;
		if (collection_bytes(&b, list[i], db, &err))
			continue;
		const char *series_name = "halftone_collection_bytes";
		series(out, series_name, name, "memory_codes", b.memory_codes);
		series(out, series_name, name, "memory_plane0", b.memory_plane0);
		series(out, series_name, name, "memory_factors", b.memory_factors);
		series(out, series_name, name, "memory_tables", b.memory_tables);
		series(out, series_name, name, "disk_codes", b.disk_codes);
		series(out, series_name, name, "disk_ids", b.disk_ids);
		series(out, series_name, name, "disk_points", b.disk_points);
	}
}

static void
writer_metrics(struct text *out, struct api *api)
{
	struct db_sizes sizes;
	uint64_t resident;
	struct error err;
	struct writer_stats stats = {0};
	struct batch_stats batch = {0};

	pthread_mutex_lock(&api->lock);
	if (api->writer)
		stats = writer_stats(api->writer);
	if (api->batch)
		batch = batch_stats(api->batch);
	pthread_mutex_unlock(&api->lock);
	text_printf(out,
	    "# TYPE halftone_requests_in_flight gauge\n"
	    "halftone_requests_in_flight %zu\n"
	    "# TYPE halftone_queries_waiting gauge\nhalftone_queries_waiting %zu\n"
	    "# TYPE halftone_scans_under_way gauge\nhalftone_scans_under_way %zu\n"
	    "# TYPE halftone_queries_refused_total counter\n"
	    "halftone_queries_refused_total %" PRIu64 "\n"
	    "# TYPE halftone_queries_given_up_total counter\n"
	    "halftone_queries_given_up_total %" PRIu64 "\n"
	    "# TYPE halftone_tasks_waiting gauge\nhalftone_tasks_waiting %zu\n",
	    http_in_flight(api->http), batch.waiting, batch.passes, batch.refused,
	    batch.given_up, pool_waiting(api->pool));
	text_printf(out,
	    "# TYPE halftone_writer_queued_operations gauge\n"
	    "halftone_writer_queued_operations %zu\n"
	    "# TYPE halftone_writer_queued_bytes gauge\nhalftone_writer_queued_bytes "
	    "%zu\n"
	    "# TYPE halftone_writer_commits_total counter\n"
	    "halftone_writer_commits_total %" PRIu64 "\n"
	    "# TYPE halftone_writer_operations_total counter\n"
	    "halftone_writer_operations_total %" PRIu64 "\n"
	    "# TYPE halftone_writer_failed_total counter\n"
	    "halftone_writer_failed_total %" PRIu64 "\n"
	    "# TYPE halftone_points_written_total counter\n"
	    "halftone_points_written_total %" PRIu64 "\n"
	    "# TYPE halftone_points_deleted_total counter\n"
	    "halftone_points_deleted_total %" PRIu64 "\n"
	    "# TYPE halftone_writer_commit_seconds_total counter\n"
	    "halftone_writer_commit_seconds_total %.6f\n",
	    stats.queued_operations, stats.queued_bytes, stats.commits,
	    stats.operations, stats.failed, stats.points_written, stats.points_deleted,
	    stats.commit_s);
	if (db_sizes(api->db, &sizes, &err) || db_resident(api->db, &resident, &err))
		return;
	text_printf(out,
	    "# TYPE halftone_resident_bytes gauge\n"
	    "halftone_resident_bytes{part=\"anonymous\"} %" PRIu64 "\n"
	    "halftone_resident_bytes{part=\"store\"} %" PRIu64 "\n"
	    "# TYPE halftone_store_bytes gauge\n"
	    "halftone_store_bytes{part=\"file\"} %" PRIu64 "\n"
	    "halftone_store_bytes{part=\"ids\"} %" PRIu64 "\n"
	    "halftone_store_bytes{part=\"points\"} %" PRIu64 "\n"
	    "halftone_store_bytes{part=\"codes\"} %" PRIu64 "\n"
	    "halftone_store_bytes{part=\"other\"} %" PRIu64 "\n"
	    "halftone_store_bytes{part=\"free\"} %" PRIu64 "\n"
	    "# TYPE halftone_store_map_bytes gauge\nhalftone_store_map_bytes %" PRIu64
	    "\n",
	    memory_anonymous(), resident, sizes.file_bytes, sizes.ids_bytes,
	    sizes.points_bytes, sizes.codes_bytes, sizes.other_bytes, sizes.free_bytes,
	    api->config->map_bytes);
}

void
api_metrics(struct http_request *request, unsigned worker)
{
	struct api *api = request->context;
	struct collection **list;
	struct text out = {0};
	struct error err;
	size_t n;
	(void)worker;

	if (registry_list(&list, &n, api->registry, &err)) {
		http_fail(request, &err);
		return;
	}
	text_printf(&out,
	    "# TYPE halftone_build_info gauge\nhalftone_build_info{version=\"%s\"} 1\n"
	    "# TYPE halftone_simd_info gauge\nhalftone_simd_info{simd=\"%s\"} 1\n"
	    "# TYPE halftone_collections gauge\nhalftone_collections %zu\n",
	    HALFTONE_VERSION, api->simd, n);
	collection_metrics(&out, list, n, api->db);
	registry_list_free(list, n);
	writer_metrics(&out, api);
	metrics_render(api->metrics, &out);
	http_reply(request, 200, "text/plain; version=0.0.4", &out);
}
