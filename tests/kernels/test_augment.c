// The augmentations against what the published rules give in Python (tests/golden/augment.safetensors), each alone and
// all together.
#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "tests/kernels/golden_file.h"
#include "tests/kernels/harness.h"

enum { COLUMNS = LANDMARKS * 3, CLIPS_MAX = 32, CASES_MAX = 64, MAX_FRAMES = 25 };

// A set of clips on the device, and here.
struct clips {
    int count;
    const char *name[CLIPS_MAX];
    const float *x[CLIPS_MAX];
    int32_t frames[CLIPS_MAX];
    int64_t offset[CLIPS_MAX];
    const float *device_x;
    const int64_t *device_offset;
    const int32_t *device_frames;
};

static int clips_find(const struct clips *c, const char *name)
{
    for (int i = 0; i < c->count; i++)
        if (!strcmp(c->name[i], name))
            return i;
    return -1;
}

static void clips_add(struct clips *c, const char *name, const float *x, size_t values)
{
    if (clips_find(c, name) >= 0)
        return;
    assert_true(c->count < CLIPS_MAX);
    int i = c->count++;
    c->name[i] = name;
    c->x[i] = x;
    c->frames[i] = (int32_t)(values / COLUMNS);
    c->offset[i] = i ? c->offset[i - 1] + c->frames[i - 1] * COLUMNS : 0;
}

static void clips_upload(struct harness *h, struct clips *c)
{
    int last = c->count - 1;
    float *all = harness_memory(h, (size_t)(c->offset[last] + c->frames[last] * COLUMNS), sizeof *all);
    for (int i = 0; i < c->count; i++)
        memcpy(all + c->offset[i], c->x[i], (size_t)(c->frames[i] * COLUMNS) * sizeof *all);
    c->device_x = device_bytes(h, all, (size_t)(c->offset[last] + c->frames[last] * COLUMNS) * sizeof *all);
    c->device_offset = device_bytes(h, c->offset, (size_t)c->count * sizeof *c->offset);
    c->device_frames = device_ints(h, c->frames, (size_t)c->count);
}

static struct augment_plan plain_plan(const struct clips *c, int clip)
{
    return (struct augment_plan){
        .clip = clip, .partner = -1, .count = c->frames[clip], .cosine = 1, .factor = {1, 1, 1}};
}

static struct tensor run(struct harness *h, const struct clips *c, const struct augment_plan *plan, int views)
{
    h->odd = 0;
    struct tensor out = tensor_output(h, DTYPE_F32, 1, views * MAX_FRAMES * COLUMNS);
    queue(h->stream, augment, .frames = c->device_x, .offset = c->device_offset, .frame_count = c->device_frames,
          .plan = device_bytes(h, plan, (size_t)views * sizeof *plan), .views = views, .max_frames = MAX_FRAMES,
          .out = tensor_floats(&out));
    tensor_read(h, &out);
    return out;
}

// ---- golden cases -------------------------------------------------------------------------------------------------

static struct augment_plan plan_of_case(const struct clips *c, json_t *text)
{
    const json_t *face = json_object_get(text, "face_cutmix"), *crop = json_object_get(text, "crop");
    const json_t *angle = json_object_get(text, "rotate"), *scale = json_object_get(text, "scale");
    struct augment_plan plan = plain_plan(c, clips_find(c, json_string_value(json_object_get(text, "clip"))));
    if (face) {
        plan.partner = clips_find(c, json_string_value(json_object_get(text, "other")));
        if (json_is_true(json_object_get(face, "zero_z_alone")))
            plan.flags |= AUGMENT_FACE_KEEP_FLAT_Z;
        if (json_is_true(json_object_get(text, "flip_other")))
            plan.flags |= AUGMENT_PARTNER_FLIP;
    }
    if (json_object_get(text, "fill_hand"))
        plan.flags |= AUGMENT_FILL_HAND;
    if (json_object_get(text, "interpolate"))
        plan.flags |= AUGMENT_INTERPOLATE;
    if (json_object_get(text, "flip"))
        plan.flags |= AUGMENT_FLIP;
    if (angle) {
        plan.cosine = (float)cos(json_number_value(angle));
        plan.sine = (float)sin(json_number_value(angle));
    }
    if (crop) {
        int cut = (int)json_integer_value(json_array_get(crop, 0));
        plan.count -= cut;
        plan.first = json_is_true(json_array_get(crop, 1)) ? cut : 0;
    }
    for (size_t i = 0; i < 3 && scale; i++)
        plan.factor[i] = (float)json_number_value(json_array_get(scale, i));
    return plan;
}

