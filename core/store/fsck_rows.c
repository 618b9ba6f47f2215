// Rows against each other: what the store's requests keep true and no constraint of the schema can say. See fsck.h.
#include "core/store/fsck_internal.h"

// Each gives a sentence for every row that breaks it. States: Islr__RunState, 2 to 4 are under way, 5 to 7 have ended.
// A group has no attempts of its own but for joining its folds.
static const char *const invariants[] = {
    "SELECT printf('run %d has ended but does not say when', id) FROM runs WHERE state >= 5 AND ended_ms = 0",

    "SELECT printf('run %d has not ended but says when it did', id) FROM runs WHERE state < 5 AND ended_ms <> 0",

    "SELECT printf('run %d counts %d attempts, the database holds %d', r.id, r.attempts, count(a.number))"
    " FROM runs r LEFT JOIN attempts a ON a.run_id = r.id GROUP BY r.id HAVING count(a.number) <> r.attempts",

    "SELECT printf('run %d is under way, but its attempt %d has ended or is not there', id, attempts) FROM runs r"
    " WHERE state BETWEEN 2 AND 4 AND (grouped = 0 OR joining) AND NOT EXISTS (SELECT 1 FROM attempts a"
    "   WHERE a.run_id = r.id AND a.number = r.attempts AND a.ended_ms = 0)",

    "SELECT printf('attempt %d of run %d has not ended, though the run is not under way in it', a.number, a.run_id)"
    " FROM attempts a JOIN runs r ON r.id = a.run_id"
    " WHERE a.ended_ms = 0 AND (r.state NOT BETWEEN 2 AND 4 OR a.number <> r.attempts)",

    "SELECT printf('the last event of run %d is not the state that it is in', r.id) FROM runs r"
    " JOIN events e ON e.run_id = r.id AND e.seq = (SELECT max(seq) FROM events WHERE run_id = r.id)"
    " WHERE e.state <> r.state",

    "SELECT printf('run %d waits for itself', run_id) FROM run_after WHERE run_id = after_id",

    "SELECT printf('run %d is a child of itself', id) FROM runs WHERE parent_id = id",

    "SELECT printf('run %d belongs to run %d, which is no group', r.id, p.id) FROM runs r"
    " JOIN runs p ON p.id = r.parent_id WHERE p.grouped = 0",

    "SELECT printf('the group %d has ended, but its run %d has not', p.id, r.id) FROM runs r"
    " JOIN runs p ON p.id = r.parent_id WHERE p.state >= 5 AND r.state < 5",

    "SELECT printf('the counter of run numbers stands at %d, behind run %d: a number could be given twice', seq,"
    " (SELECT max(id) FROM runs)) FROM sqlite_sequence"
    " WHERE name = 'runs' AND seq < (SELECT max(id) FROM runs)",

    "SELECT printf('the group %d is to have %d runs, of which %d are said to be there, and %d are', x.run_id, "
    "x.members,"
    " x.made, (SELECT count(*) FROM runs WHERE id > x.run_id AND id <= x.run_id + x.members)) FROM expansions x"
    " WHERE x.made <> (SELECT count(*) FROM runs WHERE id > x.run_id AND id <= x.run_id + x.members)",

    "SELECT printf('the counter of run numbers stands at %d, within those that belong to the group %d', s.seq, "
    "x.run_id)"
    " FROM expansions x JOIN sqlite_sequence s ON s.name = 'runs' WHERE s.seq < x.run_id + x.members",

    "SELECT printf('the soup %d of run %d has lost all its ingredients', c.id, c.run_id) FROM soups s"
    " JOIN checkpoints c ON c.id = s.checkpoint_id"
    " WHERE NOT EXISTS (SELECT 1 FROM soup_members m WHERE m.soup_id = s.checkpoint_id)",

    "SELECT printf('the soup %d has lost %d of its %d ingredients', soup_id, max(position) + 1 - count(*),"
    " max(position) + 1) FROM soup_members GROUP BY soup_id HAVING max(position) + 1 <> count(*)",

    "SELECT printf('the soup %d is an ingredient of itself', soup_id) FROM soup_members WHERE soup_id = member_id",

    "SELECT printf('the hash of artifact %d is no SHA-256', id) FROM artifacts WHERE length(sha256) <> 32",

    "SELECT printf('the job %d is of run %d, but holds nothing', j.id, r.id) FROM jobs j"
    " JOIN runs r ON r.job_id = j.id WHERE length(j.hash) <> 32",
};

int fsck_rows(struct fsck *f, struct error *e)
{
    for (size_t i = 0; i < sizeof invariants / sizeof *invariants; i++) {
        int rc;
        sqlite3_stmt *q = db_query(&f->db, e, invariants[i]);
        if (!q)
            return -1;
        while ((rc = db_step(&f->db, q, e)) > 0)
            fsck_found(f, FSCK_DAMAGE, "%s", sqlite3_column_text(q, 0));
        if (rc)
            return -1;
    }
    return 0;
}
