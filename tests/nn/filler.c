// Deterministic weights and inputs: see filler.h.
#include "tests/nn/filler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint64_t filler_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        h = (h ^ *p) * 0x100000001b3u;
    return h;
}

uint64_t filler_bits(uint64_t name_hash, uint64_t i)
{
    uint64_t z = name_hash + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double unit(uint64_t name_hash, uint64_t i)
{
    return (double)(filler_bits(name_hash, i) >> 40) * 0x1p-24;
}

float filler_symmetric(uint64_t name_hash, uint64_t i, double scale, double center)
{
    return (float)(center + scale * (2 * unit(name_hash, i) - 1));
}

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static void rule(const struct layout_entry *t, double *scale, double *center)
{
    double fan_in = 1;
    for (int i = 1; i < t->dims; i++)
        fan_in *= t->shape[i];
    *center = 0;
    if (ends_with(t->name, "running_var"))
        *scale = 0.5, *center = 1;
    else if (ends_with(t->name, "running_mean"))
        *scale = 0.25;
    else if (ends_with(t->name, "bias"))
        *scale = 0.125;
    else if (t->dims == 1)
        *scale = 0.25, *center = 1;
    else if (ends_with(t->name, "rel_embeddings.weight"))
        *scale = 1;
    else if (!strcmp(t->name, "type_embed.weight") || !strcmp(t->name, "landmark_embed.weight"))
        *scale = 1;
    else if (strstr(t->name, "query_proj") || strstr(t->name, "key_proj"))
        *scale = 3 / sqrt(fan_in);
    else if (!strcmp(t->name, "logits.weight"))
        *scale = 4 / sqrt(fan_in);
    else
        *scale = 1 / sqrt(fan_in);
}

static void fill(const struct layout_entry *t, const char *tag, float *flat)
{
    char name[160];
    double scale, center;
    snprintf(name, sizeof name, "%s/%s", tag, t->name);
    uint64_t h = filler_hash(name);
    rule(t, &scale, &center);
    for (size_t i = 0; i < t->count; i++)
        flat[t->offset + i] = filler_symmetric(h, i, scale, center);
    if (t->init == INIT_PADDED)
        memset(flat + t->offset, 0, (size_t)t->shape[1] * sizeof *flat);
}

void filler_weights(const struct layout *l, const char *tag, float *parameters, float *buffers)
{
    for (int i = 0; i < l->parameter_count; i++)
        fill(&l->parameters[i], tag, parameters);
    for (int i = 0; i < l->buffer_count; i++)
        fill(&l->buffers[i], tag, buffers);
}

static uint64_t hash_of(const char *tag, const char *what)
{
    char name[80];
    snprintf(name, sizeof name, "%s/%s", tag, what);
    return filler_hash(name);
}

void filler_clips(const char *tag, int clips, int frames, const int32_t *length, float *x)
{
    uint64_t h = hash_of(tag, "x"), missing = hash_of(tag, "missing");
    size_t frame = LANDMARKS * 3;
    for (size_t i = 0; i < (size_t)clips * (size_t)frames * frame; i++)
        x[i] = filler_symmetric(h, i, 2, 0);
    for (int b = 0; b < clips; b++)
        for (int f = 0; f < frames; f++) {
            uint64_t at = (uint64_t)b * (uint64_t)frames + (uint64_t)f;
            float *row = x + at * frame;
            for (int hand = 0; hand < 2; hand++)
                if (!(filler_bits(missing, at * 2 + (uint64_t)hand) & 3))
                    memset(row + hand * HAND_POINTS * 3, 0, HAND_POINTS * 3 * sizeof *row);
            if (f >= length[b])
                memset(row, 0, frame * sizeof *row);
        }
}

void filler_lengths(const char *tag, int clips, int max_len, int32_t *length)
{
    for (int b = 0; b < clips; b++)
        length[b] = (int32_t)(1 + filler_bits(hash_of(tag, "length"), (uint64_t)b) % (uint64_t)max_len);
}

void filler_labels(const char *tag, int clips, int classes, int32_t *label)
{
    for (int b = 0; b < clips; b++)
        label[b] = (int32_t)(filler_bits(hash_of(tag, "label"), (uint64_t)b) % (uint64_t)classes);
}

void filler_teacher(const char *tag, int clips, int classes, float *logits)
{
    for (int i = 0; i < clips * classes; i++)
        logits[i] = filler_symmetric(hash_of(tag, "teacher"), (uint64_t)i, 3, 0);
}

void filler_mixup(const char *tag, int clips, int groups, int32_t *partner, float *coefficient)
{
    int m = clips / groups;
    uint64_t h = hash_of(tag, "perm");
    for (int b = 0; b < clips; b++) {
        partner[b] = b;
        coefficient[b] = (float)unit(hash_of(tag, "coef"), (uint64_t)b);
    }
    for (int g = 0; g < groups; g++)
        for (int i = m - 1; i >= 1; i--) {
            int j = (int)(filler_bits(h, (uint64_t)(g * m + i)) % (uint64_t)(i + 1));
            int32_t t = partner[g * m + i];
            partner[g * m + i] = partner[g * m + j];
            partner[g * m + j] = t;
        }
}

int filler_summary(const char *name, const float *v, size_t n, double out[41])
{
    uint64_t h = hash_of("proj", name);
    double square = 0;
    memset(out, 0, 41 * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        unsigned signs = (unsigned)(filler_bits(h, i) >> 56);
        square += (double)v[i] * v[i];
        for (int k = 0; k < 8; k++)
            out[1 + k] += signs >> k & 1 ? -v[i] : v[i];
    }
    out[0] = sqrt(square);
    int m = n < 32 ? (int)n : 32;
    for (int j = 0; j < m; j++)
        out[9 + j] = v[(size_t)j * n / (size_t)m];
    return 9 + m;
}
