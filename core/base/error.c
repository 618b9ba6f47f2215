// Errors as sentences: see error.h.
#include "core/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(struct error *e, int wanted)
{
    if (wanted >= (int)sizeof e->text)
        memcpy(e->text + sizeof e->text - 4, "...", 4);
}

int error_set(struct error *e, enum error_code code, const char *format, ...)
{
    if (!e)
        return -1;
    va_list args;
    va_start(args, format);
    e->code = code;
    e->lasting = 0;
    mark_cut(e, vsnprintf(e->text, sizeof e->text, format, args));
    va_end(args);
    return -1;
}

int error_set_errno(struct error *e, enum error_code code, const char *format, ...)
{
    int saved = errno;
    if (!e)
        return -1;
    va_list args;
    va_start(args, format);
    e->code = code;
    e->lasting = 0;
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    if (n >= 0 && n < (int)sizeof e->text)
        n += snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", strerror(saved));
    mark_cut(e, n);
    return -1;
}

int error_lasts(struct error *e)
{
    if (e)
        e->lasting = 1;
    return -1;
}

int error_is_lasting(const struct error *e)
{
    switch (e->code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_DENIED:
    case ERR_DAMAGED:
        return 1;
    default:
        return e->lasting;
    }
}

int error_prefix(struct error *e, const char *format, ...)
{
    if (!e)
        return -1;
    char old[sizeof e->text];
    memcpy(old, e->text, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    if (n >= 0 && n < (int)sizeof e->text)
        n += snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", old);
    mark_cut(e, n);
    return -1;
}
