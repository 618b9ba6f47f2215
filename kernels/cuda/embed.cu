// The embedding stage as one convolution over time: backend.h, struct embed_forward and embed_backward; the parameters'
// side of it is collapse.cu.
//
// The means that centring subtracts follow from sums of x over a group's points, as the stage is linear: so the
// features are written once and not read. In the same way the backward first adds up gradients as if nothing was
// centred, and corrects the sums. Scratch: what a clip's blocks leave for the next kernel, see below.
#include "kernels/cuda/collapse.cuh"

enum {
    X_COLUMNS = LANDMARKS * 3,
    PARTS = 4,                                  // left, right, lips, face
    HALVES = EMBED_DIM / SPAN,                  // spans of a landmark's channels
    POINT_THREADS = LANDMARKS * HALVES,         // a thread a span of a landmark
    BLOCK = 224,                                // that, in whole warps
    TILE = 5,                                   // frames of a block in the forward
    CLASS_WINDOW = EMBED_TAPS * 3,              // [tap][coordinate]
    CLASS_TAPS = CLASS_WINDOW * EMBED_DIM,      //
    WINDOW = EMBED_CLASSES * CLASS_WINDOW,      // [class][tap][coordinate]
    FRAMES_MOST = 512,                          // job files allow no more
    MEANS = PARTS * EMBED_DIM,                  //
    SPLITS = 12,                                // threads that share the landmarks of a tap
    TAP_THREADS = SPLITS * EMBED_TAPS * HALVES, //
    CHUNKS_MOST = SHARES(512, 3)                // blocks that share the clips in the backward
};

namespace
{

// Where a landmark's features go besides `full`.
struct place {
    int part; // -1: nowhere
    int point;
};

// The points of a part: landmarks [first, first+count), then [second, ..) up to `points`.
struct part_points {
    int first, count, second, points;
};

} // namespace

__device__ static inline struct place place_of(int landmark)
{
    if (landmark < LANDMARK_RIGHT_HAND)
        return {0, landmark};
    if (landmark < LANDMARK_SILHOUETTE)
        return {1, landmark - LANDMARK_RIGHT_HAND};
    if (landmark < LANDMARK_LIPS)
        return {3, landmark - LANDMARK_SILHOUETTE};
    if (landmark < LANDMARK_ARMS)
        return {2, landmark - LANDMARK_LIPS};
    if (landmark < LANDMARK_CHEEKS)
        return {-1, 0};
    return {3, SILHOUETTE_POINTS + landmark - LANDMARK_CHEEKS};
}

__device__ static inline struct part_points points_of(int part)
{
    if (part == 0)
        return {LANDMARK_LEFT_HAND, HAND_POINTS, 0, HAND_POINTS};
    if (part == 1)
        return {LANDMARK_RIGHT_HAND, HAND_POINTS, 0, HAND_POINTS};
    if (part == 2)
        return {LANDMARK_LIPS, LIPS_POINTS, 0, LIPS_POINTS};
    return {LANDMARK_SILHOUETTE, SILHOUETTE_POINTS, LANDMARK_CHEEKS, FACE_POINTS};
}

__device__ static inline int landmark_of(const struct part_points &p, int point)
{
    return point < p.count ? p.first + point : p.second + point - p.count;
}

// ---- windows ------------------------------------------------------------------------------------------------------
// windows [clips, PARTS, WINDOW]: x as each tap of each class sees it, added up over the part's points and the class's
// real frames. A block a clip.

__device__ static inline void find_windows(const float *x, int frames, int length, shared<float> points,
                                           double *windows)
{
    // points [frames, PARTS, 3]: x added up over the part's points.
    for (int i = threadIdx.x; i < frames * PARTS * 3; i += blockDim.x) {
        struct part_points p = points_of(i / 3 % PARTS);
        const float *row = x + static_cast<size_t>(i / (PARTS * 3)) * X_COLUMNS + i % 3;
        float sum = 0;
        for (int k = 0; k < p.points; k++)
            sum += row[landmark_of(p, k) * 3];
        points[i] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < PARTS * WINDOW; i += blockDim.x) {
        int part = i / WINDOW, frame_class = i / CLASS_WINDOW % EMBED_CLASSES, tap = i / 3 % EMBED_TAPS, c = i % 3;
        double sum = 0;
        for (int f = first_of_class(frame_class, frames); f >= 0 && f < length; f++) {
            if (class_of_frame(f, frames) != frame_class)
                break;
            int at = f + tap - TAPS_REACH;
            if (at >= 0 && at < frames)
                sum += points[(at * PARTS + part) * 3 + c];
        }
        windows[i] = sum;
    }
}

