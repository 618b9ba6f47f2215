// See rank_test.h.
#include "tests/train/rank_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void rank_test(struct comm *world, void (*test)(void **state), void *state)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test, state)};
    if (cmocka_run_group_tests(tests, NULL, NULL))
        comm_abort(world, 1);
}
