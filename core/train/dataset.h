// A prepared set made ready for training: resident on the device, or fed to it batch by batch; split into clips to train
// on and clips held out.
#ifndef ISLR_TRAIN_DATASET_H
#define ISLR_TRAIN_DATASET_H

#include "core/data/set.h"
#include "core/train/feeder.h"
#include "kernels/backend.h"
#include "proto/job.pb-c.h"

struct dataset {
    const struct set *set; // not owned
    struct backend *backend;
    const float *frames;        // device: all clips' frames, as set_frames()
    int64_t *offset;            // device [count]: floats before clip i
    int32_t *frame_count;       // device [count]
    void *copy;                 // device memory behind `frames`, or NULL where the set is used in place
    struct feeder *feeder;      // NULL: resident; else the three above are NULL
    uint32_t *train, *held_out; // indices in the set's order; held_out is empty with fold "full"
    uint32_t train_count, held_out_count;
};

// Splits by data->fold ("full", or a number) and uploads. The set must outlive the dataset. fed_clips > 0: does not
// upload, but is fed by so many clips a batch, for training in `views` views (feeder.h).
struct dataset_options {
    const Islr__Data *data;
    int fed_clips, views;
};
int dataset_create(struct dataset *d, const struct set *set, struct backend *backend, const struct dataset_options *o,
                   struct error *e);
// The same without a split: every clip is in held_out (evaluation and prediction over a whole set).
int dataset_create_whole(struct dataset *d, const struct set *set, struct backend *backend, struct error *e);
void dataset_destroy(struct dataset *d);

// Where frames are for plans, whose clips it may rename (feeder.h): what struct augment takes. A dataset that is fed waits
// for the clips to arrive; what was queued with the feed before the last must be done.
int dataset_feed(const struct dataset *d, struct augment_plan *plans, int count, struct feed *feed, struct error *e);
size_t dataset_size(const struct set *set); // bytes of device memory of a resident one

// Clip i as it is, as an augmentation plan that changes nothing.
struct augment_plan dataset_plain_plan(const struct dataset *d, uint32_t clip);

#endif
