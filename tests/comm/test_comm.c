// Every collective at whatever number of ranks the program was launched with. Expected values are computed here from
// what each rank is known to pass in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/comm/comm.h"

// What one rank contributes: element i of its array.
static float *make_values(int rank, size_t count, uint32_t stream)
{
    float *v = xmalloc(count * sizeof *v + 1);
    struct rng r = rng_make(7, RNG_BENCH, stream, (uint32_t)rank, 0);
    for (size_t i = 0; i < count; i++)
        v[i] = (rng_uniform(&r) - 0.5f) * (i % 5 ? 1.0f : 1e4f);
    return v;
}

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%s", e->text);
}

static void test_identity(void **state)
{
    struct comm *c = *state;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    assert_in_range(comm_rank(c), 0, comm_size(c) - 1);
    for (int r = 0; r < comm_size(c); r++)
        assert_string_equal(comm_host(c, r), host);
}

static void test_broadcast(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 65536, 65537, 1000003, 5000000};
    struct comm *c = *state;
    struct error e;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int root = 0; root < comm_size(c); root++) {
            uint8_t *data = xmalloc(sizes[s] + 1);
            data[sizes[s]] = 0xEE; // one behind: must stay
            for (size_t i = 0; i < sizes[s]; i++)
                data[i] = comm_rank(c) == root ? (uint8_t)(i * 31 + (size_t)root) : 0xFF;
            must(comm_broadcast(c, data, sizes[s], root, &e), &e);
            size_t wrong = 0;
            for (size_t i = 0; i < sizes[s]; i++)
                wrong += data[i] != (uint8_t)(i * 31 + (size_t)root);
            assert_int_equal(wrong, 0);
            assert_int_equal(data[sizes[s]], 0xEE);
            free(data);
        }
}

// The sum of all ranks' arrays is the double-precision sum, rounded once.
static void check_sum(struct comm *c, const float *got, size_t count, uint32_t stream)
{
    double *want = xcalloc(count + 1, sizeof *want);
    for (int r = 0; r < comm_size(c); r++) {
        float *v = make_values(r, count, stream);
        for (size_t i = 0; i < count; i++)
            want[i] += (double)v[i];
        free(v);
    }
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += got[i] != (float)want[i];
    assert_int_equal(wrong, 0);
    free(want);
}

static void test_sum_f32(void **state)
{
    // Around the ends of segments and pieces (4 MiB).
    static const size_t counts[] = {0, 1, 2, 3, 5, 511, 1000, 1 << 20, (1 << 20) + 1, 3000017};
    struct comm *c = *state;
    struct error e;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        float *v = make_values(comm_rank(c), counts[k], (uint32_t)k);
        must(comm_sum_f32(c, v, counts[k], &e), &e);
        check_sum(c, v, counts[k], (uint32_t)k);
        free(v);
    }
}

static void test_sum_f64(void **state)
{
    static const size_t counts[] = {1, 3, 1000, (1 << 19) + 3};
    struct comm *c = *state;
    struct error e;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        double *v = xmalloc(counts[k] * sizeof *v);
        for (size_t i = 0; i < counts[k]; i++)
            v[i] = 1.0 / (double)(i + 1 + (size_t)comm_rank(c));
        must(comm_sum_f64(c, v, counts[k], &e), &e);
        for (size_t i = 0; i < counts[k]; i++) {
            double want = 0;
            for (int r = 0; r < comm_size(c); r++)
                want += 1.0 / (double)(i + 1 + (size_t)r);
            if (v[i] != want)
                fail_msg("element %zu of %zu is %.17g, not %.17g", i, counts[k], v[i], want);
        }
        free(v);
    }
}

