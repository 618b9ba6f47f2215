// What can be known to be wrong with a training run before its data is looked at, which may take an hour.
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/checkpoint.h"
#include "core/train/device.h"
#include "core/train/recipe.h"
#include "core/train/run.h"

// How many signs the data has is known to the file alone yet.
static int check_init(const Islr__JobSpec *job, enum learner_role role, const char *file, struct error *e)
{
    struct checkpoint given, wanted = {.config = {0}};
    if (!*file)
        return 0;
    if (checkpoint_read(&given, file, (int)job->model->heads, e))
        return error_prefix(e, "init.%s", learner_names[role]);
    int classes = given.config.classes;
    wanted.config = role == DISTILLED ? recipe_distilled(job, classes) : recipe_student(job, classes);
    int rc = checkpoint_compatible(&given, &wanted, file, "the job's model", e);
    checkpoint_destroy(&given);
    return rc ? error_prefix(e, "init.%s", learner_names[role]) : 0;
}

// Rank 0: what it will write to and read from. A run that is resumed may have outlived the files that it began from.
static int check_files(const struct train_options *o, struct error *e)
{
    const Islr__Init *init = o->job->init;
    if (file_make_dirs(o->dir, e) || file_writable_dir(o->dir, e))
        return -1;
    if (o->resume)
        return 0;
    return check_init(o->job, STUDENT, init->student, e) || check_init(o->job, TEACHER, init->teacher, e) ||
                   check_init(o->job, DISTILLED, init->distilled, e)
               ? -1
               : 0;
}

int run_check(const struct train_options *o, enum dtype *type, struct error *e)
{
    int failed = recipe_type(o->job->train->precision, o->backend, type, e) ||
                 step_check_ranks(o->job, comm_size(o->comm), e) || (comm_rank(o->comm) == 0 && check_files(o, e));
    return comm_agree(o->comm, failed, e) || device_agree(o->comm, o->backend, *type, e) ? -1 : 0;
}
