// What the figure of synthetic recordings does: signs, signers, and a clip of a signer's sign. Everything is a function
// of (seed, number): any clip can be made alone, in any order.
#ifndef ISLR_DATA_SYNTH_MOTION_H
#define ISLR_DATA_SYNTH_MOTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/data/synth_body.h"

// How hard the recordings are to tell apart: the only place where that is set. Lengths are in shoulder widths.
struct synth_difficulty {
    double sign_jitter;    // how far a sign's features lie from the common ones (places, handshapes, ..) it is made of
    double signer_place;   // a signer's habitual offset of the hands
    double signer_turn;    // .. of the hands' orientation, and of the camera; radians
    double signer_curl;    // .. of the fingers' curl
    double signer_variant; // share of signs that a signer makes with one feature of another sign
    double dialect;        // offset of the hands for each pair of signer and sign
    double clip_place;     // offset of the hands from clip to clip
    double noise;          // of each landmark in each frame: the median signer's
    double jitter;         // of each part as a whole, lasting some frames: the median signer's
    double drop;           // share of the frames of a moving hand in which it is not detected
    double face_drop;      // share of the clips in which the face is missing for some time
};
extern const struct synth_difficulty synth_difficulty;

enum synth_movement { SYNTH_STRAIGHT, SYNTH_ARC, SYNTH_CIRCLE, SYNTH_WIGGLE, SYNTH_TWIST, SYNTH_TAP, SYNTH_MOVEMENTS };
enum synth_hands { SYNTH_ONE_HAND, SYNTH_MIRRORED, SYNTH_ALTERNATING, SYNTH_ON_OTHER };

// The hands are the dominant one and the other, in lateral coordinates.
struct synth_sign {
    double place[3];                                 // of the dominant wrist at the start; u, y, z
    double direction[3];                             // and length of the movement
    double orientation[2][3], curl[2][5], spread[2]; // at the start and the end
    enum synth_movement movement;
    enum synth_hands hands;
    int repeats;     // 1..3
    double duration; // factor
    double mouth_open, smile, brows, nod, shake;
};

struct synth_signer {
    struct synth_build build;
    struct synth_camera camera;
    bool left_handed;
    double speed, size; // of the movements; factors
    double place[3], orientation[3], curl;
    double noise, jitter, drop, rest_seen; // rest_seen: how often a resting hand is in the picture
};

struct synth_sign synth_sign_make(uint64_t seed, int sign);
struct synth_signer synth_signer_make(uint64_t seed, int signer);

enum { SYNTH_MIN_FRAMES = 2, SYNTH_MAX_FRAMES = 200 };

// Clip number `clip`: signer `signer` makes sign `sign` (of `signs`). Returns the number of frames and sets *x to
// malloc'ed [frames, RAW_LANDMARKS, 3], NaN where a part is missing.
int synth_clip_make(uint64_t seed, int64_t clip, int signer, int sign, int signs, double **x);

#endif
