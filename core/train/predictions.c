// Predictions as files: see predictions.h.
#include "core/train/predictions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/npy.h"

int most_probable(const float *row, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (row[c] > row[best])
            best = c;
    return best;
}

void csv_add_field(struct strbuf *b, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        strbuf_add(b, text, strlen(text));
        return;
    }
    strbuf_add(b, "\"", 1);
    for (const char *p = text; *p; p++)
        strbuf_add(b, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    strbuf_add(b, "\"", 1);
}

static int write_csv(const struct set *set, const uint32_t *clips, uint32_t count, const float *probabilities,
                     int classes, const char *path, struct error *e)
{
    struct strbuf text = {0};
    strbuf_printf(&text, "participant_id,sequence_id,sign,predicted,probability,correct\n");
    for (uint32_t i = 0; i < count; i++) {
        const struct set_clip *c = set_clip(set, clips[i]);
        const float *row = probabilities + (size_t)i * (size_t)classes;
        int best = most_probable(row, classes);
        strbuf_printf(&text, "%lld,%lld,", (long long)c->participant, (long long)c->sequence);
        csv_add_field(&text, set_sign_name(set, c->label));
        strbuf_add(&text, ",", 1);
        csv_add_field(&text, set_sign_name(set, best));
        strbuf_printf(&text, ",%.9g,%d\n", row[best], best == c->label && isfinite(row[best]));
    }
    int rc = file_write_atomic(path, text.text, text.length, e);
    free(text.text);
    return rc;
}

int predictions_write(const struct set *set, const uint32_t *clips, uint32_t count, const float *probabilities,
                      int classes, const char *npy, const char *csv, struct error *e)
{
    int64_t shape[2] = {count, classes};
    if (npy && npy_write_f32(npy, probabilities, 2, shape, e))
        return -1;
    return csv ? write_csv(set, clips, count, probabilities, classes, csv, e) : 0;
}
