// BatchNorm + dropout + Mish against a double reference, and that against finite differences.
#include <math.h>
#include <string.h>

#include "tests/kernels/harness.h"

static const double EPS = 1e-5, MOMENTUM = 0.1;

struct shape {
    int clips, frames, group_clips, columns, running, odd; // the last group may be short
    double p;                                              // dropout
    int mask; // 1: some frames are padding, one clip has none that are real
    double center;
};
static const struct shape shapes[] = {
    {4, 5, 2, 64, 0, 0, 0, 0, 0},       {4, 5, 2, 37, 0, 1, 0.25, 1, 0.5}, {6, 7, 6, 192, 0, 0, 0.5, 1, -3},
    {3, 25, 1, 130, 0, 0, 0.1, 0, 0},   {8, 9, 4, 150, 0, 1, 0.05, 1, 1},  {4, 5, 2, 37, 1, 0, 0, 0, 0.5},
    {4, 5, 2, 136, 1, 0, 0.25, 1, 1},   {2, 1, 2, 5, 0, 0, 0, 0, 0},       {16, 40, 16, 24, 0, 0, 0.25, 1, 100},
    {12, 40, 1, 25, 0, 1, 0.1, 1, 0.5}, {5, 30, 2, 33, 0, 1, 0.1, 1, 100}, {5, 4, 2, 12, 1, 0, 0.1, 1, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

// The reference: all in double, except that dropout's draws are those of the definition.
struct reference {
    struct shape shape;
    int rows, groups, group_rows;
    const int32_t *length; // NULL: no mask
    struct dropout dropout;
    uint32_t step, first_row_id;
    double *z, *weight, *bias, *running_mean, *running_var; // inputs
    double *mean, *var, *unbiased;                          // [groups, columns]
    double *y, *dy;
};

static double *at(double *matrix, const struct reference *f, int row, int column)
{
    return matrix + (size_t)row * (size_t)f->shape.columns + (size_t)column;
}

// The rows of a group, from group*group_rows on.
static int rows_of_group(const struct reference *f, int group)
{
    int left = f->rows - group * f->group_rows;
    return left < f->group_rows ? left : f->group_rows;
}

static void find_statistics(struct reference *f, int group, int column)
{
    double mean = 0, squares = 0;
    int first = group * f->group_rows, n = rows_of_group(f, group);
    for (int r = first; r < first + n; r++)
        mean += *at(f->z, f, r, column) / n;
    for (int r = first; r < first + n; r++)
        squares += pow(*at(f->z, f, r, column) - mean, 2);
    *at(f->unbiased, f, group, column) = n > 1 ? squares / (n - 1) : squares;
    *at(f->mean, f, group, column) = f->shape.running ? f->running_mean[column] : mean;
    *at(f->var, f, group, column) = f->shape.running ? f->running_var[column] : squares / n;
}

// Factor of dropout, or 0 where the row is masked.
static double kept(const struct reference *f, int row, int column, int *masked)
{
    *masked = f->length && row % f->shape.frames >= f->length[row / f->shape.frames];
    return dropout_factor(&f->dropout, f->step, (int32_t)f->first_row_id + row, column);
}

static void forward(struct reference *f)
{
    for (int c = 0; c < f->shape.columns; c++) {
        for (int g = 0; g < f->groups; g++)
            find_statistics(f, g, c);
        for (int r = 0; r < f->rows; r++) {
            int g = r / f->group_rows, masked;
            double rstd = 1 / sqrt(*at(f->var, f, g, c) + EPS), factor = kept(f, r, c, &masked);
            double u = f->weight[c] * (*at(f->z, f, r, c) - *at(f->mean, f, g, c)) * rstd + f->bias[c];
            *at(f->y, f, r, c) = masked ? 0 : mish(u * factor);
        }
    }
}

static void backward_column(struct reference *f, int c, double *dz, double *dweight, double *dbias)
{
    for (int g = 0; g < f->groups; g++) {
        int first = g * f->group_rows, n = rows_of_group(f, g);
        double mean = *at(f->mean, f, g, c), rstd = 1 / sqrt(*at(f->var, f, g, c) + EPS), sum = 0, product = 0;
        for (int r = first; r < first + n; r++) {
            int masked;
            double x = (*at(f->z, f, r, c) - mean) * rstd, factor = kept(f, r, c, &masked);
            double d = *at(f->dy, f, r, c) * mish_derivative((f->weight[c] * x + f->bias[c]) * factor) * factor;
            *at(dz, f, r, c) = masked ? 0 : d;
            sum += *at(dz, f, r, c);
            product += *at(dz, f, r, c) * x;
        }
        dweight[c] += product;
        dbias[c] += sum;
        for (int r = first; r < first + n; r++) {
            double x = (*at(f->z, f, r, c) - mean) * rstd, d = *at(dz, f, r, c);
            *at(dz, f, r, c) = f->weight[c] * rstd * (f->shape.running ? d : d - sum / n - x * product / n);
        }
    }
}

// ---- the operation and the reference on the same input ------------------------------------------------------------

struct fixture {
    struct reference reference;
    struct tensor z, dy, weight, bias, running_mean, running_var, mean, rstd;
    const int32_t *length; // device
    struct dropout dropout;
};

static struct fixture make_fixture(struct harness *h, enum dtype type, const struct shape *shape)
{
    int rows = shape->clips * shape->frames, columns = shape->columns, group_rows = shape->group_clips * shape->frames;
    int groups = (rows + group_rows - 1) / group_rows;
    size_t count = (size_t)rows * (size_t)columns, statistics = (size_t)groups * (size_t)columns;
    struct fixture f = {0};
    h->odd = shape->odd;
    double *z = harness_doubles(h, count);
    f.z = tensor_normal(h, DTYPE_F32, rows, columns, 1, 2);
    for (size_t i = 0; i < count; i++)
        z[i] = f.z.value[i] + shape->center;
    f.z = tensor_from(h, type, rows, columns, z);
    f.dy = tensor_normal(h, type, rows, columns, 2, 1);
    f.weight = tensor_normal(h, DTYPE_F32, 1, columns, 3, 1);
    f.bias = tensor_normal(h, DTYPE_F32, 1, columns, 4, 1);
    f.running_mean = tensor_normal(h, DTYPE_F32, 1, columns, 5, 1);
    struct tensor var = tensor_normal(h, DTYPE_F32, 1, columns, 6, 0.5);
    for (int c = 0; c < columns; c++)
        var.value[c] = exp(var.value[c]);
    f.running_var = tensor_from(h, DTYPE_F32, 1, columns, var.value);
    f.mean = tensor_output(h, DTYPE_F32, 1, (int)statistics);
    f.rstd = tensor_output(h, DTYPE_F32, 1, (int)statistics);
    if (!shape->running) {
        tensor_writable(h, &f.running_mean);
        tensor_writable(h, &f.running_var);
    }
    struct step_scalars scalars = {.step = 77};
    f.dropout = (struct dropout){(float)shape->p, 0x123456789abcdefu, device_scalars(h, &scalars), 5};
    int32_t *length = harness_memory(h, (size_t)shape->clips, sizeof *length);
    for (int b = 0; b < shape->clips; b++)
        length[b] = (b * 5 + 2) % (shape->frames + 1);
    length[shape->clips - 1] = 0;
    f.length = shape->mask ? device_ints(h, length, (size_t)shape->clips) : NULL;
    f.reference = (struct reference){.shape = *shape,
                                     .rows = rows,
                                     .groups = groups,
                                     .group_rows = group_rows,
                                     .length = shape->mask ? length : NULL,
                                     .dropout = f.dropout,
                                     .step = 77,
                                     .first_row_id = 1000,
                                     .z = f.z.value,
                                     .weight = f.weight.value,
                                     .bias = f.bias.value,
                                     .running_mean = f.running_mean.value,
                                     .running_var = f.running_var.value,
                                     .mean = harness_doubles(h, statistics),
                                     .var = harness_doubles(h, statistics),
                                     .unbiased = harness_doubles(h, statistics),
                                     .y = harness_doubles(h, count),
                                     .dy = f.dy.value};
    forward(&f.reference);
    return f;
}

static void queue_forward(struct harness *h, struct fixture *f, const struct mat *y)
{
    const struct reference *r = &f->reference;
    queue(h->stream, batchnorm_forward, .z = f->z.mat, .y = *y, .group_rows = r->group_rows,
          .running = r->shape.running, .weight = tensor_floats(&f->weight), .bias = tensor_floats(&f->bias),
          .running_mean = tensor_floats(&f->running_mean), .running_var = tensor_floats(&f->running_var),
          .momentum = (float)MOMENTUM, .eps = (float)EPS, .mean = tensor_floats(&f->mean),
          .rstd = tensor_floats(&f->rstd), .dropout = f->dropout, .frames = r->shape.frames,
          .first_row_id = r->first_row_id, .length = f->length);
}

static void queue_backward(struct harness *h, struct fixture *f, const struct mat *dy, const struct mat *dz,
                           struct tensor *dweight, struct tensor *dbias)
{
    const struct reference *r = &f->reference;
    queue(h->stream, batchnorm_backward, .z = f->z.mat, .dy = *dy, .dz = *dz, .group_rows = r->group_rows,
          .running = r->shape.running, .weight = tensor_floats(&f->weight), .bias = tensor_floats(&f->bias),
          .mean = tensor_floats(&f->mean), .rstd = tensor_floats(&f->rstd), .dweight = tensor_floats(dweight),
          .dbias = tensor_floats(dbias), .dropout = f->dropout, .frames = r->shape.frames,
          .first_row_id = r->first_row_id, .length = f->length);
}

// A large mean costs digits of the input itself.
static double tolerance_of(enum dtype type, const struct shape *shape)
{
    return type_tolerance(type) * (type == DTYPE_F32 ? 1 + fabs(shape->center) : 1);
}

static void check_forward(struct harness *h, enum dtype type, const struct shape *shape)
{
    struct fixture f = make_fixture(h, type, shape);
    const struct reference *r = &f.reference;
    int columns = shape->columns;
    double *mean = harness_doubles(h, (size_t)columns), *var = harness_doubles(h, (size_t)columns);
    double *rstd = harness_doubles(h, (size_t)(r->groups * columns));
    for (int c = 0; c < columns; c++) {
        mean[c] = (1 - MOMENTUM) * f.running_mean.value[c];
        var[c] = (1 - MOMENTUM) * f.running_var.value[c];
        for (int g = 0; g < r->groups; g++) {
            mean[c] += MOMENTUM / r->groups * r->mean[g * columns + c];
            var[c] += MOMENTUM / r->groups * r->unbiased[g * columns + c];
            rstd[g * columns + c] = 1 / sqrt(r->var[g * columns + c] + EPS);
        }
    }
    struct tensor y = tensor_output(h, type, r->rows, columns);
    queue_forward(h, &f, &y.mat);
    tensor_check(h, "y", &y, r->y, tolerance_of(type, shape));
    tensor_check(h, "mean", &f.mean, r->mean, 1e-6);
    tensor_check(h, "rstd", &f.rstd, rstd, 1e-6 * (1 + fabs(shape->center)));
    if (shape->running)
        return; // the harness sees to it that they have not moved
    tensor_check(h, "running_mean", &f.running_mean, mean, 1e-6);
    tensor_check(h, "running_var", &f.running_var, var, 1e-6 * (1 + fabs(shape->center)));
}

static void check_backward(struct harness *h, enum dtype type, const struct shape *shape, int in_place)
{
    struct fixture f = make_fixture(h, type, shape);
    struct reference *r = &f.reference;
    int columns = shape->columns;
    struct tensor y = tensor_output(h, type, r->rows, columns), dz = tensor_output(h, type, r->rows, columns);
    struct tensor dweight = tensor_output(h, DTYPE_F32, 1, columns), dbias = tensor_output(h, DTYPE_F32, 1, columns);
    double *want = harness_doubles(h, (size_t)(r->rows * columns));
    double *want_weight = harness_doubles(h, (size_t)columns), *want_bias = harness_doubles(h, (size_t)columns);
    for (int c = 0; c < columns; c++)
        backward_column(r, c, want, want_weight, want_bias);
    queue_forward(h, &f, &y.mat);
    if (in_place) {
        tensor_writable(h, &f.dy);
        dz = f.dy;
        dz.value = harness_doubles(h, (size_t)(r->rows * columns));
    }
    queue_backward(h, &f, &f.dy.mat, &dz.mat, &dweight, &dbias);
    double tolerance = tolerance_of(type, shape), exact = 4 * tolerance_of(DTYPE_F32, shape);
    tensor_check(h, "dz", &dz, want, 2 * tolerance);
    tensor_check(h, "dweight", &dweight, want_weight, exact);
    tensor_check(h, "dbias", &dbias, want_bias, exact);
}

static void test_forward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            check_forward(h, types[t], &shapes[i]);
}

static void test_backward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            if (shapes[i].clips > 2) // two rows: the gradient is zero but for rounding
                check_backward(h, types[t], &shapes[i], i % 2);
}

