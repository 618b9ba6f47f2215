// Cross-entropy with smoothing, mixed targets and OUSM, and the consistency loss: backend.h, struct
// loss_forward_backward. Three kernels: a block a clip finds softmaxes and losses, a block a group decides which clips
// count, a block a clip writes its gradient.
#include "kernels/cuda/kernel.cuh"

namespace
{

// What the clips' pass leaves for the others: scratch memory.
struct workspace {
    double *ce, *distance; // [clips]; distance: squared, of the two softmaxes
    float *own, *teacher;  // [clips, classes]: softmaxes
    int32_t *dropped;      // [clips]
};

// The smoothed target of a clip: `other` everywhere and, on top, first at class a and second at class b.
struct target {
    double other, first, second;
    int a, b;
};

} // namespace

__device__ static inline struct target target_of(const struct loss_forward_backward &a, int clip)
{
    double other = static_cast<double>(a.smoothing) / (a.classes - 1), share = 1;
    double height = 1 - static_cast<double>(a.smoothing) - other;
    int own = a.label[clip], second = own;
    if (a.partner) {
        share = a.coefficient[clip];
        second = a.label[a.partner[clip]];
    }
    return {other, share * height, (1 - share) * height, own, second};
}

// p = softmax(z), by the block; returns the logarithm of the sum of exponentials, and the sum of z. What is not finite
// in z makes all of p not a number.
__device__ static inline double softmax(const float *z, int classes, float *p, double *sum_z)
{
    float highest = -INFINITY;
    double sum = 0, total = 0;
    for (int c = threadIdx.x; c < classes; c += blockDim.x)
        highest = fmaxf(highest, z[c]);
    highest = block_max(highest);
    for (int c = threadIdx.x; c < classes; c += blockDim.x) {
        float e = expf(z[c] - highest);
        p[c] = e;
        sum += e;
        total += z[c];
    }
    sum = block_sum(sum);
    *sum_z = block_sum(total);
    float scale = isfinite(*sum_z) ? static_cast<float>(1 / sum) : NAN;
    for (int c = threadIdx.x; c < classes; c += blockDim.x)
        p[c] *= scale; // the thread's own
    return highest + log(sum);
}

__global__ void __launch_bounds__(THREADS) clip_loss_kernel(struct loss_forward_backward a, struct workspace w)
{
    int clip = blockIdx.x, n = a.classes;
    size_t at = static_cast<size_t>(clip) * n;
    const float *z = a.logits + at;
    double sum, level = softmax(z, n, w.own + at, &sum), distance = 0;
    if (a.teacher) {
        double unused;
        softmax(a.teacher + at, n, w.teacher + at, &unused);
        for (int c = threadIdx.x; c < n; c += blockDim.x) {
            float d = w.own[at + c] - w.teacher[at + c];
            distance += d * d;
        }
        distance = block_sum(distance);
    }
    if (threadIdx.x != 0)
        return;
    struct target t = target_of(a, clip);
    w.ce[clip] = t.other * (n * level - sum) + t.first * (level - z[t.a]) + t.second * (level - z[t.b]);
    w.distance[clip] = distance;
}

// Is the clip among the `ousm` of its group with the highest cross-entropy, of equal ones the later? One that is not a
// number stays, so that the loss shows it.
__device__ static inline bool is_dropped(const struct loss_forward_backward &a, const double *ce, int clip, int first)
{
    int worse = 0;
    if (!isfinite(ce[clip]))
        return false;
    for (int b = first; b < first + a.group; b++)
        worse += isfinite(ce[b]) && (ce[b] > ce[clip] || (ce[b] == ce[clip] && b > clip));
    return worse < a.ousm;
}

__global__ void __launch_bounds__(THREADS) group_loss_kernel(struct loss_forward_backward a, struct workspace w)
{
    int first = blockIdx.x * a.group, kept = 0;
    double ce = 0, distance = 0;
    for (int b = first + threadIdx.x; b < first + a.group; b += blockDim.x) {
        bool dropped = is_dropped(a, w.ce, b, first);
        w.dropped[b] = dropped;
        distance += w.distance[b];
        ce += dropped ? 0 : w.ce[b];
        kept += !dropped;
    }
    ce = block_sum(ce) / block_sum(kept);
    distance = block_sum(distance);
    if (threadIdx.x != 0)
        return;
    double consistency = a.teacher ? a.scalars->consistency * distance / a.group : 0;
    float *out = a.losses + blockIdx.x * 3;
    out[0] = static_cast<float>(ce + consistency);
    out[1] = static_cast<float>(ce);
    out[2] = static_cast<float>(consistency);
}

// The gradient of the cross-entropy is p - target; that of the squared distance of the softmaxes is 2 p (d - d.p) with
// d = p - teacher.
template <class T>
__global__ void __launch_bounds__(THREADS) clip_gradient_kernel(struct loss_forward_backward a, struct workspace w)
{
    int clip = blockIdx.x, n = a.classes, first = clip / a.group * a.group, kept = 0;
    const float *p = w.own + static_cast<size_t>(clip) * n, *q = w.teacher + static_cast<size_t>(clip) * n;
    struct target t = target_of(a, clip);
    for (int b = first + threadIdx.x; b < first + a.group; b += blockDim.x)
        kept += !w.dropped[b];
    kept = block_sum(kept);
    float mean = 0, scale = a.scalars->loss_scale * a.group_weight;
    float ce = w.dropped[clip] ? 0 : scale / static_cast<float>(kept);
    float consistency = a.teacher ? 2 * scale * a.scalars->consistency / static_cast<float>(a.group) : 0;
    for (int c = threadIdx.x; c < n && a.teacher; c += blockDim.x)
        mean += p[c] * (p[c] - q[c]);
    mean = block_sum(mean);
    for (int c = threadIdx.x; c < n; c += blockDim.x) {
        double want = t.other + (c == t.a ? t.first : 0) + (c == t.b ? t.second : 0);
        float g = ce * static_cast<float>(p[c] - want);
        if (a.teacher)
            g += consistency * p[c] * (p[c] - q[c] - mean);
        if (a.dlogits.type == DTYPE_F32)
            *mat_at<float>(a.dlogits, clip, c) = g;
        else
            *mat_at<T>(a.dlogits, clip, c) = from_float<T>(g);
    }
}

// ---- launcher -----------------------------------------------------------------------------------------------------

void cuda_loss_forward_backward(struct stream *s, const struct loss_forward_backward *a)
{
    assert(a->clips % a->group == 0 && a->ousm < a->group && a->classes > 1);
    size_t clips = a->clips, values = clips * a->classes;
    double *memory = static_cast<double *>(
        cuda_scratch(s, 2 * clips * sizeof(double) + 2 * values * sizeof(float) + clips * sizeof(int32_t)));
    if (!memory)
        return;
    float *softmaxes = reinterpret_cast<float *>(memory + 2 * clips);
    struct workspace w = {memory, memory + clips, softmaxes, softmaxes + values,
                          reinterpret_cast<int32_t *>(softmaxes + 2 * values)};
    launch_shape each_clip = {dim3(static_cast<unsigned>(a->clips)), dim3(THREADS), 0};
    launch_shape each_group = {dim3(static_cast<unsigned>(a->clips / a->group)), dim3(THREADS), 0};
    LAUNCH(s, each_clip, clip_loss_kernel, *a, w);
    LAUNCH(s, each_group, group_loss_kernel, *a, w);
    with_type(a->dlogits.type, [&](auto t) { LAUNCH(s, each_clip, clip_gradient_kernel<decltype(t)>, *a, w); });
}