// The same bits in every call, on every rank, and however the data is cut into buckets.
static void test_sum_bits(void **state)
{
    struct comm *c = *state;
    struct error e;
    size_t count = 2500001;
    struct hash first = {{0}};
    for (int repeat = 0; repeat < 6; repeat++) {
        float *v = make_values(comm_rank(c), count, 99);
        size_t cut = repeat % 3 == 0 ? count : repeat % 3 == 1 ? 300007 : 1200001;
        for (size_t at = 0; at < count; at += cut) {
            comm_reduce_begin(c, v + at, at + cut < count ? cut : count - at);
            comm_progress(c);
        }
        must(comm_reduce_wait(c, &e), &e);
        struct hash h = hash_memory(v, count * sizeof *v);
        if (repeat == 0)
            first = h;
        assert_true(hash_equal(&h, &first));
        free(v);
    }
    struct hash *all = xcalloc((size_t)comm_size(c), sizeof *all);
    must(comm_all_gather(c, &first, sizeof first, all, &e), &e);
    for (int r = 0; r < comm_size(c); r++)
        assert_true(hash_equal(&first, &all[r]));
    free(all);
}

// Parts are whole units, one behind the other, none longer than the first.
static void test_part_start(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 1000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int ranks = 1; ranks <= 9; ranks++) {
            size_t first = comm_part_start(sizes[k], 8, ranks, 1);
            assert_int_equal(comm_part_start(sizes[k], 8, ranks, 0), 0);
            assert_int_equal(comm_part_start(sizes[k], 8, ranks, ranks), sizes[k]);
            assert_true(first < sizes[k] / (size_t)ranks + 9 && first * (size_t)ranks >= sizes[k]);
            for (int r = 0; r < ranks; r++) {
                size_t from = comm_part_start(sizes[k], 8, ranks, r), to = comm_part_start(sizes[k], 8, ranks, r + 1);
                assert_true(from <= to && to - from <= first && (from % 8 == 0 || from == sizes[k]));
            }
        }
}

// A sum of which each rank gets its part, among other sums; then the parts come to all: the whole sum's bits.
static void test_parts(void **state)
{
    static const size_t counts[] = {1, 8191, 8193, 100000, 1 << 20, 3000017};
    struct comm *c = *state;
    struct error e;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        size_t n = counts[k], from = comm_part_start(n, COMM_PART_UNIT, comm_size(c), comm_rank(c));
        size_t to = comm_part_start(n, COMM_PART_UNIT, comm_size(c), comm_rank(c) + 1), wrong = 0;
        float *v = make_values(comm_rank(c), n, 200 + (uint32_t)k),
              *whole = make_values(comm_rank(c), n, 200 + (uint32_t)k);
        float *own = make_values(comm_rank(c), n, 200 + (uint32_t)k);
        comm_reduce_scatter_begin(c, v, n);
        comm_reduce_begin(c, whole, n);
        must(comm_reduce_wait(c, &e), &e);
        for (size_t i = 0; i < n; i++)
            wrong += v[i] != (i >= from && i < to ? whole : own)[i];
        assert_int_equal(wrong, 0);
        comm_all_gather_begin(c, &(struct comm_part){v, n * sizeof *v, COMM_PART_UNIT * sizeof *v});
        must(comm_reduce_wait(c, &e), &e);
        assert_memory_equal(v, whole, n * sizeof *v);
        free(v);
        free(whole);
        free(own);
    }
}

// Buckets are begun one after the other while the ranks "compute" for different times, with a flag agreed on meanwhile.
static void test_overlap(void **state)
{
    enum { BUCKETS = 9 };
    struct comm *c = *state;
    struct error e;
    float *bucket[BUCKETS];
    size_t count[BUCKETS];
    for (uint32_t b = 0; b < BUCKETS; b++) {
        count[b] = b == 4 ? 0 : 1 + (b * 700001u) % 2000003u;
        bucket[b] = make_values(comm_rank(c), count[b], 50 + b);
        comm_reduce_begin(c, bucket[b], count[b]);
        for (int k = 0; k < 10 * (comm_rank(c) + 1); k++) {
            usleep(100);
            comm_progress(c);
        }
        if (b == 5) {
            int64_t flag = comm_rank(c);
            must(comm_max_i64(c, &flag, &e), &e);
            assert_int_equal(flag, comm_size(c) - 1);
        }
    }
    must(comm_reduce_wait(c, &e), &e);
    must(comm_reduce_wait(c, &e), &e); // nothing under way: returns at once
    for (uint32_t b = 0; b < BUCKETS; b++) {
        check_sum(c, bucket[b], count[b], 50 + b);
        free(bucket[b]);
    }
}

