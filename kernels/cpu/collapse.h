// The embedding stage's parameters collapsed into taps and biases (backend.h, "embedding stage"), and the gradients of
// those taken back to the parameters. In double; compiled once.
#ifndef ISLR_KERNELS_CPU_COLLAPSE_H
#define ISLR_KERNELS_CPU_COLLAPSE_H

#include "kernels/backend.h"

enum {
    COLLAPSED_TAPS = EMBED_CLASSES * EMBED_TAPS * 3 * EMBED_DIM, // [class][tap][coordinate][channel]
    COLLAPSED_BIASES = (LANDMARKS + 1) * EMBED_DIM,
    TAPS_REACH = EMBED_TAPS / 2 // tap t of frame f is at frame f + t - TAPS_REACH
};

// The frames of a class in a clip of `frames`. Up to five frames have a class each; longer clips share the middle one.
struct frame_range {
    int first, end;
};
static inline struct frame_range class_frames(int frame_class, int frames)
{
    if (frames <= EMBED_CLASSES)
        return frame_class < frames ? (struct frame_range){frame_class, frame_class + 1} : (struct frame_range){0, 0};
    if (frame_class == 2)
        return (struct frame_range){2, frames - 2};
    int f = frame_class < 2 ? frame_class : frames - EMBED_CLASSES + frame_class;
    return (struct frame_range){f, f + 1};
}

// Fills taps [COLLAPSED_TAPS] and bias [COLLAPSED_BIASES]; taps of classes without frames are zero.
void collapse_forward(const struct embed_parameters *p, int frames, double *taps, double *bias);

// `gradients` from those of the taps [COLLAPSED_TAPS] and biases [COLLAPSED_BIASES].
void collapse_backward(const struct embed_parameters *p, int frames, const double *dtaps, const double *dbias,
                       const struct embed_parameters *gradients);

#endif
