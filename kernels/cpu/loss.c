// Cross-entropy with smoothing, mixed targets and OUSM, and the consistency loss: backend.h, struct
// loss_forward_backward. Compiled for each instruction set.
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

// What the clips' passes leave for the groups'.
struct clip_loss {
    double ce, distance; // distance: squared, of the two softmaxes
    int dropped;
};

struct workspace {
    float *own, *teacher; // [clips, classes]: softmaxes
    struct clip_loss *clip;
};

// The smoothed target of a clip: `other` everywhere and, on top, first at class a and second at class b.
struct target {
    double other, first, second;
    int a, b;
};

static struct target target_of(const struct loss_forward_backward *a, int clip)
{
    double other = (double)a->smoothing / (a->classes - 1), share = 1;
    struct target t = {.other = other, .a = a->label[clip], .b = a->label[clip]};
    if (a->partner) {
        share = (double)a->coefficient[clip];
        t.b = a->label[a->partner[clip]];
    }
    t.first = share * (1 - (double)a->smoothing - other);
    t.second = (1 - share) * (1 - (double)a->smoothing - other);
    return t;
}

// p = softmax(z); returns the logarithm of the sum of exponentials, and the sum of z. What is not finite in z makes all
// of p not a number.
static double softmax(const float *z, int classes, float *p, double *sum_z)
{
    vf highest = vec_set(z[0]), total = {}, exponentials = {};
    for (int c = 0; c + VLEN <= classes; c += VLEN)
        highest = vec_max(highest, vec_loadu(z + c));
    float top = vec_highest(highest);
    for (int c = classes / VLEN * VLEN; c < classes; c++)
        top = z[c] > top ? z[c] : top;
    for (int c = 0; c < classes; c += VLEN) {
        int left = classes - c;
        vf x = vec_load(z, DTYPE_F32, c, left), e = vec_exp(x - top);
        total += x;
        vec_store(p, DTYPE_F32, c, left, e);
        exponentials += vec_load(p, DTYPE_F32, c, left); // without the lanes beyond the row
    }
    double sum = (double)vec_sum(exponentials);
    *sum_z = (double)vec_sum(total);
    float scale = isfinite(*sum_z) ? (float)(1 / sum) : NAN;
    for (int c = 0; c < classes; c += VLEN)
        vec_store(p, DTYPE_F32, c, classes - c, vec_load(p, DTYPE_F32, c, classes - c) * scale);
    return (double)top + log(sum);
}

static double squared_distance(const float *p, const float *q, int n)
{
    vf sum = {};
    for (int c = 0; c < n; c += VLEN) {
        vf d = vec_load(p, DTYPE_F32, c, n - c) - vec_load(q, DTYPE_F32, c, n - c);
        sum += d * d;
    }
    return (double)vec_sum(sum);
}

static void clip_forward(const struct loss_forward_backward *a, const struct workspace *w, int clip)
{
    size_t at = (size_t)clip * (size_t)a->classes;
    const float *z = a->logits + at;
    struct target t = target_of(a, clip);
    struct clip_loss *out = &w->clip[clip];
    double sum, level = softmax(z, a->classes, w->own + at, &sum);
    out->dropped = 0;
    out->ce =
        t.other * (a->classes * level - sum) + t.first * (level - (double)z[t.a]) + t.second * (level - (double)z[t.b]);
    out->distance = 0;
    if (a->teacher) {
        softmax(a->teacher + at, a->classes, w->teacher + at, &sum);
        out->distance = squared_distance(w->own + at, w->teacher + at, a->classes);
    }
}

// Marks the `count` clips of a group with the highest cross-entropy, of equal ones the later. One that is not a number
// stays, so that the loss shows it.
static void drop_highest(struct clip_loss *clip, int group, int count)
{
    for (int i = 0; i < count; i++) {
        int highest = -1;
        for (int b = 0; b < group; b++)
            if (!clip[b].dropped && isfinite(clip[b].ce) && (highest < 0 || clip[b].ce >= clip[highest].ce))
                highest = b;
        if (highest >= 0)
            clip[highest].dropped = 1;
    }
}

static void group_forward(const struct loss_forward_backward *a, const struct workspace *w, int group)
{
    struct clip_loss *clip = w->clip + group * a->group;
    double ce = 0, distance = 0;
    int kept = 0;
    drop_highest(clip, a->group, a->ousm);
    for (int b = 0; b < a->group; b++) {
        distance += clip[b].distance;
        if (clip[b].dropped)
            continue;
        ce += clip[b].ce;
        kept++;
    }
    ce /= kept;
    double consistency = (double)a->scalars->consistency * distance / a->group;
    if (!a->teacher)
        consistency = 0;
    a->losses[group * 3] = (float)(ce + consistency);
    a->losses[group * 3 + 1] = (float)ce;
    a->losses[group * 3 + 2] = (float)consistency;
}

// Writes the clip's row of dlogits. The gradient of the cross-entropy is p - target; that of the squared distance of
// the softmaxes is 2 p (d - d.p) with d = p - teacher. The clip's own softmax is overwritten.
static void clip_backward(const struct loss_forward_backward *a, const struct workspace *w, int clip, int kept)
{
    int n = a->classes;
    struct target t = target_of(a, clip);
    float *p = w->own + (size_t)clip * (size_t)n, *teacher = w->teacher + (size_t)clip * (size_t)n;
    float scale = a->scalars->loss_scale * a->group_weight;
    float ce = w->clip[clip].dropped ? 0 : scale / (float)kept;
    float consistency = a->teacher ? 2 * scale * a->scalars->consistency / (float)a->group : 0;
    vf product = {};
    for (int c = 0; c < n && a->teacher; c += VLEN) {
        vf own = vec_load(p, DTYPE_F32, c, n - c);
        product += own * (own - vec_load(teacher, DTYPE_F32, c, n - c));
    }
    float mean = vec_sum(product);
    for (int c = 0; c < n; c += VLEN) {
        vf own = vec_load(p, DTYPE_F32, c, n - c), g = ce * (own - (float)t.other);
        if (a->teacher)
            g += consistency * own * (own - vec_load(teacher, DTYPE_F32, c, n - c) - mean);
        vec_store(p, DTYPE_F32, c, n - c, g);
    }
    p[t.a] -= ce * (float)t.first;
    p[t.b] -= ce * (float)t.second;
    for (int c = 0; c < n; c += VLEN)
        vec_store(mat_row(&a->dlogits, clip), a->dlogits.type, c, n - c, vec_load(p, DTYPE_F32, c, n - c));
}

void CPU_NAME(loss_forward_backward)(struct stream *s, const struct loss_forward_backward *a)
{
    assert(a->clips % a->group == 0 && a->ousm < a->group && a->classes > 1);
    size_t clips = (size_t)a->clips, values = clips * (size_t)a->classes;
    struct workspace w;
    w.clip = cpu_scratch(s, clips * sizeof *w.clip + 2 * values * sizeof(float));
    w.own = (float *)(w.clip + clips);
    w.teacher = w.own + values;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < a->clips; b++)
        clip_forward(a, &w, b);
    for (int g = 0; g < a->clips / a->group; g++)
        group_forward(a, &w, g);
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < a->clips; b++) {
        const struct clip_loss *group = w.clip + b / a->group * a->group;
        int kept = 0;
        for (int i = 0; i < a->group; i++)
            kept += !group[i].dropped;
        clip_backward(a, &w, b, kept);
    }
}