static void check_case(const char *name, json_t *text, const struct clips *c, const struct augment_plan *plan,
                       const struct golden_file *f, const double *got)
{
    size_t count;
    double want[MAX_FRAMES * COLUMNS] = {0}; // padding is zero
    const float *golden = golden_file_values(f, &count, "%s", name);
    assert_int_equal(count, plan->count * COLUMNS);
    for (size_t i = 0; i < count; i++)
        want[i] = (double)golden[i];
    values_check(name, got, want, MAX_FRAMES, COLUMNS, 1e-6);
    if (json_is_true(json_object_get(text, "changed")))
        return;
    for (size_t i = 0; i < count; i++)
        assert_true(got[i] == (double)c->x[plan->clip][i]);
}

static void test_golden_cases(struct harness *h)
{
    struct golden_file *f = golden_file_open("augment");
    struct clips c = {0};
    json_t *text[CASES_MAX];
    const char *name[CASES_MAX], *key;
    struct augment_plan plan[CASES_MAX];
    int cases = 0;
    for (size_t i = 0; (key = golden_file_key(f, i)); i++) {
        if (strncmp(key, "case/", 5))
            continue;
        assert_true(cases < CASES_MAX);
        name[cases] = key + 5;
        text[cases] = golden_file_json(f, key);
        const char *const used[] = {"clip", "other"};
        for (int k = 0; k < 2; k++) {
            const char *clip = json_string_value(json_object_get(text[cases], used[k]));
            if (!clip)
                continue;
            size_t values;
            const float *x = golden_file_values(f, &values, "input/%s", clip);
            clips_add(&c, clip, x, values);
        }
        cases++;
    }
    assert_true(cases >= 29);
    clips_upload(h, &c);
    for (int i = 0; i < cases; i++)
        plan[i] = plan_of_case(&c, text[i]);
    struct tensor out = run(h, &c, plan, cases);
    for (int i = 0; i < cases; i++) {
        check_case(name[i], text[i], &c, &plan[i], f, out.value + i * MAX_FRAMES * COLUMNS);
        json_decref(text[i]);
    }
    golden_file_close(f);
}

// ---- what holds for any clip --------------------------------------------------------------------------------------

// Three random clips with missing parts; the last is longer than what a view may hold.
static void make_clips(struct harness *h, struct clips *c)
{
    static const int frames[] = {MAX_FRAMES, 7, MAX_FRAMES + 5};
    static const char *const names[] = {"full", "short", "long"};
    for (int i = 0; i < 3; i++) {
        struct tensor x = tensor_normal(h, DTYPE_F32, frames[i], COLUMNS, 40 + (uint32_t)i, 1);
        float *v = harness_memory(h, (size_t)(frames[i] * COLUMNS), sizeof *v);
        for (int k = 0; k < frames[i] * COLUMNS; k++)
            v[k] = k / COLUMNS % 4 == 1 && k % COLUMNS < HAND_POINTS * 3 ? 0 : (float)x.value[k];
        clips_add(c, names[i], v, (size_t)(frames[i] * COLUMNS));
    }
    clips_upload(h, c);
}

static void test_plain_and_crop(struct harness *h)
{
    struct clips c = {0};
    make_clips(h, &c);
    struct augment_plan plan[] = {plain_plan(&c, 0), plain_plan(&c, 1), plain_plan(&c, 1), plain_plan(&c, 2)};
    plan[2].first = 2;
    plan[2].count = 4;
    plan[3].first = 5;
    plan[3].count = MAX_FRAMES;
    struct tensor out = run(h, &c, plan, 4);
    for (int v = 0; v < 4; v++)
        for (int i = 0; i < MAX_FRAMES * COLUMNS; i++) {
            const float *x = c.x[plan[v].clip] + plan[v].first * COLUMNS;
            double want = i < plan[v].count * COLUMNS ? (double)x[i] : 0;
            assert_true(out.value[v * MAX_FRAMES * COLUMNS + i] == want);
        }
}

