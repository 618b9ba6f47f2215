// Where a run tells what happens: see sink.h.
#include "core/train/sink.h"

#include <stdarg.h>
#include <stdio.h>

void sink_log(const struct run_sink *sink, enum log_level level, const char *format, ...)
{
    char line[2048];
    va_list args;
    if (!sink->log)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    sink->log(sink->context, level, line);
}
