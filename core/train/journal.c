// DIR/metrics.jsonl: see journal.h.
#include "core/train/journal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"

// The step that a line is of, 0: none. Looks at the line's beginning alone: behind it stands all of a long run.
static uint64_t step_of(const char *line)
{
    static const char prefix[] = "{\"step\": ";
    char *end;
    if (strncmp(line, prefix, sizeof prefix - 1))
        return 0;
    uint64_t step = strtoull(line + sizeof prefix - 1, &end, 10);
    return *end == ',' ? step : 0;
}

// The lines of steps 1..step of an earlier part of the run, moved together at the beginning of the text. Returns their
// size.
static size_t keep_lines(char *text, size_t size, uint64_t step)
{
    size_t kept = 0;
    for (char *line = text, *end; (end = memchr(line, '\n', (size_t)(text + size - line))); line = end + 1) {
        uint64_t n = step_of(line);
        if (!n || n > step)
            continue;
        memmove(text + kept, line, (size_t)(end + 1 - line));
        kept += (size_t)(end + 1 - line);
    }
    return kept;
}

int journal_open(struct journal *j, const char *path, uint64_t step, struct error *e)
{
    char *text = NULL;
    size_t size = 0;
    memset(j, 0, sizeof *j);
    if (step && file_exists(path)) {
        if (file_read(path, (size_t)1 << 40, &text, &size, e))
            return -1;
        size = keep_lines(text, size, step);
    }
    int rc = file_write_atomic(path, text ? text : "", size, e);
    free(text);
    if (rc)
        return -1;
    j->stream = fopen(path, "ae");
    if (!j->stream)
        return error_set_errno(e, ERR_FAILED, "cannot open %s", path);
    j->path = xstrdup(path);
    return 0;
}

void journal_write(struct journal *j, const struct sink_metrics *m)
{
    fprintf(j->stream, "{\"step\": %llu, \"epoch\": %.9g, \"time\": %.3f", (unsigned long long)m->step, m->epoch,
            (double)clock_wall_ms() / 1000);
    for (int i = 0; i < m->count; i++) {
        double v = m->metrics[i].value;
        if (isfinite(v)) // JSON has no other numbers
            fprintf(j->stream, ", \"%s\": %.9g", m->metrics[i].name, v);
        else
            fprintf(j->stream, ", \"%s\": null", m->metrics[i].name);
    }
    fputs("}\n", j->stream);
}

int journal_flush(struct journal *j, struct error *e)
{
    if (fflush(j->stream) || ferror(j->stream))
        return error_set_errno(e, ERR_FAILED, "cannot write %s", j->path);
    return 0;
}

void journal_close(struct journal *j)
{
    if (j->stream)
        fclose(j->stream);
    free(j->path);
    memset(j, 0, sizeof *j);
}
