// What the jobs that a worker's tests script are put together from.
#ifndef ISLR_TESTS_WORK_JOBS_H
#define ISLR_TESTS_WORK_JOBS_H

#include "tests/work/bench.h"

// Two figures and the progress of a step, and at every tenth a line.
void job_say(const struct run_sink *s, uint64_t step);

// Whether the server has just what job_say() said of steps 1 to `steps`, in order.
void job_check_records(const struct bench *b, uint64_t steps);

// Writes `size` times `byte` to that name in the job's directory; its path, malloc'ed.
char *job_save(const struct work_job *j, const char *name, size_t size, int byte);
void job_tell_file(const struct work_job *j, const char *what, const char *path, uint32_t epoch, uint64_t step);

void job_wait(struct bench *b); // until the test lets it go on

// A job that says steps and looks whether it is to stop.
int job_until_stopped(struct bench *b, const struct work_job *j, struct error *e);

#endif
