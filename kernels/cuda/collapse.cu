// The embedding stage's parameters collapsed into taps and biases, and the gradients of those taken back to the
// parameters (kernels/cpu/collapse.c has the formulas and the names). In double: it is little, and done once a pass.
#include "kernels/cuda/collapse.cuh"

enum { MIDDLE = 8, KERNEL = 5, POS_COLUMNS = 3 + 16, E = EMBED_DIM, BLOCKS = SHARES(16, 2) };
enum { DIRECT = E * 3, MIXED = E * 16, B = E * MIDDLE * KERNEL, PRODUCTS = DIRECT + MIXED + B };
constexpr double NORM_EPS = 1e-5; // of type_norm and landmark_norm

// Products that taps are made of, and their gradients: direct [e][c] = P R, mixed [e][o] = P V, b [e][m][j].
__device__ static inline int direct_at(int e, int c)
{
    return e * 3 + c;
}
__device__ static inline int mixed_at(int e, int o)
{
    return DIRECT + e * 16 + o;
}
__device__ static inline int b_at(int e, int m, int j)
{
    return DIRECT + MIXED + (e * MIDDLE + m) * KERNEL + j;
}

__device__ static inline double conv0_at(const struct embed_parameters &p, int m, int c, int k)
{
    return p.conv0[(m * 3 + c) * KERNEL + k];
}

__device__ static inline double conv1_at(const struct embed_parameters &p, int o, int m, int j)
{
    return p.conv1[(o * MIDDLE + m) * KERNEL + j];
}

// Columns of dense: 0.. type, E.. landmark, 2E.. position.
__device__ static inline int dense_at(int e, int column)
{
    return e * 3 * E + column;
}

__device__ static inline int tap_at(int frame_class, int tap, int coordinate, int e)
{
    return ((frame_class * EMBED_TAPS + tap) * 3 + coordinate) * E + e;
}

// The second convolution's taps that lie within the clip for a class's frames.
__device__ static inline bool is_valid(int j, int frame_class, int frames)
{
    int first = first_of_class(frame_class, frames), at = first + j - 2;
    return first >= 0 && at >= 0 && at < frames;
}

// By the whole block; ends with a barrier.
__device__ static inline void multiply(const struct embed_parameters &p, shared<double> x)
{
    for (int i = threadIdx.x; i < E * POS_COLUMNS; i += blockDim.x) {
        int e = i / POS_COLUMNS, c = i % POS_COLUMNS;
        double sum = 0;
        for (int k = 0; k < E; k++)
            sum +=
                static_cast<double>(p.dense_weight[dense_at(e, 2 * E + k)]) * p.pos_dense_weight[k * POS_COLUMNS + c];
        x[c < 3 ? direct_at(e, c) : mixed_at(e, c - 3)] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < B; i += blockDim.x) {
        int e = i / (MIDDLE * KERNEL), m = i / KERNEL % MIDDLE, j = i % KERNEL;
        double sum = 0;
        for (int o = 0; o < 16; o++)
            sum += x[mixed_at(e, o)] * conv1_at(p, o, m, j);
        x[b_at(e, m, j)] = sum;
    }
    __syncthreads();
}

// ---- the norms of the two embeddings ------------------------------------------------------------------------------

// Id 0 is padding, landmark l has id l + 1.
__device__ static inline int type_of_id(int id)
{
    return id ? landmark_type(id - 1) : TYPE_PADDING;
}

// x = the normalised row; returns 1/deviation.
__device__ static inline double norm_row(const float *row, double x[E])
{
    double mean = 0, square = 0;
    for (int i = 0; i < E; i++)
        mean += static_cast<double>(row[i]) / E;
    for (int i = 0; i < E; i++) {
        x[i] = row[i] - mean;
        square += x[i] * x[i] / E;
    }
    double rstd = 1 / sqrt(square + NORM_EPS);
    for (int i = 0; i < E; i++)
        x[i] *= rstd;
    return rstd;
}

// ---- forward ------------------------------------------------------------------------------------------------------

