// Writes files for test_inspect.py into DIR: model.safetensors (a small checkpoint of 3 signs), tensors.safetensors (no
// model of ours), huge.safetensors (whose outputs are not finite), point-7.islr-resume.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ckpt/resume.h"
#include "core/ckpt/safetensors.h"
#include "core/train/checkpoint.h"

static const char *sign_name(const void *context, int i)
{
    return ((const char *const *)context)[i];
}

// huge: finite weights, of which no finite output comes.
static int write_model(const char *path, int huge, struct error *e)
{
    static const char *const signs[] = {"TV", "caf\xC3\xA9", "yes"};
    const struct model_config config = {
        .dense_dim = 16, .widths = {32, 48, 48, 16}, .heads = 4, .max_len = 9, .classes = 3};
    struct checkpoint c;
    checkpoint_create(&c, &config);
    layout_initialise(&c.layout, 1, 0, c.parameters, c.buffers);
    for (size_t i = 0; huge && i < c.layout.size; i++)
        c.parameters[i] = c.parameters[i] > 0 ? 3e38F : c.parameters[i];
    checkpoint_set_signs(&c, sign_name, signs);
    c.origin = xstrdup("{\"epoch\":3}");
    c.job_hash = xstrdup("00ff");
    if (!huge)
        printf("%zu\n", c.layout.scalar_count);
    int rc = checkpoint_write(&c, path, e);
    checkpoint_destroy(&c);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct error e = {0};
    const float values[6] = {1, 2, 3, 4, 5, 6};
    const struct tensor tensor = {"w", TENSOR_F32, 2, {2, 3}, 6, values};
    const struct resume_section sections[] = {{"weights", values, sizeof values}, {"step", "x", 1}};
    char *model = file_join(argv[1], "model.safetensors"), *other = file_join(argv[1], "tensors.safetensors");
    char *huge = file_join(argv[1], "huge.safetensors");
    int rc = write_model(model, 0, &e) || write_model(huge, 1, &e) ||
             safetensors_write(other, &tensor, 1, NULL, 0, &e) || resume_save(argv[1], 7, sections, 2, &e);
    if (rc)
        fprintf(stderr, "%s\n", e.text);
    free(model);
    free(other);
    free(huge);
    return rc;
}
