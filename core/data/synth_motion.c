// Signs, signers and clips of synthetic recordings: see synth_motion.h. A sign is put together from a small stock of
// places, directions, handshapes and orientations, as signs of real languages are, so that some signs differ in one
// feature only.
#include "core/data/synth_motion.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

const struct synth_difficulty synth_difficulty = {.sign_jitter = 0.04,
                                                  .signer_place = 0.10,
                                                  .signer_turn = 0.25,
                                                  .signer_curl = 0.12,
                                                  .signer_variant = 0.07,
                                                  .dialect = 0.10,
                                                  .clip_place = 0.06,
                                                  .noise = 0.004,
                                                  .jitter = 0.015,
                                                  .drop = 0.15,
                                                  .face_drop = 0.06};

// Streams of random numbers: the detail of RNG_SYNTH.
enum { STREAM_SIGN = 1, STREAM_SIGNER, STREAM_DIALECT, STREAM_CLIP, STREAM_NOISE };

static const double places[][3] = {{0.12, -0.95, -0.40}, // forehead
                                   {0.34, -0.68, -0.30}, // cheek
                                   {0.06, -0.36, -0.45}, // chin
                                   {0.08, 0.22, -0.35},  // chest
                                   {0.48, 0.02, -0.30},  // own shoulder
                                   {-0.36, 0.12, -0.35}, // other shoulder
                                   {0.34, 0.48, -0.62},  // before the body
                                   {0.75, 0.05, -0.45},  // at the side
                                   {0.28, 0.85, -0.40}}; // waist
static const double directions[][3] = {{0.38, 0, 0},  {-0.38, 0, 0},   {0, 0.36, 0},     {0, -0.36, 0},
                                       {0, 0, -0.42}, {0.28, 0.26, 0}, {-0.28, 0.26, 0}, {0.26, -0.26, -0.15}};
static const struct {
    double curl[5], spread;
} handshapes[] = {{{0.9, 1.0, 1.0, 1.0, 1.0}, 0.05},  // fist
                  {{0.1, 0.0, 0.0, 0.0, 0.0}, 0.25},  // open
                  {{0.8, 0.0, 0.0, 0.0, 0.0}, 0.03},  // flat
                  {{0.9, 0.0, 1.0, 1.0, 1.0}, 0.10},  // point
                  {{0.9, 0.0, 0.0, 1.0, 1.0}, 0.25},  // V
                  {{0.9, 0.0, 0.0, 0.0, 1.0}, 0.20},  // W
                  {{0.0, 1.0, 1.0, 1.0, 1.0}, 0.05},  // thumb
                  {{0.0, 1.0, 1.0, 1.0, 0.0}, 0.20},  // Y
                  {{0.0, 0.0, 1.0, 1.0, 1.0}, 0.10},  // L
                  {{0.3, 0.5, 0.5, 0.5, 0.5}, 0.05},  // C
                  {{0.4, 0.6, 0.6, 0.6, 0.6}, 0.30},  // claw
                  {{0.9, 1.0, 1.0, 1.0, 0.0}, 0.05}}; // little finger
static const double orientations[][3] = {{0, 0, 0},        {0, 0, M_PI_2},    {0, 0, -M_PI_2}, {M_PI_2, 0, 0},
                                         {M_PI_2, 0, 1.4}, {-0.6, -0.9, 0.4}, {0, 1.1, M_PI},  {0.7, -1.2, 0}};
static const double resting[3] = {0.42, 1.20, -0.10};

static void add_normal(struct rng *r, double deviation, double *v, int count)
{
    for (int i = 0; i < count; i++)
        v[i] += deviation * rng_normal(r);
}

