#ifndef SERVER_PATH_INTERNAL_H
#define SERVER_PATH_INTERNAL_H

#include "server/path.h"

/* The parts of a path, for those who go along it (server/payload.c). */

enum path_kind { PATH_MEMBER, PATH_ELEMENT, PATH_EACH };

struct path_part {
	enum path_kind kind;
	size_t index;    /* PATH_ELEMENT */
	const char *key; /* PATH_MEMBER */
};

struct path {
	size_t n_parts;
	struct path_part parts[PATH_PARTS_MAX + 1]; /* one for path_new_each */
	char *key;
	char *text; /* keys of parts, each with a '\0' */
};

#endif /* SERVER_PATH_INTERNAL_H */