static double weighted_output(void *context)
{
    struct reference *r = context;
    double sum = 0;
    forward(r);
    for (int i = 0; i < r->rows * r->shape.columns; i++)
        sum += r->y[i] * r->dy[i];
    return sum;
}

static void test_reference(struct harness *h)
{
    if (h->threads > 1)
        return; // nothing of the device is in it
    static const struct shape small[] = {{4, 5, 2, 3, 0, 0, 0.25, 1, 0.5}, {4, 3, 4, 5, 1, 0, 0.25, 1, 0}};
    for (int i = 0; i < 2; i++) {
        struct fixture f = make_fixture(h, DTYPE_F32, &small[i]);
        struct reference *r = &f.reference;
        int columns = small[i].columns;
        size_t n = (size_t)(r->rows * columns);
        double *dz = harness_doubles(h, n), *dweight = harness_doubles(h, 8), *dbias = harness_doubles(h, 8);
        double *numeric = harness_doubles(h, n);
        for (int c = 0; c < columns; c++)
            backward_column(r, c, dz, dweight, dbias);
        finite_difference(weighted_output, r, r->z, n, 0, 1, numeric);
        values_check("dz", dz, numeric, r->rows, columns, 1e-7);
        finite_difference(weighted_output, r, r->weight, (size_t)columns, 0, 1, numeric);
        values_check("dweight", dweight, numeric, 1, columns, 1e-7);
        finite_difference(weighted_output, r, r->bias, (size_t)columns, 0, 1, numeric);
        values_check("dbias", dbias, numeric, 1, columns, 1e-7);
    }
}