__global__ void __launch_bounds__(BLOCK)
    windows_kernel(const float *x, const int32_t *length, int frames, double *windows)
{
    DYNAMIC_SHARED(float, points);
    size_t clip = blockIdx.x;
    find_windows(x + clip * frames * X_COLUMNS, frames, length[clip], points, windows + clip * PARTS * WINDOW);
}

static void queue_windows(struct stream *s, const float *x, const int32_t *length, int clips, int frames,
                          double *windows)
{
    assert(frames <= FRAMES_MOST);
    launch_shape shape = {dim3(static_cast<unsigned>(clips)), dim3(BLOCK), sizeof(float) * PARTS * 3 * frames};
    LAUNCH(s, shape, windows_kernel, x, length, frames, windows);
}

// ---- forward ------------------------------------------------------------------------------------------------------

// means [clips, PARTS, channels]: of the parts' features over the points and the clip's real frames. A thread a mean.
__global__ void __launch_bounds__(MEANS)
    means_kernel(const float *collapsed, const int32_t *length, const double *windows, float *means)
{
    size_t clip = blockIdx.x;
    int part = threadIdx.x / EMBED_DIM, e = threadIdx.x % EMBED_DIM, n = length[clip];
    struct part_points p = points_of(part);
    const float *bias = collapsed + COLLAPSED_TAPS;
    const double *window = windows + (clip * PARTS + part) * WINDOW;
    double sum = 0;
    for (int k = 0; k < p.points; k++)
        sum += static_cast<double>(bias[(landmark_of(p, k) + 1) * EMBED_DIM + e]) * n;
    for (int i = 0; i < WINDOW; i++)
        sum += collapsed[i * EMBED_DIM + e] * window[i];
    means[clip * MEANS + threadIdx.x] = n > 0 ? static_cast<float>(sum / (p.points * n)) : 0;
}

// The features of a landmark's span in one frame, on top of `sum`. x: the landmark in the frame of the first tap; taps:
// the span's of the frame's class.
__device__ static inline void convolve(shared<float> x, shared<float> taps, float sum[SPAN])
{
    for (int i = 0; i < CLASS_WINDOW; i++) {
        float v = x[i / 3 * X_COLUMNS + i % 3];
        float4 low = load4(taps + i * EMBED_DIM), high = load4(taps + i * EMBED_DIM + 4);
        sum[0] += v * low.x;
        sum[1] += v * low.y;
        sum[2] += v * low.z;
        sum[3] += v * low.w;
        sum[4] += v * high.x;
        sum[5] += v * high.y;
        sum[6] += v * high.z;
        sum[7] += v * high.w;
    }
}

// A block makes TILE frames of a clip.
template <class T> __global__ void __launch_bounds__(BLOCK) features_kernel(struct embed_forward a, const float *means)
{
    SHARED(float, x, (TILE + 2 * TAPS_REACH) * X_COLUMNS);
    SHARED(float, taps, COLLAPSED_TAPS);
    int clip = blockIdx.x, first = blockIdx.y * TILE, length = a.length[clip];
    for (int i = threadIdx.x; i < COLLAPSED_TAPS; i += blockDim.x)
        taps[i] = a.collapsed[i];
    for (int i = threadIdx.x; i < (TILE + 2 * TAPS_REACH) * X_COLUMNS; i += blockDim.x) {
        int f = first - TAPS_REACH + i / X_COLUMNS;
        bool inside = f >= 0 && f < a.frames;
        x[i] = inside ? a.x[(static_cast<size_t>(clip) * a.frames + f) * X_COLUMNS + i % X_COLUMNS] : 0;
    }
    __syncthreads();
    if (threadIdx.x >= POINT_THREADS)
        return;
    int landmark = threadIdx.x / HALVES, channel = threadIdx.x % HALVES * SPAN;
    struct place to = place_of(landmark);
    struct mat part = to.part == 0 ? a.left : to.part == 1 ? a.right : to.part == 2 ? a.lips : a.face;
    float mean[SPAN] = {};
    if (to.part >= 0)
        load_span(mean, means + static_cast<size_t>(clip) * MEANS + to.part * EMBED_DIM + channel, SPAN);
    for (int f = first; f < first + TILE && f < a.frames; f++) {
        int id = f < length ? landmark + 1 : 0, row = clip * a.frames + f;
        float v[SPAN];
        load_span(v, a.collapsed + COLLAPSED_TAPS + id * EMBED_DIM + channel, SPAN);
        convolve(x + ((f - first) * X_COLUMNS + landmark * 3),
                 taps + class_of_frame(f, a.frames) * CLASS_TAPS + channel, v);
        store_span<T>(a.full, row, landmark * EMBED_DIM + channel, v);
        for (int i = 0; i < SPAN; i++)
            v[i] = f < length ? v[i] - mean[i] : 0;
        if (to.part >= 0)
            store_span<T>(part, row, to.point * EMBED_DIM + channel, v);
    }
}

