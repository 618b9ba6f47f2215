// layernorm_forward against the formula in double precision, layernorm_backward against finite differences of it.
#include <math.h>

#include "tests/kernels/harness.h"

static const struct {
    int rows, columns, odd;
} shapes[] = {{5, 64, 0}, {3, 37, 1}, {2, 200, 0}, {300, 20, 1}, {4, 1, 0}, {3, 33, 1}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

enum { STEP = 9 };
static const double eps = 1e-7;

// What one call looks like: as the encoders use it.
struct use {
    int residual, keep_sum, keep_statistics, ids;
    double p_in, p_out;
};
static const struct use uses[] = {
    {1, 1, 1, 1, 0.1, 0},   // behind attention
    {0, 1, 1, 1, 0.2, 0},   // behind the output projection
    {0, 0, 1, 0, 0, 0.3},   // relative embeddings
    {1, 0, 0, 1, 0, 0},     // evaluation
    {1, 1, 1, 0, 0.4, 0.1}, // all
};
enum { USES = sizeof uses / sizeof *uses };

struct problem {
    int rows, columns;
    const struct use *use;
    struct tensor x, residual, weight, bias;
    double *sum; // [rows, columns]
    const int32_t *id;
    struct dropout in, out;
};

static struct dropout make_dropout(struct harness *h, double p, uint32_t site)
{
    struct step_scalars scalars = {.step = STEP};
    return (struct dropout){(float)p, 0x123456789abcdefu, device_scalars(h, &scalars), site};
}

static double factor(const struct problem *p, const struct dropout *d, int r, int c)
{
    return dropout_factor(d, STEP, p->use->ids ? p->id[r] : r, c);
}

static struct problem make_problem(struct harness *h, enum dtype type, int shape, const struct use *use)
{
    h->odd = shapes[shape].odd;
    struct problem p = {.rows = shapes[shape].rows, .columns = shapes[shape].columns, .use = use};
    p.x = tensor_normal(h, type, p.rows, p.columns, 1, 1);
    p.residual = tensor_normal(h, type, p.rows, p.columns, 2, 2);
    p.weight = tensor_normal(h, DTYPE_F32, 1, p.columns, 3, 1);
    p.bias = tensor_normal(h, DTYPE_F32, 1, p.columns, 4, 1);
    p.in = make_dropout(h, use->p_in, 3 << 8 | 18);
    p.out = make_dropout(h, use->p_out, 3 << 8 | 16);
    int32_t *id = harness_memory(h, (size_t)p.rows, sizeof *id);
    for (int r = 0; r < p.rows; r++)
        id[r] = r % 4 == 3 ? -1 : 7 * r + 100000;
    p.id = id;
    p.sum = harness_doubles(h, (size_t)(p.rows * p.columns));
    for (int r = 0; r < p.rows; r++)
        for (int c = 0; c < p.columns; c++) {
            int i = r * p.columns + c;
            p.sum[i] = p.x.value[i] * factor(&p, &p.in, r, c) + (use->residual ? p.residual.value[i] : 0);
        }
    return p;
}

static void statistics(const struct problem *p, int r, double *mean, double *rstd)
{
    const double *sum = p->sum + r * p->columns;
    double total = 0, squares = 0;
    for (int c = 0; c < p->columns; c++)
        total += sum[c];
    *mean = total / p->columns;
    for (int c = 0; c < p->columns; c++)
        squares += (sum[c] - *mean) * (sum[c] - *mean);
    *rstd = 1 / sqrt(squares / p->columns + eps);
}

static double output(const struct problem *p, int r, int c, double mean, double rstd)
{
    double normal = (p->sum[r * p->columns + c] - mean) * rstd;
    return (normal * p->weight.value[c] + p->bias.value[c]) * factor(p, &p->out, r, c);
}

static void check_forward(struct harness *h, enum dtype type, int shape, const struct use *use)
{
    struct problem p = make_problem(h, type, shape, use);
    struct tensor y = tensor_output(h, type, p.rows, p.columns), sum = tensor_output(h, type, p.rows, p.columns);
    struct tensor mean = tensor_output(h, DTYPE_F32, 1, p.rows), rstd = tensor_output(h, DTYPE_F32, 1, p.rows);
    queue(h->stream, layernorm_forward, .x = p.x.mat, .residual = use->residual ? p.residual.mat : (struct mat){0},
          .sum = use->keep_sum ? sum.mat : (struct mat){0}, .y = y.mat, .weight = tensor_floats(&p.weight),
          .bias = tensor_floats(&p.bias), .eps = (float)eps, .mean = use->keep_statistics ? tensor_floats(&mean) : NULL,
          .rstd = use->keep_statistics ? tensor_floats(&rstd) : NULL, .dropout_in = p.in, .dropout_out = p.out,
          .id = use->ids ? device_ints(h, p.id, (size_t)p.rows) : NULL);
    double *want = harness_doubles(h, (size_t)(p.rows * p.columns));
    double *means = harness_doubles(h, (size_t)p.rows), *rstds = harness_doubles(h, (size_t)p.rows);
    for (int r = 0; r < p.rows; r++) {
        statistics(&p, r, &means[r], &rstds[r]);
        for (int c = 0; c < p.columns; c++)
            want[r * p.columns + c] = output(&p, r, c, means[r], rstds[r]);
    }
    tensor_check(h, "y", &y, want, type_tolerance(type));
    if (use->keep_sum)
        tensor_check(h, "sum", &sum, p.sum, type_tolerance(type));
    if (use->keep_statistics) {
        tensor_check(h, "mean", &mean, means, type_tolerance(DTYPE_F32));
        tensor_check(h, "rstd", &rstd, rstds, type_tolerance(DTYPE_F32));
    }
}

static void test_forward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            for (int u = 0; u < USES; u++)
                check_forward(h, types[t], i, &uses[u]);
}

