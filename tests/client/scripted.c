// A scripted server's answers: see scripted.h.
#include "tests/client/scripted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/spec/sweep.h"

static void fault(struct peer *p, uint64_t id, enum error_code code, const char *text)
{
    struct error e;
    error_set(&e, code, "%s", text);
    peer_reply_fault(p, id, &e);
}

static int ended(const struct scripted *s)
{
    return s->state >= ISLR__RUN_STATE__RUN_SUCCEEDED;
}

// ---- runs -----------------------------------------------------------------------------------------------------------

static void fill_summary(const struct scripted *s, Islr__RunSummary *r, uint64_t run)
{
    islr__run_summary__init(r);
    r->has_run = r->has_state = r->has_submitted_ms = r->has_started_ms = r->has_step = r->has_steps = 1;
    r->has_attempt = r->has_ranks = 1;
    r->run = run;
    r->name = "name \x1b[31mred";
    r->user = "ada";
    r->state = s->state;
    r->reason = (char *)s->reason;
    r->kind = "train";
    r->submitted_ms = 1772366400123;
    r->started_ms = 1772366401000;
    r->step = 10;
    r->steps = 20;
    r->attempt = 1;
    r->ranks = 2;
    r->has_ended_ms = ended(s);
    r->ended_ms = ended(s) ? 1772366409000 : 0;
    if (run == s->retried && s->retries)
        r->attempt = 2;
    if (run == s->group) {
        r->group = (char *)"sweep";
        r->has_children = r->has_children_ended = 1;
        r->children = (uint32_t)s->members;
        r->children_ended = 1;
    }
}

static int breaks_here(struct scripted *s, struct peer *p)
{
    if (!s->break_ask || ++s->asks % s->break_ask)
        return 0;
    peer_end(p, NULL);
    return 1;
}

static void answer_list(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    const Islr__ListRuns *l = m->list_runs;
    if (breaks_here(s, p))
        return;
    s->lists++;
    snprintf(s->list_asked, sizeof s->list_asked, "states=%zu user=%s name=%s where=%s sort=%s limit=%u since=%d",
             l->n_states, l->user ? l->user : "", l->name ? l->name : "", l->where ? l->where : "",
             l->sort ? l->sort : "", l->limit, l->since_ms > 0);
    s->parent_asked = l->parent;
    s->children_asked = l->children;
    int left = s->runs;
    if (l->parent)
        left = l->parent == s->group ? s->members : 0;
    if (l->limit && (uint32_t)left > l->limit)
        left = (int)l->limit;
    do { // in messages of at most 100 runs
        int n = left < 100 ? left : 100;
        Islr__RunSummary summaries[100], *list[100];
        Islr__Value value = ISLR__VALUE__INIT, *values[] = {&value};
        value.name = "accuracy/soup";
        value.has_value = 1;
        value.value = 0.8125;
        for (int i = 0; i < n; i++) {
            fill_summary(s, &summaries[i], (uint64_t)(left - i));
            summaries[i].n_final = 1;
            summaries[i].final = values;
            list[i] = &summaries[i];
        }
        left -= n;
        Islr__RunList answer = ISLR__RUN_LIST__INIT;
        answer.runs = list;
        answer.n_runs = (size_t)n;
        answer.has_more = 1;
        answer.more = left > 0;
        Islr__Envelope a = ENVELOPE(RUN_LIST, run_list, &answer);
        peer_reply(p, m->id, &a, NULL);
    } while (left > 0);
}

static void answer_watch(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    Islr__Changed changed = ISLR__CHANGED__INIT;
    Islr__Envelope a = ENVELOPE(CHANGED, changed, &changed);
    s->watches++;
    changed.has_version = 1;
    changed.version = (uint64_t)s->watches;
    if (s->untold)
        fault(p, m->id, ERR_INVALID, "a server takes no message of the kind watch");
    else if (!m->watch->seen || s->news-- > 0)
        peer_reply(p, m->id, &a, NULL);
}