void cuda_embed_forward(struct stream *s, const struct embed_forward *a)
{
    size_t clips = a->clips, windows_size = clips * PARTS * WINDOW * sizeof(double);
    char *memory = static_cast<char *>(cuda_scratch(s, windows_size + clips * MEANS * sizeof(float)));
    if (!memory)
        return;
    double *windows = reinterpret_cast<double *>(memory);
    float *means = reinterpret_cast<float *>(memory + windows_size);
    queue_collapse(s, a->parameters, a->frames, a->collapsed);
    queue_windows(s, a->x, a->length, a->clips, a->frames, windows);
    LAUNCH(s, (launch_shape{dim3(static_cast<unsigned>(a->clips)), dim3(MEANS), 0}), means_kernel, a->collapsed,
           a->length, windows, means);
    dim3 grid(static_cast<unsigned>(a->clips), static_cast<unsigned>((a->frames + TILE - 1) / TILE));
    with_type(run_type(a->full.type, a->left.type, a->lips.type, a->face.type), [&](auto t) {
        LAUNCH(s, (launch_shape{grid, dim3(BLOCK), 0}), features_kernel<decltype(t)>, *a, means);
    });
}

// ---- backward -----------------------------------------------------------------------------------------------------
// A block goes through some clips, frame by frame, and adds their share of the gradients of taps and biases to its own
// partial [EMBED_COLLAPSED_SIZE]. Its threads have two tasks: a landmark's span (loading gradients, biases), and a
// tap's span for some of the landmarks. A thread owns the elements of the partial that it adds to.

namespace
{

// What a landmark's thread adds up over a clip.
struct point_sums {
    float bias[SPAN];    // over real frames
    float padding[SPAN]; // over padding frames
    float part[SPAN];    // of the part's gradients, over real frames
};

} // namespace

// The gradients of the features of a landmark's span in one frame: to g, and added to the sums.
template <class T>
__device__ static inline void load_gradient(const struct embed_backward &a, int clip, int frame, bool real,
                                            shared<float> g, struct point_sums &sums)
{
    int landmark = threadIdx.x / HALVES, channel = threadIdx.x % HALVES * SPAN, row = clip * a.frames + frame;
    struct place to = place_of(landmark);
    struct mat m = to.part == 0 ? a.dleft : to.part == 1 ? a.dright : to.part == 2 ? a.dlips : a.dface;
    float full[SPAN], part[SPAN] = {};
    load_span<T>(full, a.dfull, row, landmark * EMBED_DIM + channel);
    if (to.part >= 0 && real)
        load_span<T>(part, m, row, to.point * EMBED_DIM + channel);
    for (int i = 0; i < SPAN; i++) {
        full[i] += part[i];
        sums.part[i] += part[i];
        sums.bias[i] += real ? full[i] : 0;
        sums.padding[i] += real ? 0 : full[i];
    }
    shared<float> out = g + (landmark * EMBED_DIM + channel);
    store4(out, {full[0], full[1], full[2], full[3]});
    store4(out + 4, {full[4], full[5], full[6], full[7]});
}

// taps [coordinate][SPAN] += x (outer) g over the thread's landmarks. x: the frame that the thread's tap sees.
__device__ static inline void add_taps(shared<float> x, shared<float> g, int split, float taps[3][SPAN])
{
    for (int l = split; l < LANDMARKS; l += SPLITS) {
        float4 low = load4(g + l * EMBED_DIM), high = load4(g + l * EMBED_DIM + 4);
        float v[SPAN] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        for (int c = 0; c < 3; c++) {
            float at = x[l * 3 + c];
            for (int i = 0; i < SPAN; i++)
                taps[c][i] += at * v[i];
        }
    }
}

