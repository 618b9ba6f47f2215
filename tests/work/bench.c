// A workbench for one worker rank: see bench.h.
#include "tests/work/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"

// ---- the server -----------------------------------------------------------------------------------------------------

static void fault(struct peer *p, uint64_t id, enum error_code code, const char *text)
{
    struct error e;
    error_set(&e, code, "%s", text);
    peer_reply_fault(p, id, &e);
}

static void registered(struct bench *b, struct peer *p, const Islr__Envelope *m)
{
    const Islr__Register *facts = m->register_;
    assert_int_equal(strlen(facts->world), 32);
    assert_int_equal(facts->size, comm_size(b->world));
    assert_in_range(facts->rank, 0, facts->size - 1);
    assert_true(facts->rank != 0 || facts->pid == (uint32_t)getpid());
    assert_string_equal(facts->device, "cpu");
    assert_true(!*b->world_name || !strcmp(b->world_name, facts->world));
    snprintf(b->world_name, sizeof b->world_name, "%s", facts->world);
    b->claim_run = facts->run;
    b->claim_attempt = facts->attempt;
    Islr__Registered r = ISLR__REGISTERED__INIT;
    r.has_worker = r.has_lease_ms = r.has_acked_seq = r.has_abandon = 1;
    r.worker = 1;
    r.lease_ms = 30000;
    r.acked_seq = b->records;
    r.abandon = b->abandon && facts->run;
    Islr__Envelope a = ENVELOPE(REGISTERED, registered, &r);
    peer_reply(p, m->id, &a, NULL);
    b->rank[facts->rank] = p;
    b->registered++;
}

static void take_record(struct bench *b, const Islr__Record *r)
{
    if (r->seq <= b->records)
        return;                               // again: it was durable and the acknowledgement got lost
    assert_int_equal(r->seq, b->records + 1); // never a hole
    if (!(b->records & (b->records - 1))) {   // 0, 1, 2, 4, ..
        b->first_values = xrealloc(b->first_values, 2 * b->records + 1, sizeof *b->first_values);
        b->lines = xrealloc(b->lines, 2 * b->records + 1, sizeof *b->lines);
    }
    b->records++;
    b->first_values[b->records - 1] = r->what_case == ISLR__RECORD__WHAT_METRIC ? r->metric->values[0] : 0;
    b->lines[b->records - 1] = r->what_case == ISLR__RECORD__WHAT_LOG ? xstrdup(r->log) : NULL;
}

static void take_records(struct bench *b, struct peer *p, const Islr__Records *records, int answered)
{
    if (records->run != b->records_run || records->attempt != b->records_attempt)
        return; // of an attempt that was given up
    if (b->deaf) {
        b->passed_over += records->n_records;
        return;
    }
    for (size_t i = 0; i < records->n_records; i++)
        take_record(b, records->records[i]);
    if (!answered)
        return;
    Islr__RecordsAck ack = ISLR__RECORDS_ACK__INIT;
    ack.has_run = ack.has_attempt = ack.has_seq = 1;
    ack.run = records->run;
    ack.attempt = records->attempt;
    ack.seq = b->records;
    Islr__Envelope a = ENVELOPE(RECORDS_ACK, records_ack, &ack);
    peer_send(p, &a, NULL);
}

static struct bench_artifact *artifact_of(struct bench *b, const ProtobufCBinaryData *sha256, uint64_t total)
{
    assert_int_equal(sha256->len, 32);
    for (int i = 0; i < b->artifact_count; i++)
        if (!memcmp(b->artifacts[i].sha256.bytes, sha256->data, 32))
            return &b->artifacts[i];
    assert_true(b->artifact_count < BENCH_ARTIFACTS);
    struct bench_artifact *a = &b->artifacts[b->artifact_count++];
    memcpy(a->sha256.bytes, sha256->data, 32);
    a->total = total;
    a->data = xcalloc(1, total + 1);
    return a;
}

