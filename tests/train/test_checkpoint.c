// Checkpoints and soups as files: round trips, what is refused, averages.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/ckpt/safetensors.h"
#include "core/train/checkpoint.h"
#include "core/train/soup.h"
#include "tests/nn/filler.h"

static const struct model_config small = {
    .dense_dim = 32, .widths = {32, 48, 48, 32}, .heads = 8, .max_len = 9, .classes = 3};
static const char *const names[] = {"hello", "thank you", "\"quoted\""};

static char dir[] = "/tmp/islr-test-checkpoint-XXXXXX";

static char *path_of(const char *name)
{
    return file_join(dir, name);
}

static const char *sign_name(const void *context, int i)
{
    return ((const char *const *)context)[i];
}

static void make(struct checkpoint *c, const char *tag)
{
    checkpoint_create(c, &small);
    filler_weights(&c->layout, tag, c->parameters, c->buffers);
    checkpoint_set_signs(c, sign_name, names);
    c->origin = xstrdup("{\"model\":\"student\"}");
}

static char *write_as(const char *tag, const char *name)
{
    struct error e = {0};
    struct checkpoint c;
    char *path = path_of(name);
    make(&c, tag);
    assert_int_equal(checkpoint_write(&c, path, &e), 0);
    checkpoint_destroy(&c);
    return path;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct error e = {0};
    struct checkpoint c, back;
    char *path = write_as("a", "a.safetensors");
    make(&c, "a");
    assert_int_equal(checkpoint_read(&back, path, 16, &e), 0);
    assert_int_equal(back.config.heads, 8); // the file's, not the caller's
    assert_int_equal(back.config.max_len, 9);
    assert_memory_equal(back.config.widths, small.widths, sizeof small.widths);
    assert_memory_equal(back.parameters, c.parameters, c.layout.size * sizeof(float));
    assert_memory_equal(back.buffers, c.buffers, c.layout.buffer_size * sizeof(float));
    assert_string_equal(back.signs[2], names[2]);
    assert_string_equal(back.origin, c.origin);
    assert_null(back.job_hash);
    checkpoint_destroy(&c);
    checkpoint_destroy(&back);
    free(path);
}

static void the_same_weights_are_the_same_bytes(void **state)
{
    (void)state;
    struct error e = {0};
    struct hash x, y;
    char *a = write_as("a", "x.safetensors"), *b = write_as("a", "y.safetensors");
    assert_int_equal(hash_file(a, &x, &e), 0);
    assert_int_equal(hash_file(b, &y, &e), 0);
    assert_true(hash_equal(&x, &y));
    free(a);
    free(b);
}

// Rewrites a checkpoint's tensors after `change` had a look at them.
static char *rewrite(const char *name, void (*change)(struct tensor *tensors, size_t *count))
{
    struct error e = {0};
    struct safetensors file;
    char *from = write_as("a", "base.safetensors"), *path = path_of(name);
    assert_int_equal(safetensors_open(from, &file, &e), 0);
    size_t count = file.count;
    struct tensor *tensors = xcalloc(count + 1, sizeof *tensors);
    memcpy(tensors, file.tensors, count * sizeof *tensors);
    change(tensors, &count);
    assert_int_equal(safetensors_write(path, tensors, count, NULL, 0, &e), 0);
    free(tensors);
    safetensors_close(&file);
    free(from);
    return path;
}

static struct tensor *find(struct tensor *tensors, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(tensors[i].name, name))
            return &tensors[i];
    fail();
    return NULL;
}

static float values[64 * 1024];

static void nothing(struct tensor *tensors, size_t *count)
{
    (void)tensors;
    (void)count;
}

static void drop_logits_bias(struct tensor *tensors, size_t *count)
{
    struct tensor *t = find(tensors, *count, "logits.bias");
    memmove(t, t + 1, (size_t)(tensors + *count - t - 1) * sizeof *t);
    (*count)--;
}

static void add_stranger(struct tensor *tensors, size_t *count)
{
    tensors[*count] =
        (struct tensor){.name = "stranger", .type = TENSOR_F32, .dims = 1, .shape = {1}, .count = 1, .data = values};
    (*count)++;
}

static void replace(struct tensor *t, size_t at, float value)
{
    assert_true(t->count <= sizeof values / sizeof *values);
    tensor_to_f32(t, values);
    values[at] = value;
    t->data = values;
}

static void spoil_value(struct tensor *tensors, size_t *count)
{
    replace(find(tensors, *count, "dense.weight"), 5, NAN);
}

static void fill_padding_row(struct tensor *tensors, size_t *count)
{
    replace(find(tensors, *count, "type_embed.weight"), 3, 1);
}

static void reshape(struct tensor *tensors, size_t *count)
{
    struct tensor *t = find(tensors, *count, "full_mlp.0.weight");
    t->shape[0] /= 2;
    t->shape[1] *= 2;
}

static void halve_frames(struct tensor *tensors, size_t *count)
{
    struct tensor *t = find(tensors, *count, "frame_transformer_1.rel_embeddings.weight");
    t->shape[0] = 8; // of 4 frames
    t->count = 8 * t->shape[1];
}