// Missing values stay zero where nothing fills them in.
static void test_missing_values_stay(struct harness *h)
{
    struct clips c = {0};
    make_clips(h, &c);
    struct augment_plan plan = plain_plan(&c, 0);
    plan.flags = AUGMENT_FLIP;
    plan.cosine = 0.6f;
    plan.sine = 0.8f;
    plan.factor[0] = plan.factor[1] = plan.factor[2] = 1.3f;
    struct tensor out = run(h, &c, &plan, 1);
    int missing = 0;
    for (int f = 1; f < MAX_FRAMES; f += 4)
        for (int l = LANDMARK_RIGHT_HAND; l < LANDMARK_RIGHT_HAND + HAND_POINTS; l++) // where the left hand went
            for (int k = 0; k < 3; k++, missing++)
                assert_true(out.value[f * COLUMNS + l * 3 + k] == 0);
    assert_true(missing > 0);
}

// ---- long clips ---------------------------------------------------------------------------------------------------

enum { LONGEST = 512 }; // job files allow no more

// A value in about one of sixty frames; columns 0..2: in frames 3 and 5, in one frame, in none.
static float *make_sparse(struct harness *h, int frames)
{
    float *x = harness_memory(h, (size_t)(frames * COLUMNS), sizeof *x);
    struct rng rng = rng_make(3, RNG_BENCH, 5, (uint32_t)frames, 0);
    for (int i = 0; i < frames * COLUMNS; i++)
        if (!rng_below(&rng, 60) && i % COLUMNS > 2)
            x[i] = (float)rng_normal(&rng);
    x[3 * COLUMNS] = 1.5f;
    x[5 * COLUMNS] = -2;
    x[4 * COLUMNS + 1] = 3;
    return x;
}

// The value that interpolation gives: see AUGMENT_INTERPOLATE.
static double interpolated(const float *x, int frames, int frame, int column)
{
    int known = 0, before = -1, behind = frames;
    for (int f = 0; f < frames; f++) {
        if (x[f * COLUMNS + column] == 0)
            continue;
        known++;
        if (f <= frame)
            before = f;
        if (f >= frame && behind == frames)
            behind = f;
    }
    if (known < 2)
        return (double)x[frame * COLUMNS + column];
    double low = before < 0 ? 0 : (double)x[before * COLUMNS + column];
    double high = behind == frames ? 0 : (double)x[behind * COLUMNS + column];
    if (before < 0 || behind == frames || before == behind)
        return before < 0 ? high : low;
    return low + (high - low) * (frame - before) / (behind - before);
}

// Gaps of more frames than a warp has lanes, and the last frames of the longest clip.
static void test_interpolation_of_long_clips(struct harness *h)
{
    static const struct {
        int clip, first;
    } views[] = {{0, 0}, {0, 45}, {1, 0}, {1, 20}, {1, 256}, {1, LONGEST - MAX_FRAMES}};
    enum { VIEWS = sizeof views / sizeof *views };
    struct clips c = {0};
    clips_add(&c, "seventy", make_sparse(h, 70), 70 * COLUMNS);
    clips_add(&c, "longest", make_sparse(h, LONGEST), LONGEST * COLUMNS);
    clips_upload(h, &c);
    struct augment_plan plan[VIEWS];
    double want[MAX_FRAMES * COLUMNS];
    for (int v = 0; v < VIEWS; v++) {
        plan[v] = plain_plan(&c, views[v].clip);
        plan[v].flags = AUGMENT_INTERPOLATE;
        plan[v].first = views[v].first;
        plan[v].count = MAX_FRAMES;
    }
    struct tensor out = run(h, &c, plan, VIEWS);
    for (int v = 0; v < VIEWS; v++) {
        int clip = views[v].clip;
        for (int i = 0; i < MAX_FRAMES * COLUMNS; i++)
            want[i] = interpolated(c.x[clip], c.frames[clip], views[v].first + i / COLUMNS, i % COLUMNS);
        values_check("interpolated", out.value + v * MAX_FRAMES * COLUMNS, want, MAX_FRAMES, COLUMNS, 1e-6);
    }
}