static void take_put(struct bench *b, struct peer *p, const Islr__Envelope *m, int answered)
{
    const Islr__Put *put = m->put;
    struct bench_artifact *a = artifact_of(b, &put->sha256, put->total);
    if (b->refuse_files > 0) {
        b->refuse_files--;
        fault(p, m->id, ERR_FAILED, "the disk is full");
        return;
    }
    assert_true(put->data.len <= RPC_CHUNK_MAX);
    if (put->has_data && put->offset <= a->have && put->offset + put->data.len > a->have) {
        memcpy(a->data + put->offset, put->data.data, put->data.len);
        a->have = put->offset + put->data.len;
    }
    Islr__PutState state = ISLR__PUT_STATE__INIT;
    state.has_have = state.has_done = 1;
    state.have = a->have;
    state.done = a->have == a->total;
    if (state.done) {
        struct hash h = hash_memory(a->data, a->total);
        assert_true(hash_equal(&h, &a->sha256));
    }
    if (!answered)
        return;
    Islr__Envelope r = ENVELOPE(PUT_STATE, put_state, &state);
    peer_reply(p, m->id, &r, NULL);
}

static int same_checkpoint(const struct bench_checkpoint *c, const Islr__CheckpointInfo *info)
{
    return !strcmp(c->what, info->what) && c->epoch == info->epoch && c->step == info->step &&
           !memcmp(c->sha256.bytes, info->sha256.data, 32);
}

static void take_checkpoint(struct bench *b, struct peer *p, const Islr__Envelope *m, int answered)
{
    const Islr__AddCheckpoint *add = m->add_checkpoint;
    const Islr__CheckpointInfo *info = add->checkpoint;
    struct bench_artifact *a = artifact_of(b, &info->sha256, info->size_bytes);
    assert_int_equal(a->have, a->total); // named only when it is there
    if (b->refuse_what && !strcmp(b->refuse_what, info->what)) {
        b->refused_files++;
        fault(p, m->id, b->refuse_code ? b->refuse_code : ERR_INVALID, "it has too many ingredients");
        return;
    }
    int known = 0;
    for (int i = 0; i < b->checkpoint_count; i++)
        known |= same_checkpoint(&b->checkpoints[i], info);
    if (!known) {
        assert_true(b->checkpoint_count < BENCH_CHECKPOINTS);
        struct bench_checkpoint *c = &b->checkpoints[b->checkpoint_count++];
        snprintf(c->what, sizeof c->what, "%s", info->what);
        c->epoch = info->epoch;
        c->step = info->step;
        c->sha256 = a->sha256;
        c->records = b->records;
        c->members = add->n_member_hashes;
        c->figures = info->n_metrics;
        for (size_t i = 0; i < add->n_member_hashes && i < 8; i++)
            memcpy(c->member[i].bytes, add->member_hashes[i].data, 32);
    }
    if (answered)
        peer_reply_ok(p, m->id);
}

static void take_finished(struct bench *b, struct peer *p, const Islr__Envelope *m, int answered)
{
    const Islr__Finished *f = m->finished;
    assert_int_equal(f->last_seq, b->records); // all acknowledged before
    b->finished++;
    b->outcome = f->outcome;
    b->retryable = f->retryable;
    b->last_seq = f->last_seq;
    snprintf(b->reason, sizeof b->reason, "%s", f->reason ? f->reason : "");
    if (answered)
        peer_reply_ok(p, m->id);
}

// What it needs for the attempt that it was given last, it asks for in that attempt's name.
static void check_reader(const struct bench *b, const Islr__ReadAs *as)
{
    assert_non_null(as);
    assert_int_equal(as->run, b->records_run);
    assert_int_equal(as->attempt, b->records_attempt);
    assert_string_equal(as->world, b->world_name);
    assert_int_equal(as->rank, 0);
}

