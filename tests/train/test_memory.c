// Memory of a card, on the host model of one: what is planned is what is taken, a set that does not fit is fed (with what
// results: test_feeder.c), and where neither fits, what would is said and true. Argument: a pattern of the names of tests.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/train/memory.h"
#include "core/train/recipe.h"
#include "core/train/shard.h"
#include "kernels/cuda_open.h"
#include "tests/train/small_run.h"
#include "tests/train/small_set.h"

static struct backend *open_card(size_t mib)
{
    struct error e = {0};
    char text[32];
    snprintf(text, sizeof text, "%zu", mib);
    setenv("CUDAHOST_MEMORY_MIB", text, 1);
    struct backend *b = backend_cuda_open(0, &e);
    if (!b)
        fail_msg("%s", e.text);
    return b;
}

static size_t memory_free(struct backend *b)
{
    struct device_info info;
    b->op->describe(b, &info);
    return info.memory_free;
}

static size_t row_size(const struct memory_plan *p, const char *what)
{
    for (int i = 0; i < p->count; i++)
        if (!strncmp(p->rows[i].what, what, strlen(what)))
            return p->rows[i].size;
    fail_msg("no row '%s'", what);
    return 0;
}

static void plan_is_what_is_taken(void **state)
{
    (void)state;
    struct set *set = small_set_make();
    struct comm *comm = comm_open_single();
    Islr__JobSpec *job = small_run_job();
    struct backend *b = open_card(1024);
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16};
    for (int fed = 0; fed < 2; fed++) {
        struct memory_request request = {job, set, b, types[fed], 1, fed};
        struct memory_plan plan;
        struct small_run run;
        struct device_info info;
        size_t before = memory_free(b);
        memory_plan_make(&plan, &request);
        small_run_open(&run, job, set, b, comm, types[fed], fed);
        size_t taken = before - memory_free(b), planned = plan.total - row_size(&plan, "work space");
        // What is small is not planned: labels, scalars, views' rows.
        assert_in_range(taken, planned, planned + planned / 50);
        small_run_steps(&run, 1, 1);
        b->op->describe(b, &info);
        assert_in_range(before - info.memory_free, taken, plan.total);
        assert_in_range(info.memory_peak, before - info.memory_free, plan.total);
        small_run_close(&run);
        b->op->close(b);
        b = open_card(1024);
    }
    b->op->close(b);
    spec_free(job);
    comm_close(comm);
    set_close(set);
}

// Ranks that share out the optimizer's state need less: all but their part of two moments.
static void shared_state_is_smaller(void **state)
{
    (void)state;
    struct set *set = small_set_make();
    Islr__JobSpec *job = small_run_job();
    struct backend *b = open_card(1024);
    struct memory_request request = {job, set, b, DTYPE_F32, 2, 0};
    struct memory_plan all, shared;
    struct model student;
    struct model_config config = recipe_student(job, set_sign_count(set));
    memory_plan_make(&all, &request);
    job->resources->shard_optimizer = 1;
    memory_plan_make(&shared, &request);
    model_sketch(&student, b, &config, DTYPE_F32, 0);
    struct shard shard;
    shard_plan(&shard, student.layout.size, 2, 0);
    assert_true(shard.own < student.layout.size);
    assert_int_equal(row_size(&all, "student: gradients and moments") -
                         row_size(&shared, "student: gradients and a share of the moments"),
                     2 * (student.layout.size - shard.own) * sizeof(float));
    assert_true(shared.total < all.total);
    b->op->close(b);
    spec_free(job);
    set_close(set);
}

static void set_is_fed_where_it_does_not_fit(void **state)
{
    (void)state;
    struct set *set = small_set_make_of(100); // 33 MB
    Islr__JobSpec *job = small_run_job();
    struct error e = {0};
    struct memory_request request = {job, set, NULL, DTYPE_F32, 1, 0};
    struct memory_plan resident, fed;
    memory_plan_make(&resident, &request);
    request.fed = 1;
    memory_plan_make(&fed, &request);
    assert_true(resident.total > fed.total + ((size_t)16 << 20));
    request.backend = open_card((resident.total >> 20) + 2);
    assert_int_equal(memory_decide(&request, &e), 0);
    assert_int_equal(request.fed, 0);
    request.backend->op->close(request.backend);
    request.backend = open_card((fed.total >> 20) + 2);
    assert_int_equal(memory_decide(&request, &e), 0);
    assert_int_equal(request.fed, 1);
    request.backend->op->close(request.backend);
    request.backend = backend_cpu_open(1, &e); // memory of a host is not looked at
    assert_int_equal(memory_decide(&request, &e), 0);
    assert_int_equal(request.fed, 0);
    request.backend->op->close(request.backend);
    spec_free(job);
    set_close(set);
}

static size_t total_with(const struct memory_request *r, uint32_t batch, uint32_t max_len)
{
    Islr__JobSpec *job = spec_copy(r->job);
    struct memory_request other = *r;
    struct memory_plan plan;
    job->train->batch = batch;
    job->model->max_len = max_len;
    other.job = job;
    memory_plan_make(&plan, &other);
    spec_free(job);
    return plan.total;
}

static void too_little_memory_says_what_would_fit(void **state)
{
    (void)state;
    struct set *set = small_set_make();
    struct faults faults = {0};
    struct error e = {0};
    Islr__JobSpec *job;
    const char *const settings[] = {"preset=l25", "data.path=nowhere"};
    assert_int_equal(spec_load(NULL, settings, 2, &job, &faults, &e), 0);
    struct memory_request request = {job, set, open_card(2048), DTYPE_F32, 1, 0};
    assert_int_equal(memory_decide(&request, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    static const char *const said[] = {"host model has ",  "student: gradients and moments",
                                       "set: two batches", "teacher: activations of 256 clips",
                                       "backward pass",    "What would fit: train.batch="};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strstr(e.text, said[i]))
            fail_msg("'%s' is not in '%s'", said[i], e.text);
    size_t free_bytes = memory_free(request.backend);
    uint32_t batch = 0, length = 0;
    const char *shorter = strstr(e.text, "model.max_len=");
    assert_int_equal(sscanf(strstr(e.text, "train.batch="), "train.batch=%u", &batch), 1);
    assert_true(batch % job->train->group == 0 && total_with(&request, batch, 25) <= free_bytes);
    assert_true(total_with(&request, batch + job->train->group, 25) > free_bytes);
    if (shorter && sscanf(shorter, "model.max_len=%u", &length) == 1)
        assert_true(total_with(&request, 256, length) <= free_bytes &&
                    total_with(&request, 256, length + 1) > free_bytes);
    request.backend->op->close(request.backend);

    request.backend = open_card(64);
    assert_int_equal(memory_decide(&request, &e), -1);
    assert_non_null(strstr(e.text, "No smaller batch, type or max_len alone would fit"));
    request.backend->op->close(request.backend);
    spec_free(job);
    set_close(set);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_is_what_is_taken),
        cmocka_unit_test(shared_state_is_smaller),
        cmocka_unit_test(set_is_fed_where_it_does_not_fit),
        cmocka_unit_test(too_little_memory_says_what_would_fit),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
