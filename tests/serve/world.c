// Whole worlds of scripted ranks: see world.h.
#include "tests/serve/world.h"

void world_open(struct actor *ranks, struct rig *rig, uint32_t size, const char *name)
{
    for (uint32_t i = 0; i < size; i++)
        rank_open(&ranks[i], rig, name, i, size);
}

void world_close(struct actor *ranks, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        actor_close(&ranks[i]);
}

uint32_t world_take(struct actor *ranks, uint32_t size, uint64_t run)
{
    uint32_t attempt = 0;
    for (uint32_t i = 0; i < size; i++) {
        Islr__Envelope *m = rank_take(&ranks[i], 1);
        assert_int_equal(m->assign->run, run);
        assert_int_equal(m->assign->n_gang, size);
        assert_int_equal(m->assign->next_seq, 1);
        attempt = m->assign->attempt;
        envelope_free(m);
    }
    return attempt;
}

void rank_expect_stop(struct actor *rank, uint64_t run, Islr__Stop__Why why, int save)
{
    Islr__Envelope *m = actor_next(rank, ISLR__ENVELOPE__BODY_STOP);
    assert_int_equal(m->stop->run, run);
    assert_int_equal(m->stop->why, why);
    assert_int_equal(m->stop->save, save);
    envelope_free(m);
}

uint64_t client_follow(struct actor *a, uint64_t run, uint64_t after)
{
    Islr__Follow f = ISLR__FOLLOW__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &f);
    f.has_run = f.has_after_seq = f.has_progress = 1;
    f.run = run;
    f.after_seq = after;
    f.progress = 1;
    return actor_ask(a, &m);
}

uint64_t client_follow_to_end(struct actor *a, uint64_t after, Islr__RunState wanted)
{
    Islr__Envelope *end = actor_next(a, ISLR__ENVELOPE__BODY_FOLLOW_END);
    while (actor_has(a, ISLR__ENVELOPE__BODY_RECORDS)) {
        Islr__Envelope *m = actor_next(a, ISLR__ENVELOPE__BODY_RECORDS);
        for (size_t i = 0; i < m->records->n_records; i++)
            assert_int_equal(m->records->records[i]->seq, ++after);
        envelope_free(m);
    }
    assert_int_equal(end->follow_end->last_seq, after);
    assert_int_equal(end->follow_end->state, wanted);
    envelope_free(end);
    return after;
}
