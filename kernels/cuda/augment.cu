// Augmentation of views as their plans say, in the order of the reference's table (section 5): backend.h, struct
// augment. A block makes one view.
//
// No step writes an intermediate clip: each value of the result is a function of the clip (and of the partner whose
// face is put in), read back through the steps. What steps need of the whole clip is found first and kept in shared
// memory: where the two faces lie, in which frames a hand is filled in, which values are known.
#include "kernels/cuda/kernel.cuh"

enum {
    COLUMNS = LANDMARKS * 3,
    FRAMES_MOST = 512, // of a clip: job files allow no more
    WORDS = FRAMES_MOST / 32,
    FACE_FIRST = LANDMARK_SILHOUETTE, // silhouette and lips follow one another,
    FACE_RUN = LANDMARK_ARMS - LANDMARK_SILHOUETTE,
    WHOLE_FACE = FACE_RUN + CHEEKS_POINTS // then cheeks and averages: what face cutmix replaces
};

__device__ static const uint8_t mirror_table[LANDMARKS] = LANDMARK_MIRROR_TABLE;

namespace
{

// How the partner's face is placed.
struct face {
    int placed; // 0: the clip keeps its own
    int place[3];
    float scale[3], low[3], old_low[3];
};

struct clip {
    const float *x; // [frames, 100, 3]
    int frames;
    const float *other; // the partner
    int other_frames, flip_other;
};

} // namespace

__device__ static inline int face_landmark(int point)
{
    return point < FACE_RUN ? FACE_FIRST + point : LANDMARK_CHEEKS + point - FACE_RUN;
}

__device__ static inline bool is_face(int landmark)
{
    return (landmark >= FACE_FIRST && landmark < LANDMARK_ARMS) || landmark >= LANDMARK_CHEEKS;
}

// ---- face cutmix --------------------------------------------------------------------------------------------------

// The partner's face stretched to the clip's frames: linear between samples at half pixels.
__device__ static inline float stretched(const struct clip &clip, int frame, int landmark, int coordinate)
{
    double at = (frame + 0.5) * clip.other_frames / clip.frames - 0.5;
    at = fmin(fmax(at, 0.0), static_cast<double>(clip.other_frames - 1));
    int low = static_cast<int>(at), high = low + 1 < clip.other_frames ? low + 1 : clip.other_frames - 1;
    float share = static_cast<float>(at - low);
    int column = (clip.flip_other ? mirror_table[landmark] : landmark) * 3 + coordinate;
    float v = clip.other[low * COLUMNS + column] * (1 - share) + clip.other[high * COLUMNS + column] * share;
    return clip.flip_other && coordinate == 0 ? -v : v;
}

// Scales that take the new face's extents to the old one's. Every thread gets the same.
__device__ static inline struct face fit_face(const struct clip &clip, uint32_t flags)
{
    struct face face = {1, {}, {}, {}, {}};
    for (int c = 0; c < 3; c++) {
        float low = INFINITY, high = -INFINITY, old_low = INFINITY, old_high = -INFINITY;
        for (int i = threadIdx.x; i < clip.frames * WHOLE_FACE; i += blockDim.x) {
            int frame = i / WHOLE_FACE, landmark = face_landmark(i % WHOLE_FACE);
            float v = stretched(clip, frame, landmark, c), old = clip.x[frame * COLUMNS + landmark * 3 + c];
            low = fminf(low, v), high = fmaxf(high, v);
            old_low = fminf(old_low, old), old_high = fmaxf(old_high, old);
        }
        face.low[c] = -block_max(-low);
        face.old_low[c] = -block_max(-old_low);
        float extent = block_max(high) - face.low[c], old_extent = block_max(old_high) - face.old_low[c];
        face.place[c] = extent > 0;
        face.scale[c] = face.place[c] ? old_extent / extent : 0;
        if (!face.place[c] && (c < 2 || !(flags & AUGMENT_FACE_KEEP_FLAT_Z)))
            face.placed = 0;
    }
    return face;
}

__device__ static inline float with_face(const struct clip &clip, const struct face &face, int frame, int landmark,
                                         int coordinate)
{
    if (!face.placed || !face.place[coordinate] || !is_face(landmark))
        return clip.x[frame * COLUMNS + landmark * 3 + coordinate];
    return (stretched(clip, frame, landmark, coordinate) - face.low[coordinate]) * face.scale[coordinate] +
           face.old_low[coordinate];
}

// ---- missing hands ------------------------------------------------------------------------------------------------

__device__ static inline bool hand_missing(const struct clip &clip, int frame, int first)
{
    for (int i = first; i < first + HAND_POINTS; i++)
        if (clip.x[frame * COLUMNS + i * 3] != 0)
            return false;
    return true;
}

// fill[frame] = 1: the left hand becomes the mirror image of the right one about the nose; 2: the right hand; 0:
// neither.
__device__ static inline void find_missing_hands(const struct clip &clip, const struct face &face, shared<uint8_t> fill,
                                                 bool wanted)
{
    for (int f = threadIdx.x; f < clip.frames; f += blockDim.x) {
        bool left = wanted && hand_missing(clip, f, LANDMARK_LEFT_HAND);
        bool right = wanted && hand_missing(clip, f, LANDMARK_RIGHT_HAND);
        bool one = left != right && with_face(clip, face, f, LANDMARK_NOSE, 0) != 0;
        fill[f] = static_cast<uint8_t>(one ? (left ? 1 : 2) : 0);
    }
}