static double log_normal(struct rng *r, double deviation)
{
    return exp(deviation * rng_normal(r));
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

// The features of a sign at one of its ends.
static void draw_shape(struct rng *r, struct synth_sign *s, int end)
{
    uint32_t shape = rng_below(r, COUNT(handshapes));
    memcpy(s->curl[end], handshapes[shape].curl, sizeof s->curl[end]);
    s->spread[end] = handshapes[shape].spread;
    memcpy(s->orientation[end], orientations[rng_below(r, COUNT(orientations))], sizeof s->orientation[end]);
}

static struct synth_sign draw_sign(struct rng *r)
{
    const struct synth_difficulty *d = &synth_difficulty;
    struct synth_sign s = {.duration = log_normal(r, 0.2)};
    memcpy(s.place, places[rng_below(r, COUNT(places))], sizeof s.place);
    memcpy(s.direction, directions[rng_below(r, COUNT(directions))], sizeof s.direction);
    draw_shape(r, &s, 0);
    draw_shape(r, &s, 1);
    if (rng_uniform(r) < 0.6) { // most signs keep their handshape,
        memcpy(s.curl[1], s.curl[0], sizeof s.curl[1]);
        s.spread[1] = s.spread[0];
    }
    if (rng_uniform(r) < 0.6) // and their orientation
        memcpy(s.orientation[1], s.orientation[0], sizeof s.orientation[1]);
    s.movement = (enum synth_movement)rng_below(r, SYNTH_MOVEMENTS);
    s.repeats = 1 + (int)rng_below(r, 3);
    double u = rng_uniform(r);
    s.hands = u < 0.50 ? SYNTH_ONE_HAND : u < 0.75 ? SYNTH_MIRRORED : u < 0.87 ? SYNTH_ALTERNATING : SYNTH_ON_OTHER;
    add_normal(r, d->sign_jitter, s.place, 3);
    add_normal(r, d->sign_jitter, s.direction, 3);
    for (int end = 0; end < 2; end++) {
        add_normal(r, 3 * d->sign_jitter, s.orientation[end], 3);
        add_normal(r, d->sign_jitter, s.curl[end], 5);
    }
    s.mouth_open = fmax(0, 0.6 * rng_uniform(r) - 0.1);
    s.smile = 0.6 * rng_normal(r);
    s.brows = 0.5 * rng_normal(r);
    s.nod = rng_uniform(r) < 0.2 ? 0.2 : 0;
    s.shake = rng_uniform(r) < 0.15 ? 0.25 : 0;
    return s;
}

struct synth_sign synth_sign_make(uint64_t seed, int sign)
{
    struct rng r = rng_make(seed, RNG_SYNTH, STREAM_SIGN, (uint32_t)sign, 0);
    return draw_sign(&r);
}

struct synth_signer synth_signer_make(uint64_t seed, int signer)
{
    const struct synth_difficulty *d = &synth_difficulty;
    struct rng rng = rng_make(seed, RNG_SYNTH, STREAM_SIGNER, (uint32_t)signer, 0), *r = &rng;
    struct synth_signer s = {.left_handed = rng_uniform(r) < 0.15};
    s.build = (struct synth_build){log_normal(r, 0.05), log_normal(r, 0.08), log_normal(r, 0.05), log_normal(r, 0.06),
                                   log_normal(r, 0.06)};
    s.camera = (struct synth_camera){.x = 0.5 + 0.05 * rng_normal(r),
                                     .y = 0.52 + 0.05 * rng_normal(r),
                                     .scale = 0.36 * log_normal(r, 0.15),
                                     .aspect = rng_uniform(r) < 0.7 ? 0.75 : 1.0};
    add_normal(r, d->signer_turn, s.camera.turn, 1);
    add_normal(r, 0.5 * d->signer_turn, s.camera.turn + 1, 1);
    add_normal(r, 0.3 * d->signer_turn, s.camera.turn + 2, 1);
    s.speed = log_normal(r, 0.25);
    s.size = log_normal(r, 0.18);
    add_normal(r, d->signer_place, s.place, 3);
    add_normal(r, d->signer_turn, s.orientation, 3);
    s.curl = d->signer_curl * rng_normal(r);
    s.noise = d->noise * log_normal(r, 0.35);
    s.jitter = d->jitter * log_normal(r, 0.35);
    s.drop = clamp(d->drop * log_normal(r, 0.5), 0, 0.5);
    s.rest_seen = rng_uniform(r) < 0.3 ? 0.5 : 0.05;
    return s;
}

// How this signer makes this sign: the sign, a little off, and now and then with a feature of another one.
static struct synth_sign apply_dialect(uint64_t seed, const struct synth_signer *signer, int signer_number, int sign,
                                       int signs)
{
    const struct synth_difficulty *d = &synth_difficulty;
    struct rng rng = rng_make(seed, RNG_SYNTH, STREAM_DIALECT, (uint32_t)signer_number, (uint32_t)sign), *r = &rng;
    struct synth_sign s = synth_sign_make(seed, sign);
    struct synth_sign other = synth_sign_make(seed, (int)rng_below(r, (uint32_t)signs));
    bool variant = rng_uniform(r) < d->signer_variant;
    uint32_t feature = rng_below(r, 4);
    if (variant && feature == 0)
        memcpy(s.place, other.place, sizeof s.place);
    else if (variant && feature == 1)
        memcpy(s.curl, other.curl, sizeof s.curl);
    else if (variant && feature == 2)
        memcpy(s.orientation, other.orientation, sizeof s.orientation);
    else if (variant)
        s.hands = s.hands == SYNTH_ONE_HAND ? SYNTH_MIRRORED : SYNTH_ONE_HAND;
    for (int i = 0; i < 3; i++) {
        s.place[i] += signer->place[i] + d->dialect * rng_normal(r);
        s.direction[i] *= signer->size;
    }
    for (int end = 0; end < 2; end++) {
        for (int i = 0; i < 3; i++)
            s.orientation[end][i] += signer->orientation[i] + 2 * d->dialect * rng_normal(r);
        for (int i = 0; i < 5; i++)
            s.curl[end][i] += signer->curl + d->dialect * rng_normal(r);
    }
    return s;
}

// ---- a clip ---------------------------------------------------------------------------------------------------------

static double smooth(double t) // 0..1, at rest at both ends
{
    t = clamp(t, 0, 1);
    return t * t * (3 - 2 * t);
}

// Where the stroke of a sign stands: q 0..1.
static void stroke_hand(const struct synth_sign *s, double q, struct synth_hand *h)
{
    double beat = 0.5 - 0.5 * cos(2 * M_PI * s->repeats * q); // there and back, `repeats` times
    double along = s->repeats == 1 ? smooth(q) : beat, t = smooth(q);
    const double *d = s->direction;
    double length = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), angle = 2 * M_PI * s->repeats * q;
    memcpy(h->wrist, s->place, sizeof h->wrist);
    for (int i = 0; i < 3; i++)
        h->orientation[i] = s->orientation[0][i] + t * (s->orientation[1][i] - s->orientation[0][i]);
    for (int i = 0; i < 5; i++)
        h->curl[i] = s->curl[0][i] + t * (s->curl[1][i] - s->curl[0][i]);
    h->spread = s->spread[0] + t * (s->spread[1] - s->spread[0]);
    switch (s->movement) {
    case SYNTH_ARC:
        h->wrist[1] -= 0.5 * length * sin(M_PI * along);
        h->wrist[2] -= 0.3 * length * sin(M_PI * along);
        // fall through
    case SYNTH_STRAIGHT:
    case SYNTH_MOVEMENTS:
        for (int i = 0; i < 3; i++)
            h->wrist[i] += along * d[i];
        break;
    case SYNTH_CIRCLE:
        h->wrist[0] += 0.45 * length * (cos(angle) - 1) * (d[0] < 0 ? -1 : 1);
        h->wrist[1] += 0.45 * length * sin(angle);
        break;
    case SYNTH_WIGGLE:
        for (int i = 1; i < 5; i++)
            h->curl[i] += 0.3 * sin(3 * angle + 1.2 * i);
        for (int i = 0; i < 3; i++)
            h->wrist[i] += 0.4 * t * d[i];
        break;
    case SYNTH_TWIST:
        h->orientation[2] += 0.9 * sin(2 * M_PI * s->repeats * q);
        break;
    case SYNTH_TAP:
        h->wrist[1] += 0.16 * beat;
        h->wrist[2] += 0.22 * beat;
        break;
    }
    for (int i = 0; i < 5; i++)
        h->curl[i] = clamp(h->curl[i], -0.05, 1.05);
}

