// Job settings and a small set that the tests of augmentation share.
#ifndef ISLR_TESTS_TRAIN_AUGMENT_FIXTURE_H
#define ISLR_TESTS_TRAIN_AUGMENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/train/augment.h"
#include "tests/train/small_set.h"

enum { EPOCHS = 100, CLIPS_MAX = 64, COLUMNS = LANDMARKS * 3 };

// The augmentations of a job.
struct settings {
    Islr__FaceCutmix face;
    Islr__FillHand fill;
    Islr__Interpolate interpolate;
    Islr__Flip flip;
    Islr__Rotate rotate;
    Islr__Crop crop;
    Islr__Scale scale;
    Islr__Distort distort;
};
struct settings doc_settings(void);  // the messages' defaults
struct settings code_settings(void); // the published program's
struct settings no_settings(void);   // DOC's with every p 0

struct fixture {
    struct set *set;
    uint32_t clips[CLIPS_MAX], count; // that are trained on
};
int fixture_setup(void **state); // cmocka's, for a group; *state is a struct fixture with all clips
int fixture_teardown(void **state);

struct augmenter *fixture_augmenter(const struct fixture *f, struct settings *s, uint64_t seed);

#endif