// `sum` may take the place of x.
static void test_in_place(struct harness *h)
{
    struct problem p = make_problem(h, DTYPE_F32, 1, &uses[0]);
    tensor_writable(h, &p.x);
    struct tensor y = tensor_output(h, DTYPE_F32, p.rows, p.columns);
    queue(h->stream, layernorm_forward, .x = p.x.mat, .residual = p.residual.mat, .sum = p.x.mat, .y = y.mat,
          .weight = tensor_floats(&p.weight), .bias = tensor_floats(&p.bias), .eps = (float)eps, .dropout_in = p.in,
          .id = device_ints(h, p.id, (size_t)p.rows));
    tensor_check(h, "sum", &p.x, p.sum, type_tolerance(DTYPE_F32));
}

// ---- backward: finite differences of f = sum of y * dy ------------------------------------------------------------

struct differentiated {
    struct problem *p;
    const double *dy;
    int first_row, rows; // of the rows that count
};

static double loss(void *context)
{
    const struct differentiated *d = context;
    const struct problem *p = d->p;
    double sum = 0;
    for (int r = d->first_row; r < d->first_row + d->rows; r++) {
        double mean, rstd;
        statistics(p, r, &mean, &rstd);
        for (int c = 0; c < p->columns; c++)
            sum += output(p, r, c, mean, rstd) * d->dy[r * p->columns + c];
    }
    return sum;
}

struct gradients {
    double *sum, *x, *weight, *bias;
};

static struct gradients gradients_of(struct harness *h, struct problem *p, const double *dy)
{
    size_t columns = (size_t)p->columns, count = (size_t)p->rows * columns;
    struct gradients g = {harness_doubles(h, count), harness_doubles(h, count), harness_doubles(h, columns),
                          harness_doubles(h, columns)};
    for (int r = 0; r < p->rows; r++) {
        struct differentiated row = {p, dy, r, 1};
        size_t at = (size_t)r * columns;
        finite_difference(loss, &row, p->sum + at, columns, 0, 1, g.sum + at);
        for (int c = 0; c < p->columns; c++)
            g.x[at + (size_t)c] = g.sum[at + (size_t)c] * factor(p, &p->in, r, c);
    }
    struct differentiated all = {p, dy, 0, p->rows};
    finite_difference(loss, &all, p->weight.value, columns, 0, 1, g.weight);
    finite_difference(loss, &all, p->bias.value, columns, 0, 1, g.bias);
    return g;
}

// Which outputs are asked for.
enum wanted { DSUM = 1, DX = 2 };

static void check_backward(struct harness *h, enum dtype type, enum dtype dsum_type, int shape, const struct use *use,
                           int wanted)
{
    struct problem p = make_problem(h, type, shape, use);
    int n = p.rows * p.columns;
    struct tensor sum = tensor_from(h, type, p.rows, p.columns, p.sum);
    for (int i = 0; i < n; i++)
        p.sum[i] = sum.value[i]; // as rounded
    double *means = harness_doubles(h, (size_t)p.rows), *rstds = harness_doubles(h, (size_t)p.rows);
    for (int r = 0; r < p.rows; r++)
        statistics(&p, r, &means[r], &rstds[r]);
    struct tensor dy = tensor_normal(h, type, p.rows, p.columns, 5, 1);
    struct tensor mean = tensor_from(h, DTYPE_F32, 1, p.rows, means),
                  rstd = tensor_from(h, DTYPE_F32, 1, p.rows, rstds);
    struct tensor dsum = tensor_output(h, dsum_type, p.rows, p.columns), dx = tensor_output(h, type, p.rows, p.columns);
    struct tensor dweight = tensor_output(h, DTYPE_F32, 1, p.columns),
                  dbias = tensor_output(h, DTYPE_F32, 1, p.columns);
    queue(h->stream, layernorm_backward, .dy = dy.mat, .sum = sum.mat,
          .dsum = wanted & DSUM ? dsum.mat : (struct mat){0}, .dx = wanted & DX ? dx.mat : (struct mat){0},
          .weight = tensor_floats(&p.weight), .mean = tensor_floats(&mean), .rstd = tensor_floats(&rstd),
          .dweight = tensor_floats(&dweight), .dbias = tensor_floats(&dbias), .dropout_in = p.in, .dropout_out = p.out,
          .id = use->ids ? device_ints(h, p.id, (size_t)p.rows) : NULL);
    struct gradients want = gradients_of(h, &p, dy.value);
    if (p.columns == 1) // a single column is its own mean: nothing but rounding gets through
        return;
    if (wanted & DSUM)
        tensor_check(h, "dsum", &dsum, want.sum, type_tolerance(dsum_type));
    if (wanted & DX)
        tensor_check(h, "dx", &dx, want.x, type_tolerance(type));
    tensor_check(h, "dweight", &dweight, want.weight, type_tolerance(DTYPE_F32));
    tensor_check(h, "dbias", &dbias, want.bias, type_tolerance(DTYPE_F32));
}

static void test_backward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++) {
            check_backward(h, types[t], types[t], i, &uses[0], DSUM | DX);
            check_backward(h, types[t], types[t], i, &uses[1], DX);
            check_backward(h, types[t], DTYPE_F32, i, &uses[2], DSUM); // to the parameter's gradient
            check_backward(h, types[t], types[t], i, &uses[4], DSUM | DX);
        }
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_forward),
    KERNEL_TEST(test_in_place),
    KERNEL_TEST(test_backward),
};

int main(void)
{
    return harness_main("layernorm", tests, sizeof tests / sizeof *tests);
}
