// A curve in one line: see spark.h.
#include "client/spark.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LEVELS = 8 };

// Two columns become one, and the next ones get as many values as that.
static void halve(struct spark *s)
{
    for (int i = 0; i < SPARK_WIDTH / 2; i++)
        s->columns[i] = (s->columns[2 * i] + s->columns[2 * i + 1]) / 2;
    s->count = SPARK_WIDTH / 2;
    s->each *= 2;
}

void spark_add(struct spark *s, double value)
{
    if (!isfinite(value))
        return;
    s->each = s->each ? s->each : 1;
    s->sum += value;
    if (++s->filled < s->each)
        return;
    s->columns[s->count++] = s->sum / s->filled;
    s->sum = 0;
    s->filled = 0;
    if (s->count == SPARK_WIDTH)
        halve(s);
}

static int has_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]), *dot = value ? strchr(value, '.') : NULL;
        if (value && *value)
            return dot && (!strncasecmp(dot, ".utf-8", 6) || !strncasecmp(dot, ".utf8", 5));
    }
    return 0;
}

const char *spark_text(const struct spark *s, char text[SPARK_SIZE])
{
    static const char *const blocks[LEVELS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const plain[LEVELS] = {"_", "_", ".", ".", "-", "-", "^", "^"};
    const char *const *levels = has_utf8() ? blocks : plain;
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < s->count; i++) {
        low = fmin(low, s->columns[i]);
        high = fmax(high, s->columns[i]);
    }
    *text = 0;
    for (int i = 0; i < s->count; i++)
        strcat(text, levels[high > low ? (int)((s->columns[i] - low) / (high - low) * (LEVELS - 1) + 0.5) : 0]);
    return text;
}
