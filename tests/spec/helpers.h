// What the tests of core/spec share: jobs from texts, and faults as text.
#ifndef ISLR_TESTS_SPEC_HELPERS_H
#define ISLR_TESTS_SPEC_HELPERS_H

#include "core/spec/spec.h"

enum { ARGUMENTS_MAX = 8 };

// A job that must be valid, from a YAML text (NULL: none) and up to 8 arguments, NULL-terminated.
Islr__JobSpec *job_of(const char *yaml, const char *const *arguments);

// The faults of a job that must not be valid, as faults_text(); free() it. json: the text is JSON.
char *faults_of(const char *text, int json, const char *const *arguments);

// job_of() and faults_of() with the arguments in place.
#define JOB(yaml, ...)    job_of(yaml, (const char *const[ARGUMENTS_MAX + 1]){__VA_ARGS__})
#define FAULTS(yaml, ...) faults_of(yaml, 0, (const char *const[ARGUMENTS_MAX + 1]){__VA_ARGS__})

#endif