static void serve_fetch(struct bench *b, struct peer *p, const Islr__Envelope *m)
{
    const Islr__Fetch *f = m->fetch;
    check_reader(b, f->as);
    for (int i = 0; i < b->artifact_count; i++) {
        struct bench_artifact *a = &b->artifacts[i];
        if (memcmp(a->sha256.bytes, f->sha256.data, 32))
            continue;
        uint64_t left = a->total - f->offset;
        Islr__Chunk chunk = ISLR__CHUNK__INIT;
        chunk.has_offset = chunk.has_total = chunk.has_data = 1;
        chunk.offset = f->offset;
        chunk.total = a->total;
        chunk.data = (ProtobufCBinaryData){left < f->size ? left : f->size, a->data + f->offset};
        Islr__Envelope r = ENVELOPE(CHUNK, chunk, &chunk);
        peer_reply(p, m->id, &r, NULL);
        return;
    }
    fault(p, m->id, ERR_NOT_FOUND, "there is no such artifact");
}

static void serve_checkpoints(struct bench *b, struct peer *p, const Islr__Envelope *m)
{
    Islr__CheckpointInfo infos[BENCH_CHECKPOINTS], *list[BENCH_CHECKPOINTS];
    check_reader(b, m->list_checkpoints->as);
    for (int i = 0; i < b->checkpoint_count; i++) {
        struct bench_checkpoint *c = &b->checkpoints[i];
        islr__checkpoint_info__init(&infos[i]);
        infos[i].has_id = infos[i].has_epoch = infos[i].has_step = infos[i].has_sha256 = infos[i].has_size_bytes = 1;
        infos[i].id = (uint64_t)i + 1;
        infos[i].what = c->what;
        infos[i].epoch = c->epoch;
        infos[i].step = c->step;
        infos[i].sha256 = (ProtobufCBinaryData){32, c->sha256.bytes};
        infos[i].size_bytes = artifact_of(b, &infos[i].sha256, 0)->total;
        list[i] = &infos[i];
    }
    Islr__CheckpointList answer = ISLR__CHECKPOINT_LIST__INIT;
    Islr__Envelope a = ENVELOPE(CHECKPOINT_LIST, checkpoint_list, &answer);
    answer.has_more = 1;
    for (int i = 0; i <= b->checkpoint_count; i++) { // one a message, and none in the last
        answer.checkpoints = list + i;
        answer.n_checkpoints = i < b->checkpoint_count;
        answer.more = i < b->checkpoint_count;
        peer_reply(p, m->id, &a, NULL);
    }
}

static void take_message(struct bench *b, struct peer *p, Islr__Envelope *m, int answered)
{
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_RECORDS:
        take_records(b, p, m->records, answered);
        break;
    case ISLR__ENVELOPE__BODY_PUT:
        take_put(b, p, m, answered);
        break;
    case ISLR__ENVELOPE__BODY_ADD_CHECKPOINT:
        take_checkpoint(b, p, m, answered);
        break;
    default:
        take_finished(b, p, m, answered);
    }
}

static void on_message(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    struct bench *b = r->context;
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_REGISTER:
        registered(b, p, m);
        return;
    case ISLR__ENVELOPE__BODY_PROGRESS:
        b->progress++;
        b->progress_step = m->progress->step;
        return;
    case ISLR__ENVELOPE__BODY_PULSE:
    case ISLR__ENVELOPE__BODY_LEAVING:
        return;
    case ISLR__ENVELOPE__BODY_FETCH:
        serve_fetch(b, p, m);
        return;
    case ISLR__ENVELOPE__BODY_LIST_CHECKPOINTS:
        serve_checkpoints(b, p, m);
        return;
    case ISLR__ENVELOPE__BODY_RECORDS:
    case ISLR__ENVELOPE__BODY_PUT:
    case ISLR__ENVELOPE__BODY_ADD_CHECKPOINT:
    case ISLR__ENVELOPE__BODY_FINISHED:
        break;
    default:
        fail_msg("a worker sent %s", envelope_name(m));
    }
    unsigned n = ++b->messages;
    if (!b->hang_up_every || n % b->hang_up_every) {
        take_message(b, p, m, 1);
        return;
    }
    if (n / b->hang_up_every % 2)
        take_message(b, p, m, 0); // durable, and the answer is lost
    peer_close(p, NULL);
}

