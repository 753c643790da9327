#include "server/api.h"
#include "server/api_change.h"

/* POST /collections/{c}/points/delete: points by their ids, or those that match a
 * filter. */
void
api_points_delete(struct http_request *request, unsigned worker)
{
	struct api_change *change = NULL;
	struct json root;
	struct error err;
	(void)worker;

	if (api_body(&root, request, &err) == 0)
		change = api_change_of_points(request, WRITER_DELETE, &root, &err);
	if (change)
		api_change_run(change);
	else
		http_fail(request, &err);
}
