// See helpers.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/spec/helpers.h"

static size_t count_arguments(const char *const *arguments)
{
    size_t n = 0;
    while (n < ARGUMENTS_MAX && arguments[n])
        n++;
    return n;
}

Islr__JobSpec *job_of(const char *yaml, const char *const *arguments)
{
    struct faults faults = {0};
    Islr__JobSpec *job = NULL;
    int rc =
        spec_read("job.yaml", yaml, yaml ? strlen(yaml) : 0, 0, arguments, count_arguments(arguments), &job, &faults);
    if (rc)
        faults_print(&faults, stderr);
    assert_int_equal(rc, 0);
    assert_non_null(job);
    faults_free(&faults);
    return job;
}

char *faults_of(const char *text, int json, const char *const *arguments)
{
    struct faults faults = {0};
    Islr__JobSpec *job = NULL;
    int rc = spec_read(json ? "job.json" : "job.yaml", text, text ? strlen(text) : 0, json, arguments,
                       count_arguments(arguments), &job, &faults);
    assert_int_equal(rc, -1);
    assert_null(job);
    char *found = faults_text(&faults);
    faults_free(&faults);
    return found;
}
