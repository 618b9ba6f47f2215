// What the two files of the embedding stage share: embed.cu (the convolution over time) and collapse.cu (the
// parameters' side of it). kernels/cpu/collapse.c has the formulas.
#ifndef ISLR_KERNELS_CUDA_COLLAPSE_CUH
#define ISLR_KERNELS_CUDA_COLLAPSE_CUH

#include "kernels/cuda/kernel.cuh"

enum {
    COLLAPSED_TAPS = EMBED_CLASSES * EMBED_TAPS * 3 * EMBED_DIM, // [class][tap][coordinate][channel]
    COLLAPSED_BIASES = (LANDMARKS + 1) * EMBED_DIM,
    TAPS_REACH = EMBED_TAPS / 2 // tap t of frame f is at frame f + t - TAPS_REACH
};

// Up to five frames have a class each; in longer clips all but the two first and last share class 2.
__device__ inline int class_of_frame(int frame, int frames)
{
    if (frames <= EMBED_CLASSES || frame < 2)
        return frame;
    return frame >= frames - 2 ? EMBED_CLASSES - (frames - frame) : 2;
}

// The first frame of a class, or -1 if it has none.
__device__ inline int first_of_class(int frame_class, int frames)
{
    if (frames <= EMBED_CLASSES)
        return frame_class < frames ? frame_class : -1;
    return frame_class <= 2 ? frame_class : frames - EMBED_CLASSES + frame_class;
}

// Queues the collapse of the parameters into `collapsed` [EMBED_COLLAPSED_SIZE].
void queue_collapse(struct stream *s, const struct embed_parameters &p, int frames, float *collapsed);

// Queues the gradients of the parameters from those of taps and biases, in double [EMBED_COLLAPSED_SIZE].
void queue_collapse_backward(struct stream *s, const struct embed_parameters &p, int frames, const double *dcollapsed,
                             const struct embed_parameters &gradients);

#endif
