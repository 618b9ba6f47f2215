// One model's view of a batch: which rows there are, who mixes with whom. Built on the host (nothing in it depends on the
// device's data), uploaded in one piece.
#ifndef ISLR_NN_VIEW_H
#define ISLR_NN_VIEW_H

#include "core/nn/config.h"

struct view {
    int clips, frames;     // frames: max_len
    uint32_t first_clip;   // place of the first clip in the whole batch over all ranks: dropout is keyed by it
    const float *x;        // device [clips, frames, 100, 3], zero in padding frames
    const int32_t *length; // device [clips]: real frames of each clip
    // Packed rows as encoder i sees them; the last one is for the final mean. Offsets and ids are the same, lengths
    // grow where mixup makes the frames of the longer clip real.
    struct rows rows[ENCODERS + 1];
    int mixes[ENCODERS];                // mixup before encoder i in at least one group
    const int32_t *partner, *inverse;   // device [clips]: a permutation within groups, and its inverse
    const float *coefficient[ENCODERS]; // device [clips]: 1 where a clip is not mixed there
};

// What a view is made of; host memory.
struct view_input {
    int clips, frames;
    uint32_t first_clip;
    const float *x;        // device
    const int32_t *length; // [clips], 0..frames
    // Manifold mixup, or partner NULL for none: layer[b] is the encoder before which clip b is mixed (-1: nowhere; the same
    // for a clip and its partner), coefficient[b] its own share.
    const int32_t *partner;
    const float *coefficient;
    const int32_t *layer;
    // For views whose shape must not depend on the draws: so many rows where fewer are needed (0: as few as there are), and
    // with a partner mixup before every encoder, wherever a clip is mixed.
    int rows;
    int uniform;
};

// Memory of views of up to `clips` clips of `frames` frames.
struct view_buffer {
    struct backend *backend;
    int clips, frames;
    int32_t *host, *device;
};

enum { ROW_MULTIPLE = 32 }; // packed row counts are multiples: matrix shapes come in few sizes

// Most packed rows of a batch.
static inline int view_rows_max(int clips, int frames)
{
    return (clips * frames + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
}

int view_buffer_create(struct view_buffer *b, struct backend *backend, int clips, int frames, struct error *e);
void view_buffer_destroy(struct view_buffer *b);

// Packed rows that the view needs: a multiple of ROW_MULTIPLE, view_rows_max() at most.
int view_rows(struct view_buffer *b, const struct view_input *in);

// Builds and queues the upload. The view is valid until the buffer is built into again.
struct view view_build(struct view_buffer *b, struct stream *s, const struct view_input *in);

#endif