static void test_max(void **state)
{
    struct comm *c = *state;
    struct error e;
    int64_t v = comm_rank(c) == comm_size(c) / 2 ? -3 : INT64_MIN + comm_rank(c);
    must(comm_max_i64(c, &v, &e), &e);
    assert_int_equal(v, -3);
    v = INT64_MAX - comm_rank(c);
    must(comm_max_i64(c, &v, &e), &e);
    assert_true(v == INT64_MAX);
}

static void test_all_gather(void **state)
{
    struct comm *c = *state;
    struct error e;
    size_t size = 100003;
    uint8_t *mine = xmalloc(size), *all = xmalloc(size * (size_t)comm_size(c));
    memset(mine, 'a' + comm_rank(c), size);
    must(comm_all_gather(c, mine, size, all, &e), &e);
    for (int r = 0; r < comm_size(c); r++)
        for (size_t i = 0; i < size; i += 999)
            assert_int_equal(all[(size_t)r * size + i], 'a' + r);
    must(comm_all_gather(c, NULL, 0, NULL, &e), &e);
    free(mine);
    free(all);
}

static void test_gather_variable(void **state)
{
    struct comm *c = *state;
    struct error e;
    for (int root = 0; root < comm_size(c); root++) {
        // Rank r brings r*200000 + root bytes: rank 0 at root 0 brings none.
        size_t size = (size_t)comm_rank(c) * 200000 + (size_t)root, total = 77, at = 0;
        char *mine = xmalloc(size + 1);
        memset(mine, 'A' + comm_rank(c), size);
        void *all = mine;
        size_t *sizes = xcalloc((size_t)comm_size(c), sizeof *sizes);
        must(comm_gather_variable(c, mine, size, root, &all, &total, sizes, &e), &e);
        for (int r = 0; r < comm_size(c); r++) {
            assert_int_equal(sizes[r], r * 200000 + root);
            for (size_t i = 0; comm_rank(c) == root && i < sizes[r]; i++)
                if (((char *)all)[at + i] != 'A' + r)
                    fail_msg("byte %zu of rank %d is wrong", i, r);
            at += sizes[r];
        }
        assert_int_equal(total, comm_rank(c) == root ? at : 0);
        if (comm_rank(c) != root)
            assert_null(all);
        free(all);
        free(sizes);
        free(mine);
    }
}

