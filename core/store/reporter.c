// Who reports on an attempt: see reporter.h.
#include "core/store/reporter.h"

#include "core/store/db.h"

static const char SQL_IS_FIRST[] = "SELECT a.world = ?3 AND k.world_rank = ?4 FROM attempts a JOIN attempt_ranks k"
                                   " ON k.run_id = a.run_id AND k.attempt = a.number AND k.rank = 0"
                                   " WHERE a.run_id = ?1 AND a.number = ?2";
static const char SQL_WORKS[] = "SELECT a.ended_ms = 0 FROM attempts a JOIN attempt_ranks k ON k.run_id = a.run_id"
                                " AND k.attempt = a.number AND k.world_rank = ?4"
                                " WHERE a.run_id = ?1 AND a.number = ?2 AND a.world = ?3";

int reporter_check(struct db *db, const struct reporter *who, uint64_t run, uint32_t attempt, struct error *e)
{
    int64_t is_first;
    if (!who)
        return 0;
    if (db_number(db, e, SQL_IS_FIRST, 1, &is_first, db_uint(run), db_uint(attempt), db_text(who->world),
                  db_uint(who->rank)))
        return -1;
    if (is_first)
        return 0;
    return error_set(
        e, ERR_DENIED,
        "rank %u of world %.8s may not report on run %llu: another rank is the first one of its attempt %u", who->rank,
        who->world, (unsigned long long)run, attempt);
}

int reporter_works_on(struct store_reader *reader, const struct reporter *who, uint64_t run, uint32_t attempt,
                      struct error *e)
{
    int64_t under_way;
    if (db_number(store_reader_db(reader), e, SQL_WORKS, -1, &under_way, db_uint(run), db_uint(attempt),
                  db_text(who->world), db_uint(who->rank)))
        return -1;
    if (under_way > 0)
        return 0;
    if (!under_way)
        return error_set(e, ERR_NOT_FOUND, "attempt %u of run %llu has ended", attempt, (unsigned long long)run);
    return error_set(e, ERR_DENIED, "rank %u of world %.8s has no part in attempt %u of run %llu", who->rank,
                     who->world, attempt, (unsigned long long)run);
}