__device__ static inline double tap_value(const struct embed_parameters &p, shared<double> x, int at, int frames)
{
    int e = at % E, c = at / E % 3, tap = at / (E * 3) % EMBED_TAPS, frame_class = at / (E * 3 * EMBED_TAPS);
    if (first_of_class(frame_class, frames) < 0)
        return 0;
    double sum = tap == TAPS_REACH ? static_cast<double>(x[direct_at(e, c)]) : 0;
    for (int j = 0; j < KERNEL; j++) {
        int k = tap - j;
        if (k < 0 || k >= KERNEL || !is_valid(j, frame_class, frames))
            continue;
        for (int m = 0; m < MIDDLE; m++)
            sum += x[b_at(e, m, j)] * conv0_at(p, m, c, k);
    }
    return sum;
}

// The normalised and scaled rows of both embeddings: types, then landmarks.
enum { NORMED_ROWS = LANDMARK_TYPES + LANDMARKS + 1 };

__device__ static inline void norm_rows(const struct embed_parameters &p, shared<double> y)
{
    for (int r = threadIdx.x; r < NORMED_ROWS; r += blockDim.x) {
        int is_type = r < LANDMARK_TYPES;
        const float *row = is_type ? p.type_embed + r * E : p.landmark_embed + (r - LANDMARK_TYPES) * E;
        const float *weight = is_type ? p.type_norm_weight : p.landmark_norm_weight;
        const float *bias = is_type ? p.type_norm_bias : p.landmark_norm_bias;
        double x[E];
        norm_row(row, x);
        for (int i = 0; i < E; i++)
            y[r * E + i] = x[i] * weight[i] + bias[i];
    }
}

__device__ static inline double bias_value(const struct embed_parameters &p, shared<double> y, int at)
{
    int id = at / E, e = at % E;
    double sum = p.dense_bias[e];
    for (int i = 0; i < E; i++)
        sum += p.dense_weight[dense_at(e, i)] * y[type_of_id(id) * E + i] +
               p.dense_weight[dense_at(e, E + i)] * y[(LANDMARK_TYPES + id) * E + i] +
               static_cast<double>(p.dense_weight[dense_at(e, 2 * E + i)]) * p.pos_dense_bias[i];
    return sum;
}

// The blocks share the values out; each prepares what they are made of.
__global__ void __launch_bounds__(THREADS) collapse_kernel(struct embed_parameters p, int frames, float *collapsed)
{
    SHARED(double, x, PRODUCTS);
    SHARED(double, y, NORMED_ROWS *E);
    norm_rows(p, y);
    multiply(p, x);
    int step = gridDim.x * blockDim.x;
    for (int i = static_cast<int>(item_index()); i < EMBED_COLLAPSED_SIZE; i += step)
        collapsed[i] =
            static_cast<float>(i < COLLAPSED_TAPS ? tap_value(p, x, i, frames) : bias_value(p, y, i - COLLAPSED_TAPS));
}

void queue_collapse(struct stream *s, const struct embed_parameters &p, int frames, float *collapsed)
{
    LAUNCH(s, (launch_shape{dim3(BLOCKS), dim3(THREADS), 0}), collapse_kernel, p, frames, collapsed);
}

// ---- backward: convolutions and position --------------------------------------------------------------------------

// Gradients of direct and b, from those of the taps.
__device__ static inline void products_backward(const struct embed_parameters &p, int frames, const double *dtaps,
                                                shared<double> dx)
{
    for (int i = threadIdx.x; i < DIRECT; i += blockDim.x) {
        double sum = 0;
        for (int k = 0; k < EMBED_CLASSES; k++)
            if (first_of_class(k, frames) >= 0)
                sum += dtaps[tap_at(k, TAPS_REACH, i % 3, i / 3)];
        dx[direct_at(i / 3, i % 3)] = sum;
    }
    for (int i = threadIdx.x; i < B; i += blockDim.x) {
        int e = i / (MIDDLE * KERNEL), m = i / KERNEL % MIDDLE, j = i % KERNEL;
        double sum = 0;
        for (int frame_class = 0; frame_class < EMBED_CLASSES; frame_class++)
            for (int c = 0; c < 3 && is_valid(j, frame_class, frames); c++)
                for (int k = 0; k < KERNEL; k++)
                    sum += dtaps[tap_at(frame_class, j + k, c, e)] * conv0_at(p, m, c, k);
        dx[b_at(e, m, j)] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < MIXED; i += blockDim.x) {
        int e = i / 16, o = i % 16;
        double sum = 0;
        for (int m = 0; m < MIDDLE; m++)
            for (int j = 0; j < KERNEL; j++)
                sum += dx[b_at(e, m, j)] * conv1_at(p, o, m, j);
        dx[mixed_at(e, o)] = sum;
    }
    __syncthreads();
}

