// Which device a rank gets, and what is refused: two ranks under mpirun over the host model of cards (tests/cudahost).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/train/device.h"

static struct comm *world;

// Opens what `kind` gives this rank where it sees the cards `visible` (NULL: all) of `cards`.
static struct backend *open_one(const char *kind, const char *cards, const char *visible, struct error *e)
{
    setenv("CUDAHOST_DEVICES", cards, 1);
    if (visible)
        setenv("CUDA_VISIBLE_DEVICES", visible, 1);
    else
        unsetenv("CUDA_VISIBLE_DEVICES");
    return device_open(kind, 1, world, e);
}

static void expect_kind(const char *kind, const char *cards, const char *visible, const char *want)
{
    struct error e = {0};
    struct backend *b = open_one(kind, cards, visible, &e);
    if (!b)
        fail_msg("%s", e.text);
    assert_string_equal(b->op->kind, want);
    b->op->close(b);
}

static void expect_refusal(const char *kind, const char *cards, const char *visible, const char *why)
{
    struct error e = {0};
    assert_null(open_one(kind, cards, visible, &e));
    if (!strstr(e.text, why))
        fail_msg("'%s' is not in '%s'", why, e.text);
}

static void ranks_get_cards_of_their_own(void **state)
{
    (void)state;
    const char *own[] = {"0", "1"};
    expect_kind("cuda", "2", NULL, "cuda");
    expect_kind("auto", "2", NULL, "cuda");
    expect_kind("cuda", "1", own[comm_rank(world)], "cuda"); // as a launcher does that gives each rank its card
    expect_kind("cpu", "2", NULL, "cpu");
    expect_kind("auto", "1", NULL, "cpu");
    expect_kind("auto", "0", NULL, "cpu");
    expect_refusal("cuda", "1", NULL, "2 ranks on ");
    expect_refusal("cuda", "1", NULL, " see 1 CUDA device: a rank needs a card of its own");
    expect_refusal("cuda", "0", NULL, "no CUDA device");
}

static void a_run_is_of_one_kind(void **state)
{
    (void)state;
    struct error e = {0};
    int rank = comm_rank(world);
    struct backend *b = open_one(rank ? "cpu" : "cuda", "2", NULL, &e);
    assert_non_null(b);
    assert_int_equal(device_agree(world, b, DTYPE_F32, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "computes on cuda (host model), rank 1 on "));
    assert_non_null(strstr(e.text, "a run's ranks must be of one kind"));
    b->op->close(b);

    b = open_one("cuda", "2", NULL, &e);
    assert_non_null(b);
    assert_int_equal(device_agree(world, b, DTYPE_F32, &e), 0);
    assert_int_equal(device_agree(world, b, rank ? DTYPE_F16 : DTYPE_BF16, &e), -1);
    assert_non_null(strstr(e.text, "would train in bf16, rank 1 on "));
    assert_non_null(strstr(e.text, "set train.precision"));
    assert_int_equal(device_check(b, &e), 0);
    b->op->close(b);
}

int main(void)
{
    struct error e = {0};
    world = comm_open_world(&e);
    if (!world || comm_size(world) != 2) {
        fprintf(stderr, "%s\n", world ? "two ranks are needed" : e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_get_cards_of_their_own),
                                       cmocka_unit_test(a_run_is_of_one_kind)};
    if (cmocka_run_group_tests_name("devices", tests, NULL, NULL))
        comm_abort(world, 1);
    comm_close(world);
    return 0;
}
