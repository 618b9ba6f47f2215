// Sums of gradients over the ranks: see reduce.h.
#include "core/train/reduce.h"

static void gradients_final(void *context, size_t offset)
{
    struct reducer *r = context;
    pulse_beat(comm_pulse(r->comm));
    if (offset && (r->end - offset) * sizeof *r->gradient < REDUCE_BUCKET_BYTES) {
        comm_progress(r->comm);
        return;
    }
    if (r->end > offset)
        comm_reduce_begin(r->comm, r->gradient + offset, r->end - offset);
    r->end = offset;
}

struct gradient_watch reducer_begin(struct reducer *r, struct comm *comm, float *gradient, size_t count)
{
    *r = (struct reducer){comm, gradient, count};
    return (struct gradient_watch){gradients_final, r};
}