static void answer_get(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    uint64_t run = m->get_run->run ? m->get_run->run : (uint64_t)s->runs;
    if (s->mute_get || breaks_here(s, p))
        return;
    if (run == 0 || run > (uint64_t)s->runs) {
        fault(p, m->id, ERR_NOT_FOUND, "there is no such run");
        return;
    }
    Islr__RunSummary summary;
    Islr__RunDetail detail = ISLR__RUN_DETAIL__INIT;
    Islr__RankInfo rank = ISLR__RANK_INFO__INIT, *ranks[] = {&rank};
    Islr__Attempt attempt = ISLR__ATTEMPT__INIT, *attempts[] = {&attempt};
    Islr__Event event = ISLR__EVENT__INIT, *events[] = {&event};
    Islr__JobSpec job = ISLR__JOB_SPEC__INIT;
    fill_summary(s, &summary, run);
    rank.host = "node1";
    attempt.has_number = 1;
    attempt.number = 1;
    attempt.outcome = "succeeded";
    attempt.has_rank_count = detail.has_attempt_count = detail.has_event_count = s->left_out > 0;
    attempt.rank_count = detail.attempt_count = (uint32_t)s->left_out + 1;
    detail.event_count = (uint64_t)s->left_out + 1;
    attempt.n_ranks = 1;
    attempt.ranks = ranks;
    event.has_time_ms = 1;
    event.time_ms = 1772366400123;
    event.text = "submitted";
    Islr__Train train = ISLR__TRAIN__INIT;
    Islr__Value value = ISLR__VALUE__INIT, *values[] = {&value};
    job.name = "sparse"; // as from the wire: little else is there
    train.has_seed = 1;
    train.seed = 100 + run;
    job.train = &train;
    value.name = (char *)"accuracy/soup";
    value.has_value = 1;
    value.value = 0.5 + (double)run / 100;
    summary.n_final = 1;
    summary.final = values;
    detail.summary = &summary;
    detail.n_attempts = detail.n_events = 1;
    detail.attempts = attempts;
    detail.events = events;
    detail.job = &job;
    detail.job_hash = "abcd";
    detail.has_checkpoint_count = 1; // none of them here
    detail.checkpoint_count = s->artifact_count;
    Islr__Envelope a = ENVELOPE(RUN_DETAIL, run_detail, &detail);
    peer_reply(p, m->id, &a, NULL);
}

static void note_run(struct scripted *s, const char *label, const Islr__JobSpec *job)
{
    size_t n = strlen(s->labels);
    snprintf(s->labels + n, sizeof s->labels - n, "%s|%.9g,%llu,%s;", label, job->train->lr,
             (unsigned long long)job->train->seed, job->preset);
}

static void note_sweep(struct scripted *s, const Islr__Submit *q)
{
    struct spec_sweep sweep;
    s->variations = (int)q->n_variations;
    *s->labels = 0;
    for (size_t i = 0; i < q->n_variations; i++) {
        Islr__JobSpec *job = spec_vary(q->job, q->variations[i]->differs, NULL);
        note_run(s, q->variations[i]->label, job);
        spec_free(job);
    }
    if (!q->n_axes || spec_sweep_open(&sweep, q->job, q->axes, q->n_axes, 10000, NULL))
        return;
    s->variations = (int)sweep.count;
    for (size_t i = 0; i < sweep.count; i++) {
        char *label = spec_sweep_label(&sweep, i);
        note_run(s, label, spec_sweep_job(&sweep, i));
        free(label);
    }
    spec_sweep_close(&sweep);
}

static void answer_submit(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    struct faults faults = {0};
    if (spec_check_wire(m->submit->job, &faults)) {
        struct error e;
        faults_to_error(&faults, &e);
        peer_reply_fault(p, m->id, &e);
        faults_free(&faults);
        return;
    }
    note_sweep(s, m->submit);
    char *json = spec_to_json(m->submit->job);
    snprintf(s->submitted, sizeof s->submitted, "%s", json);
    free(json);
    Islr__Submitted submitted = ISLR__SUBMITTED__INIT;
    submitted.has_run = submitted.has_existed = 1;
    Islr__Envelope a = ENVELOPE(SUBMITTED, submitted, &submitted);
    if (m->submit->dry_run) { // as islrd serve: run 0
        peer_reply(p, m->id, &a, NULL);
        return;
    }
    int existed = *s->key && !strcmp(s->key, m->submit->key);
    snprintf(s->key, sizeof s->key, "%s", m->submit->key);
    s->submits++;
    s->runs += !existed;
    s->priority = m->submit->priority;
    s->target_count = m->submit->n_after;
    for (size_t i = 0; i < m->submit->n_after && i < 8; i++)
        s->targets[i] = m->submit->after[i];
    if (s->drop_submits > 0) {
        s->drop_submits--;
        peer_close(p, NULL);
        return;
    }
    submitted.run = (uint64_t)s->runs;
    submitted.existed = existed;
    submitted.has_runs = 1;
    submitted.runs = existed ? 0 : (uint32_t)s->variations;
    peer_reply(p, m->id, &a, NULL);
}

