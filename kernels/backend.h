// The one interface between the model and a device. A device implements struct backend_ops: memory, streams, and the
// fused operations of the model's layers. CPU and CUDA pass the same tests (tests/kernels), against double-precision
// references.
//
// Rules that hold for every operation:
//  * Pointers are device memory unless a name says host. A caller never reads or writes through them.
//  * Operations are queued on a stream in order and return at once (the CPU's run before they return). They cannot be
//    refused for their arguments: those are the caller's contract (asserted). What fails later (a device error) is kept
//    and reported by `synchronize`.
//  * No operation allocates after its first use with a shape; nothing waits for the host.
//  * Activations and work copies of weights have the run's type (fp32, bf16; fp16 on CUDA). Statistics, softmax, losses,
//    parameters, gradients and moments are fp32; sums over many elements are made in a fixed order that depends on the
//    shape alone, so that the same call gives the same bits.
//  * A gradient output overwrites: every parameter has exactly one writer a step. What adds says so ("accumulate").
//  * Scalars that change from step to step are read from device memory (struct step_scalars), so that a whole step can
//    be recorded once and replayed.
#ifndef ISLR_KERNELS_BACKEND_H
#define ISLR_KERNELS_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "kernels/landmarks.h"

enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };

static inline size_t dtype_size(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

// A row-major matrix or a part of one: row r starts at data + r*stride elements.
struct mat {
    void *data;
    enum dtype type;
    int rows, columns, stride;
};

// The scalars of a training step; one struct in device memory for each model, uploaded before the step.
struct step_scalars {
    uint32_t step;      // s, from 1; also the dropout counter
    float lr;           // learning rate of this step
    float bias1, bias2; // 1 - beta1^s, 1 - beta2^s
    float ema_alpha;    // teacher = alpha*teacher + (1-alpha)*student
    float consistency;  // weight of the consistency loss
    float loss_scale;   // gradients are loss_scale times too large until the optimizer divides (1 but for fp16)
    float reserved;
};

// Dropout: element (row, column) is kept where its 16 random bits are >= round(p*65536), and scaled by 1/(1-p). The
// bits are lane column%8 (low half of word 0 first) of philox4x32(seed, column/8, row id, step, RNG_DROPOUT<<24 |
// site): nothing is stored, the backward draws them again. p = 0: none.
struct dropout {
    float p;
    uint64_t seed;
    const struct step_scalars *scalars; // device; for the step
    uint32_t site;                      // which layer of which model
};

// The rows of a batch. Padded: clip b's frames are rows b*frames.. Packed: only its first offset[b+1]-offset[b] frames
// are there. `count` may exceed offset[clips]: the tail rows are padding that belongs to no clip (shapes come in few
// sizes); operations may compute on them but never let them reach a clip, a statistic or a parameter's gradient (where
// an operation takes a struct rows, it writes zeros there).
struct rows {
    int clips;
    int frames;            // L: most frames of a clip
    int count;             // rows of the matrices
    const int32_t *offset; // device [clips+1], offset[0] = 0
    const int32_t *length; // device [clips]: real frames: attended to, averaged; <= offset[b+1]-offset[b]
    const int32_t
        *id; // device [count]: (clip's place in the whole batch over all ranks)*frames + frame; -1 in the tail
};

struct backend;
struct stream;
struct recording; // a device's own: see record_begin

// ---- linear layers: PyTorch's convention, weight [out, in] --------------------------------------------------------

// y [M,out] = x [M,in] weight^T + bias
struct linear_forward {
    struct mat x, weight, y; // x and weight of one type; y of that type or fp32
    const void *bias;        // [out] of the weight's type, or NULL
    int constant;            // the weight will not change until forget(): the device may keep it packed
};
// dx [M,in] = dy [M,out] weight (+ dx if accumulate)
struct linear_backward_input {
    struct mat dy, weight, dx;
    int accumulate;
};
// dweight [out,in] fp32 = dy^T x; dbias [out] fp32 = column sums of dy (NULL: not wanted)
struct linear_backward_weight {
    struct mat dy, x;
    float *dweight, *dbias;
};

// ---- embedding stage (reference section 3, performance.md 3) ------------------------------------------------------
// xyz -> conv5 -> conv5 -> concat(xyz, .) -> pos_dense -> dense(concat(type, landmark, position)) holds no non-linearity
// after the norms of the two embeddings, so it is one 9-tap convolution 3 -> 16 over time plus a bias for each landmark
// (and one for padding frames). Frames 0, 1, F-2, F-1 have their own taps, because each convolution pads with zeros by
// itself.

enum { EMBED_DIM = 16, EMBED_TAPS = 9, EMBED_CLASSES = 5 };
// Frame classes: 0: f = 0, 1: f = 1, 2: interior, 3: f = F-2, 4: f = F-1 (F >= 5 keeps them apart; shorter F: see
// collapse)

// The stage's parameters, or their gradients, fp32, shapes as published.
struct embed_parameters {
    float *type_embed; // [9,16]
    float *type_norm_weight, *type_norm_bias;
    float *landmark_embed; // [101,16]
    float *landmark_norm_weight, *landmark_norm_bias;
    float *conv0;                             // pos_cnn.0.weight [8,3,5]
    float *conv1;                             // pos_cnn.1.weight [16,8,5]
    float *pos_dense_weight, *pos_dense_bias; // [16,19], [16]
    float *dense_weight, *dense_bias;         // [16,48], [16]
};

// One batch: x [clips, frames, 100, 3] fp32, zero in padding frames. Outputs, each [clips*frames, points*16], padded
// rows: full is the features themselves; the four parts are centred by group over real frames and zero in padding
// frames.
struct embed_forward {
    struct embed_parameters parameters;
    const float *x;
    const int32_t *length; // device [clips]
    int clips, frames;
    float *collapsed;             // device scratch [EMBED_COLLAPSED_SIZE], filled here and read by the backward
    struct mat full;              // 1600 columns
    struct mat left, right, lips; // 336 columns
    struct mat face;              // 400 columns
};
struct embed_backward {
    struct embed_parameters parameters;
    struct embed_parameters gradients; // row 0 of both embeddings gets zero
    const float *x;
    const int32_t *length;
    int clips, frames;
    const float *collapsed;
    struct mat dfull, dleft, dright, dlips, dface;
};
// Floats of `collapsed`: the taps of the frame classes [5][9][3][16] and the biases [101][16] (row 0: padding).
enum { EMBED_COLLAPSED_SIZE = EMBED_CLASSES * EMBED_TAPS * 3 * EMBED_DIM + (LANDMARKS + 1) * EMBED_DIM };

// ---- BatchNorm1d + Dropout + Mish --------------------------------------------------------------------------------

// y = mish(dropout(weight*(z-mean)*rstd + bias)), rows masked to zero from length[] on if `length` is given.
// Statistics belong to groups of `group_rows` consecutive rows (padding rows included), biased variance. In running
// mode (evaluation, or a frozen model) the running buffers are used, and not moved.
struct batchnorm_forward {
    struct mat z, y;
    int group_rows;
    int running; // 1: use running statistics
    const float *weight, *bias;
    float *running_mean, *running_var; // moved by momentum*(mean over groups of batch mean and of unbiased variance)
    float momentum, eps;
    float *mean, *rstd; // [groups, columns], kept for the backward
    struct dropout dropout;
    int frames;            // rows a clip; row r is frame r%frames of clip r/frames
    uint32_t first_row_id; // id of row 0: ids are consecutive (padded rows)
    const int32_t *length; // device [clips], or NULL: no mask
};
struct batchnorm_backward {
    struct mat z, dy, dz; // dz may be dy
    int group_rows, running;
    const float *weight, *bias;
    const float *mean, *rstd;
    float *dweight, *dbias;
    struct dropout dropout;
    int frames;
    uint32_t first_row_id;
    const int32_t *length;
};

// y = max(a, b) elementwise; the backward splits the gradient evenly where they are equal, as PyTorch does.
struct maximum_forward {
    struct mat a, b, y;
};
struct maximum_backward {
    struct mat a, b, dy, da, db;
};

// ---- rows ---------------------------------------------------------------------------------------------------------

// Padded rows [clips*frames, C] -> packed rows, and the transpose of that (padding rows not in the pack get zero).
struct pack_rows {
    struct rows rows;
    struct mat padded, packed;
};
struct unpack_rows {
    struct rows rows;
    struct mat packed, padded;
};

// Manifold mixup: y[b] = c[b]*x[b] + (1-c[b])*x[partner[b]] frame by frame over packed rows (x's frames beyond the
// partner's pack count as zero). partner[b] is a clip of the same rank. y is not x.
struct mixup_forward {
    struct rows rows;
    struct mat x, y;
    const int32_t *partner;   // device [clips]: a permutation
    const float *coefficient; // device [clips]
};
// dx[b] = c[b]*dy[b] + (1-c[i])*dy[i] with partner[i] = b
struct mixup_backward {
    struct rows rows;
    struct mat dy, dx;
    const int32_t *inverse; // device [clips]: partner[inverse[b]] = b
    const float *coefficient;
};

// y [clips, C] = mean over the first length[b] rows of clip b
struct mean_forward {
    struct rows rows;
    struct mat x, y;
};
struct mean_backward {
    struct rows rows;
    struct mat dy, dx;
};

// ---- encoder ------------------------------------------------------------------------------------------------------

// sum = dropout_in(x) + residual (none if residual.data is NULL); y = dropout_out(weight*(sum-mean)*rstd + bias).
// Statistics over a row's columns, biased variance. `sum` is stored (it may be x) unless sum.data is NULL. Each matrix
// here and in the backward may be fp32 or of the run's type, whatever the others are.
struct layernorm_forward {
    struct mat x, residual, sum, y;
    const float *weight, *bias;
    float eps;
    float *mean, *rstd; // [rows]; NULL: not kept
    struct dropout dropout_in, dropout_out;
    const int32_t *id; // device [rows] row ids for dropout; NULL: the row's number
};
// From dy: dsum (the gradient of `sum`, so also of the residual) and dx = dropout_in applied to it; either may have data
// NULL (not wanted), and dx may be dsum where there is no dropout_in. Gradients of weight and bias.
struct layernorm_backward {
    struct mat dy, sum, dsum, dx;
    const float *weight;
    const float *mean, *rstd;
    float *dweight, *dbias;
    struct dropout dropout_in, dropout_out;
    const int32_t *id;
};

// y = mish(z) + residual, and back: dz = dy * mish'(z)
struct mish_forward {
    struct mat z, residual, y;
};
struct mish_backward {
    struct mat z, dy, dz;
};

// DeBERTa's disentangled attention with shared projections (He et al. 2021; formula in reference section 3).
// qkv holds query | key | value side by side [rows, 3h], head i its columns i*s.. of each third, s = h/heads; rel the
// same of the 2L relative rows (the value third is not read). slot[(i-j)+L-1] is c(i,j). Queries from length[b] on get
// zero. scale = sqrt(3 s). Dropout on the probabilities: row id = query's id, column = head*round_up(L,8) + key frame.
struct attention_forward {
    struct rows rows;
    int heads;
    struct mat qkv, rel;
    const int32_t *slot;      // device [2L-1]
    struct mat context;       // [rows, h]
    float *row_max, *row_sum; // [rows, heads] of the softmax, kept for the backward; NULL: not kept
    struct dropout dropout;
};
struct attention_backward {
    struct rows rows;
    int heads;
    struct mat qkv, rel;
    const int32_t *slot;
    struct mat dcontext;
    struct mat dqkv, drel; // drel's value third gets zero
    const float *row_max, *row_sum;
    struct dropout dropout;
};

// ---- losses -------------------------------------------------------------------------------------------------------

// Per group of `group` consecutive clips: cross-entropy of softmax(logits) against
// t(1-smoothing) + (1-t) smoothing/(C-1), t = c*onehot(label) + (1-c)*onehot(label[partner]); without the `ousm` clips
// of highest CE (ties: the later clip goes first), mean of the rest; plus consistency * mean over the group of sum over
// classes of (softmax(logits) - softmax(teacher))^2. Reference section 4. dlogits = gradient * loss_scale *
// group_weight (1/number of groups over all ranks).
struct loss_forward_backward {
    const float *logits, *teacher; // [clips, classes] fp32; teacher NULL: no consistency
    const int32_t *label;          // [clips]
    const int32_t *partner;        // [clips] or NULL: not mixed
    const float *coefficient;      // [clips] or NULL
    int clips, group, classes, ousm;
    float smoothing, group_weight;
    const struct step_scalars *scalars;
    struct mat dlogits; // [clips, classes]
    float *losses;      // [clips/group, 3]: loss, ce, consistency (weighted: loss = ce + consistency)
};

// ---- optimizer: flat buffers --------------------------------------------------------------------------------------

enum { PARAMETER_ALIGN = 16 }; // every tensor starts at a multiple of so many elements of the flat buffer

// Sums of squares of n fp32 values, in double: one for every SQUARES_SPAN of them, and what these add up to, in a fixed
// order. In two operations, so that the first may be done in parts, here or elsewhere, without another result.
enum { SQUARES_SPAN = 8192 };
struct sum_squares {
    const float *x;
    size_t count;
    double *partial; // [ceil(count/SQUARES_SPAN)]
};
struct add_squares {
    const double *partial; // [count]
    size_t count;
    double *out; // [1]
};

// One step of AdamW (decoupled decay; Loshchilov and Hutter 2019, as torch.optim.AdamW) behind gradient clipping:
// g = gradient/loss_scale * min(1, clip/(norm+1e-6)), norm = sqrt(*square_norm)/loss_scale. If the norm is not finite
// nothing is changed. Then the work copy, and the EMA with its own work copy.
struct adamw {
    float *weight, *m, *v;
    const float *gradient;
    size_t count;
    const uint8_t *decay; // device [count/PARAMETER_ALIGN]: 1 where weight decay applies
    float beta1, beta2, eps, weight_decay;
    float clip; // <= 0: no clipping
    const double *square_norm;
    const struct step_scalars *scalars;
    enum dtype work_type; // of the two below; DTYPE_F32: there are none
    void *work;           // work copy of the weights, or NULL
    float *ema;           // or NULL
    void *ema_work;       // or NULL
};

// Blocks of PARAMETER_ALIGN fp32 values out of a flat buffer and back into one: packed[i] = flat[block[i]], and the other
// way round. Where block[i] < 0 nothing is done.
struct pack_blocks {
    const float *flat;
    const int32_t *block; // device [count]
    int count;
    float *packed; // [count, PARAMETER_ALIGN]
};
struct unpack_blocks {
    const float *packed;
    const int32_t *block;
    int count;
    float *flat;
};

// Dynamic loss scaling as torch.amp.GradScaler's, for fp16: one for the run in device memory, so that nothing of it waits
// for the host. A model whose gradient is not finite is not updated, and its count of steps (which the corrections of
// AdamW's moments follow) stands still; that gradient of any model makes the scale fall. The learning rate's schedule
// stands still in such steps as well: the published program steps its scheduler only where the scale has not fallen.
enum { SCALER_MODELS = 2 };
struct loss_scaler {
    float scale;
    uint32_t good;                 // steps in a row with finite gradients, since the scale last changed
    uint32_t skipped;              // steps in which the scale fell
    uint32_t taken[SCALER_MODELS]; // updates of each model
    double power1[SCALER_MODELS];  // beta1 and beta2 to the power of `taken`
    double power2[SCALER_MODELS];
};

// Between the squares of all models' gradients and their updates: lr and the bias corrections of the models' scalars,
// and the scale of the next step. scalars->loss_scale, by which this step's gradients are too large, stays.
struct update_scale {
    struct loss_scaler *scaler;                  // device
    struct step_scalars *scalars[SCALER_MODELS]; // device; NULL: there is no such model (the first is there)
    const double *square_norm[SCALER_MODELS];    // device
    float growth, backoff;                       // factors of the scale
    uint32_t interval;                           // good steps before it grows
    double beta1, beta2;
    // The schedule (reference section 4): warm-up to lr over `warmup` steps, then down to 0 at `steps`; the step is the
    // first model's scalars'.
    double lr;
    uint32_t warmup, steps;
};

// What several ranks computed, added up in double in the ranks' order and rounded once, as comm.h promises:
// out[i] = sum over r of parts[r*stride + i], then divided. out may be among the parts at the same i.
struct sum_ranks {
    const float *parts; // [ranks, stride]
    size_t stride, count;
    int ranks;
    float divisor;
    float *out; // [count]
};

// y = x converted (fp32 <-> work types)
struct convert {
    const void *x;
    void *y;
    enum dtype from, to;
    size_t count;
};

// ---- augmentation -------------------------------------------------------------------------------------------------

// What happens to one view of one clip, drawn on the host (core/train/augment.c): reference section 5, in the table's
// order.
struct augment_plan {
    int32_t clip;         // index in the set
    int32_t partner;      // clip whose face is put in, or -1
    int32_t first, count; // frames kept of the clip's: crop
    uint32_t flags;
    float cosine, sine; // rotation in x,y
    float factor[3];    // scale and distortion
    int32_t reserved;
};
enum augment_flag {
    AUGMENT_PARTNER_FLIP = 1,     // the partner has the other dominant hand: mirrored before its face is taken
    AUGMENT_FACE_KEEP_FLAT_Z = 2, // CODE: where z alone has no range, z is left as it was; else nothing is put in
    AUGMENT_FILL_HAND = 4,
    AUGMENT_INTERPOLATE = 8,
    AUGMENT_FLIP = 16
};
struct augment {
    const float *frames;             // the set: clip i is [count[i], 100, 3] at offset[i] (in floats)
    const int64_t *offset;           // device
    const int32_t *frame_count;      // device
    const struct augment_plan *plan; // device [views]
    int views, max_frames;
    float *out; // [views, max_frames, 100, 3], zero from plan.count on
};

// ---- the table ----------------------------------------------------------------------------------------------------

struct device_info {
    char name[128];
    size_t memory_total, memory_free;
    size_t memory_peak; // most that was in use at once since it was opened, where the device tells; else 0
    int threads;        // CPU threads, or multiprocessors
    int has_bf16;       // products in hardware, faster than fp32's: what `precision: auto` goes by
    char detail[256];   // instruction set, library versions
};

// The operations above, each a function of its struct's name: the table and all that fills or wraps it go by this list.
#define BACKEND_OPERATIONS(OP)                                                                                         \
    OP(linear_forward)                                                                                                 \
    OP(linear_backward_input)                                                                                          \
    OP(linear_backward_weight)                                                                                         \
    OP(embed_forward)                                                                                                  \
    OP(embed_backward)                                                                                                 \
    OP(batchnorm_forward)                                                                                              \
    OP(batchnorm_backward)                                                                                             \
    OP(maximum_forward)                                                                                                \
    OP(maximum_backward)                                                                                               \
    OP(pack_rows)                                                                                                      \
    OP(unpack_rows)                                                                                                    \
    OP(mixup_forward)                                                                                                  \
    OP(mixup_backward)                                                                                                 \
    OP(mean_forward)                                                                                                   \
    OP(mean_backward)                                                                                                  \
    OP(layernorm_forward)                                                                                              \
    OP(layernorm_backward)                                                                                             \
    OP(mish_forward)                                                                                                   \
    OP(mish_backward)                                                                                                  \
    OP(attention_forward)                                                                                              \
    OP(attention_backward)                                                                                             \
    OP(loss_forward_backward)                                                                                          \
    OP(sum_squares)                                                                                                    \
    OP(add_squares)                                                                                                    \
    OP(adamw)                                                                                                          \
    OP(pack_blocks)                                                                                                    \
    OP(unpack_blocks)                                                                                                  \
    OP(update_scale)                                                                                                   \
    OP(sum_ranks)                                                                                                      \
    OP(convert)                                                                                                        \
    OP(augment)

struct backend_ops {
    const char *kind; // "cpu" | "cuda"

    void (*close)(struct backend *b);
    void (*describe)(struct backend *b, struct device_info *info);
    void *(*allocate)(struct backend *b, size_t size, struct error *e); // zeroed, 64-byte aligned at least
    void (*release)(struct backend *b, void *p);
    // A device address of read-only host memory that stays where it is, or NULL where the device wants its own copy.
    const void *(*share)(struct backend *b, const void *host, size_t size);
    // Where the host reaches device memory (allocate's) directly, or NULL where it does not. Synchronize first.
    void *(*host_address)(struct backend *b, void *device);
    struct stream *(*stream_create)(struct backend *b, struct error *e);
    // One whose work the device takes up before that of others, where it knows precedence.
    struct stream *(*stream_create_urgent)(struct backend *b, struct error *e);
    void (*stream_destroy)(struct stream *s);
    // Waits until all that was queued is done; reports a device error of it.
    int (*synchronize)(struct stream *s, struct error *e);
    // The same without waiting: 1 where all is done, 0 where not yet; -1 with a device error. Downloads arrive with
    // synchronize alone.
    int (*poll)(struct stream *s, struct error *e);
    // `later` goes on only when what is queued on `earlier` so far is done.
    void (*order)(struct stream *earlier, struct stream *later);
    // The device's own name for the stream (CUDA: cudaStream_t), for libraries that queue on it; NULL: it has none.
    void *(*native_stream)(struct stream *s);
    void (*forget)(struct backend *b); // drops all packed copies of constant weights

    // Recordings; all five are NULL where the device has none, and none of them may be asked for then. From record_begin()
    // to record_end() on the same stream, what is queued on it - and on streams that order() lets follow it, which it must
    // follow again before the end - is not carried out but kept, with its arguments as they are. Nothing may be waited
    // for, allocated, or copied from or to the host meanwhile, so all that is recorded has been queued before with the
    // same shapes. -1, NULL: it cannot be, for the reason in *e; nothing was carried out, and the streams are as before.
    int (*record_begin)(struct stream *s, struct error *e);
    struct recording *(*record_end)(struct stream *s, struct error *e);
    // 0: what is queued on s is recorded, and the recording has failed already. For those who would queue on it by other
    // means than this table.
    int (*record_stands)(struct stream *s);
    // Queues all of it on the stream that it was begun on. What its operations read and write must be where it was.
    void (*replay)(struct stream *s, struct recording *r);
    void (*recording_destroy)(struct recording *r); // NULL is fine; before the streams that it was made on

    void (*upload)(struct stream *s, void *device, const void *host,
                   size_t size); // host memory may be reused after return
    void (*download)(struct stream *s, void *host, const void *device,
                     size_t size); // host memory is valid after synchronize
    void (*copy)(struct stream *s, void *to, const void *from, size_t size);
    void (*zero)(struct stream *s, void *p, size_t size);

#define BACKEND_MEMBER(name) void (*name)(struct stream * s, const struct name *a);
    BACKEND_OPERATIONS(BACKEND_MEMBER)
#undef BACKEND_MEMBER
};

struct backend {
    const struct backend_ops *op; // a device's own struct begins with this one
};

struct stream {
    const struct backend_ops *op; // likewise
    struct backend *backend;
};

// queue(s, mish_forward, .z = z, .residual = r, .y = y): one operation with named arguments.
#define queue(s, name, ...) ((s)->op->name((s), &(const struct name){__VA_ARGS__}))

// The CPU backend; threads <= 0: all cores this process may use. Never more than OpenMP's limit ($OMP_THREAD_LIMIT).
struct backend *backend_cpu_open(int threads, struct error *e);

#endif
