// The numbers that describe a recording and a prepared clip: reference-system.md, sections 1 and 2.
#ifndef ISLR_DATA_LANDMARK_H
#define ISLR_DATA_LANDMARK_H

#include "kernels/landmarks.h" // LANDMARKS and the groups of a prepared frame

enum {
    RAW_LANDMARKS = 543, // a recorded frame: face 0-467, left_hand 468-488, pose 489-521, right_hand 522-542
    RAW_FACE = 0,
    RAW_FACE_COUNT = 468,
    RAW_LEFT_HAND = 468,
    RAW_POSE = 489,
    RAW_POSE_COUNT = 33,
    RAW_RIGHT_HAND = 522,
    HAND_LANDMARKS = 21,

    // A prepared frame: left hand | right hand | silhouette | lips | arms | cheeks | left eye, right eye, left brow,
    // right brow, nose.
    LEFT_HAND_START = LANDMARK_LEFT_HAND,
    RIGHT_HAND_START = LANDMARK_RIGHT_HAND,
    SILHOUETTE_START = 42,
    LIPS_START = 60,
    ARMS_START = 81,
    CHEEKS_START = 93,
    AVERAGES_START = 95,
    NOSE = LANDMARK_NOSE
};

// Type of each prepared landmark: 1 left hand, 2 right hand, 3 silhouette, 4 lips, 5 arms, 6 cheeks and averages.
// Its landmark id is its position + 1; 0 is padding for both.
extern const unsigned char landmark_types[LANDMARKS];

#endif