// Adds the threads' taps of a class to the partial, and clears them. By the whole block, with a barrier since `pool` was
// last read.
__device__ static inline void flush_taps(shared<float> pool, float taps[3][SPAN], float *partial)
{
    int split = threadIdx.x / (EMBED_TAPS * HALVES), tap = threadIdx.x / HALVES % EMBED_TAPS;
    int channel = threadIdx.x % HALVES * SPAN;
    for (int c = 0; c < 3 && threadIdx.x < TAP_THREADS; c++)
        for (int i = 0; i < SPAN; i++) {
            pool[split * CLASS_TAPS + (tap * 3 + c) * EMBED_DIM + channel + i] = taps[c][i];
            taps[c][i] = 0;
        }
    __syncthreads();
    for (int i = threadIdx.x; i < CLASS_TAPS; i += blockDim.x) {
        float sum = 0;
        for (int k = 0; k < SPLITS; k++)
            sum += pool[k * CLASS_TAPS + i];
        partial[i] += sum;
    }
}

// means [PARTS, channels] of the parts' gradients over points and real frames, from the landmarks' sums. By the whole
// block, with a barrier since `pool` was last read; it is left free.
__device__ static inline void find_part_means(shared<float> pool, const struct point_sums &sums, int length,
                                              shared<float> means)
{
    for (int i = 0; i < SPAN && threadIdx.x < POINT_THREADS; i++)
        pool[threadIdx.x * SPAN + i] = sums.part[i]; // [landmark][channel]
    __syncthreads();
    if (threadIdx.x < MEANS) {
        struct part_points p = points_of(threadIdx.x / EMBED_DIM);
        float sum = 0;
        for (int k = 0; k < p.points; k++)
            sum += pool[landmark_of(p, k) * EMBED_DIM + threadIdx.x % EMBED_DIM];
        means[threadIdx.x] = length > 0 ? sum / static_cast<float>(p.points * length) : 0;
    }
    __syncthreads();
}

// Adds the clip's share of the biases' gradients to the partial. By the whole block.
__device__ static inline void add_biases(shared<float> pool, const struct point_sums &sums, int length,
                                         shared<float> means, float *partial)
{
    int landmark = threadIdx.x / HALVES, channel = threadIdx.x % HALVES * SPAN;
    if (threadIdx.x < POINT_THREADS) {
        int part = place_of(landmark).part;
        for (int i = 0; i < SPAN; i++) {
            float centre = part >= 0 ? static_cast<float>(length) * means[part * EMBED_DIM + channel + i] : 0;
            partial[(landmark + 1) * EMBED_DIM + channel + i] += sums.bias[i] - centre;
            pool[threadIdx.x * SPAN + i] = sums.padding[i];
        }
    }
    __syncthreads();
    if (threadIdx.x < EMBED_DIM) {
        float sum = 0;
        for (int l = 0; l < LANDMARKS; l++)
            sum += pool[l * EMBED_DIM + threadIdx.x];
        partial[threadIdx.x] += sum;
    }
}

// Centring gave each real frame and point of a part its gradient less the part's mean: takes that from the taps.
__device__ static inline void centre_taps(const double *windows, shared<float> means, float *partial)
{
    for (int i = threadIdx.x; i < CLASS_TAPS; i += blockDim.x)
        for (int frame_class = 0; frame_class < EMBED_CLASSES; frame_class++) {
            int window = frame_class * CLASS_WINDOW + i / EMBED_DIM;
            float sum = 0;
            for (int p = 0; p < PARTS; p++)
                sum += means[p * EMBED_DIM + i % EMBED_DIM] * static_cast<float>(windows[p * WINDOW + window]);
            partial[frame_class * CLASS_TAPS + i] -= sum;
        }
}

// Frame `frame` of the clip, zeros outside it, to its place in the ring.
__device__ static inline void load_frame(const float *x, int frame, int frames, shared<float> ring)
{
    int slot = (frame + EMBED_TAPS) % EMBED_TAPS;
    for (int i = threadIdx.x; i < X_COLUMNS; i += blockDim.x)
        ring[slot * X_COLUMNS + i] = frame >= 0 && frame < frames ? x[static_cast<size_t>(frame) * X_COLUMNS + i] : 0;
}