static void answer_control(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    const Islr__Control *c = m->control;
    s->controls++;
    s->verb = c->verb;
    s->priority = c->priority;
    s->target_count = c->n_targets;
    for (size_t i = 0; i < c->n_targets && i < 8; i++)
        s->targets[i] = c->targets[i];
    if (c->n_targets && c->targets[0] > (uint64_t)s->runs)
        fault(p, m->id, ERR_NOT_FOUND, "there is no such run");
    else
        peer_reply_ok(p, m->id);
}

static void answer_wait(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    if (s->hellos < s->end_after_follows) {
        peer_close(p, NULL);
        return;
    }
    if (s->silent)
        return;
    for (size_t i = 0; i < m->wait->n_runs; i++) {
        Islr__RunEnded e = ISLR__RUN_ENDED__INIT;
        e.has_run = e.has_state = 1;
        e.run = m->wait->runs[i];
        e.state = s->state;
        e.reason = (char *)s->reason;
        Islr__Envelope a = ENVELOPE(RUN_ENDED, run_ended, &e);
        peer_reply(p, m->id, &a, NULL);
    }
    peer_reply_ok(p, m->id);
}

// ---- following ------------------------------------------------------------------------------------------------------

struct one_record {
    Islr__Record record;
    Islr__MetricPoint point;
    char *names[3];
    double values[3];
    char log[64];
};

static void make_record(const struct scripted *s, uint64_t seq, struct one_record *o)
{
    islr__record__init(&o->record);
    islr__metric_point__init(&o->point);
    Islr__Record *r = &o->record;
    r->has_seq = r->has_time_ms = r->has_attempt = 1;
    r->seq = seq;
    r->time_ms = 1772366400000 + (int64_t)seq * 100;
    r->attempt = 1;
    if (seq == 1 || (seq == s->records && ended(s))) {
        r->what_case = ISLR__RECORD__WHAT_STATE;
        r->state = seq == 1 ? ISLR__RUN_STATE__RUN_RUNNING : s->state;
        r->reason = seq == 1 ? NULL : (char *)s->reason;
    } else if (seq % 5 == 0 && seq % 100) {
        snprintf(o->log, sizeof o->log, "line %llu \x1b]0;title\a", (unsigned long long)seq);
        r->what_case = ISLR__RECORD__WHAT_LOG;
        r->log = o->log;
    } else {
        int evaluation = seq % 100 == 0;
        r->what_case = ISLR__RECORD__WHAT_METRIC;
        r->metric = &o->point;
        o->names[0] = evaluation ? "accuracy/student" : "loss/student";
        o->names[1] = evaluation ? "loss/valid" : "loss/distilled";
        o->names[2] = "clips_per_second";
        o->values[0] = evaluation ? 0.5 : 3.25;
        o->values[1] = 2.5;
        o->values[2] = 1234;
        o->point.has_step = o->point.has_epoch = o->point.has_evaluation = 1;
        o->point.step = seq;
        o->point.epoch = (double)seq / 100;
        o->point.evaluation = evaluation;
        o->point.n_names = o->point.n_values = evaluation ? 2 : 3;
        o->point.names = o->names;
        o->point.values = o->values;
    }
}

static int is_asked(const Islr__Follow *f, const Islr__Record *r)
{
    return r->what_case == ISLR__RECORD__WHAT_LOG      ? f->logs
           : r->what_case == ISLR__RECORD__WHAT_METRIC ? f->metrics
                                                       : 1;
}

static void push_progress(struct scripted *s, struct peer *p, uint64_t id)
{
    Islr__Progress progress = ISLR__PROGRESS__INIT;
    progress.has_step = progress.has_steps = progress.has_epochs = progress.has_epoch = 1;
    progress.step = s->records;
    progress.steps = 2 * s->records;
    progress.epoch = 2.5;
    progress.epochs = 15;
    progress.doing = "train";
    Islr__Envelope a = ENVELOPE(PROGRESS, progress, &progress);
    peer_reply(p, id, &a, NULL);
}

// 1: the connection ends here.
static int push_records(struct scripted *s, struct peer *p, const Islr__Envelope *m, uint64_t last)
{
    const Islr__Follow *f = m->follow;
    uint64_t early = (uint64_t)s->repeat_records, first = f->after_seq > early ? f->after_seq - early : 0, sent = 0;
    for (uint64_t seq = first + 1; seq <= last; seq++) {
        struct one_record one;
        make_record(s, seq, &one);
        if (!is_asked(f, &one.record))
            continue;
        Islr__Record *list[] = {&one.record};
        Islr__Records records = ISLR__RECORDS__INIT;
        records.has_run = 1;
        records.run = f->run;
        records.n_records = 1;
        records.records = list;
        Islr__Envelope a = ENVELOPE(RECORDS, records, &records);
        peer_reply(p, m->id, &a, NULL);
        if (s->break_follow && ++sent >= s->break_follow + early) {
            peer_end(p, NULL); // what was sent arrives
            return 1;
        }
    }
    return 0;
}