static void refused(const char *name, void (*change)(struct tensor *, size_t *), const char *said)
{
    struct error e = {0};
    struct checkpoint c;
    char *path = rewrite(name, change);
    assert_int_equal(checkpoint_read(&c, path, 8, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_non_null(strstr(e.text, said));
    assert_non_null(strstr(e.text, path));
    free(path);
}

static void faulty_files_are_refused_by_tensor(void **state)
{
    (void)state;
    refused("dropped.safetensors", drop_logits_bias, "logits.bias is missing");
    refused("stranger.safetensors", add_stranger, "stranger is not of an islr model");
    refused("nan.safetensors", spoil_value, "dense.weight holds a value that is not finite");
    refused("padding.safetensors", fill_padding_row, "row 0 of type_embed.weight");
    refused("frames.safetensors", halve_frames, "max_len is 4");
    refused("shape.safetensors", reshape, "full_mlp.0.weight is [");
}

static void files_without_metadata_take_the_callers_heads(void **state)
{
    (void)state;
    struct error e = {0};
    struct checkpoint c;
    char *path = rewrite("plain.safetensors", nothing);
    assert_int_equal(checkpoint_read(&c, path, 16, &e), 0);
    assert_int_equal(c.config.heads, 16);
    assert_null(c.signs);
    checkpoint_destroy(&c);
    assert_int_equal(checkpoint_read(&c, path, 7, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    free(path);
}

static void a_soup_is_the_mean_of_parameters_and_buffers(void **state)
{
    (void)state;
    struct error e = {0};
    struct checkpoint a, b, c, soup;
    char *paths[] = {write_as("a", "1.safetensors"), write_as("b", "2.safetensors"), write_as("c", "3.safetensors")};
    make(&a, "a");
    make(&b, "b");
    make(&c, "c");
    assert_int_equal(soup_uniform(&soup, (const char *const *)paths, 3, 16, &e), 0);
    for (size_t i = 0; i < soup.layout.size; i++)
        assert_true(soup.parameters[i] == (float)(((double)a.parameters[i] + b.parameters[i] + c.parameters[i]) / 3));
    for (size_t i = 0; i < soup.layout.buffer_size; i++)
        assert_true(soup.buffers[i] == (float)(((double)a.buffers[i] + b.buffers[i] + c.buffers[i]) / 3));
    checkpoint_destroy(&a);
    checkpoint_destroy(&b);
    checkpoint_destroy(&c);
    checkpoint_destroy(&soup);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

// Likes what is near to 0 in the first logit bias.
static int score(void *context, const struct checkpoint *c, double *out, struct error *e)
{
    (void)context;
    (void)e;
    *out = -fabs(c->parameters[c->layout.parameters[c->layout.logits_bias].offset]);
    return 0;
}

static char *write_bias(const char *name, float bias)
{
    struct error e = {0};
    struct checkpoint c;
    char *path = path_of(name);
    make(&c, "a");
    c.parameters[c.layout.parameters[c.layout.logits_bias].offset] = bias;
    assert_int_equal(checkpoint_write(&c, path, &e), 0);
    checkpoint_destroy(&c);
    return path;
}

static void a_greedy_soup_keeps_what_makes_it_better(void **state)
{
    (void)state;
    struct error e = {0};
    struct checkpoint soup;
    int kept[4];
    // 1 alone; with 3 the mean is 2: worse; with -1 it is 0: better; once more 0: no better, so not kept.
    char *paths[] = {write_bias("g1", 1), write_bias("g2", 3), write_bias("g3", -1), write_bias("g4", 0)};
    struct soup_judge judge = {score, NULL};
    assert_int_equal(soup_greedy(&soup, (const char *const *)paths, 4, 16, &judge, kept, &e), 0);
    assert_int_equal(kept[0], 1);
    assert_int_equal(kept[1], 0);
    assert_int_equal(kept[2], 1);
    assert_int_equal(kept[3], 0);
    assert_true(soup.parameters[soup.layout.parameters[soup.layout.logits_bias].offset] == 0);
    checkpoint_destroy(&soup);
    for (int i = 0; i < 4; i++)
        free(paths[i]);
}

static void models_of_different_signs_are_not_mixed(void **state)
{
    (void)state;
    static const char *const others[] = {"hello", "thank you", "please"};
    struct error e = {0};
    struct checkpoint c, soup;
    char *paths[] = {write_as("a", "s1.safetensors"), path_of("s2.safetensors")};
    checkpoint_create(&c, &small);
    checkpoint_set_signs(&c, sign_name, others);
    assert_int_equal(checkpoint_write(&c, paths[1], &e), 0);
    assert_int_equal(soup_uniform(&soup, (const char *const *)paths, 2, 16, &e), -1);
    assert_non_null(strstr(e.text, "class 2"));
    checkpoint_destroy(&c);
    free(paths[0]);
    free(paths[1]);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return file_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_same_weights_are_the_same_bytes),
        cmocka_unit_test(faulty_files_are_refused_by_tensor),
        cmocka_unit_test(files_without_metadata_take_the_callers_heads),
        cmocka_unit_test(a_soup_is_the_mean_of_parameters_and_buffers),
        cmocka_unit_test(a_greedy_soup_keeps_what_makes_it_better),
        cmocka_unit_test(models_of_different_signs_are_not_mixed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