// What lies behind a clip and behind its partner in memory, large values or none, does not reach the result.
static void test_neighbours_do_not_matter(struct harness *h)
{
    static const char *const names[] = {"clip", "behind it", "partner", "behind that"};
    static const int frames[] = {9, 9, 4, 4};
    struct tensor out[2];
    for (int loud = 0; loud < 2; loud++) {
        struct clips c = {0};
        for (int i = 0; i < 4; i++) {
            struct tensor x = tensor_normal(h, DTYPE_F32, frames[i], COLUMNS, 60 + (uint32_t)i, 1);
            float *v = harness_memory(h, (size_t)(frames[i] * COLUMNS), sizeof *v);
            for (int k = 0; k < frames[i] * COLUMNS; k++) {
                int missing = k % 11 == 0 || (k / COLUMNS == 2 && k % COLUMNS < HAND_POINTS * 3);
                float factor = i % 2 == 0 ? (float)!missing : loud ? 100 : 0;
                v[k] = factor * (float)x.value[k];
            }
            clips_add(&c, names[i], v, (size_t)(frames[i] * COLUMNS));
        }
        clips_upload(h, &c);
        struct augment_plan plan = plain_plan(&c, 0);
        plan.partner = 2;
        plan.flags = AUGMENT_FILL_HAND | AUGMENT_INTERPOLATE | AUGMENT_FLIP | AUGMENT_PARTNER_FLIP;
        out[loud] = run(h, &c, &plan, 1);
    }
    assert_memory_equal(out[0].value, out[1].value, MAX_FRAMES * COLUMNS * sizeof *out[0].value);
}

// The partner may be any clip of the set, its first one too.
static void test_partner_is_first(struct harness *h)
{
    static const char *const names[] = {"clip", "partner"};
    static const int frames[] = {9, 4};
    struct tensor out[3];
    for (int order = 0; order < 3; order++) { // the third: no partner
        struct clips c = {0};
        for (int i = 0; i < 2; i++) {
            int which = order == 1 ? 1 - i : i;
            struct tensor x = tensor_normal(h, DTYPE_F32, frames[which], COLUMNS, 70 + (uint32_t)which, 1);
            float *v = harness_memory(h, (size_t)(frames[which] * COLUMNS), sizeof *v);
            for (int k = 0; k < frames[which] * COLUMNS; k++)
                v[k] = (float)x.value[k];
            clips_add(&c, names[which], v, (size_t)(frames[which] * COLUMNS));
        }
        clips_upload(h, &c);
        struct augment_plan plan = plain_plan(&c, clips_find(&c, "clip"));
        plan.partner = order < 2 ? clips_find(&c, "partner") : -1;
        out[order] = run(h, &c, &plan, 1);
    }
    size_t size = MAX_FRAMES * COLUMNS * sizeof *out[0].value;
    assert_memory_equal(out[0].value, out[1].value, size);
    assert_memory_not_equal(out[0].value, out[2].value, size);
}

// The mirrored landmarks are pairs.
static void test_mirror(struct harness *h)
{
    if (h->threads > 1)
        return; // nothing of the device is in it
    static const uint8_t mirror[LANDMARKS] = LANDMARK_MIRROR_TABLE;
    for (int l = 0; l < LANDMARKS; l++)
        assert_int_equal(mirror[mirror[l]], l);
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_golden_cases),
    KERNEL_TEST(test_plain_and_crop),
    KERNEL_TEST(test_missing_values_stay),
    KERNEL_TEST(test_interpolation_of_long_clips),
    KERNEL_TEST(test_neighbours_do_not_matter),
    KERNEL_TEST(test_partner_is_first),
    KERNEL_TEST(test_mirror),
};

int main(void)
{
    return harness_main("augment", tests, sizeof tests / sizeof *tests);
}
