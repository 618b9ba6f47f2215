// The database's tables: see schema.h. What the columns hold:
//   *_ms        milliseconds since 1970, 0: not yet
//   state       Islr__RunState
//   stop_why    Islr__Stop__Why of a run that is being stopped, -1: nobody asked
//   seq         a run's public record number: 1.. without holes over logs, metric_blocks and events
//   worker_seq  the last record number of the attempt's own counting that was taken in
#include "core/store/schema.h"

#include <stdlib.h>

#include "core/base/memory.h"

// A run's records live in three tables and share one counter, runs.last_seq:
//   logs           one row a line
//   metric_blocks  many records a row (core/store/metric_block.h), in ranges of seq that do not overlap
//   events         state changes (the rows with a seq)
static const char MIGRATION_1[] =
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE datasets ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, path TEXT NOT NULL, clips INTEGER NOT NULL,"
    "  signs INTEGER NOT NULL, participants INTEGER NOT NULL, max_len INTEGER NOT NULL, created_ms INTEGER NOT NULL"
    ") STRICT;"

    // spec: the resolved job, packed; hash: SHA-256 of its canonical JSON. Equal jobs share a row.
    "CREATE TABLE jobs ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, spec BLOB NOT NULL"
    ") STRICT;"

    // attempts: how many there were; first_attempt: the first since it was submitted or retried; tries: those that
    // count against the job's retry.max_attempts. loose: metric records that are not in full blocks yet. final: a
    // packed RunSummary with nothing but the last value of every evaluation metric.
    "CREATE TABLE runs ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, job_id INTEGER NOT NULL REFERENCES jobs, parent_id INTEGER REFERENCES "
    "runs,"
    "  dataset_id INTEGER REFERENCES datasets, name TEXT NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 7), reason TEXT NOT NULL, stop_why INTEGER NOT NULL DEFAULT "
    "-1,"
    "  priority INTEGER NOT NULL, after_any INTEGER NOT NULL, max_attempts INTEGER NOT NULL,"
    "  submitted_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL DEFAULT 0, ended_ms INTEGER NOT NULL DEFAULT 0,"
    "  attempts INTEGER NOT NULL DEFAULT 0, first_attempt INTEGER NOT NULL DEFAULT 1,"
    "  tries INTEGER NOT NULL DEFAULT 0, ranks INTEGER NOT NULL DEFAULT 0,"
    "  step INTEGER NOT NULL DEFAULT 0, steps INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0,"
    "  loose INTEGER NOT NULL DEFAULT 0, final BLOB NOT NULL DEFAULT x''"
    ") STRICT;"
    "CREATE INDEX runs_by_state ON runs (state);"
    "CREATE INDEX runs_by_user ON runs (user);"
    "CREATE INDEX runs_by_parent ON runs (parent_id) WHERE parent_id IS NOT NULL;"

    "CREATE TABLE run_after ("
    "  run_id INTEGER NOT NULL REFERENCES runs, after_id INTEGER NOT NULL REFERENCES runs,"
    "  PRIMARY KEY (run_id, after_id)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE submit_keys ("
    "  user TEXT NOT NULL, key TEXT NOT NULL, run_id INTEGER NOT NULL REFERENCES runs, PRIMARY KEY (user, key)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE attempts ("
    "  run_id INTEGER NOT NULL REFERENCES runs, number INTEGER NOT NULL, world TEXT NOT NULL,"
    "  started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL DEFAULT 0, outcome TEXT NOT NULL DEFAULT '',"
    "  reason TEXT NOT NULL DEFAULT '', resumed_from_step INTEGER NOT NULL DEFAULT 0,"
    "  worker_seq INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run_id, number)"
    ") STRICT, WITHOUT ROWID;"

    // rank: in the gang, 0 reports; world_rank: in the mpirun that it belongs to.
    "CREATE TABLE attempt_ranks ("
    "  run_id INTEGER NOT NULL, attempt INTEGER NOT NULL, rank INTEGER NOT NULL, world_rank INTEGER NOT NULL,"
    "  host TEXT NOT NULL, pid INTEGER NOT NULL, device TEXT NOT NULL, PRIMARY KEY (run_id, attempt, rank),"
    "  FOREIGN KEY (run_id, attempt) REFERENCES attempts"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE logs ("
    "  run_id INTEGER NOT NULL REFERENCES runs, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (run_id, seq)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE metric_names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE metric_blocks ("
    "  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs, first_seq INTEGER NOT NULL,"
    "  last_seq INTEGER NOT NULL, records INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (run_id, last_seq)"
    ") STRICT;"
    // The newest value of every metric, for `list --where` and `--sort`; NULL: not a number.
    "CREATE TABLE metric_last ("
    "  run_id INTEGER NOT NULL REFERENCES runs, name_id INTEGER NOT NULL REFERENCES metric_names, value REAL,"
    "  PRIMARY KEY (run_id, name_id)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX metric_last_by_value ON metric_last (name_id, value);"

    // run_id NULL: the server's own. seq NULL: no change of the run's state.
    "CREATE TABLE events ("
    "  id INTEGER PRIMARY KEY, run_id INTEGER REFERENCES runs, time_ms INTEGER NOT NULL, state INTEGER, attempt "
    "INTEGER,"
    "  seq INTEGER, text TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX events_by_run ON events (run_id, seq);"

    // touched_ms: when it was last offered; an unreferenced one is collected some time after.
    "CREATE TABLE artifacts ("
    "  id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    "  touched_ms INTEGER NOT NULL"
    ") STRICT;"

    "CREATE TABLE checkpoints ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, run_id INTEGER NOT NULL REFERENCES runs, attempt INTEGER NOT NULL,"
    "  what TEXT NOT NULL, epoch INTEGER NOT NULL, step INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    "  artifact_id INTEGER NOT NULL REFERENCES artifacts, pinned INTEGER NOT NULL DEFAULT 0,"
    "  UNIQUE (run_id, attempt, what, epoch, step, artifact_id)"
    ") STRICT;"
    "CREATE INDEX checkpoints_by_artifact ON checkpoints (artifact_id);"
    "CREATE TABLE checkpoint_values ("
    "  checkpoint_id INTEGER NOT NULL REFERENCES checkpoints ON DELETE CASCADE, name TEXT NOT NULL, value REAL,"
    "  PRIMARY KEY (checkpoint_id, name)"
    ") STRICT, WITHOUT ROWID;"

    // A soup is a checkpoint with ingredients. A member cannot be deleted while its soup is there.
    "CREATE TABLE soups ("
    "  checkpoint_id INTEGER PRIMARY KEY REFERENCES checkpoints ON DELETE CASCADE, method TEXT NOT NULL DEFAULT "
    "'uniform'"
    ") STRICT;"
    "CREATE TABLE soup_members ("
    "  soup_id INTEGER NOT NULL REFERENCES soups ON DELETE CASCADE, position INTEGER NOT NULL,"
    "  member_id INTEGER NOT NULL REFERENCES checkpoints, PRIMARY KEY (soup_id, position)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX soup_members_by_member ON soup_members (member_id);"

    // Every rank that ever registered; gone_ms 0: still there, as far as was written.
    "CREATE TABLE workers ("
    "  id INTEGER PRIMARY KEY, world TEXT NOT NULL, rank INTEGER NOT NULL, size INTEGER NOT NULL, host TEXT NOT NULL,"
    "  pid INTEGER NOT NULL, device TEXT NOT NULL, device_name TEXT NOT NULL, threads INTEGER NOT NULL,"
    "  memory_bytes INTEGER NOT NULL, user TEXT NOT NULL, since_ms INTEGER NOT NULL,"
    "  gone_ms INTEGER NOT NULL DEFAULT 0, UNIQUE (world, rank)"
    ") STRICT;"

    // secret: SHA-256 of what was shown once.
    "CREATE TABLE tokens ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, role TEXT NOT NULL, secret BLOB NOT NULL UNIQUE,"
    "  created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL DEFAULT 0, revoked_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;";

// lost_ms: when fsck found that the file is gone or damaged; 0: it is there. changed_ms: of the run's last change of
// state, so that times do not go back when the clock does.
static const char MIGRATION_2[] = "ALTER TABLE artifacts ADD COLUMN lost_ms INTEGER NOT NULL DEFAULT 0;"
                                  "ALTER TABLE runs ADD COLUMN changed_ms INTEGER NOT NULL DEFAULT 0;"
                                  "UPDATE runs SET changed_ms = max(submitted_ms, started_ms, ended_ms,"
                                  "  coalesce((SELECT max(time_ms) FROM events e WHERE e.run_id = runs.id), 0));";

// Groups: grouped is an enum run_group, joining says that the group itself is now to be worked on (run.h).
static const char MIGRATION_3[] = "ALTER TABLE runs ADD COLUMN grouped INTEGER NOT NULL DEFAULT 0;"
                                  "ALTER TABLE runs ADD COLUMN joining INTEGER NOT NULL DEFAULT 0;"
                                  "DROP INDEX runs_by_parent;"
                                  "CREATE INDEX runs_by_parent ON runs (parent_id, state) WHERE parent_id IS NOT NULL;"
                                  "DROP INDEX runs_by_state;"
                                  "CREATE INDEX runs_by_state ON runs (state, grouped, joining);"
                                  "CREATE INDEX runs_on_top ON runs (id) WHERE parent_id IS NULL;";

// Groups whose members are still to be made (run.h: run_expand). members: how many they are, whose numbers are those behind
// the group's; made: how many are there, the first ones; recipe: the server's, opaque here.
static const char MIGRATION_4[] =
    "CREATE TABLE expansions ("
    "  run_id INTEGER PRIMARY KEY REFERENCES runs, members INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0,"
    "  recipe BLOB NOT NULL"
    ") STRICT;";

// A run may have tens of thousands of checkpoints: a piece of them in their order, and its few resume points among them.
// uploads: what a run has brought and not named yet. A run names as its own what it has brought or has named before.
static const char MIGRATION_5[] =
    "CREATE TABLE uploads ("
    "  artifact_id INTEGER NOT NULL REFERENCES artifacts ON DELETE CASCADE, run_id INTEGER NOT NULL REFERENCES runs,"
    "  PRIMARY KEY (artifact_id, run_id)"
    ") STRICT, WITHOUT ROWID;"
    "DROP INDEX checkpoints_by_artifact;"
    "CREATE INDEX checkpoints_by_artifact ON checkpoints (artifact_id, run_id);"
    "CREATE INDEX checkpoints_by_run ON checkpoints (run_id);"
    "CREATE INDEX checkpoints_to_resume ON checkpoints (run_id, what) WHERE what = 'resume';";

// Artifacts that may be without a checkpoint: new ones, and those of checkpoints that went. What has one leaves when
// somebody looks (artifact_collect), so that a look takes no longer for all those that are needed.
static const char MIGRATION_6[] =
    "CREATE TABLE loose (artifact_id INTEGER PRIMARY KEY REFERENCES artifacts ON DELETE CASCADE) STRICT;"
    "INSERT INTO loose SELECT id FROM artifacts;"
    "CREATE TRIGGER artifact_comes AFTER INSERT ON artifacts"
    " BEGIN INSERT OR IGNORE INTO loose VALUES (new.id); END;"
    "CREATE TRIGGER checkpoint_goes AFTER DELETE ON checkpoints"
    " BEGIN INSERT OR IGNORE INTO loose VALUES (old.artifact_id); END;";

static const char *const migrations[] = {MIGRATION_1, MIGRATION_2, MIGRATION_3, MIGRATION_4, MIGRATION_5, MIGRATION_6};

static const char SQL_VERSION[] = "PRAGMA user_version";

int schema_version(void)
{
    return (int)(sizeof migrations / sizeof *migrations);
}

static int version_of(struct db *db, int64_t *version, struct error *e)
{
    if (db_number(db, e, SQL_VERSION, 0, version))
        return -1;
    if (*version > schema_version())
        return error_set(e, ERR_INVALID,
                         "the server's database is of version %lld, this program knows versions up to %d: it was "
                         "written by a newer islrd",
                         (long long)*version, schema_version());
    return 0;
}

int schema_check(struct db *db, struct error *e)
{
    int64_t version;
    if (version_of(db, &version, e))
        return -1;
    if (version < schema_version())
        return error_set(e, ERR_FAILED,
                         "the server's database is of version %lld: start the server once, it brings it "
                         "to version %d",
                         (long long)version, schema_version());
    return 0;
}

int schema_apply_until(struct db *db, int until, struct error *e)
{
    int64_t version;
    if (version_of(db, &version, e))
        return -1;
    for (; version < until; version++) {
        char *script =
            xprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT", migrations[version], (int)version + 1);
        int rc = db_script(db, script, e);
        free(script);
        if (rc) {
            db_script(db, "ROLLBACK", NULL);
            return error_prefix(e, "bringing the database to version %d", (int)version + 1);
        }
    }
    return 0;
}

int schema_apply(struct db *db, struct error *e)
{
    return schema_apply_until(db, schema_version(), e);
}