static void push_end(const struct scripted *s, struct peer *p, uint64_t id, uint64_t run, Islr__RunState state)
{
    Islr__FollowEnd end = ISLR__FOLLOW_END__INIT;
    end.has_run = end.has_last_seq = end.has_state = 1;
    end.run = run;
    end.last_seq = s->records;
    end.state = state;
    end.reason = (char *)s->reason;
    Islr__Envelope a = ENVELOPE(FOLLOW_END, follow_end, &end);
    peer_reply(p, id, &a, NULL);
}

// The member ends in the middle; then the group says that it has begun again. The group itself ends only when somebody
// has asked for the rest.
static void answer_retried(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    if (s->retries++) {
        push_records(s, p, m, s->records);
        push_end(s, p, m->id, m->follow->run, s->state);
        push_end(s, s->group_peer, s->group_follow, s->group, s->state);
        return;
    }
    push_records(s, p, m, s->records / 2);
    push_end(s, p, m->id, m->follow->run, ISLR__RUN_STATE__RUN_FAILED);
    Islr__Follow rest = ISLR__FOLLOW__INIT;
    Islr__Envelope again = ENVELOPE(FOLLOW, follow, &rest);
    again.id = s->group_follow;
    rest.run = s->group;
    rest.after_seq = s->records / 2;
    rest.metrics = 0;
    push_records(s, s->group_peer, &again, s->records);
}

static void answer_follow(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    const Islr__Follow *f = m->follow;
    s->follows++;
    if (f->run == 0 || f->run > (uint64_t)s->runs) {
        fault(p, m->id, ERR_NOT_FOUND, "there is no such run");
        return;
    }
    if (s->retried && f->run == s->retried) {
        answer_retried(s, p, m);
        return;
    }
    int waits = s->retried && f->run == s->group;
    if (push_records(s, p, m, waits ? s->records / 2 : s->records))
        return;
    if (f->progress)
        push_progress(s, p, m->id);
    s->group_peer = waits ? p : s->group_peer;
    s->group_follow = waits ? m->id : s->group_follow;
    if (!s->silent && !waits)
        push_end(s, p, m->id, f->run, s->state);
}

// ---- artifacts ------------------------------------------------------------------------------------------------------

void scripted_add_artifact(struct scripted *s, const char *what, uint32_t epoch, double accuracy, size_t size)
{
    s->artifacts = xrealloc(s->artifacts, s->artifact_count + 1, sizeof *s->artifacts);
    struct scripted_artifact *a = &s->artifacts[s->artifact_count++];
    *a = (struct scripted_artifact){what, epoch, accuracy, xmalloc(size ? size : 1), size, {0}};
    for (size_t i = 0; i < size; i++)
        a->data[i] = (uint8_t)(i * 2654435761u >> 13 ^ s->artifact_count);
    struct hash h = hash_memory(a->data, size);
    memcpy(a->sha256, h.bytes, sizeof h.bytes);
}

static void answer_checkpoints(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    Islr__CheckpointInfo *list[32], infos[32];
    Islr__Value values[32], *value[32];
    if (m->list_checkpoints->run > (uint64_t)s->runs) {
        fault(p, m->id, ERR_NOT_FOUND, "there is no such run");
        return;
    }
    for (size_t i = 0; i < s->artifact_count; i++) {
        const struct scripted_artifact *a = &s->artifacts[i];
        islr__checkpoint_info__init(&infos[i]);
        islr__value__init(&values[i]);
        infos[i].has_id = infos[i].has_run = infos[i].has_epoch = infos[i].has_sha256 = infos[i].has_size_bytes = 1;
        infos[i].id = i + 1;
        infos[i].run = m->list_checkpoints->run;
        infos[i].what = (char *)a->what;
        infos[i].epoch = a->epoch;
        infos[i].sha256 = (ProtobufCBinaryData){32, (uint8_t *)a->sha256};
        infos[i].size_bytes = a->size;
        values[i].name = "accuracy";
        values[i].has_value = 1;
        values[i].value = a->accuracy;
        value[i] = &values[i];
        infos[i].n_metrics = a->accuracy > 0;
        infos[i].metrics = &value[i];
        list[i] = &infos[i];
    }
    Islr__CheckpointList answer = ISLR__CHECKPOINT_LIST__INIT;
    Islr__Envelope a = ENVELOPE(CHECKPOINT_LIST, checkpoint_list, &answer);
    answer.has_more = 1;
    for (size_t i = 0; i <= s->artifact_count; i += 3) { // three a message
        answer.checkpoints = list + i;
        answer.n_checkpoints = s->artifact_count - i < 3 ? s->artifact_count - i : 3;
        answer.more = i + 3 <= s->artifact_count;
        peer_reply(p, m->id, &a, NULL);
    }
}

