#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/json.h"
#include "client/import_job.h"
#include "client/options.h"
#include "client/stop.h"

/* A request that waits while the server says "later"; for the few before the
 * upload. */
static int
insist(struct remote *remote, struct remote_answer *answer, const char *method,
    const char *path, const struct text *body, struct error *err)
{
	for (int i = 0;; i++) {
		if (remote_request(remote, answer, method, path, body, err) == -1)
			return -1;
		if (!remote_busy(answer->status) || i == 30 || stop_requested())
			return 0;
		stop_sleep(remote_pause(answer, 1));
	}
}

static int
check_kind(const struct import_settings *s, enum import_kind kind, struct error *err)
{
	if (kind == IMPORT_CODE && (s->bits == 0 || s->dims == 0))
		return error_set(err, ERR_INPUT,
		    "expected --dims and --bits, because a code does not say them, to "
		    "make the collection \"%s\"",
		    s->collection);
	if (kind != IMPORT_TEXT && s->text_model != NULL)
		return error_set(err, ERR_INPUT,
		    "expected lines with \"text\" where --text-model is given");
	return 0;
}

static void
append_mean(struct text *body, const float *mean, uint8_t *bytes, size_t dims)
{
	for (size_t i = 0; i < dims; i++)
		bytes_putfle(bytes + 4 * i, mean[i]);
	text_string(body, "\"mean\":{\"b64\":\"");
	text_base64(body, bytes, 4 * dims);
	text_string(body, "\"}");
}

/* The member "mean" for the file that is being read, if it has rows enough. */
static int
fit_mean(struct text *body, const struct import_job *job, struct error *err)
{
	const char *distance = job->settings.distance;
	float *mean = array_new(job->vector_dims, sizeof *mean);
	uint8_t *bytes = array_new(job->vector_dims, 4);
	int rc = 0;
	if (mean == NULL || bytes == NULL)
		rc = error_set(err, ERR_MEMORY, "no memory for a mean");
	else
		rc = import_mean(mean, &job->sample,
		    distance == NULL || strcmp(distance, "Cosine") == 0, err);
	if (rc == 1)
		append_mean(body, mean, bytes, job->vector_dims);
	free(bytes);
	free(mean);
	return rc == -1 ? -1 : 0;
}

/* What PUT /collections/{c} needs for documents of this kind; `mean` is a member of
 * "codes", or empty. */
static void
compose(struct text *body, const struct import_job *job, enum import_kind kind,
    const struct text *mean)
{
	const struct import_settings *s = &job->settings;
	size_t size = kind == IMPORT_VECTOR ? job->vector_dims
		      : kind == IMPORT_CODE ? s->dims
					    : 0;
	const char *comma = "";
	text_string(body, "{");
	if (size != 0) {
		text_printf(body, "\"vectors\":{\"size\":%zu,\"distance\":\"%s\"},",
		    size, s->distance == NULL ? "Cosine" : s->distance);
	} else if (s->distance != NULL) {
		text_printf(body, "\"vectors\":{\"distance\":\"%s\"},", s->distance);
	}
	if (kind == IMPORT_TEXT) {
		const char *model =
		    s->text_model == NULL ? OPTIONS_TEXT_MODEL : s->text_model;
		text_string(body, "\"text_model\":");
		text_json(body, model, strlen(model));
		text_string(body, ",");
	}
	text_string(body, "\"codes\":{");
	if (s->dims != 0) {
		text_printf(body, "\"dims\":%u", s->dims);
		comma = ",";
	}
	if (s->bits != 0) {
		text_printf(body, "%s\"bits\":%u", comma, s->bits);
		comma = ",";
	}
	if (s->progressive) {
		text_printf(body, "%s\"progressive\":true", comma);
		comma = ",";
	}
	if (mean->n > 0) {
		text_string(body, comma);
		text_bytes(body, mean->bytes, mean->n);
	}
	text_string(body, "}}");
}

static int
create(const struct import_job *job, struct remote *remote, const char *path,
    enum import_kind kind, struct error *err)
{
	struct text body = {0}, mean = {0};
	struct remote_answer answer;
	int rc = check_kind(&job->settings, kind, err);
	if (rc == 0 && job->sample.path != NULL)
		rc = fit_mean(&mean, job, err);
	if (rc == 0) {
		compose(&body, job, kind, &mean);
		if (body.failed || mean.failed)
			rc = error_set(err, ERR_MEMORY, "no memory for a request");
	}
	if (rc == 0)
		rc = insist(remote, &answer, "PUT", path, &body, err);
	text_free(&mean);
	text_free(&body);
	/* 409: another import has made it meanwhile. */
	if (rc == 0 && answer.status >= 300 && answer.status != 409)
		rc = remote_refused(&answer, err);
	if (rc == 0)
		fprintf(
		    stderr, "made the collection \"%s\"\n", job->settings.collection);
	return rc;
}