static void test_agree(void **state)
{
    struct comm *c = *state;
    struct error e;
    must(comm_agree(c, 0, &e), &e);
    // All but rank 0 fail (alone: it does), each in its own way; the lowest one's words become everybody's.
    int first = comm_size(c) > 1 ? 1 : 0, failed = comm_rank(c) >= first;
    if (failed)
        error_set(&e, comm_rank(c) == first ? ERR_DAMAGED : ERR_NOT_FOUND, "clip %d is broken", comm_rank(c));
    assert_int_equal(comm_agree(c, failed, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    char want[400];
    snprintf(want, sizeof want, comm_size(c) > 1 ? "rank %d on %s: clip %d is broken" : "clip 0 is broken", first,
             comm_host(c, first), first);
    assert_string_equal(e.text, want);
    must(comm_barrier(c, &e), &e); // it is an agreement, not a broken communicator
}

// Sums ranks' numbers of the world over a group.
static void check_group(struct comm *world, const int *ranks, int count, int tag)
{
    struct error e;
    struct comm *g = comm_create_group(world, ranks, count, tag, &e);
    if (!g)
        fail_msg("%s", e.text);
    assert_int_equal(comm_size(g), count);
    assert_int_equal(ranks[comm_rank(g)], comm_rank(world));
    float sum = (float)comm_rank(world), want = 0;
    for (int i = 0; i < count; i++) {
        assert_string_equal(comm_host(g, i), comm_host(world, ranks[i]));
        want += (float)ranks[i];
    }
    for (int repeat = 0; repeat < 3; repeat++) {
        float v = sum;
        must(comm_sum_f32(g, &v, 1, &e), &e);
        assert_true(v == want);
    }
    must(comm_barrier(g, &e), &e);
    comm_close(g);
}

// Halves of the world at the same time, each several times over with its own pace, then all in reverse order.
static void test_groups(void **state)
{
    struct comm *c = *state;
    struct error e;
    int size = comm_size(c), half = (size + 1) / 2, ranks[64];
    int upper = comm_rank(c) >= half, count = upper ? size - half : half;
    for (int repeat = 0; repeat < 5; repeat++) {
        for (int i = 0; i < count; i++)
            ranks[i] = upper ? half + i : i;
        if (upper)
            usleep(3000);
        check_group(c, ranks, count, upper);
    }
    for (int i = 0; i < size; i++)
        ranks[i] = size - 1 - i;
    check_group(c, ranks, size, 7);

    int outside[] = {(comm_rank(c) + 1) % size}, unknown[] = {comm_rank(c), size},
        twice[] = {comm_rank(c), comm_rank(c)};
    if (size > 1) {
        assert_null(comm_create_group(c, outside, 1, 1, &e));
        assert_int_equal(e.code, ERR_INVALID);
    }
    assert_null(comm_create_group(c, unknown, 2, 1, &e));
    assert_non_null(strstr(e.text, "names rank"));
    assert_null(comm_create_group(c, twice, 2, 1, &e));
    assert_non_null(strstr(e.text, "twice"));
    must(comm_barrier(c, &e), &e);
}

static void test_single(void **state)
{
    (void)state;
    struct error e;
    struct comm *c = comm_open_single();
    assert_int_equal(comm_rank(c), 0);
    assert_int_equal(comm_size(c), 1);
    test_broadcast((void **)&c);
    test_sum_f32((void **)&c);
    test_all_gather((void **)&c);
    test_gather_variable((void **)&c);
    test_agree((void **)&c);
    test_groups((void **)&c);
    must(comm_barrier(c, &e), &e);
    comm_close(c);
}

int main(int argc, char **argv)
{
    struct error e;
    int want = argc > 1 ? atoi(argv[1]) : 1;
    struct comm *world = comm_open_world(&e);
    if (!world) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    if (comm_size(world) != want) {
        fprintf(stderr, "%d ranks instead of %d\n", comm_size(world), want);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_identity, world),
        cmocka_unit_test_prestate(test_broadcast, world),
        cmocka_unit_test_prestate(test_sum_f32, world),
        cmocka_unit_test_prestate(test_sum_f64, world),
        cmocka_unit_test_prestate(test_sum_bits, world),
        cmocka_unit_test_prestate(test_part_start, world),
        cmocka_unit_test_prestate(test_parts, world),
        cmocka_unit_test_prestate(test_overlap, world),
        cmocka_unit_test_prestate(test_max, world),
        cmocka_unit_test_prestate(test_all_gather, world),
        cmocka_unit_test_prestate(test_gather_variable, world),
        cmocka_unit_test_prestate(test_agree, world),
        cmocka_unit_test_prestate(test_groups, world),
        cmocka_unit_test_prestate(test_single, world),
    };
    int failed = cmocka_run_group_tests_name("comm", tests, NULL, NULL);
    if (failed)
        comm_abort(world, 1); // the other ranks may wait for what this one left out
    comm_close(world);
    return 0;
}