// A column that does not vary gives mish(bias), whatever its value, and no gradient that is not finite.
static void test_constant_column(struct harness *h)
{
    struct shape shape = {4, 5, 4, 20, 0, 0, 0, 0, 0};
    struct fixture f = make_fixture(h, DTYPE_F32, &shape);
    int rows = f.reference.rows;
    double *z = harness_doubles(h, (size_t)(rows * 20)), *want = harness_doubles(h, (size_t)(rows * 20));
    for (int i = 0; i < rows * 20; i++) {
        z[i] = 1e4 / 3 * (i % 20);
        want[i] = mish(f.bias.value[i % 20]);
    }
    f.z = tensor_from(h, DTYPE_F32, rows, 20, z);
    struct tensor y = tensor_output(h, DTYPE_F32, rows, 20), dz = tensor_output(h, DTYPE_F32, rows, 20);
    struct tensor dweight = tensor_output(h, DTYPE_F32, 1, 20), dbias = tensor_output(h, DTYPE_F32, 1, 20);
    queue_forward(h, &f, &y.mat);
    queue_backward(h, &f, &f.dy.mat, &dz.mat, &dweight, &dbias);
    tensor_check(h, "y", &y, want, 1e-6);
    tensor_read(h, &dz);
    for (int i = 0; i < rows * 20; i++)
        assert_true(isfinite(dz.value[i]));
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_reference),
    KERNEL_TEST(test_forward),
    KERNEL_TEST(test_backward),
    KERNEL_TEST(test_constant_column),
};

int main(void)
{
    return harness_main("batchnorm", tests, sizeof tests / sizeof *tests);
}