static void on_closed(struct rig *r, struct peer *p)
{
    struct bench *b = r->context;
    for (int i = 0; i < BENCH_RANKS; i++)
        if (b->rank[i] == p)
            b->rank[i] = NULL;
}

static void assign_answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct bench *b = context;
    (void)p;
    if (m)
        b->assign_ok++;
    else if (why->code != ERR_UNREACHABLE)
        b->assign_fault++;
}

static void forget_records(struct bench *b)
{
    for (uint64_t i = 0; i < b->records; i++)
        free(b->lines[i]);
    b->records = 0;
}

void bench_assign(struct bench *b, uint64_t run, uint32_t attempt, const struct hash *resume, uint64_t resume_size)
{
    if (run != b->records_run || attempt != b->records_attempt)
        forget_records(b);
    b->records_run = run;
    b->records_attempt = attempt;
    uint32_t gang[BENCH_RANKS] = {0, 1, 2, 3};
    Islr__Assign assign = ISLR__ASSIGN__INIT;
    Islr__JobSpec *job = spec_default();
    free(job->data->path);
    job->data->path = xstrdup("/data");
    if (b->job_name) {
        free(job->name);
        job->name = xstrdup(b->job_name);
    }
    if (b->init_student) {
        free(job->init->student);
        job->init->student = xstrdup(b->init_student);
    }
    assign.has_run = assign.has_attempt = assign.has_next_seq = 1;
    assign.run = run;
    assign.attempt = attempt;
    assign.next_seq = 1;
    assign.job = job;
    assign.n_gang = (size_t)comm_size(b->world);
    assign.gang = gang;
    if (resume) {
        assign.has_resume_sha256 = assign.has_resume_size = 1;
        assign.resume_sha256 = (ProtobufCBinaryData){32, (uint8_t *)resume->bytes};
        assign.resume_size = resume_size;
    }
    Islr__Envelope m = ENVELOPE(ASSIGN, assign, &assign);
    for (int i = 0; i < comm_size(b->world); i++)
        assert_int_not_equal(peer_request(b->rank[i], &m, 0, assign_answered, b, NULL), 0);
    spec_free(job);
}

void bench_stop(struct bench *b, uint64_t run, uint32_t attempt, Islr__Stop__Why why)
{
    Islr__Stop stop = ISLR__STOP__INIT;
    stop.has_run = stop.has_attempt = stop.has_why = 1;
    stop.run = run;
    stop.attempt = attempt;
    stop.why = why;
    Islr__Envelope m = ENVELOPE(STOP, stop, &stop);
    for (int i = 0; i < comm_size(b->world); i++)
        assert_int_equal(peer_send(b->rank[i], &m, NULL), 0);
}

void bench_add_artifact(struct bench *b, const void *data, size_t size, struct hash *sha256)
{
    *sha256 = hash_memory(data, size);
    struct bench_artifact *a = artifact_of(b, &(ProtobufCBinaryData){32, sha256->bytes}, size);
    memcpy(a->data, data, size);
    a->have = size;
}

void bench_add_checkpoint(struct bench *b, const char *what, uint32_t epoch, uint64_t step, const struct hash *sha256)
{
    struct bench_checkpoint *c = &b->checkpoints[b->checkpoint_count++];
    snprintf(c->what, sizeof c->what, "%s", what);
    c->epoch = epoch;
    c->step = step;
    c->sha256 = *sha256;
}

// ---- the rank -------------------------------------------------------------------------------------------------------

static int run_job(void *context, const struct work_job *j, struct error *e)
{
    struct bench *b = context;
    atomic_fetch_add(&b->jobs, 1);
    atomic_store(&b->running, 1);
    int rc = b->job(b, j, e);
    atomic_store(&b->running, 0);
    return rc;
}

