// The 100 landmarks of a prepared clip: their order, types and mirror images (reference: published preparation).
//   0..20 left hand | 21..41 right hand | 42..59 silhouette | 60..80 lips | 81..92 arms | 93..94 cheeks |
//   95 left eye, 96 right eye, 97 left brow, 98 right brow, 99 nose (averages)
#ifndef ISLR_KERNELS_LANDMARKS_H
#define ISLR_KERNELS_LANDMARKS_H

#include <stdint.h>

enum {
    LANDMARKS = 100,
    LANDMARK_NOSE = 99,
    LANDMARK_LEFT_HAND = 0, // first of 21
    LANDMARK_RIGHT_HAND = 21,
    LANDMARK_SILHOUETTE = 42, // first of 18
    LANDMARK_LIPS = 60,       // first of 21
    LANDMARK_ARMS = 81,
    LANDMARK_CHEEKS = 93, // first of 7: cheeks and the five averages share a type
    HAND_POINTS = 21,
    SILHOUETTE_POINTS = 18,
    LIPS_POINTS = 21,
    CHEEKS_POINTS = 7,
    FACE_POINTS = 25 // silhouette, then cheeks and averages: the input of face_mlp, in that order
};

enum landmark_type {
    TYPE_PADDING,
    TYPE_LEFT_HAND,
    TYPE_RIGHT_HAND,
    TYPE_SILHOUETTE,
    TYPE_LIPS,
    TYPE_ARMS,
    TYPE_CHEEKS
};
enum { LANDMARK_TYPES = 9 }; // rows of type_embed; the published model has two spare ones

#if defined(__CUDACC__)
#define LANDMARK_FUNCTION static inline __host__ __device__
#else
#define LANDMARK_FUNCTION static inline
#endif

LANDMARK_FUNCTION int landmark_type(int landmark)
{
    return landmark < LANDMARK_RIGHT_HAND   ? TYPE_LEFT_HAND
           : landmark < LANDMARK_SILHOUETTE ? TYPE_RIGHT_HAND
           : landmark < LANDMARK_LIPS       ? TYPE_SILHOUETTE
           : landmark < LANDMARK_ARMS       ? TYPE_LIPS
           : landmark < LANDMARK_CHEEKS     ? TYPE_ARMS
                                            : TYPE_CHEEKS;
}

// clang-format off
#define LANDMARK_MIRROR_TABLE { \
    21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, \
     0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, \
    42, 52, 53, 54, 55, 47, 56, 57, 58, 59, 43, 44, 45, 46, 48, 49, 50, 51, \
    60, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, \
    82, 81, 84, 83, 86, 85, 88, 87, 90, 89, 92, 91, 94, 93, 96, 95, 98, 97, 99 }
// clang-format on

#endif