__device__ static inline float with_hands(const struct clip &clip, const struct face &face, shared<uint8_t> fill,
                                          int frame, int landmark, int coordinate)
{
    int missing = fill[frame], hand = landmark < LANDMARK_RIGHT_HAND ? 1 : 2;
    if (missing != hand || landmark >= LANDMARK_SILHOUETTE)
        return with_face(clip, face, frame, landmark, coordinate);
    int from = hand == 1 ? landmark + HAND_POINTS : landmark - HAND_POINTS;
    float v = clip.x[frame * COLUMNS + from * 3 + coordinate];
    return coordinate == 0 ? 2 * with_face(clip, face, frame, LANDMARK_NOSE, 0) - v : v;
}

// ---- interpolation ------------------------------------------------------------------------------------------------

// Bit f%32 of known[column*WORDS + f/32]: the column's value in frame f is there. A warp takes a column.
__device__ static inline void find_known(const struct clip &clip, const struct face &face, shared<uint8_t> fill,
                                         shared<unsigned> known)
{
    for (int column = warp_index(); column < COLUMNS; column += blockDim.x / WARP_SIZE)
        for (int first = 0; first < clip.frames; first += WARP_SIZE) {
            int f = first + lane_index();
            bool there = f < clip.frames && with_hands(clip, face, fill, f, column / 3, column % 3) != 0;
            unsigned bits = __ballot_sync(ALL_LANES, there);
            if (lane_index() == 0)
                known[column * WORDS + first / WARP_SIZE] = bits;
        }
}

// A missing value between the known ones before and behind; zero if fewer than two are known.
__device__ static inline float interpolated(const struct clip &clip, const struct face &face, shared<uint8_t> fill,
                                            shared<unsigned> known, int frame, int landmark, int coordinate)
{
    int column = landmark * 3 + coordinate, count = 0, before = -1, behind = clip.frames;
    for (int w = 0; w < (clip.frames + 31) / 32; w++) {
        unsigned bits = known[column * WORDS + w];
        int first = w * 32, at = frame - first; // bits below `at` are before the frame
        unsigned below = at >= 32 ? bits : at <= 0 ? 0 : bits & ((1u << at) - 1), above = bits & ~below;
        count += __popc(bits);
        if (below)
            before = first + 31 - __clz(static_cast<int>(below));
        if (above && behind == clip.frames)
            behind = first + __ffs(static_cast<int>(above)) - 1;
    }
    if (count < 2)
        return 0;
    float low = before < 0 ? 0 : with_hands(clip, face, fill, before, landmark, coordinate);
    float high = behind == clip.frames ? low : with_hands(clip, face, fill, behind, landmark, coordinate);
    if (before < 0)
        return high;
    float share = static_cast<float>(frame - before) / static_cast<float>(behind - before);
    return low + (high - low) * share;
}

// ---- views --------------------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(THREADS) augment_kernel(struct augment a)
{
    SHARED(uint8_t, fill, FRAMES_MOST);
    SHARED(unsigned, known, COLUMNS *WORDS);
    const struct augment_plan p = a.plan[blockIdx.x];
    struct clip clip = {a.frames + a.offset[p.clip], a.frame_count[p.clip], NULL, 0, 0};
    struct face face = {};
    if (p.partner >= 0) {
        clip.other = a.frames + a.offset[p.partner];
        clip.other_frames = a.frame_count[p.partner];
        clip.flip_other = (p.flags & AUGMENT_PARTNER_FLIP) != 0;
        face = fit_face(clip, p.flags);
    }
    find_missing_hands(clip, face, fill, (p.flags & AUGMENT_FILL_HAND) != 0);
    __syncthreads();
    if (p.flags & AUGMENT_INTERPOLATE)
        find_known(clip, face, fill, known);
    __syncthreads();
    float *out = a.out + static_cast<size_t>(blockIdx.x) * a.max_frames * COLUMNS;
    for (int i = threadIdx.x; i < p.count * LANDMARKS; i += blockDim.x) {
        int f = p.first + i / LANDMARKS, to = i % LANDMARKS, from = p.flags & AUGMENT_FLIP ? mirror_table[to] : to;
        float v[3];
        for (int c = 0; c < 3; c++) {
            v[c] = with_hands(clip, face, fill, f, from, c);
            if (v[c] == 0 && (p.flags & AUGMENT_INTERPOLATE))
                v[c] = interpolated(clip, face, fill, known, f, from, c);
        }
        float across = p.flags & AUGMENT_FLIP ? -v[0] : v[0];
        out[i * 3] = (p.cosine * across - p.sine * v[1]) * p.factor[0];
        out[i * 3 + 1] = (p.sine * across + p.cosine * v[1]) * p.factor[1];
        out[i * 3 + 2] = v[2] * p.factor[2];
    }
    for (int i = p.count * COLUMNS + threadIdx.x; i < a.max_frames * COLUMNS; i += blockDim.x)
        out[i] = 0;
}

void cuda_augment(struct stream *s, const struct augment *a)
{
    LAUNCH(s, (launch_shape{dim3(static_cast<unsigned>(a->views)), dim3(THREADS), 0}), augment_kernel, *a);
}
