// Messages for people: see log.h.
#include "core/base/log.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

void log_line(const struct log *log, enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    if (!log || !log->stream || level < log->level)
        return;
    char line[4096];
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    size_t n = strftime(line, sizeof line, "%H:%M:%S ", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, "%s: %s", names[level], log->prefix ? log->prefix : "");
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(line + n, sizeof line - n - 1, format, args);
    va_end(args);
    if (wanted < 0)
        return;
    n += (size_t)wanted < sizeof line - n - 2 ? (size_t)wanted : sizeof line - n - 2;
    line[n++] = '\n';
    fwrite(line, 1, n, log->stream);
    fflush(log->stream);
}