__device__ static inline void convolutions_backward(const struct embed_parameters &g, int frames, const double *dtaps,
                                                    shared<double> x, shared<double> dx)
{
    for (int i = threadIdx.x; i < MIDDLE * 3 * KERNEL; i += blockDim.x) {
        int m = i / (3 * KERNEL), c = i / KERNEL % 3, k = i % KERNEL;
        double sum = 0;
        for (int frame_class = 0; frame_class < EMBED_CLASSES; frame_class++)
            for (int j = 0; j < KERNEL; j++)
                for (int e = 0; e < E && is_valid(j, frame_class, frames); e++)
                    sum += dtaps[tap_at(frame_class, j + k, c, e)] * x[b_at(e, m, j)];
        g.conv0[i] = static_cast<float>(sum);
    }
    for (int i = threadIdx.x; i < 16 * MIDDLE * KERNEL; i += blockDim.x) {
        int o = i / (MIDDLE * KERNEL), m = i / KERNEL % MIDDLE, j = i % KERNEL;
        double sum = 0;
        for (int e = 0; e < E; e++)
            sum += x[mixed_at(e, o)] * dx[b_at(e, m, j)];
        g.conv1[i] = static_cast<float>(sum);
    }
}

// Gradients of pos_dense, of the position columns of dense and of its bias; total: the sums of all biases' gradients.
__device__ static inline void position_backward(const struct embed_parameters &p, const struct embed_parameters &g,
                                                shared<double> dx, shared<double> total)
{
    for (int at = threadIdx.x; at < E * POS_COLUMNS; at += blockDim.x) {
        int i = at / POS_COLUMNS, c = at % POS_COLUMNS;
        double sum = 0;
        for (int e = 0; e < E; e++)
            sum += p.dense_weight[dense_at(e, 2 * E + i)] * dx[c < 3 ? direct_at(e, c) : mixed_at(e, c - 3)];
        g.pos_dense_weight[at] = static_cast<float>(sum);
    }
    for (int at = threadIdx.x; at < E * E; at += blockDim.x) {
        int e = at / E, i = at % E;
        double sum = total[e] * p.pos_dense_bias[i];
        for (int c = 0; c < POS_COLUMNS; c++)
            sum += dx[c < 3 ? direct_at(e, c) : mixed_at(e, c - 3)] * p.pos_dense_weight[i * POS_COLUMNS + c];
        g.dense_weight[dense_at(e, 2 * E + i)] = static_cast<float>(sum);
    }
    for (int i = threadIdx.x; i < E; i += blockDim.x) {
        double sum = 0;
        for (int e = 0; e < E; e++)
            sum += p.dense_weight[dense_at(e, 2 * E + i)] * total[e];
        g.pos_dense_bias[i] = static_cast<float>(sum);
        g.dense_bias[i] = static_cast<float>(static_cast<double>(total[i]));
    }
}

__device__ static inline void taps_backward(const struct embed_parameters &p, const struct embed_parameters &g,
                                            int frames, const double *dtaps, const double *dbias)
{
    SHARED(double, x, PRODUCTS);
    SHARED(double, dx, PRODUCTS);
    SHARED(double, total, E);
    multiply(p, x);
    if (threadIdx.x < E) {
        double sum = 0;
        for (int id = 0; id <= LANDMARKS; id++)
            sum += dbias[id * E + threadIdx.x];
        total[threadIdx.x] = sum;
    }
    products_backward(p, frames, dtaps, dx);
    convolutions_backward(g, frames, dtaps, x, dx);
    position_backward(p, g, dx, total);
}

// ---- backward: the embeddings -------------------------------------------------------------------------------------

namespace
{
// One embedding: its rows, where dense meets them, and the biases that each is in.
struct embedding {
    int rows, column, is_type;
    const float *embed, *weight, *bias;
    float *dembed, *dweight, *dbias;
};
} // namespace

// The sum of the gradients of the biases that row r is in.
__device__ static inline double row_gradient(const struct embedding &t, const double *dbias, int r, int e)
{
    double sum = 0;
    if (!t.is_type)
        return dbias[r * E + e];
    for (int id = 0; id <= LANDMARKS; id++)
        if (type_of_id(id) == r)
            sum += dbias[id * E + e];
    return sum;
}

