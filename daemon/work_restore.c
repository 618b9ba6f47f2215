// What an attempt needs of those before it: see work_restore.h.
#include "daemon/work_restore.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/ckpt/resume.h"
#include "core/rpc/artifact_name.h"
#include "daemon/work_delivery.h"

static int has_hash(const char *path, const struct hash *wanted)
{
    struct hash found;
    return file_exists(path) && !hash_file(path, &found, NULL) && hash_equal(&found, wanted);
}

// ---- the resume point -----------------------------------------------------------------------------------------------

// The file of the task's resume point, if an earlier attempt left it in `directory`; malloc'ed, or NULL.
static char *find_point(const char *directory, const struct hash *wanted)
{
    DIR *d = opendir(directory);
    char *path = NULL;
    for (struct dirent *entry; d && !path && (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        path = file_join(directory, entry->d_name);
        if (!has_hash(path, wanted)) {
            free(path);
            path = NULL;
        }
    }
    if (d)
        closedir(d);
    return path;
}

// Leaves the one file in directory/resume, under the name that its step gives it.
static int place_point(const char *directory, const char *file, uint64_t *step, struct error *e)
{
    struct resume_point point;
    if (resume_open_file(file, &point, e))
        return -1;
    *step = point.step;
    resume_close(&point);
    char *resume = file_join(directory, "resume");
    char *name = xprintf("%s/point-%llu.islr-resume", resume, (unsigned long long)*step);
    int rc = file_remove_tree(resume, e) || file_make_dirs(resume, e) ? -1 : 0;
    if (!rc && rename(file, name))
        rc = error_set_errno(e, ERR_FAILED, "cannot rename %s to %s", file, name);
    rc = rc || file_sync_dir(resume, e) ? -1 : 0;
    free(resume);
    free(name);
    return rc;
}

static int restore_point(const struct work_restore_options *o, uint64_t *step, struct error *e)
{
    const struct work_task *t = o->task;
    char *resume = file_join(o->directory, "resume"), *file = file_join(o->directory, "resume-point");
    char *local = find_point(resume, &t->resume_hash);
    int rc = 0;
    if (local && rename(local, file))
        rc = error_set_errno(e, ERR_FAILED, "cannot rename %s", local);
    if (!rc && !local)
        log_info(o->log, "run %llu: fetching its resume point (%llu bytes)", (unsigned long long)t->run,
                 (unsigned long long)t->resume_size);
    rc = rc || retrieve_file(o->retrieval, file, &t->resume_hash, t->resume_size, e) ||
         place_point(o->directory, file, step, e);
    free(local);
    free(resume);
    free(file);
    return rc ? -1 : 0;
}

// ---- the epochs' checkpoints ----------------------------------------------------------------------------------------

static int is_model(const char *what)
{
    return what && (!strcmp(what, "student") || !strcmp(what, "teacher") || !strcmp(what, "distilled"));
}

static int restore_checkpoint(const struct work_restore_options *o, const Islr__CheckpointInfo *c, struct error *e)
{
    struct hash hash;
    if (c->sha256.len != sizeof hash.bytes)
        return error_set(e, ERR_DAMAGED, "the server's hash of checkpoint %llu is no SHA-256",
                         (unsigned long long)c->id);
    memcpy(hash.bytes, c->sha256.data, sizeof hash.bytes);
    char *directory = xprintf("%s/checkpoints/epoch-%04u", o->directory, c->epoch);
    char *path = xprintf("%s/%s.safetensors", directory, c->what);
    int rc = file_make_dirs(directory, e) || retrieve_file(o->retrieval, path, &hash, c->size_bytes, e) ? -1 : 0;
    if (!rc && o->net)
        work_delivery_known(o->net, path, &hash);
    free(directory);
    free(path);
    return rc;
}

static int restore_checkpoints(const struct work_restore_options *o, uint64_t step, struct error *e)
{
    Islr__Envelope *answer = retrieve_checkpoints(o->retrieval, o->task->run, e);
    if (!answer)
        return -1;
    const Islr__CheckpointList *found = answer->checkpoint_list;
    char *newest = artifact_newest(found);
    int rc = 0;
    for (size_t i = 0; i < found->n_checkpoints && !rc; i++) {
        const Islr__CheckpointInfo *c = found->checkpoints[i];
        if (c->epoch && c->step <= step && is_model(c->what) && newest[i])
            rc = restore_checkpoint(o, c, e);
    }
    free(newest);
    envelope_free(answer);
    return rc;
}

int work_restore(const struct work_restore_options *o, int *resumes, struct error *e)
{
    uint64_t step = 0;
    *resumes = o->task->has_resume;
    if (!o->task->has_resume)
        return file_remove_tree(o->directory, e) || file_make_dirs(o->directory, e) ? -1 : 0;
    int rc = restore_point(o, &step, e) || restore_checkpoints(o, step, e) ? -1 : 0;
    return rc ? error_prefix(e, "cannot restore the run") : 0;
}
