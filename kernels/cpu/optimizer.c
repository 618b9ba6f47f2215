// What works on the flat buffers of parameters: sum of squares, AdamW with EMA and work copies, packing, conversion.
// backend.h.
// Compiled for each instruction set.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

#include <math.h>
#include <string.h>

enum { CHUNK = SQUARES_SPAN }; // elements a thread takes at once

static size_t chunk_count(size_t count)
{
    return (count + CHUNK - 1) / CHUNK;
}

static int chunk_length(size_t count, size_t chunk)
{
    size_t left = count - chunk * CHUNK;
    return left < CHUNK ? (int)left : CHUNK;
}

// ---- sum of squares -----------------------------------------------------------------------------------------------

typedef double vd __attribute__((vector_size(VLEN * 8)));

static double squares(const float *x, int count)
{
    vd total = {};
    for (int i = 0; i < count; i += VLEN) {
        vd v = __builtin_convertvector(vec_load(x, DTYPE_F32, i, count - i), vd);
        total += v * v;
    }
    double sum = 0;
    for (int i = 0; i < VLEN; i++)
        sum += total[i];
    return sum;
}

void CPU_NAME(sum_squares)(struct stream *s, const struct sum_squares *a)
{
    size_t chunks = chunk_count(a->count);
#pragma omp parallel for num_threads(cpu_threads(s))
    for (size_t i = 0; i < chunks; i++)
        a->partial[i] = squares(a->x + i * CHUNK, chunk_length(a->count, i));
}

void CPU_NAME(add_squares)(struct stream *s, const struct add_squares *a)
{
    (void)s;
    double sum = 0;
    for (size_t i = 0; i < a->count; i++)
        sum += a->partial[i];
    *a->out = sum;
}

// ---- AdamW --------------------------------------------------------------------------------------------------------

_Static_assert(PARAMETER_ALIGN % VLEN == 0, "decay is uniform within a vector");

// The step's scalars, combined.
struct update {
    float gradient_scale;  // clipping and loss scale
    float rate;            // lr / bias1
    float root_bias2;      // 1 / sqrt(bias2)
    float shrink;          // 1 - lr*weight_decay
    float keep1, keep2;    // beta1, beta2
    float ema, ema_change; // alpha, 1 - alpha
};

static void update_chunk(const struct adamw *a, const struct update *u, size_t first, int length)
{
    for (size_t i = first; i < first + (size_t)length; i += VLEN) {
        vf w = vec_loadu(a->weight + i), g = vec_loadu(a->gradient + i) * u->gradient_scale;
        vf m = vec_loadu(a->m + i), v = vec_loadu(a->v + i);
        m += (g - m) * (1 - u->keep1);
        v = v * u->keep2 + g * g * (1 - u->keep2);
        if (a->decay[i / PARAMETER_ALIGN])
            w *= u->shrink;
        w -= u->rate * (m / (vec_sqrt(v) * u->root_bias2 + a->eps));
        vec_storeu(a->m + i, m);
        vec_storeu(a->v + i, v);
        vec_storeu(a->weight + i, w);
        if (a->work)
            vec_store((uint16_t *)a->work + i, a->work_type, 0, VLEN, w);
        if (!a->ema)
            continue;
        vf e = vec_loadu(a->ema + i) * u->ema + w * u->ema_change;
        vec_storeu(a->ema + i, e);
        if (a->ema_work)
            vec_store((uint16_t *)a->ema_work + i, a->work_type, 0, VLEN, e);
    }
}

void CPU_NAME(adamw)(struct stream *s, const struct adamw *a)
{
    assert(a->count % PARAMETER_ALIGN == 0);
    assert(a->work_type == DTYPE_BF16 || (!a->work && !a->ema_work));
    const struct step_scalars *t = a->scalars;
    double norm = sqrt(*a->square_norm) / (double)t->loss_scale;
    if (!isfinite(norm))
        return;
    double clip = a->clip > 0 ? fmin(1, (double)a->clip / (norm + 1e-6)) : 1;
    struct update u = {.gradient_scale = (float)(clip / (double)t->loss_scale),
                       .rate = t->lr / t->bias1,
                       .root_bias2 = 1 / sqrtf(t->bias2),
                       .shrink = 1 - t->lr * a->weight_decay,
                       .keep1 = a->beta1,
                       .keep2 = a->beta2,
                       .ema = t->ema_alpha,
                       .ema_change = 1 - t->ema_alpha};
    size_t chunks = chunk_count(a->count);
#pragma omp parallel for num_threads(cpu_threads(s))
    for (size_t i = 0; i < chunks; i++)
        update_chunk(a, &u, i * CHUNK, chunk_length(a->count, i));
}

// ---- packing ------------------------------------------------------------------------------------------------------

static const size_t block_size = PARAMETER_ALIGN * sizeof(float);

void CPU_NAME(pack_blocks)(struct stream *s, const struct pack_blocks *a)
{
    (void)s;
    for (int i = 0; i < a->count; i++)
        if (a->block[i] >= 0)
            memcpy(a->packed + (size_t)i * PARAMETER_ALIGN, a->flat + (size_t)a->block[i] * PARAMETER_ALIGN,
                   block_size);
}

void CPU_NAME(unpack_blocks)(struct stream *s, const struct unpack_blocks *a)
{
    (void)s;
    for (int i = 0; i < a->count; i++)
        if (a->block[i] >= 0)
            memcpy(a->flat + (size_t)a->block[i] * PARAMETER_ALIGN, a->packed + (size_t)i * PARAMETER_ALIGN,
                   block_size);
}

// ---- conversion ---------------------------------------------------------------------------------------------------

void CPU_NAME(convert)(struct stream *s, const struct convert *a)
{
    size_t chunks = chunk_count(a->count);
#pragma omp parallel for num_threads(cpu_threads(s))
    for (size_t i = 0; i < chunks; i++) {
        int length = chunk_length(a->count, i);
        const void *x = (const char *)a->x + i * CHUNK * dtype_size(a->from);
        void *y = (char *)a->y + i * CHUNK * dtype_size(a->to);
        for (int c = 0; c < length; c += VLEN)
            vec_store(y, a->to, c, length - c, vec_load(x, a->from, c, length - c));
    }
}
