// What each prepared landmark is: see landmark.h.
#include "core/data/landmark.h"

// clang-format off
const unsigned char landmark_types[LANDMARKS] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, // left hand
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, // right hand
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,          // silhouette
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, // lips
    5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,                            // arms
    6, 6,                                                          // cheeks
    6, 6, 6, 6, 6                                                  // averages
};
// clang-format on