static void rank(void *context)
{
    struct bench *b = context;
    Islr__Register facts = ISLR__REGISTER__INIT;
    facts.device = "cpu";
    struct log log = {getenv("ISLR_TEST_LOG") ? stderr : NULL, LOG_DEBUG, "worker: "};
    struct work_options o = {.address = b->rig.address,
                             .scratch = b->scratch,
                             .log = &log,
                             .facts = &facts,
                             .world = b->world,
                             .allowed = b->allowed,
                             .alone_ms = b->alone_ms ? b->alone_ms : BENCH_ALONE_MS,
                             .spool_max = b->spool_max,
                             .retry_ms = BENCH_RETRY_MS,
                             .runner = {b, run_job}};
    b->rc = work_serve(&o, &b->why);
    atomic_store(&b->ended, 1);
}

// Where rank 0 listens, to all.
static void share_address(struct bench *b)
{
    struct error e;
    if (comm_broadcast(b->world, &b->rig.address, sizeof b->rig.address, 0, &e))
        fail_msg("%s", e.text);
}

void bench_open(struct bench *b, int (*job)(struct bench *b, const struct work_job *j, struct error *e))
{
    b->alone = comm_open_single();
    bench_open_in(b, b->alone, job);
}

void bench_open_in(struct bench *b, struct comm *world,
                   int (*job)(struct bench *b, const struct work_job *j, struct error *e))
{
    assert_in_range(comm_size(world), 1, BENCH_RANKS);
    b->world = world;
    b->job = job;
    b->rig.on_message = on_message;
    b->rig.on_closed = on_closed;
    b->rig.context = b;
    rig_open(&b->rig);
    snprintf(b->scratch, sizeof b->scratch, "%s/scratch", b->rig.directory);
    share_address(b);
    assert_int_equal(uv_thread_create(&b->thread, rank, b), 0);
    for (int i = 0; b->registered < comm_size(world); i++) {
        assert_true(i < 100000);
        rig_run_for(&b->rig, 1);
    }
}

static void check_end(const struct bench *b)
{
    assert_int_equal(b->rc, -1);
    assert_string_equal(b->why.text, "no more");
}

void bench_join(struct bench *b, struct comm *world,
                int (*job)(struct bench *b, const struct work_job *j, struct error *e))
{
    b->world = world;
    b->job = job;
    share_address(b);
    snprintf(b->scratch, sizeof b->scratch, "/nonexistent"); // the first rank's alone is looked at
    rank(b);
    check_end(b);
}

static void say_no(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    struct bench *b = r->context;
    fault(p, m->id, ERR_DENIED, "no more");
    b->refused++;
}

void bench_close(struct bench *b)
{
    b->rig.on_hello = say_no; // what ends a rank for good
    b->hang_up_every = 0;
    for (int i = 0; i < BENCH_RANKS; i++)
        if (b->rank[i])
            peer_close(b->rank[i], NULL);
    // The rank's thread does not wake this one; the other ranks hang up when they have heard it.
    for (int i = 0; !atomic_load(&b->ended) || b->refused < comm_size(b->world) || b->rig.ended < b->rig.opened; i++) {
        assert_true(i < 100000);
        rig_run_for(&b->rig, 1);
    }
    uv_thread_join(&b->thread);
    check_end(b);
    for (int i = 0; i < b->artifact_count; i++)
        free(b->artifacts[i].data);
    forget_records(b);
    free(b->lines);
    free(b->first_values);
    assert_int_equal(file_remove_tree(b->scratch, NULL), 0);
    rig_close(&b->rig);
    comm_close(b->alone);
}

char *bench_directory(const struct bench *b, uint64_t run)
{
    return xprintf("%s/server/run-%llu", b->scratch, (unsigned long long)run);
}

void bench_settle(struct bench *b)
{
    char *directory = bench_directory(b, 1), *lock = xprintf("%s.lock", directory);
    for (int i = 0; file_exists(lock); i++) {
        assert_true(i < 20000);
        rig_run_for(&b->rig, 5);
    }
    free(lock);
    free(directory);
}
