// Disentangled attention, forward: backend.h, struct attention_forward; attention.h says how. Compiled for each
// instruction set.
#include "kernels/cpu/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

struct forward {
    const struct attention_forward *a;
    struct attention_sizes sizes;
    struct dropout_draw draw;
    float factor; // 1 / scale
};

// One thread's memory.
struct space {
    struct attention_scores scores;
    float *v, *context; // [n, s], step size_step
    float *head;        // for attention_load_head
};

static struct space carve_space(const struct attention_sizes *z, struct carving *c)
{
    struct space s = {.scores = CPU_NAME(attention_scores_carve)(z, c)};
    s.v = carve(c, (size_t)(z->key_step * z->size_step));
    s.context = carve(c, (size_t)(z->key_step * z->size_step));
    s.head = carve(c, CPU_NAME(attention_head_floats)(z));
    return s;
}

// The first n lanes of the row become probabilities, the others zero.
static void softmax(float *row, int n, float *max, float *sum)
{
    vf highest = vec_set(-INFINITY), total = {};
    for (int j = 0; j < n; j += VLEN) {
        vf x = vec_select(lanes_below(j, n), vec_loadu(row + j), vec_set(-INFINITY));
        vec_storeu(row + j, x);
        highest = vec_max(highest, x);
    }
    *max = vec_highest(highest);
    for (int j = 0; j < n; j += VLEN) {
        vf e = vec_exp(vec_loadu(row + j) - *max);
        e = (vf)((vi)e & lanes_below(j, n));
        vec_storeu(row + j, e);
        total += e;
    }
    *sum = vec_sum(total);
    for (int j = 0; j < n; j += VLEN)
        vec_storeu(row + j, vec_loadu(row + j) * (1 / *sum));
}

static void zero_rows(const struct mat *m, int first, int end, int column, int columns)
{
    for (int r = first; r < end; r++)
        memset((char *)mat_row(m, r) + (size_t)column * dtype_size(m->type), 0, (size_t)columns * dtype_size(m->type));
}

static void keep_statistics(const struct attention_forward *a, int row, int head, float max, float sum)
{
    if (!a->row_max)
        return;
    size_t at = (size_t)row * (size_t)a->heads + (size_t)head;
    a->row_max[at] = max;
    a->row_sum[at] = sum;
}

// Scores -> probabilities, dropped out.
static void normalise(const struct forward *f, const struct space *s, int first, int n, int head)
{
    const struct attention_sizes *z = &f->sizes;
    if (f->draw.on)
        CPU_NAME(attention_draw)(&f->draw, &s->scores, f->a->rows.id + first, n, head * ((z->frames + 7) / 8 * 8));
    for (int i = 0; i < n; i++) {
        float *row = s->scores.scores + i * z->score_step, max, sum;
        softmax(row, n, &max, &sum);
        keep_statistics(f->a, first + i, head, max, sum);
        const uint16_t *bits = s->scores.bits + i * attention_bits_step(n);
        for (int j = 0; f->draw.on && j < n; j += VLEN)
            vec_storeu(row + j, vec_loadu(row + j) * dropout_factors(&f->draw, bits + j));
    }
}

static void run_tile(const struct forward *f, const struct attention_head *relative, struct space *s, int clip,
                     int head)
{
    const struct attention_forward *a = f->a;
    const struct attention_sizes *z = &f->sizes;
    int first = a->rows.offset[clip], end = a->rows.offset[clip + 1], n = a->rows.length[clip];
    int hidden = a->context.columns, column = head * z->size;
    assert(n >= 0 && n <= end - first && end - first <= z->frames);
    if (n > 0) {
        CPU_NAME(attention_score)(z, relative, &s->scores, &a->qkv, first, n, head, f->factor);
        normalise(f, s, first, n, head);
        CPU_NAME(attention_load)(z, s->v, &a->qkv, first, n, 2 * hidden + column);
        tile_product(&(struct tile){.rows = n,
                                    .vectors = z->size_step / VLEN,
                                    .depth = n,
                                    .c = s->context,
                                    .c_row = z->size_step,
                                    .a = s->scores.scores,
                                    .a_row = z->score_step,
                                    .a_k = 1,
                                    .b = s->v,
                                    .b_k = z->size_step});
    }
    for (int i = 0; i < n; i++) {
        char *row = (char *)mat_row(&a->context, first + i) + (size_t)column * dtype_size(a->context.type);
        for (int c = 0; c < z->size; c += VLEN)
            vec_store(row, a->context.type, c, z->size - c, vec_loadu(s->context + i * z->size_step + c));
    }
    zero_rows(&a->context, first + n, end, column, z->size);
    for (int r = first + n; r < end; r++)
        keep_statistics(a, r, head, 0, 0);
}

void CPU_NAME(attention_forward)(struct stream *s, const struct attention_forward *a)
{
    int hidden = a->context.columns, size = hidden / a->heads, threads = cpu_threads(s), clips = a->rows.clips;
    assert(size * a->heads == hidden && a->qkv.columns == 3 * hidden && a->rel.columns == 3 * hidden);
    struct forward f = {.a = a,
                        .sizes = CPU_NAME(attention_sizes)(a->rows.frames, size),
                        .draw = dropout_begin(&a->dropout),
                        .factor = 1 / sqrtf(3 * (float)size)};
    struct carving plan = {0};
    carve_space(&f.sizes, &plan);
    float *memory = cpu_scratch(s, plan.used * sizeof *memory * (size_t)threads);
    // A head's relative rows are prepared once for all clips of a task; four tasks a thread are enough to share out.
    int parts = (4 * threads + a->heads - 1) / a->heads;
    struct chunks chunks = chunks_of(clips, parts, 1);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int task = 0; task < a->heads * chunks.count; task++) {
        struct carving own = {memory + plan.used * (size_t)omp_get_thread_num(), 0};
        int head = task / chunks.count, chunk = task % chunks.count;
        struct space space = carve_space(&f.sizes, &own);
        struct attention_head relative = CPU_NAME(attention_load_head)(&f.sizes, space.head, &a->rel, a->slot, head);
        for (int clip = chunk * chunks.size; clip < chunk_end(chunks, chunk, clips); clip++)
            run_tile(&f, &relative, &space, clip, head);
    }
    zero_rows(&a->context, a->rows.offset[clips], a->rows.count, 0, hidden);
}