static void rest_hand(struct synth_hand *h)
{
    *h = (struct synth_hand){.orientation = {2.9, 0, 1.2}, .curl = {0.3, 0.4, 0.4, 0.4, 0.4}, .spread = 0.05};
    memcpy(h->wrist, resting, sizeof h->wrist);
}

// w 0: as it is; 1: as `to`.
static void blend_hand(struct synth_hand *h, const struct synth_hand *to, double w)
{
    for (int i = 0; i < 3; i++) {
        h->wrist[i] += w * (to->wrist[i] - h->wrist[i]);
        h->orientation[i] += w * (to->orientation[i] - h->orientation[i]);
    }
    for (int i = 0; i < 5; i++)
        h->curl[i] += w * (to->curl[i] - h->curl[i]);
    h->spread += w * (to->spread - h->spread);
}

// A take: what one clip shows of the whole, which is raise (0 to 0.2), stroke, lower (0.85 to 1).
struct take {
    double from, to;
    double place[3]; // offset
    double mouth, blink_at;
};
static const double RAISED = 0.2, LOWERED = 0.85;

static void pose_hands(const struct synth_sign *s, const struct take *take, double tau, struct synth_hand hands[2])
{
    double q = clamp((tau - RAISED) / (LOWERED - RAISED), 0, 1);
    double rest = 1 - smooth(tau / RAISED) + smooth((tau - LOWERED) / (1 - LOWERED));
    struct synth_hand still;
    rest_hand(&still);
    stroke_hand(s, q, &hands[0]);
    for (int i = 0; i < 3; i++)
        hands[0].wrist[i] += take->place[i];
    hands[1] = hands[0];
    if (s->hands == SYNTH_ALTERNATING) {
        stroke_hand(s, fmod(q + 0.5 / s->repeats, 1), &hands[1]);
    } else if (s->hands == SYNTH_ON_OTHER) { // a flat hand before the chest, to which the other one comes
        hands[1] = (struct synth_hand){.wrist = {0.22, 0.45, -0.5}, .orientation = {1.2, -0.8, 0}, .spread = 0.05};
    } else if (s->hands == SYNTH_ONE_HAND) {
        hands[1] = still;
    }
    blend_hand(&hands[0], &still, rest);
    blend_hand(&hands[1], &still, rest);
}

