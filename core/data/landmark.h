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
    HAND_LANDMARKS = HAND_POINTS,

    // A prepared frame: left hand | right hand | silhouette | lips | arms | cheeks | left eye, right eye, left brow,
    // right brow, nose.
    LEFT_HAND_START = LANDMARK_LEFT_HAND,
    RIGHT_HAND_START = LANDMARK_RIGHT_HAND,
    SILHOUETTE_START = LANDMARK_SILHOUETTE,
    LIPS_START = LANDMARK_LIPS,
    ARMS_START = LANDMARK_ARMS,
    CHEEKS_START = LANDMARK_CHEEKS,
    AVERAGES_START = LANDMARK_CHEEKS + 2,
    NOSE = LANDMARK_NOSE
};

#endif
