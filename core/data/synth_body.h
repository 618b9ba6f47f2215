// From a posture to the 543 landmarks of a recorded frame: a stick figure with hands and a face, seen by a camera.
//
// Lengths are in shoulder widths. Body coordinates: origin between the shoulders, x to the right in the picture (the
// signer's left), y down, z away from the camera. Each hand has lateral coordinates, in which x is replaced by u, which
// grows towards that hand's own side: a posture that holds for one hand holds for the other one as its mirror image.
#ifndef ISLR_DATA_SYNTH_BODY_H
#define ISLR_DATA_SYNTH_BODY_H

#include "core/data/landmark.h"

enum { LEFT, RIGHT };

struct synth_hand {
    double wrist[3];       // u, y, z
    double orientation[3]; // radians about z, x and the fingers' axis; all 0: fingers up, palm to the camera
    double curl[5];        // thumb .. little finger: 0 stretched, 1 closed
    double spread;         // between fingers, radians
};

struct synth_face {
    double turn[3];           // of the head about y, x, z; radians
    double mouth_open, smile; // 0..1, -1 (puckered)..1
    double brows, eyes;       // raised -1..1; 1 open .. 0 shut
};

struct synth_posture {
    struct synth_hand hands[2];
    struct synth_face face;
    double lean[2]; // of the trunk: x, y
};

struct synth_build {                           // a signer's body
    double arm, hand, head, trunk, face_width; // factors, about 1
};

struct synth_camera {
    double x, y;    // where the origin is seen, in picture widths and heights
    double scale;   // picture widths a shoulder width
    double aspect;  // picture width over height
    double turn[3]; // of the signer about y, x, z; radians
};

// out [RAW_LANDMARKS, 3] as MediaPipe gives them: x and y in picture widths and heights, z in picture widths relative
// to the wrist (hands), the head (face) or the hips (pose).
void synth_body_project(const struct synth_posture *p, const struct synth_build *b, const struct synth_camera *c,
                        double *out);

#endif
