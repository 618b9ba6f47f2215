// Copies between host and device through pinned memory, so that neither waits for the other: an upload has read the
// host's memory when it returns, a download writes it when the stream is next waited for.
#ifndef ISLR_KERNELS_CUDA_STAGING_H
#define ISLR_KERNELS_CUDA_STAGING_H

#include "kernels/cuda/cuda.h"

// Both queue on the stream. Of a size beyond the pinned memory they wait for the device, piece by piece.
void staging_upload(struct stream *s, void *device, const void *host, size_t size);
void staging_download(struct stream *s, void *host, const void *device, size_t size);

// After the stream was waited for: writes what was downloaded to where it should go. If the wait failed: drops it.
void staging_deliver(struct stream *s, int failed);

void staging_destroy(struct staging *t);

#endif