/* What the user has named must be what the collection has. */
static int
check_number(const struct json *codes, const char *name, uint32_t want,
    const char *collection, struct error *err)
{
	struct json value;
	uint64_t have;
	if (want == 0 || !json_member(codes, name, &value) ||
	    !json_u64(&have, &value) || have == want)
		return 0;
	return error_set(err, ERR_EXISTS,
	    "the collection \"%s\" is there already, with %llu %s, not %u", collection,
	    (unsigned long long)have, name, want);
}

static int
check_progressive(
    const struct json *codes, const struct import_settings *s, struct error *err)
{
	struct json value;
	if (!s->progressive || !json_member(codes, "progressive", &value) ||
	    value.type == JSON_TRUE)
		return 0;
	return error_set(err, ERR_EXISTS,
	    "the collection \"%s\" is there already, and not progressive: PATCH it "
	    "with "
	    "{\"codes\": {\"progressive\": true}}, or leave out --progressive",
	    s->collection);
}

static int
check_existing(const struct import_settings *s, const struct remote_answer *answer,
    struct error *err)
{
	struct json root, codes;
	if (json_check(&root, answer->body, answer->len, err) == -1)
		return error_prefix(err, "the server's answer");
	if (!json_member(&root, "result", &codes) ||
	    !json_member(&codes, "config", &codes) ||
	    !json_member(&codes, "params", &codes) ||
	    !json_member(&codes, "codes", &codes))
		return 0;
	if (check_number(&codes, "dims", s->dims, s->collection, err) == -1 ||
	    check_progressive(&codes, s, err) == -1)
		return -1;
	return check_number(&codes, "bits", s->bits, s->collection, err);
}

static int
ensure(const struct import_job *job, enum import_kind kind, struct error *err)
{
	struct remote_answer answer;
	struct text path = {0};
	struct remote *remote = remote_open(&job->settings.address, err);
	int rc = remote == NULL ? -1 : 0;

	text_string(&path, "/collections/");
	text_segment(&path, job->settings.collection);
	if (rc == 0 && path.failed)
		rc = error_set(err, ERR_MEMORY, "no memory for a request");
	if (rc == 0)
		rc = insist(remote, &answer, "GET", path.bytes, NULL, err);
	if (rc == 0 && answer.status == 404)
		rc = create(job, remote, path.bytes, kind, err);
	else if (rc == 0 && answer.status >= 300)
		rc = remote_refused(&answer, err);
	else if (rc == 0)
		rc = check_existing(&job->settings, &answer, err);
	remote_close(remote);
	text_free(&path);
	return rc;
}

static void
on_tick(void *arg)
{
	struct import_job *job = arg;
	struct upload_counts counts;
	upload_count(job->upload, &counts);
	memcpy(job->progress.note, counts.trouble, sizeof job->progress.note);
	progress_show(
	    &job->progress, counts.acknowledged, job->read_bytes + job->file_bytes);
}

int
import_prepare(struct import_job *job, enum import_kind kind, struct error *err)
{
	if (ensure(job, kind, err) == -1)
		return -1;
	struct upload_settings settings = {
	    .address = &job->settings.address,
	    .collection = job->settings.collection,
	    .connections = job->settings.connections,
	    .patience_s = UPLOAD_PATIENCE_DEFAULT_S,
	    .on_tick = on_tick,
	    .arg = job,
	};
	job->upload = upload_open(&settings, err);
	return job->upload == NULL ? -1 : 0;
}

int
import_flush(struct import_job *job, struct error *err)
{
	char source[200];
	if (job->n_points == 0)
		return 0;
	snprintf(source, sizeof source, "%.120s%s", job->file, job->mark);
	struct upload_batch batch = {&job->points, job->list, job->n_points, source};
	job->n_points = 0;
	if (upload_put(job->upload, &batch, err) == -1)
		return -1;
	on_tick(job);
	return 0;
}

int
import_added(struct import_job *job, uint64_t place, struct error *err)
{
	size_t bytes =
	    job->settings.chunk ? IMPORT_BATCH_BYTES_CHUNKED : IMPORT_BATCH_BYTES;

	job->list[job->n_points++] = (struct upload_point){place, job->points.n};
	job->n_read++;
	if (job->n_points < job->settings.batch && job->points.n < bytes)
		return 0;
	return import_flush(job, err);
}