static void pose_figure(const struct synth_sign *s, const struct synth_signer *signer, const struct take *take,
                        double tau, struct synth_posture *p)
{
    struct synth_hand hands[2];
    pose_hands(s, take, tau, hands);
    int dominant = signer->left_handed ? LEFT : RIGHT;
    *p = (struct synth_posture){.lean = {0.02 * sin(3 * tau), 0.01 * cos(2 * tau)}};
    p->hands[dominant] = hands[0];
    p->hands[!dominant] = hands[1];
    double act = smooth(tau / RAISED) * (1 - smooth((tau - LOWERED) / (1 - LOWERED)));
    p->face = (struct synth_face){.turn = {s->shake * sin(14 * tau) * act, s->nod * sin(12 * tau) * act, 0},
                                  .mouth_open = s->mouth_open * act * take->mouth * (0.6 + 0.4 * sin(11 * tau)),
                                  .smile = s->smile * act,
                                  .brows = s->brows * act,
                                  .eyes = fabs(tau - take->blink_at) < 0.03 ? 0 : 1};
}

static const struct {
    int first, count;
} parts[4] = {{RAW_FACE, RAW_FACE_COUNT},
              {RAW_LEFT_HAND, HAND_LANDMARKS},
              {RAW_POSE, RAW_POSE_COUNT},
              {RAW_RIGHT_HAND, HAND_LANDMARKS}};

// Noise of each landmark: sums of four uniforms of 16 bits are normal enough, and cheap.
static void add_noise(struct rng *r, double deviation, double *x)
{
    const double scale = deviation * sqrt(3.0) / 65536; // four uniforms of width 65536 deviate by 65536 / sqrt(3)
    for (int i = 0; i < RAW_LANDMARKS * 3; i += 2) {
        uint32_t w[4] = {rng_u32(r), rng_u32(r), rng_u32(r), rng_u32(r)};
        for (int k = 0; k < 2 && i + k < RAW_LANDMARKS * 3; k++) {
            double sum =
                (double)(w[2 * k] & 0xFFFF) + (w[2 * k] >> 16) + (w[2 * k + 1] & 0xFFFF) + (w[2 * k + 1] >> 16);
            x[i + k] += scale * (sum - 2 * 65535.0);
        }
    }
}

// Moves each part by its jitter [4, 3], which goes on from the frame before.
static void add_jitter(struct rng *r, double deviation, double jitter[4][3], double *x)
{
    const double memory = 0.7;
    for (int part = 0; part < 4; part++) {
        for (int axis = 0; axis < 3; axis++)
            jitter[part][axis] = memory * jitter[part][axis] + sqrt(1 - memory * memory) * deviation * rng_normal(r);
        for (int i = 0; i < parts[part].count; i++)
            for (int axis = 0; axis < 3; axis++)
                x[(parts[part].first + i) * 3 + axis] += jitter[part][axis];
    }
}

static void lose(double *frame, int first, int count)
{
    for (int i = first * 3; i < (first + count) * 3; i++)
        frame[i] = NAN;
}

