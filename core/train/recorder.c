// Steps that are recorded once and replayed: see recorder.h.
#include "core/train/recorder.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static int wanted(int *on, struct error *e)
{
    const char *text = getenv("ISLR_RECORD");
    if (!text || !*text || !strcmp(text, "on"))
        *on = 1;
    else if (!strcmp(text, "off"))
        *on = 0;
    else
        return error_set(e, ERR_INVALID, "ISLR_RECORD is '%s': it must be on or off", text);
    return 0;
}

static void clear_entry(struct recorder *r, struct recorder_entry *entry)
{
    if (entry->recording)
        r->reducer->backend->op->recording_destroy(entry->recording);
    *entry = (struct recorder_entry){.used = 0};
}

static void clear_entries(struct recorder *r)
{
    for (int i = 0; i < RECORDER_ROOM; i++)
        clear_entry(r, &r->entry[i]);
}

// NCCL's communicator is given up, and before it what was recorded: NCCL waits for the end of what it is recorded in.
static const char *let_go(void *context)
{
    struct recorder *r = context;
    const struct backend_ops *op = r->reducer->backend->op;
    struct error ignored;
    int recording = r->recording;
    if (recording)
        op->recording_destroy(op->record_end(r->reducer->stream, &ignored));
    r->recording = 0;
    clear_entries(r);
    return recording ? " (while a step was recorded: ISLR_RECORD=off does without)" : NULL;
}

int recorder_create(struct recorder *r, struct reducer *reducer, struct error *e)
{
    const struct stream *s = reducer->stream;
    *r = (struct recorder){.reducer = reducer, .uniform = s->op->record_begin != NULL};
    int on = 0;
    if (comm_agree(reducer->comm, wanted(&on, e), e))
        return -1;
    int64_t off = !on || !r->uniform || !reducer_queues(reducer);
    if (comm_max_i64(reducer->comm, &off, e))
        return -1;
    r->on = !off;
    if (reducer->device)
        comm_device_before_failure(reducer->device, let_go, r);
    return 0;
}

void recorder_destroy(struct recorder *r)
{
    if (r->reducer && r->reducer->device)
        comm_device_before_failure(r->reducer->device, NULL, NULL);
    clear_entries(r);
    memset(r, 0, sizeof *r);
}

int recorder_agree(struct recorder *r, struct step_shape *shape, int rows_max, struct error *e)
{
    struct comm *comm = r->reducer->comm;
    if (!r->uniform)
        return 0;
    struct step_shape *all = xcalloc((size_t)comm_size(comm), sizeof *all);
    int rc = comm_all_gather(comm, shape, sizeof *shape, all, e);
    for (int i = 0; i < comm_size(comm) && !rc; i++) {
        shape->rows = all[i].rows > shape->rows ? all[i].rows : shape->rows;
        shape->mixed |= all[i].mixed;
    }
    free(all);
    shape->rows = (shape->rows + RECORDER_ROWS - 1) / RECORDER_ROWS * RECORDER_ROWS;
    shape->rows = shape->rows < rows_max ? shape->rows : rows_max;
    return rc;
}

static int same_shape(struct step_shape a, struct step_shape b)
{
    return a.rows == b.rows && a.mixed == b.mixed && a.frozen == b.frozen;
}

// The shape's entry, a new one where there is none.
static struct recorder_entry *entry_of(struct recorder *r, struct step_shape shape)
{
    struct recorder_entry *oldest = r->entry;
    for (struct recorder_entry *i = r->entry; i < r->entry + RECORDER_ROOM; i++) {
        if (i->used && same_shape(i->shape, shape))
            return i;
        if (i->used < oldest->used)
            oldest = i;
    }
    clear_entry(r, oldest);
    oldest->shape = shape;
    return oldest;
}

// No more of them, on all ranks.
static void give_up(struct recorder *r, const struct error *why)
{
    clear_entries(r);
    r->on = 0;
    error_set(&r->trouble, ERR_FAILED,
              "steps are not recorded from here on, but queued operation by operation (with the same results): %s",
              why->text);
}

// Records a step. Returns -1 where the run cannot go on; else *made says whether all ranks have a recording, *why if not.
static int record(struct recorder *r, struct recorder_entry *entry, int (*queue_step)(void *context, struct error *e),
                  void *context, int *made, struct error *why)
{
    struct stream *s = r->reducer->stream;
    struct error broken, ignored;
    uint64_t sums = reducer_sums(r->reducer);
    r->recording = !s->op->record_begin(s, why);
    if (comm_agree(r->reducer->comm, !r->recording, why)) { // NCCL is recorded on all ranks or on none
        if (r->recording)
            s->op->recording_destroy(s->op->record_end(s, &ignored));
        r->recording = *made = 0;
        return 0;
    }
    int rc = queue_step(context, &broken);
    if (r->recording) // else it was let go
        entry->recording = s->op->record_end(s, why);
    r->recording = 0;
    if (rc) { // of the sums over the ranks: there is no way back
        *why = broken;
        return -1;
    }
    entry->sums = reducer_sums(r->reducer) - sums;
    *made = !comm_agree(r->reducer->comm, !entry->recording, why);
    return 0;
}

int recorder_run(struct recorder *r, struct step_shape shape, int (*queue_step)(void *context, struct error *e),
                 void *context, struct error *e)
{
    struct stream *s = r->reducer->stream;
    if (!r->on || !s->op->record_begin) // the latter: somebody watches the operations
        return queue_step(context, e);
    struct recorder_entry *entry = entry_of(r, shape);
    int seen = entry->used != 0, made = 1;
    entry->used = ++r->clock;
    if (!seen) // what allocates or chooses does so now
        return queue_step(context, e);
    if (entry->recording) {
        reducer_replay(r->reducer, entry->sums);
    } else {
        struct error why;
        if (record(r, entry, queue_step, context, &made, &why)) {
            *e = why;
            return -1;
        }
        if (!made) {
            give_up(r, &why);
            return queue_step(context, e);
        }
        r->recorded++;
    }
    s->op->replay(s, entry->recording);
    r->replayed++;
    return 0;
}
