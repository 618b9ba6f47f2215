// What islrd inspect tells of a safetensors file: the model's sizes, signs, origin and hash where it is a checkpoint of
// an islr model, and its tensors in any case.
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/ckpt/safetensors.h"
#include "core/train/checkpoint.h"
#include "daemon/inspect.h"
#include "daemon/name_json.h"

enum { ASSUMED_HEADS = 16 }; // of the published models; files from PyTorch do not say

struct contents {
    const char *path;
    struct safetensors file;
    size_t size; // bytes
    char sha256[65];
    bool is_model; // then:
    struct checkpoint model;
};

// The format has no magic: a plausible header length and '{', or the name.
static bool recognises(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && !strcmp(dot, ".safetensors"))
        return true;
    uint8_t head[9];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool whole = fd >= 0 && read(fd, head, sizeof head) == sizeof head;
    if (fd >= 0)
        close(fd);
    uint64_t length = 0;
    if (whole)
        memcpy(&length, head, sizeof length);
    return whole && length > 0 && length <= SAFETENSORS_HEADER_MAX && head[8] == '{';
}

static int load(struct contents *c, const char *path, struct error *e)
{
    struct hash h;
    *c = (struct contents){.path = path};
    if (safetensors_open(path, &c->file, e))
        return -1;
    c->size = c->file.map.size;
    h = hash_memory(c->file.map.data, c->size);
    hash_to_hex(&h, c->sha256);
    // Any file of tensors may be looked at, but one that has our tensors must be sound.
    bool claims = safetensors_find(&c->file, "left_hand_mlp.0.weight") || safetensors_metadata(&c->file, "islr.model");
    if (claims && checkpoint_read(&c->model, path, ASSUMED_HEADS, e)) {
        safetensors_close(&c->file);
        return -1;
    }
    c->is_model = claims;
    return 0;
}

static void unload(struct contents *c)
{
    if (c->is_model)
        checkpoint_destroy(&c->model);
    safetensors_close(&c->file);
}

static size_t count_elements(const struct safetensors *file)
{
    size_t n = 0;
    for (size_t i = 0; i < file->count; i++)
        n += file->tensors[i].count;
    return n;
}

// ---- JSON ---------------------------------------------------------------------------------------------------------

static json_t *tensors_json(const struct safetensors *file)
{
    static const char *const types[] = {"F32", "F16", "BF16"};
    json_t *list = json_array();
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor *t = &file->tensors[i];
        json_t *shape = json_array();
        for (int k = 0; k < t->dims; k++)
            json_array_append_new(shape, json_integer(t->shape[k]));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o}", "name", t->name, "dtype", types[t->type], "shape", shape));
    }
    return list;
}

static json_t *model_json(const struct checkpoint *m)
{
    const struct model_config *c = &m->config;
    return json_pack("{s:i, s:i, s:[i,i,i,i], s:i, s:i, s:i}", "embed_dim", EMBED_DIM, "dense_dim", c->dense_dim,
                     "widths", c->widths[0], c->widths[1], c->widths[2], c->widths[3], "heads", c->heads, "max_len",
                     c->max_len, "classes", c->classes);
}

static json_t *signs_json(const struct checkpoint *m)
{
    if (!m->signs)
        return json_null();
    json_t *list = json_array();
    for (int i = 0; i < m->config.classes; i++)
        json_array_append_new(list, json_string(m->signs[i]));
    return list;
}

static void print_as_json(const struct contents *c)
{
    json_t *metadata = json_object(), *root;
    for (size_t i = 0; i < c->file.metadata_count; i++)
        json_object_set_new(metadata, c->file.metadata[i].key, json_string(c->file.metadata[i].value));
    root = json_pack("{s:s, s:o, s:I, s:s, s:I}", "kind", c->is_model ? "checkpoint" : "tensors", "file",
                     name_json(c->path), "size_bytes", (json_int_t)c->size, "sha256", c->sha256, "elements",
                     (json_int_t)count_elements(&c->file));
    if (c->is_model) {
        json_object_set_new(root, "model", model_json(&c->model));
        json_object_set_new(root, "parameters", json_integer((json_int_t)c->model.layout.scalar_count));
        json_object_set_new(root, "signs", signs_json(&c->model));
        json_t *origin = c->model.origin ? json_loads(c->model.origin, JSON_DECODE_ANY, NULL) : NULL;
        json_object_set_new(root, "origin", origin ? origin : json_null());
        json_object_set_new(root, "job_sha256", c->model.job_hash ? json_string(c->model.job_hash) : json_null());
    }
    json_object_set_new(root, "metadata", metadata);
    json_object_set_new(root, "tensors", tensors_json(&c->file));
    inspect_print_json(root);
}

// ---- text ---------------------------------------------------------------------------------------------------------

static void print_model(const struct contents *c)
{
    const struct checkpoint *m = &c->model;
    const struct model_config *k = &m->config;
    printf("model: dense_dim %d, widths %d %d %d %d, heads %d%s, max_len %d, %d classes\n", k->dense_dim, k->widths[0],
           k->widths[1], k->widths[2], k->widths[3], k->heads,
           safetensors_metadata(&c->file, "islr.model") ? "" : " (assumed)", k->max_len, k->classes);
    printf("parameters: %zu in %d tensors, and %d buffers\n", m->layout.scalar_count, m->layout.parameter_count,
           m->layout.buffer_count);
    if (m->origin)
        printf("origin: %s\n", m->origin);
    if (m->job_hash)
        printf("job: %s\n", m->job_hash);
    for (int i = 0; m->signs && i < k->classes; i++)
        printf("%s%s%s", i ? ", " : "signs: ", m->signs[i], i + 1 == k->classes ? "\n" : "");
}

static void print_tensors(const struct contents *c)
{
    printf("%zu tensors of %zu elements\n", c->file.count, count_elements(&c->file));
    for (size_t i = 0; i < c->file.metadata_count; i++)
        printf("%s: %s\n", c->file.metadata[i].key, c->file.metadata[i].value);
    for (size_t i = 0; i < c->file.count; i++) {
        char shape[128];
        printf("  %s %s\n", c->file.tensors[i].name, tensor_shape_text(&c->file.tensors[i], shape));
    }
}

static int print(const struct inspect_request *r, struct error *e)
{
    struct contents c;
    if (load(&c, r->file, e))
        return -1;
    if (r->json) {
        print_as_json(&c);
    } else {
        printf("%s %s: %.1f MB, SHA-256 %s\n", c.is_model ? "checkpoint" : "safetensors", c.path, (double)c.size / 1e6,
               c.sha256);
        if (c.is_model)
            print_model(&c);
        else
            print_tensors(&c);
    }
    unload(&c);
    return 0;
}

const struct inspect_kind inspect_checkpoint = {"checkpoint", recognises, print};
