// Messages for people, to stderr: "12:03:55 level text". Libraries below daemon/ and client/ take a struct log from
// their caller (or return errors); there is no global one.
#ifndef ISLR_BASE_LOG_H
#define ISLR_BASE_LOG_H

#include <stdio.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log {
    FILE *stream;         // where lines go; NULL: nowhere
    enum log_level level; // lines below it are dropped
    const char *prefix;   // put before each text ("rank 3: "), or NULL
};

// One line, written with one call so that lines of several threads and ranks do not mix. `log` may be NULL.
void log_line(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(log, ...) log_line(log, LOG_DEBUG, __VA_ARGS__)
#define log_info(log, ...)  log_line(log, LOG_INFO, __VA_ARGS__)
#define log_warn(log, ...)  log_line(log, LOG_WARN, __VA_ARGS__)
#define log_error(log, ...) log_line(log, LOG_ERROR, __VA_ARGS__)

#endif
