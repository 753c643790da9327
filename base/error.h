#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/*
 * How a function that can fail says why.
 *
 * Such a function returns 0 or -1 (or a pointer or NULL) and takes a
 * `struct error *err` last; on failure it has filled *err and changed nothing
 * else.  A text says what was expected, what came and what to do.  Any thread
 * may call; a struct error belongs to its owner.
 */
enum error_code {
	ERR_NONE = 0,
	ERR_INPUT,       /* the caller's data is wrong */
	ERR_NOT_FOUND,   /* no such collection, point, model, file */
	ERR_EXISTS,      /* it is there already */
	ERR_TOO_LARGE,   /* over a limit that has a name */
	ERR_BUSY,        /* too much at once: try again later */
	ERR_UNSUPPORTED, /* a known wish that is not served */
	ERR_FULL,        /* no space left to store it */
	ERR_UNAVAILABLE, /* stopping, or the store is broken: nothing is written */
	ERR_TIMEOUT,     /* it took longer than it may: the same again will, too */
	ERR_FORMAT,      /* a file is not what it should be */
	ERR_MEMORY,      /* an allocation failed */
	ERR_IO,          /* the system refused a read, a write, a socket */
};

struct error {
	enum error_code code;
	char text[244];
};

/* Fill *err with code and the printf-formatted text (cut to fit at a whole
 * UTF-8 character); returns -1, so that `return error_set(...)` reads well. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the text of *err; returns -1. */
int error_prefix(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* BASE_ERROR_H */
