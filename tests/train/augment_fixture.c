// What the tests of augmentation share: see augment_fixture.h.
#include "tests/train/augment_fixture.h"

#include <stdlib.h>

#include "core/base/memory.h"

struct settings doc_settings(void)
{
    struct settings s = {
        ISLR__FACE_CUTMIX__INIT, ISLR__FILL_HAND__INIT, ISLR__INTERPOLATE__INIT, ISLR__FLIP__INIT,
        ISLR__ROTATE__INIT,      ISLR__CROP__INIT,      ISLR__SCALE__INIT,       ISLR__DISTORT__INIT,
    };
    return s;
}

struct settings code_settings(void)
{
    struct settings s = doc_settings();
    s.face.any_signer = s.face.per_coordinate = s.distort.added = 1;
    s.rotate.degrees = 30;
    s.crop.p_late = 0.25;
    s.scale.p = s.distort.p = 0.25;
    return s;
}

struct settings no_settings(void)
{
    struct settings s = doc_settings();
    s.face.p = s.fill.p = s.interpolate.p = s.flip.p = s.rotate.p = s.crop.p = s.scale.p = s.distort.p = 0;
    return s;
}

int fixture_setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->set = small_set_make();
    for (uint32_t i = 0; i < set_count(f->set); i++)
        f->clips[f->count++] = i;
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    set_close(f->set);
    free(f);
    return 0;
}

struct augmenter *fixture_augmenter(const struct fixture *f, struct settings *s, uint64_t seed)
{
    Islr__Augment a = ISLR__AUGMENT__INIT;
    a.face_cutmix = &s->face;
    a.fill_hand = &s->fill;
    a.interpolate = &s->interpolate;
    a.flip = &s->flip;
    a.rotate = &s->rotate;
    a.crop = &s->crop;
    a.scale = &s->scale;
    a.distort = &s->distort;
    return augmenter_create(f->set, f->clips, f->count, &a, seed, EPOCHS);
}
