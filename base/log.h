#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * One line an event, on stderr: time (UTC), level, event, then key=value pairs.
 * A line is written with one write(2), so lines of threads never mix; control
 * characters in it are replaced by '?', and a '"' or '\\' that comes from a value has
 * a '\\' before it.  Any thread may call.
 */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are dropped; the default is LOG_INFO. */
void log_set_level(enum log_level level);

/* `event` is a short fixed name ("started"); fmt gives the pairs: "port=%d", with
 * quotes around what may hold spaces or comes from outside: "error=\"%s\"". */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif /* BASE_LOG_H */
