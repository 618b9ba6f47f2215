// loss_forward_backward against a double reference, and that against finite differences.
#include <math.h>
#include <string.h>

#include "tests/kernels/harness.h"

static const struct setting {
    int clips, group, classes, ousm;
    double smoothing, consistency; // consistency < 0: no teacher
    int mixed;
    double spread; // of the logits
    double loss_scale, group_weight;
} settings[] = {
    {8, 4, 250, 1, 0.3, 5, 0, 1, 1, 0.5},      {32, 32, 250, 3, 0.3, 0.03, 1, 3, 1, 1},
    {6, 3, 5, 0, 0, 2, 1, 2, 1, 0.5},          {6, 6, 37, 3, 0.3, -1, 0, 1, 1, 1},
    {4, 4, 2, 1, 0.1, 5, 1, 10, 1024, 1},      {12, 4, 250, 3, 0.3, 5, 1, 30, 256, 0.125},
    {64, 32, 16, 3, 0.3, 0, 0, 0.1, 1, 0.125}, {4, 2, 300, 1, 0.3, 5, 1, 2, 1, 0.5},
    {300, 300, 5, 3, 0.3, 5, 0, 1, 1, 1},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

struct reference {
    struct setting s;
    double *logits, *teacher; // [clips, classes]
    const int32_t *label, *partner;
    const double *coefficient;
    double *ce;       // [clips]
    double *losses;   // [groups, 3]
    double *gradient; // [clips, classes]
};

static void softmax(const double *z, int n, double *p)
{
    double top = z[0], sum = 0;
    for (int c = 0; c < n; c++)
        top = fmax(top, z[c]);
    for (int c = 0; c < n; c++)
        sum += exp(z[c] - top);
    for (int c = 0; c < n; c++)
        p[c] = exp(z[c] - top) / sum;
}

static double target(const struct reference *r, int clip, int class_index)
{
    double t = r->label[clip] == class_index;
    if (r->s.mixed) {
        double c = r->coefficient[clip];
        t = c * t + (1 - c) * (r->label[r->partner[clip]] == class_index);
    }
    return t * (1 - r->s.smoothing) + (1 - t) * r->s.smoothing / (r->s.classes - 1);
}

static double cross_entropy(const struct reference *r, int clip, const double *p)
{
    double sum = 0;
    for (int c = 0; c < r->s.classes; c++)
        sum -= target(r, clip, c) * log(p[c]);
    return sum;
}

// Is the clip among the `ousm` worst of its group? Of equal ones the later is worse.
static int is_dropped(const struct reference *r, int clip)
{
    int first = clip / r->s.group * r->s.group, worse = 0;
    for (int b = first; b < first + r->s.group; b++)
        worse += r->ce[b] > r->ce[clip] || (r->ce[b] == r->ce[clip] && b > clip);
    return worse < r->s.ousm;
}

static void evaluate(struct reference *r)
{
    const struct setting *s = &r->s;
    enum { CLASSES_MOST = 512 };
    double p[CLASSES_MOST], q[CLASSES_MOST];
    assert_true(s->classes <= CLASSES_MOST);
    memset(r->losses, 0, sizeof(double) * (size_t)(s->clips / s->group * 3));
    for (int b = 0; b < s->clips; b++) {
        softmax(r->logits + b * s->classes, s->classes, p);
        r->ce[b] = cross_entropy(r, b, p);
    }
    for (int b = 0; b < s->clips; b++) {
        double *losses = r->losses + b / s->group * 3, product = 0, kept = is_dropped(r, b) ? 0 : 1;
        double ce_weight = kept / (s->group - s->ousm), weight = fmax(0, s->consistency) / s->group;
        softmax(r->logits + b * s->classes, s->classes, p);
        softmax(r->teacher + b * s->classes, s->classes, q);
        losses[1] += ce_weight * r->ce[b];
        for (int c = 0; c < s->classes; c++) {
            losses[2] += weight * pow(p[c] - q[c], 2);
            product += (p[c] - q[c]) * p[c];
        }
        for (int c = 0; c < s->classes; c++)
            r->gradient[b * s->classes + c] =
                s->loss_scale * s->group_weight *
                (ce_weight * (p[c] - target(r, b, c)) + weight * 2 * p[c] * (p[c] - q[c] - product));
    }
    for (int g = 0; g < s->clips / s->group; g++)
        r->losses[g * 3] = r->losses[g * 3 + 1] + r->losses[g * 3 + 2];
}

// ---- the operation ------------------------------------------------------------------------------------------------

struct fixture {
    struct reference r;
    struct tensor logits, teacher, coefficient, dlogits, losses;
    int32_t *label, *partner; // device
};

static struct fixture make_fixture(struct harness *h, enum dtype type, const struct setting *s)
{
    struct fixture f = {.r = {.s = *s}};
    int32_t *label = harness_memory(h, (size_t)s->clips, sizeof *label);
    int32_t *partner = harness_memory(h, (size_t)s->clips, sizeof *partner);
    double *coefficient = harness_doubles(h, (size_t)s->clips);
    for (int b = 0; b < s->clips; b++) {
        label[b] = (b * 7 + 3) % s->classes;
        partner[b] = b / s->group * s->group + (b + 1 + b % 2) % s->group;
        coefficient[b] = type_round(DTYPE_F32, b % 4 == 3 ? 1 : 0.1 + 0.8 * b / s->clips);
    }
    // The softmaxes' inputs are dense matrices, not slices.
    f.logits = tensor_normal(h, DTYPE_F32, 1, s->clips * s->classes, 1, s->spread);
    f.teacher = tensor_normal(h, DTYPE_F32, 1, s->clips * s->classes, 2, s->spread);
    f.coefficient = tensor_from(h, DTYPE_F32, 1, s->clips, coefficient);
    f.dlogits = tensor_output(h, type, s->clips, s->classes);
    f.losses = tensor_output(h, DTYPE_F32, 1, s->clips / s->group * 3);
    f.label = device_ints(h, label, (size_t)s->clips);
    f.partner = device_ints(h, partner, (size_t)s->clips);
    f.r.logits = f.logits.value;
    f.r.teacher = f.teacher.value;
    f.r.label = label;
    f.r.partner = partner;
    f.r.coefficient = coefficient;
    f.r.ce = harness_doubles(h, (size_t)s->clips);
    f.r.losses = harness_doubles(h, (size_t)(s->clips / s->group * 3));
    f.r.gradient = harness_doubles(h, (size_t)(s->clips * s->classes));
    return f;
}

static void queue_loss(struct harness *h, struct fixture *f)
{
    const struct setting *s = &f->r.s;
    struct step_scalars scalars = {.consistency = (float)s->consistency, .loss_scale = (float)s->loss_scale};
    queue(h->stream, loss_forward_backward, .logits = tensor_floats(&f->logits),
          .teacher = s->consistency < 0 ? NULL : tensor_floats(&f->teacher), .label = f->label,
          .partner = s->mixed ? f->partner : NULL, .coefficient = s->mixed ? tensor_floats(&f->coefficient) : NULL,
          .clips = s->clips, .group = s->group, .classes = s->classes, .ousm = s->ousm,
          .smoothing = (float)s->smoothing, .group_weight = (float)s->group_weight,
          .scalars = device_scalars(h, &scalars), .dlogits = f->dlogits.mat, .losses = tensor_floats(&f->losses));
}

static void test_settings(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SETTINGS; i++) {
            h->odd = i % 2;
            struct fixture f = make_fixture(h, types[t], &settings[i]);
            queue_loss(h, &f);
            evaluate(&f.r);
            tensor_check(h, "losses", &f.losses, f.r.losses, 2e-6);
            tensor_check(h, "dlogits", &f.dlogits, f.r.gradient, 2 * type_tolerance(types[t]));
        }
}