// Missing parts: a hand goes missing in bursts, at rest or out of the picture mostly, the face seldom.
static void lose_parts(struct rng *r, const struct synth_signer *signer, int frames, double *x)
{
    static const int first[2] = {RAW_LEFT_HAND, RAW_RIGHT_HAND};
    for (int side = LEFT; side <= RIGHT; side++) {
        bool lost = false;
        for (int f = 0; f < frames; f++) {
            double *frame = x + (size_t)f * RAW_LANDMARKS * 3, wrist_y = frame[first[side] * 3 + 1];
            bool down = wrist_y > signer->camera.y + 0.95 * signer->camera.scale * signer->camera.aspect;
            double share = wrist_y > 1.02 ? 1 : down ? 1 - signer->rest_seen : signer->drop;
            double ends = 0.35; // chance that a burst ends, so that bursts begin with the chance that gives the share
            double begins = share >= 1 ? 1 : fmin(1, ends * share / (1 - share));
            lost = share >= 1 || rng_uniform(r) < (lost ? 1 - ends : begins);
            if (lost)
                lose(frame, first[side], HAND_LANDMARKS);
        }
    }
    double u = rng_uniform(r), from = rng_uniform(r), length = rng_uniform(r);
    if (u >= synth_difficulty.face_drop)
        return;
    for (int f = (int)(from * frames); f < frames && f <= (from + length) * frames; f++)
        lose(x + (size_t)f * RAW_LANDMARKS * 3, RAW_FACE, RAW_FACE_COUNT);
}

// Frames at 30 a second: 10 to 60 mostly.
static int draw_length(struct rng *r, const struct synth_sign *s, const struct synth_signer *signer)
{
    double frames = 28 * s->duration / signer->speed * log_normal(r, 0.25), u = rng_uniform(r);
    if (u < 0.01) // the detector lost the signer
        frames = 2 + 6 * rng_uniform_double(r);
    else if (u > 0.985) // nobody stopped the camera
        frames *= 2.5 + 2 * rng_uniform_double(r);
    return (int)clamp(frames, SYNTH_MIN_FRAMES, SYNTH_MAX_FRAMES);
}

int synth_clip_make(uint64_t seed, int64_t clip, int signer_number, int sign, int signs, double **x)
{
    const struct synth_difficulty *d = &synth_difficulty;
    struct rng rng = rng_make(seed, RNG_SYNTH, STREAM_CLIP, (uint32_t)clip, (uint32_t)(clip >> 32)), *r = &rng;
    struct rng noise = rng_make(seed, RNG_SYNTH, STREAM_NOISE, (uint32_t)clip, (uint32_t)(clip >> 32));
    struct synth_signer signer = synth_signer_make(seed, signer_number);
    struct synth_sign s = apply_dialect(seed, &signer, signer_number, sign, signs);
    int frames = draw_length(r, &s, &signer);
    struct take take = {.from = 0.18 * rng_uniform_double(r),
                        .to = 0.80 + 0.18 * rng_uniform_double(r),
                        .mouth = log_normal(r, 0.3),
                        .blink_at = 4 * rng_uniform_double(r)};
    add_normal(r, d->clip_place, take.place, 3);
    signer.camera.x += 0.01 * rng_normal(r);
    signer.camera.y += 0.01 * rng_normal(r);
    *x = xcalloc((size_t)frames * RAW_LANDMARKS * 3, sizeof **x);
    double jitter[4][3] = {{0}};
    for (int f = 0; f < frames; f++) {
        struct synth_posture p;
        double *frame = *x + (size_t)f * RAW_LANDMARKS * 3;
        double tau = take.from + (take.to - take.from) * (frames > 1 ? (double)f / (frames - 1) : 0.5);
        pose_figure(&s, &signer, &take, tau, &p);
        synth_body_project(&p, &signer.build, &signer.camera, frame);
        add_noise(&noise, signer.noise * signer.camera.scale, frame);
        add_jitter(&noise, signer.jitter * signer.camera.scale, jitter, frame);
    }
    lose_parts(r, &signer, frames, *x);
    // Coordinates in steps of 2^-13 of the picture, about a tenth of a pixel: files take a third of the room.
    for (size_t i = 0; i < (size_t)frames * RAW_LANDMARKS * 3; i++)
        (*x)[i] = rint((*x)[i] * 8192) / 8192;
    return frames;
}
