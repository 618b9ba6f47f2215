// See jobs.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "tests/work/jobs.h"

void job_say(const struct run_sink *s, uint64_t step)
{
    struct sink_metric metrics[] = {{"loss/student", (double)step}, {"lr", 0.1}};
    s->metrics(s->context, &(struct sink_metrics){.step = step, .epoch = 1, .count = 2, .metrics = metrics});
    s->progress(s->context, &(struct sink_progress){step, 100, "train", 12});
    if (step % 10 == 0) {
        char line[32];
        snprintf(line, sizeof line, "step %llu", (unsigned long long)step);
        s->log(s->context, LOG_INFO, line);
    }
}

char *job_save(const struct work_job *j, const char *name, size_t size, int byte)
{
    char *path = file_join(j->directory, name), *data = xmalloc(size + 1);
    memset(data, byte, size);
    assert_int_equal(file_write_atomic(path, data, size, NULL), 0);
    free(data);
    return path;
}

void job_tell_file(const struct work_job *j, const char *what, const char *path, uint32_t epoch, uint64_t step)
{
    j->sink->file(j->sink->context, &(struct sink_file){.what = what, .path = path, .epoch = epoch, .step = step});
}

void job_wait(struct bench *b)
{
    while (!atomic_load(&b->go_on))
        clock_sleep(0.001);
}

void job_check_records(const struct bench *b, uint64_t steps)
{
    uint64_t step = 0;
    assert_int_equal(b->records, steps + steps / 10);
    for (uint64_t i = 0; i < b->records; i++) {
        if (b->lines[i]) {
            char line[32];
            snprintf(line, sizeof line, "step %llu", (unsigned long long)step);
            assert_string_equal(b->lines[i], line);
        } else {
            assert_true(b->first_values[i] == (double)++step);
        }
    }
    assert_int_equal(step, steps);
}

int job_until_stopped(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)b;
    uint64_t step = 0;
    while (!j->sink->should_stop(j->sink->context)) {
        job_say(j->sink, ++step);
        clock_sleep(0.001);
    }
    return error_set(e, ERR_INTERRUPTED, "stopped after step %llu", (unsigned long long)step);
}
