// Sizes, names, decay, buckets: facts of the published model.
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/nn/model.h"
#include "core/spec/spec.h"
#include "tests/nn/golden.h"

static struct model_config published(int transfo_dim, int dense_dim, int max_len)
{
    struct model_config c = {.dense_dim = dense_dim, .heads = 16, .max_len = max_len, .classes = 250};
    uint32_t widths[ENCODERS + 1];
    spec_widths((uint32_t)transfo_dim, NULL, 0, widths);
    for (int i = 0; i <= ENCODERS; i++)
        c.widths[i] = (int)widths[i];
    return c;
}

static void parameter_counts_are_the_published_ones(void **state)
{
    (void)state;
    const struct {
        int transfo_dim, dense_dim, max_len, widths[4];
        size_t count;
    } models[] = {{1536, 512, 25, {1024, 1280, 1536, 1536}, 35143010},
                  {768, 192, 25, {512, 768, 768, 512}, 9819298},
                  {1024, 256, 80, {512, 768, 1024, 1024}, 13688418},
                  {576, 192, 80, {512, 576, 576, 512}, 6943394}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct model_config c = published(models[i].transfo_dim, models[i].dense_dim, models[i].max_len);
        struct layout *l = malloc(sizeof *l);
        assert_memory_equal(c.widths, models[i].widths, sizeof c.widths);
        layout_make(l, &c);
        assert_int_equal(l->scalar_count, models[i].count);
        free(l);
    }
}

static void decay_leaves_out_biases_and_layer_norms_alone(void **state)
{
    (void)state;
    struct model_config c = published(768, 192, 25);
    struct layout *l = malloc(sizeof *l);
    layout_make(l, &c);
    uint8_t *decay = malloc(l->size / PARAMETER_ALIGN);
    layout_decay(l, decay);
    for (int i = 0; i < l->parameter_count; i++) {
        const struct layout_entry *t = &l->parameters[i];
        int excluded = strstr(t->name, "bias") || strstr(t->name, "LayerNorm.weight");
        assert_int_equal(decay[t->offset / PARAMETER_ALIGN], !excluded);
        assert_int_equal(t->offset % PARAMETER_ALIGN, 0);
    }
    int buffer;
    assert_int_equal(layout_find(l, "type_norm.weight", &buffer)->decay, 1);
    assert_int_equal(layout_find(l, "left_hand_mlp.1.weight", &buffer)->decay, 1);
    assert_int_equal(layout_find(l, "frame_transformer_2.LayerNorm.weight", &buffer)->decay, 0);
    assert_non_null(layout_find(l, "landmark_mlp.1.running_var", &buffer));
    assert_true(buffer);
    free(decay);
    free(l);
}

static void query_key_and_value_stand_together(void **state)
{
    (void)state;
    struct model_config c = published(1536, 512, 25);
    struct layout *l = malloc(sizeof *l);
    layout_make(l, &c);
    for (int i = 0; i < ENCODERS; i++) {
        const struct encoder_tensors *t = &l->encoder[i];
        size_t h = (size_t)c.widths[i];
        assert_int_equal(l->parameters[t->key_weight].offset, l->parameters[t->query_weight].offset + h * h);
        assert_int_equal(l->parameters[t->value_weight].offset, l->parameters[t->query_weight].offset + 2 * h * h);
        assert_int_equal(l->parameters[t->value_bias].offset, l->parameters[t->query_bias].offset + 2 * h);
    }
    free(l);
}

static void initialisation_has_pytorchs_bounds_and_spread(void **state)
{
    (void)state;
    struct model_config c = published(768, 192, 25);
    struct layout *l = malloc(sizeof *l);
    layout_make(l, &c);
    float *w = malloc(l->size * sizeof *w), *b = malloc(l->buffer_size * sizeof *b);
    layout_initialise(l, 7, 0, w, b);
    for (int i = 0; i < l->parameter_count; i++) {
        const struct layout_entry *t = &l->parameters[i];
        double square = 0, most = 0;
        for (size_t k = 0; k < t->count; k++) {
            square += (double)w[t->offset + k] * w[t->offset + k];
            most = fmax(most, fabs(w[t->offset + k]));
        }
        double spread = sqrt(square / (double)t->count);
        if (t->init == INIT_UNIFORM) {
            assert_true(most <= t->bound);
            if (t->count > 5000)
                assert_true(fabs(spread - t->bound / sqrt(3)) < 0.03 * t->bound);
        }
        if (t->init == INIT_NORMAL)
            assert_true(fabs(spread - 1) < 0.03);
        if (t->init == INIT_PADDED)
            for (int k = 0; k < t->shape[1]; k++)
                assert_true(w[t->offset + (size_t)k] == 0);
    }
    int buffer;
    assert_true(b[layout_find(l, "full_mlp.1.running_var", &buffer)->offset] == 1);
    free(w);
    free(b);
    free(l);
}

static void relative_slots_are_transformers(void **state)
{
    (void)state;
    struct golden g;
    golden_open(&g, GOLDEN_DIR "/buckets.safetensors");
    for (size_t i = 0; i < g.file.count; i++) {
        int l = atoi(g.file.tensors[i].name + 1);
        const float *want = g.file.tensors[i].data;
        if (l < 5)
            continue; // max_len is at least 5
        for (int r = -(l - 1); r < l; r++)
            assert_int_equal(relative_slot(r, l), (int)want[r + l - 1]);
    }
    safetensors_close(&g.file);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct error e;
    struct model_config good = published(768, 192, 25), c = good;
    assert_int_equal(model_config_check(&c, &e), 0);
    c.heads = 7;
    assert_int_equal(model_config_check(&c, &e), -1);
    assert_non_null(strstr(e.text, "7 heads"));
    c = good;
    c.widths[2] = 770;
    assert_int_equal(model_config_check(&c, &e), -1);
    c = good;
    c.max_len = 4;
    assert_int_equal(model_config_check(&c, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameter_counts_are_the_published_ones),
        cmocka_unit_test(decay_leaves_out_biases_and_layer_norms_alone),
        cmocka_unit_test(query_key_and_value_stand_together),
        cmocka_unit_test(initialisation_has_pytorchs_bounds_and_spread),
        cmocka_unit_test(relative_slots_are_transformers),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
