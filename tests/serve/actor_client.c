// What clients say: see rig.h.
#include "tests/serve/rig.h"

#include <stdio.h>

#include "core/spec/spec.h"

Islr__JobSpec *job_tiny(uint32_t ranks, uint32_t min_ranks)
{
    static const char text[] = "preset: tiny\ndata: {path: /data/asl}\n";
    struct faults faults = {0};
    Islr__JobSpec *job;
    assert_int_equal(spec_read("test", text, sizeof text - 1, 0, NULL, 0, &job, &faults), 0);
    job->train->group = 8; // 8 groups a batch
    job->resources->ranks = ranks;
    job->resources->min_ranks = min_ranks;
    return job;
}

static uint64_t submit(struct actor *a, Islr__Submit *submission)
{
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, submission);
    Islr__Envelope *reply = actor_call(a, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    uint64_t run = reply->submitted->run;
    envelope_free(reply);
    spec_free(submission->job);
    return run;
}

uint64_t client_submit(struct actor *a, Islr__JobSpec *job)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    s.job = job;
    return submit(a, &s);
}

uint64_t client_submit_after(struct actor *a, uint64_t after, int any)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    s.job = job_tiny(0, 1);
    s.after = &after;
    s.n_after = 1;
    s.has_after_any = 1;
    s.after_any = any;
    return submit(a, &s);
}

static void with_sweep(Islr__Submit *s, Islr__Axis *axis, Islr__Axis **axes, uint32_t count)
{
    islr__submit__init(s);
    islr__axis__init(axis);
    s->job = job_tiny(1, 1);
    s->axes = axes;
    s->n_axes = 1;
    *axes = axis;
    axis->key = (char *)"train.seed";
    axis->has_first = axis->has_count = 1;
    axis->first = 1;
    axis->count = count;
}

uint64_t client_sweep(struct actor *a, uint32_t count)
{
    Islr__Submit s;
    Islr__Axis axis, *axes;
    with_sweep(&s, &axis, &axes, count);
    return submit(a, &s);
}

void client_ask_sweep(struct actor *a, uint32_t count)
{
    Islr__Submit s;
    Islr__Axis axis, *axes;
    with_sweep(&s, &axis, &axes, count);
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    actor_ask(a, &m);
    spec_free(s.job);
}

size_t client_count_members(struct actor *a, uint64_t group)
{
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    size_t count = 0;
    int more;
    q.has_parent = q.has_limit = 1;
    q.parent = group;
    q.limit = 100000;
    uint64_t id = actor_ask(a, &m);
    do {
        Islr__Envelope *part = actor_next(a, ISLR__ENVELOPE__BODY_RUN_LIST);
        assert_int_equal(part->id, id);
        for (size_t i = 0; i < part->run_list->n_runs; i++) {
            char name[64];
            snprintf(name, sizeof name, "tiny/train.seed=%zu", ++count);
            assert_int_equal(part->run_list->runs[i]->run, group + count);
            assert_string_equal(part->run_list->runs[i]->name, name);
        }
        more = part->run_list->more;
        envelope_free(part);
    } while (more);
    return count;
}

void client_control(struct actor *a, Islr__Control__Verb verb, uint64_t target)
{
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = 1;
    c.verb = verb;
    c.targets = &target;
    c.n_targets = target != 0;
    actor_call_ok(a, &m);
}

Islr__Envelope *client_show(struct actor *a, uint64_t run)
{
    Islr__GetRun get = ISLR__GET_RUN__INIT;
    Islr__Envelope m = ENVELOPE(GET_RUN, get_run, &get);
    get.has_run = 1;
    get.run = run;
    return actor_call(a, &m, ISLR__ENVELOPE__BODY_RUN_DETAIL);
}

void client_wait_reason(struct actor *a, uint64_t run, const char *reason)
{
    char said[300];
    unsigned ms = 0;
    for (;;) {
        Islr__Envelope *m = client_show(a, run);
        snprintf(said, sizeof said, "%s", m->run_detail->summary->reason);
        envelope_free(m);
        if (!strcmp(said, reason))
            return;
        if (ms >= RIG_PATIENCE_MS)
            fail_msg("run %d: '%s', not '%s'", (int)run, said, reason);
        rig_wait(a->rig, &ms, reason);
    }
}

void client_wait_state(struct actor *a, uint64_t run, Islr__RunState state)
{
    for (int waited = 0; waited < RIG_PATIENCE_MS; waited += 10) {
        Islr__Envelope *m = client_show(a, run);
        Islr__RunState now = m->run_detail->summary->state;
        if (waited + 10 >= RIG_PATIENCE_MS)
            fail_msg("run %d is in state %d (%s), not %d", (int)run, (int)now, m->run_detail->summary->reason,
                     (int)state);
        envelope_free(m);
        if (now == state)
            return;
        rig_for(a->rig, 10);
    }
}
