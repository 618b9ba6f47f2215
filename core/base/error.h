// Errors as sentences. A function that can fail returns 0 or -1 (or a pointer or NULL) and fills a struct error; the
// caller adds context with error_prefix() on the way up, and main() prints the text and exits with the code.
#ifndef ISLR_BASE_ERROR_H
#define ISLR_BASE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

// The values are the programs' exit codes (interface.md), so main() can return them as they are.
enum error_code {
    ERR_NONE = 0,
    ERR_FAILED = 1,      // the work failed
    ERR_INVALID = 2,     // bad usage or an invalid job
    ERR_NOT_FOUND = 3,   // no such thing
    ERR_UNREACHABLE = 4, // server not reachable
    ERR_DENIED = 5,      // not permitted
    ERR_TIMEOUT = 6,
    ERR_DAMAGED = 7,      // damaged data: hash, format, truncated
    ERR_INTERRUPTED = 130 // stopped by a signal or a cancel
};

struct error {
    enum error_code code;
    char text[2000]; // always NUL-terminated; over-long texts end in "..."
    int lasting;     // see error_lasts()
};

// Sets code and text; `e` may be NULL (the caller does not want to know). Always returns -1, so that
// `return error_set(e, ...)` ends a function.
int error_set(struct error *e, enum error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

// As error_set(), with ": <strerror(errno)>" behind the text.
int error_set_errno(struct error *e, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Says of an ERR_FAILED that has just been set that the same work would fail in the same way wherever and whenever it is
// done again (a loss that is not finite). Always returns -1.
int error_lasts(struct error *e);

// Whether that is so: an invalid job, what is not there, not permitted or damaged, and what error_lasts() was said of.
// Everything else - a full disk, a server that is away, a machine out of memory or descriptors - may pass.
int error_is_lasting(const struct error *e);

// Puts "<context>: " before the text. Always returns -1.
int error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#endif