template <class T>
__global__ void __launch_bounds__(BLOCK)
    gradient_kernel(struct embed_backward a, const double *windows, float *partials)
{
    SHARED(float, g, LANDMARKS *EMBED_DIM);
    SHARED(float, ring, EMBED_TAPS *X_COLUMNS); // the frames that the taps see
    SHARED(float, pool, SPLITS *CLASS_TAPS);
    SHARED(float, means, MEANS);
    float *partial = partials + static_cast<size_t>(blockIdx.x) * EMBED_COLLAPSED_SIZE;
    int split = threadIdx.x / (EMBED_TAPS * HALVES), tap = threadIdx.x / HALVES % EMBED_TAPS;
    float taps[3][SPAN] = {};
    for (int clip = blockIdx.x; clip < a.clips; clip += gridDim.x) {
        const float *x = a.x + static_cast<size_t>(clip) * a.frames * X_COLUMNS;
        int length = a.length[clip];
        struct point_sums sums = {};
        for (int f = -TAPS_REACH; f < TAPS_REACH; f++)
            load_frame(x, f, a.frames, ring);
        for (int f = 0; f < a.frames; f++) {
            int frame_class = class_of_frame(f, a.frames);
            load_frame(x, f + TAPS_REACH, a.frames, ring);
            if (threadIdx.x < POINT_THREADS)
                load_gradient<T>(a, clip, f, f < length, g, sums);
            __syncthreads();
            int slot = (f + tap - TAPS_REACH + EMBED_TAPS) % EMBED_TAPS;
            if (threadIdx.x < TAP_THREADS)
                add_taps(ring + slot * X_COLUMNS, g + threadIdx.x % HALVES * SPAN, split, taps);
            if (f == a.frames - 1 || class_of_frame(f + 1, a.frames) != frame_class)
                flush_taps(pool, taps, partial + frame_class * CLASS_TAPS);
            __syncthreads();
        }
        find_part_means(pool, sums, length, means);
        add_biases(pool, sums, length, means, partial + COLLAPSED_TAPS);
        // Nothing of the next clip is written where this still reads: barriers of find_part_means() and of the next
        // clip's first frame lie between.
        centre_taps(windows + static_cast<size_t>(clip) * PARTS * WINDOW, means, partial);
    }
}

// out [EMBED_COLLAPSED_SIZE] = the sums over the blocks, in double. A warp's lane an element.
enum { SUM_PARTS = SHARES(8, 2) };
__global__ void __launch_bounds__(WARP_SIZE *SUM_PARTS)
    add_gradients_kernel(const float *partials, int count, double *out)
{
    SHARED(double, part, SUM_PARTS *WARP_SIZE);
    int at = blockIdx.x * WARP_SIZE + threadIdx.x;
    double sum = 0;
    for (int p = threadIdx.y; p < count && at < EMBED_COLLAPSED_SIZE; p += SUM_PARTS)
        sum += partials[static_cast<size_t>(p) * EMBED_COLLAPSED_SIZE + at];
    part[threadIdx.y * WARP_SIZE + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || at >= EMBED_COLLAPSED_SIZE)
        return;
    sum = 0;
    for (int p = 0; p < SUM_PARTS; p++)
        sum += part[p * WARP_SIZE + threadIdx.x];
    out[at] = sum;
}

void cuda_embed_backward(struct stream *s, const struct embed_backward *a)
{
    int blocks = a->clips < CHUNKS_MOST ? a->clips : CHUNKS_MOST;
    size_t windows = static_cast<size_t>(a->clips) * PARTS * WINDOW,
           partials = static_cast<size_t>(blocks) * EMBED_COLLAPSED_SIZE;
    double *memory = static_cast<double *>(
        cuda_scratch(s, (windows + EMBED_COLLAPSED_SIZE) * sizeof(double) + partials * sizeof(float)));
    if (!memory)
        return;
    double *dcollapsed = memory + windows;
    float *partial = reinterpret_cast<float *>(dcollapsed + EMBED_COLLAPSED_SIZE);
    queue_windows(s, a->x, a->length, a->clips, a->frames, memory);
    s->op->zero(s, partial, partials * sizeof(float));
    with_type(run_type(a->dfull.type, a->dleft.type, a->dlips.type, a->dface.type), [&](auto t) {
        LAUNCH(s, (launch_shape{dim3(static_cast<unsigned>(blocks)), dim3(BLOCK), 0}), gradient_kernel<decltype(t)>, *a,
               memory, partial);
    });
    launch_shape sums = {dim3((EMBED_COLLAPSED_SIZE + WARP_SIZE - 1) / WARP_SIZE), dim3(WARP_SIZE, SUM_PARTS), 0};
    LAUNCH(s, sums, add_gradients_kernel, partial, blocks, dcollapsed);
    queue_collapse_backward(s, a->parameters, a->frames, dcollapsed, a->gradients);
}
