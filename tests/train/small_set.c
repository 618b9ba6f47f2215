// A prepared set of random clips for tests: see small_set.h.
#include "tests/train/small_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "core/data/clip.h"
#include "core/data/set_write.h"

static const int frame_counts[] = {25, 20, 19, 1, 22};

static void fill_clip(float *x, int frames, uint32_t number)
{
    struct rng rng = rng_make(8, RNG_BENCH, 5, number, 0);
    int missing_hand = number % 3 == 0 ? LANDMARK_LEFT_HAND : LANDMARK_RIGHT_HAND;
    for (int f = 0; f < frames; f++)
        for (int i = 0; i < LANDMARKS * 3; i++) {
            int hand = i / 3 >= missing_hand && i / 3 < missing_hand + HAND_POINTS;
            int missing = (hand && f % 3) || rng_below(&rng, 50) == 0;
            x[f * LANDMARKS * 3 + i] = missing ? 0 : (float)rng_normal(&rng);
        }
}

static void add_clip(struct set_writer *w, int sign, int participant, uint32_t number, int folds)
{
    struct error e = {0};
    static float x[SMALL_MAX_LEN * LANDMARKS * 3];
    struct set_clip c = {.data = x,
                         .frames = frame_counts[number % 5],
                         .source_frames = 30,
                         .label = sign,
                         .fold = folds ? participant % folds : -1,
                         .participant = 100 + participant,
                         .sequence = number,
                         .path = "none.parquet"};
    fill_clip(x, c.frames, number);
    clip_count_missing(x, c.frames, &c.left_missing, &c.right_missing);
    c.hash = hash_memory(x, sizeof *x * (size_t)(c.frames * LANDMARKS * 3));
    if (set_writer_add(w, &c, &e))
        fail_msg("%s", e.text);
}

struct set *small_set_make(void)
{
    return small_set_make_of(SMALL_CLIPS);
}

void small_set_write(const char *path, int clips, int folds)
{
    static char *const signs[SMALL_SIGNS] = {"one", "two", "three", "four"};
    const struct set_description d = {
        .max_len = SMALL_MAX_LEN, .sign_count = SMALL_SIGNS, .signs = signs, .fold_count = folds};
    struct error e = {0};
    struct set_writer *w = set_writer_open(path, &d, &e);
    if (!w)
        fail_msg("%s", e.text);
    uint32_t number = 0;
    for (int sign = 0; sign < SMALL_SIGNS; sign++)
        for (int p = 0; p < (sign == SMALL_SIGNS - 1 ? 1 : SMALL_PARTICIPANTS); p++)
            for (int i = 0; i < clips; i++)
                add_clip(w, sign, p, number++, folds);
    if (set_writer_commit(w, &e))
        fail_msg("%s", e.text);
}

struct set *small_set_make_of(int clips)
{
    char directory[] = "/tmp/islr-small-set-XXXXXX", path[64];
    struct error e = {0};
    if (!mkdtemp(directory))
        fail_msg("no temporary directory");
    snprintf(path, sizeof path, "%s/small.islr", directory);
    small_set_write(path, clips, 0);
    struct set *set = set_open(path, &e);
    unlink(path);
    rmdir(directory);
    if (!set)
        fail_msg("%s", e.text);
    return set;
}