// The gradient dy of a normed row to that of the row; x is the row normalised.
__device__ static inline void norm_row_backward(const struct embedding &t, int r, shared<double> x, shared<double> dy,
                                                double rstd)
{
    double mean = 0, product = 0;
    for (int i = 0; i < E; i++) {
        double d = dy[r * E + i] * t.weight[i];
        mean += d / E;
        product += d * x[r * E + i] / E;
    }
    for (int i = 0; i < E; i++) {
        double d = rstd * (dy[r * E + i] * t.weight[i] - mean - x[r * E + i] * product);
        t.dembed[r * E + i] = r == 0 ? 0 : static_cast<float>(d); // padding stays zero
    }
}

__device__ static inline void embedding_backward(const struct embed_parameters &p, const struct embed_parameters &g,
                                                 const struct embedding &t, const double *dbias)
{
    SHARED(double, x, (LANDMARKS + 1) * E);   // rows normalised
    SHARED(double, dy, (LANDMARKS + 1) * E);  // gradients of the normed rows
    SHARED(double, sum, (LANDMARKS + 1) * E); // gradients of the biases that a row is in
    double rstd = 0;
    int r = threadIdx.x; // a thread a row
    for (int i = threadIdx.x; i < t.rows * E; i += blockDim.x)
        sum[i] = row_gradient(t, dbias, i / E, i % E);
    __syncthreads();
    if (r < t.rows) {
        double own[E];
        rstd = norm_row(t.embed + r * E, own);
        for (int i = 0; i < E; i++) {
            double d = 0;
            for (int e = 0; e < E; e++)
                d += sum[r * E + e] * p.dense_weight[dense_at(e, t.column + i)];
            x[r * E + i] = own[i];
            dy[r * E + i] = d;
        }
        norm_row_backward(t, r, x, dy, rstd);
    }
    __syncthreads();
    for (int at = threadIdx.x; at < E * E; at += blockDim.x) {
        int e = at / E, i = at % E;
        double d = 0;
        for (int k = 0; k < t.rows; k++)
            d += sum[k * E + e] * (x[k * E + i] * t.weight[i] + t.bias[i]);
        g.dense_weight[dense_at(e, t.column + i)] = static_cast<float>(d);
    }
    if (threadIdx.x < E) {
        double dweight = 0, dnorm_bias = 0;
        for (int k = 0; k < t.rows; k++) {
            dweight += dy[k * E + threadIdx.x] * x[k * E + threadIdx.x];
            dnorm_bias += dy[k * E + threadIdx.x];
        }
        t.dweight[threadIdx.x] = static_cast<float>(dweight);
        t.dbias[threadIdx.x] = static_cast<float>(dnorm_bias);
    }
}

// Two kernels: the taps' side in one block, the two embeddings in a block each.
__global__ void __launch_bounds__(THREADS)
    taps_backward_kernel(struct embed_parameters p, struct embed_parameters g, int frames, const double *dcollapsed)
{
    taps_backward(p, g, frames, dcollapsed, dcollapsed + COLLAPSED_TAPS);
}

__global__ void __launch_bounds__(THREADS)
    embeddings_backward_kernel(struct embed_parameters p, struct embed_parameters g, const double *dcollapsed)
{
    struct embedding types = {
        LANDMARK_TYPES,  0, 1, p.type_embed, p.type_norm_weight, p.type_norm_bias, g.type_embed, g.type_norm_weight,
        g.type_norm_bias};
    struct embedding landmarks = {LANDMARKS + 1,
                                  E,
                                  0,
                                  p.landmark_embed,
                                  p.landmark_norm_weight,
                                  p.landmark_norm_bias,
                                  g.landmark_embed,
                                  g.landmark_norm_weight,
                                  g.landmark_norm_bias};
    embedding_backward(p, g, blockIdx.x ? landmarks : types, dcollapsed + COLLAPSED_TAPS);
}

void queue_collapse_backward(struct stream *s, const struct embed_parameters &p, int frames, const double *dcollapsed,
                             const struct embed_parameters &gradients)
{
    LAUNCH(s, (launch_shape{dim3(1), dim3(THREADS), 0}), taps_backward_kernel, p, gradients, frames, dcollapsed);
    LAUNCH(s, (launch_shape{dim3(2), dim3(THREADS), 0}), embeddings_backward_kernel, p, gradients, dcollapsed);
}
