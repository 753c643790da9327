#ifndef SERVER_API_CHANGE_H
#define SERVER_API_CHANGE_H

#include "server/api.h"
#include "server/api_chunk.h"
#include "server/api_filter.h"
#include "server/api_texts.h"

struct api_batch;

/*
 * A write under way: the request, what the writer's operation points to, and what came
 * of it.  It is the request's state from api_change_keep on; until then the
 * handler's.
 */
struct api_change {
	struct http_request *request;
	struct collection *collection; /* a reference */
	struct writer_operation operation;
	struct writer_point *points; /* (operation.n), of an upsert */
	uint8_t *wires;              /* (n, code_bytes) */
	struct point_id *ids;        /* (n), of a deletion and of payloads */
	struct path *key;            /* of an index */
	struct payload_change *payload;
	struct api_texts texts;   /* of an upsert */
	struct api_chunks chunks; /* those of texts that were cut */
	struct api_filter filter; /* of a change by filter */
	uint32_t slot;            /* where its rows go on */
	struct api_batch *batch; /* that it is part of; NULL: it is the whole request */
	/* The request's next step when the texts are embedded. */
	void (*embedded)(struct pool_task *task, unsigned worker);

	/* When the writer is done: */
	struct error err; /* ERR_NONE: done */
	uint64_t number;  /* of the operation */
	void (*answer)(struct pool_task *task, unsigned worker);
};

/* A change with nothing in it but its kind; takes the reference to the collection, also
 * on failure.  `answer` is the request's next step, on a worker, when the writer is
 * done.  NULL: ERR_MEMORY. */
struct api_change *api_change_new(struct http_request *request,
    struct collection *collection, enum writer_kind kind,
    void (*answer)(struct pool_task *task, unsigned worker), struct error *err);

/* 0 for as many points or ids as a request may have; ERR_TOO_LARGE. */
int api_change_check(const struct api *api, size_t n, struct error *err);

/* A change of the path's collection with room for n points or ids, which is answered by
 * {"operation_id", "status"}.  NULL: ERR_NOT_FOUND, ERR_MEMORY. */
struct api_change *api_change_of_path(
    struct http_request *request, enum writer_kind kind, size_t n, struct error *err);

/* The same of `points` or of those that `filter` names, which root has.  Also
 * ERR_INPUT, ERR_TOO_LARGE and as api_filter_read. */
struct api_change *api_change_of_points(struct http_request *request,
    enum writer_kind kind, const struct json *root, struct error *err);

/* An upsert, all read and coded but for its texts; and a change of payloads.  `root` is
 * the body of the request, or of an operation of a batch. */
struct api_change *api_change_of_upsert(
    struct http_request *request, const struct json *root, struct error *err);
enum api_payload {
	API_PAYLOAD_SET,
	API_PAYLOAD_OVERWRITE,
	API_PAYLOAD_DELETE,
	API_PAYLOAD_CLEAR,
};
struct api_change *api_change_of_payloads(struct http_request *request,
    enum api_payload kind, const struct json *root, struct error *err);

/* Keep it, embed its texts, and hand it to the writer, those of a filter in groups. */
void api_change_run(struct api_change *change);

/* That answer, or the error of a change that failed; of one in a batch the next begins
 * instead. */
void api_change_answer(struct api_change *change);

/* The error of a change that is kept is the answer. */
void api_change_fail(struct api_change *change, struct error *err);

/* Room for n points of an upsert or n ids of a deletion.  ERR_MEMORY. */
int api_change_room(struct api_change *change, size_t n, struct error *err);

/* Make it the request's state, which ends with it. */
void api_change_keep(struct api_change *change);

/* Keep it and hand it to the writer; a refusal is answered here. */
void api_change_submit(struct api_change *change);

/* Of one that is not kept.  NULL is fine. */
void api_change_free(struct api_change *change);

#endif /* SERVER_API_CHANGE_H */
