// A job's inputs from the server: see work_inputs.h.
#include "daemon/work_inputs.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/artifact_name.h"
#include "core/rpc/reference.h"

struct input {
    const Islr__ReadAs *as;
    struct hash sha256;
    uint64_t size;
};

// ---- sha256:HEX -----------------------------------------------------------------------------------------------------

// The first byte's Chunk says how large the artifact is.
static int ask_size(struct caller *c, void *context, struct error *e)
{
    struct input *in = context;
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    fetch.has_sha256 = fetch.has_offset = fetch.has_size = 1;
    fetch.sha256 = (ProtobufCBinaryData){sizeof in->sha256.bytes, in->sha256.bytes};
    fetch.size = 1;
    fetch.as = (Islr__ReadAs *)in->as;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_CHUNK, 0, e);
    if (!answer)
        return -1;
    in->size = answer->chunk->total;
    envelope_free(answer);
    return 0;
}

// ---- RUN:what -------------------------------------------------------------------------------------------------------

static int find_of_run(struct retrieval *r, uint64_t run, const char *what, struct input *in, struct error *e)
{
    struct artifact_choice choice = {0};
    Islr__Envelope *answer = retrieve_checkpoints(r, run, e);
    int rc = answer ? artifact_choose(answer->checkpoint_list, run, what, &choice, e) : -1;
    if (!rc && choice.count != 1)
        rc = error_set(e, ERR_INVALID, "%llu:%s is not one checkpoint but %zu", (unsigned long long)run, what,
                       choice.count);
    if (!rc && choice.items[0].info->sha256.len != sizeof in->sha256.bytes)
        rc = error_set(e, ERR_DAMAGED, "the server's hash of %llu:%s is no SHA-256", (unsigned long long)run, what);
    if (!rc) {
        memcpy(in->sha256.bytes, choice.items[0].info->sha256.data, sizeof in->sha256.bytes);
        in->size = choice.items[0].info->size_bytes;
    }
    artifact_choice_free(&choice);
    envelope_free(answer);
    return rc;
}

// 1: it is no reference but a file's path.
static int find(struct retrieval *r, const char *text, struct input *in, struct error *e)
{
    struct reference reference;
    if (reference_parse(text, &reference, e))
        return -1;
    if (reference.kind == REFERENCE_RUN)
        return find_of_run(r, reference.run, reference.what, in, e);
    if (reference.kind == REFERENCE_NONE)
        return 1;
    in->sha256 = reference.sha256;
    return retrieve_answer(r, ask_size, in, e);
}

// ---- the fields -----------------------------------------------------------------------------------------------------

static int fetch_input(struct retrieval *r, const char *directory, char **field, const char *name, struct error *e)
{
    struct input in = {.as = r->as};
    char hex[65];
    int rc = **field ? find(r, *field, &in, e) : 1;
    if (rc == 1)
        return 0;
    if (!rc) {
        hash_to_hex(&in.sha256, hex);
        char *inputs = file_join(directory, "inputs"), *path = xprintf("%s/%s.safetensors", inputs, hex);
        rc = file_make_dirs(inputs, e) || retrieve_file(r, path, &in.sha256, in.size, e) ? -1 : 0;
        free(inputs);
        free(rc ? path : *field);
        if (!rc)
            *field = path;
    }
    return rc ? error_prefix(e, "%s", name) : 0;
}

int work_inputs(struct retrieval *r, const char *directory, Islr__JobSpec *job, struct error *e)
{
    char name[32], **field;
    for (size_t i = 0; (field = reference_field(job, i, name)); i++)
        if (fetch_input(r, directory, field, name, e))
            return -1;
    return 0;
}