static void answer_fetch(struct scripted *s, struct peer *p, const Islr__Envelope *m)
{
    const Islr__Fetch *f = m->fetch;
    s->fetches++;
    if (s->break_fetch && s->fetches % s->break_fetch == 0) {
        peer_end(p, NULL);
        return;
    }
    for (size_t i = 0; i < s->artifact_count; i++) {
        struct scripted_artifact *a = &s->artifacts[i];
        if (f->sha256.len != 32 || memcmp(a->sha256, f->sha256.data, 32))
            continue;
        size_t n = f->offset < a->size ? a->size - f->offset : 0;
        n = n < f->size ? n : f->size;
        uint8_t *copy = xmalloc(n ? n : 1);
        memcpy(copy, a->data + f->offset, n);
        if (s->corrupt_fetch > 0 && n) {
            s->corrupt_fetch--;
            copy[n / 2] ^= 1;
        }
        Islr__Chunk chunk = ISLR__CHUNK__INIT;
        chunk.has_offset = chunk.has_total = chunk.has_data = 1;
        chunk.offset = f->offset;
        chunk.total = a->size;
        chunk.data = (ProtobufCBinaryData){n, copy};
        Islr__Envelope answer = ENVELOPE(CHUNK, chunk, &chunk);
        peer_reply(p, m->id, &answer, NULL);
        free(copy);
        return;
    }
    fault(p, m->id, ERR_NOT_FOUND, "there is no such artifact");
}

// ---- the rest -------------------------------------------------------------------------------------------------------

static void answer_workers(struct peer *p, uint64_t id)
{
    Islr__WorkerInfo w = ISLR__WORKER_INFO__INIT, *list[] = {&w};
    w.has_worker = w.has_rank = w.has_size = w.has_run = 1;
    w.worker = 3;
    w.rank = 1;
    w.size = 2;
    w.host = "node1";
    w.device = "cpu";
    w.run = 1;
    w.doing = "train";
    for (int more = 1; more >= 0; more--) {
        Islr__WorkerList answer = ISLR__WORKER_LIST__INIT;
        answer.n_workers = 1;
        answer.workers = list;
        answer.has_more = 1;
        answer.more = more;
        Islr__Envelope a = ENVELOPE(WORKER_LIST, worker_list, &answer);
        peer_reply(p, id, &a, NULL);
    }
}

static void answer_status(struct scripted *s, struct peer *p, uint64_t id)
{
    Islr__Status status = ISLR__STATUS__INIT;
    status.version = "test";
    status.has_running = 1;
    status.running = (uint64_t)s->runs;
    Islr__Envelope a = ENVELOPE(STATUS, status, &status);
    peer_reply(p, id, &a, NULL);
}

static void answer(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    struct scripted *s = r->context;
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_LIST_RUNS:
        answer_list(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_GET_RUN:
        answer_get(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_SUBMIT:
        answer_submit(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_CONTROL:
        answer_control(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_WAIT:
        answer_wait(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_FOLLOW:
        answer_follow(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_LIST_CHECKPOINTS:
        answer_checkpoints(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_FETCH:
        answer_fetch(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_LIST_WORKERS:
        answer_workers(p, m->id);
        break;
    case ISLR__ENVELOPE__BODY_WATCH:
        answer_watch(s, p, m);
        break;
    case ISLR__ENVELOPE__BODY_GET_STATUS:
        answer_status(s, p, m->id);
        break;
    default:
        fault(p, m->id, ERR_INVALID, "not in the script");
    }
}

static void hello(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    struct scripted *s = r->context;
    if (++s->hellos == s->mute_hello)
        peer_recognise(p); // or this end would hang up
    else
        rig_welcome(p, m->id);
}

void scripted_open(struct scripted *s)
{
    s->rig.on_message = answer;
    s->rig.on_hello = hello;
    s->rig.context = s;
    rig_open(&s->rig);
}

void scripted_close(struct scripted *s)
{
    for (size_t i = 0; i < s->artifact_count; i++)
        free(s->artifacts[i].data);
    free(s->artifacts);
    rig_close(&s->rig);
}
