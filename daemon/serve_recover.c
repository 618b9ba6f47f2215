// What a server finds when it starts: see serve_recover.h. The loop does not run yet, so everything here may block.
#include "daemon/serve_recover.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "core/store/backup.h"
#include "core/store/run_read.h"
#include "core/store/setting.h"
#include "core/store/token_row.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_collect.h"
#include "daemon/serve_server.h"

// fresh: not the one that is there.
static int make_id(struct server *s, int fresh, struct error *e)
{
    uint8_t bytes[16];
    char text[33];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_set_errno(e, ERR_FAILED, "no random numbers are to be had");
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    struct setting_set r = {.name = "server_id", .value = text, .keep = !fresh};
    setting_set_prepare(&r);
    if (store_call(s->store, &r.op)) {
        *e = r.op.error;
        return -1;
    }
    memcpy(s->id, r.now, sizeof s->id - 1);
    return 0;
}

// ---- a backup that was restored -------------------------------------------------------------------------------------
// Ranks may be out there that go on with what this database has never heard of: later records, later attempts under
// numbers that will be given again. So the server gets another identity, and what was under way when the backup was
// taken is ended and queued again; a rank that still works on it is told to leave it when it comes back.

static int end_attempt(struct server *s, struct store_reader *reader, uint64_t run, struct error *e)
{
    struct run_end r = {.run = run,
                        .outcome = ATTEMPT_STOPPED,
                        .reason = "the server was restored from a backup",
                        .time_ms = server_now_ms()};
    struct run_now now;
    if (run_read_now(reader, run, &now, e))
        return -1;
    if (!run_state_live(now.state))
        return 0;
    r.attempt = now.attempt;
    run_end_prepare(&r);
    if (!store_call(s->store, &r.op))
        return 0;
    *e = r.op.error;
    return -1;
}

static int end_attempts(struct server *s, struct store_reader *reader, struct error *e)
{
    uint64_t *runs;
    size_t count;
    int rc = run_read_live_list(reader, &runs, &count, e);
    for (size_t i = 0; !rc && i < count; i++)
        rc = end_attempt(s, reader, runs[i], e);
    free(runs);
    return rc;
}

// What was revoked after the backup is valid again, and only who revoked it can know. All of them stay: a restored server
// that lets nobody in, its workers neither, is no server.
static int warn_of_tokens(struct server *s, struct store_reader *reader, const char *when, struct error *e)
{
    struct pool pool = {0};
    struct token_row *rows;
    size_t count;
    int rc = token_list(reader, 0, 0, SIZE_MAX, &pool, &rows, &count, e);
    pool_free(&pool);
    if (!rc && count)
        log_warn(s->log,
                 "the tokens of %s are valid (%zu), those too that were revoked since: see `islrctl token list`, and "
                 "`islrctl token revoke` them again",
                 when, count);
    return rc;
}

// 1: it was.
static int settle_restored(struct server *s, struct store_reader *reader, struct error *e)
{
    char taken[128], event[200], when[32];
    int rc = setting_get(reader, BACKUP_SETTING, taken, e);
    if (rc <= 0 || !*taken)
        return rc < 0 ? -1 : 0;
    time_t seconds = (time_t)(strtoll(taken, NULL, 10) / 1000);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
    snprintf(event, sizeof event, "restored from the backup of %s", when);
    struct setting_set r = {.name = BACKUP_SETTING, .value = "", .event = event, .time_ms = server_now_ms()};
    if (end_attempts(s, reader, e) || make_id(s, 1, e) || warn_of_tokens(s, reader, when, e))
        return -1;
    setting_set_prepare(&r);
    if (store_call(s->store, &r.op)) {
        *e = r.op.error;
        return -1;
    }
    log_info(s->log, "%s; what was under way then is queued again", event);
    return 1;
}

// ---- what is there --------------------------------------------------------------------------------------------------

static int read_draining(struct server *s, struct store_reader *reader, struct error *e)
{
    char value[128];
    int rc = setting_get(reader, DRAINING_SETTING, value, e);
    schedule_set_draining(&s->schedule, rc > 0 ? value : "");
    return rc < 0 ? -1 : 0;
}

static int read_run(struct server *s, struct store_reader *reader, uint64_t run, size_t *under_way, struct error *e)
{
    struct pool pool = {0};
    struct run_live *live;
    int rc = run_read_live(reader, run, &pool, &live, e);
    if (!rc) {
        run_take(s, live);
        *under_way += run_state_live(live->now.state) != 0;
        if (!live->job)
            log_error(s->log, "the job of run %llu is damaged in the database", (unsigned long long)run);
    }
    pool_free(&pool);
    return rc;
}

static int read_runs(struct server *s, struct store_reader *reader, struct error *e)
{
    uint64_t *runs;
    size_t count, under_way = 0;
    int rc = run_read_live_list(reader, &runs, &count, e);
    for (size_t i = 0; !rc && i < count; i++)
        rc = read_run(s, reader, runs[i], &under_way, e);
    if (!rc && count)
        log_info(s->log, "%zu runs have not ended, %zu of them were under way", count, under_way);
    free(runs);
    return rc;
}

int recover(struct server *s, struct error *e)
{
    struct store_reader *reader = store_reader_take(s->store, e);
    if (!reader)
        return -1;
    int restored = settle_restored(s, reader, e);
    int rc = restored < 0 || (!restored && make_id(s, 0, e)) || read_draining(s, reader, e) || users_recover(s, e) ||
             tokens_load(s, reader, e) || read_runs(s, reader, e) || expand_recover(s, reader, e) ||
             collect_sweep(s, e);
    store_reader_give(s->store, reader);
    return rc ? -1 : 0;
}