// Of clips with equal losses the later are dropped: their rows have only the consistency's gradient, here none.
static void test_ties(struct harness *h)
{
    static const struct setting s = {8, 4, 20, 2, 0.3, -1, 0, 1, 1, 0.5};
    struct fixture f = make_fixture(h, DTYPE_F32, &s);
    double *logits = harness_doubles(h, 8 * 20); // all zero: the same loss whatever the label
    f.logits = tensor_from(h, DTYPE_F32, 1, 8 * 20, logits);
    queue_loss(h, &f);
    tensor_read(h, &f.dlogits);
    for (int b = 0; b < 8; b++)
        assert_true((f.dlogits.value[b * 20] == 0) == (b % 4 >= 2));
}

// What is not finite in a clip's own logits (own) or the teacher's must reach the loss of its group, and that alone.
static void check_fault(struct harness *h, const struct setting *s, double fault, int clip, int own)
{
    struct fixture f = make_fixture(h, DTYPE_F32, s);
    struct tensor *broken = own ? &f.logits : &f.teacher;
    broken->value[clip * s->classes + s->classes - 1] = fault;
    *broken = tensor_from(h, DTYPE_F32, 1, s->clips * s->classes, broken->value);
    queue_loss(h, &f);
    tensor_read(h, &f.losses);
    assert_false(isfinite(f.losses.value[0]));
    assert_true(isfinite(f.losses.value[3]));
}

static void test_not_a_number(struct harness *h)
{
    static const struct setting with_teacher = {8, 4, 20, 1, 0.3, 5, 0, 1, 1, 0.5};
    static const struct setting alone = {8, 4, 20, 1, 0.3, -1, 0, 1, 1, 0.5}; // OUSM must not drop the clip
    const double faults[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int clip = 0; clip < 4; clip++) {
            check_fault(h, &alone, faults[i], clip, 1);
            check_fault(h, &with_teacher, faults[i], clip, 1);
            check_fault(h, &with_teacher, faults[i], clip, 0);
        }
}

static double total_loss(void *context)
{
    struct reference *r = context;
    double sum = 0;
    evaluate(r);
    for (int g = 0; g < r->s.clips / r->s.group; g++)
        sum += r->losses[g * 3] * r->s.loss_scale * r->s.group_weight;
    return sum;
}

static void test_reference(struct harness *h)
{
    if (h->threads > 1)
        return; // nothing of the device is in it
    static const struct setting s = {8, 4, 11, 1, 0.3, 5, 1, 2, 4, 0.5};
    struct fixture f = make_fixture(h, DTYPE_F32, &s);
    double *numeric = harness_doubles(h, 8 * 11), *analytic = harness_doubles(h, 8 * 11);
    evaluate(&f.r);
    memcpy(analytic, f.r.gradient, 8 * 11 * sizeof *analytic);
    finite_difference(total_loss, &f.r, f.r.logits, 8 * 11, 0, 1, numeric);
    values_check("dlogits", analytic, numeric, 8, 11, 1e-7);
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_reference),
    KERNEL_TEST(test_settings),
    KERNEL_TEST(test_ties),
    KERNEL_TEST(test_not_a_number),
};

int main(void)
{
    return harness_main("loss", tests, sizeof tests / sizeof *tests);
}
