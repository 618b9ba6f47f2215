// The folds' predictions from the server: see work_folds.h.
#include "daemon/work_folds.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/artifact_name.h"
#include "daemon/work_net.h"

static int fetch_file(struct retrieval *r, const Islr__CheckpointList *list, uint64_t run, const char *directory,
                      const char *what, const char *name, struct error *e)
{
    struct artifact_choice choice = {0};
    struct hash hash;
    int rc = artifact_choose(list, run, what, &choice, e);
    if (!rc && (choice.count != 1 || choice.items[0].info->sha256.len != sizeof hash.bytes))
        rc = error_set(e, ERR_DAMAGED, "the server names no %s of run %llu", what, (unsigned long long)run);
    if (!rc) {
        char *path = file_join(directory, name);
        memcpy(hash.bytes, choice.items[0].info->sha256.data, sizeof hash.bytes);
        rc = retrieve_file(r, path, &hash, choice.items[0].info->size_bytes, e);
        free(path);
    }
    artifact_choice_free(&choice);
    return rc;
}

static int fetch_fold(struct retrieval *r, const char *directory, uint64_t run, struct error *e)
{
    Islr__Envelope *answer = retrieve_checkpoints(r, run, e);
    if (!answer)
        return -1;
    const Islr__CheckpointList *list = answer->checkpoint_list;
    int rc = file_make_dirs(directory, e) || fetch_file(r, list, run, directory, "predictions", "predictions.npy", e) ||
             fetch_file(r, list, run, directory, "predictions.csv", "predictions.csv", e) ||
             fetch_file(r, list, run, directory, "summary", "summary.json", e);
    envelope_free(answer);
    return rc ? -1 : 0;
}

int work_folds(struct retrieval *r, const char *directory, const struct work_task *t, struct error *e)
{
    for (size_t i = 0; i < t->fold_count; i++) {
        char *below = xprintf("%s/fold-%zu", directory, i);
        int rc = fetch_fold(r, below, t->folds[i], e);
        free(below);
        if (rc)
            return error_prefix(e, "fold %zu (run %llu)", i, (unsigned long long)t->folds[i]);
    }
    return 0;
}
