// Artifacts that a job names: see reference.h.
#include "core/rpc/reference.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_run(const char *text, struct reference *out, struct error *e)
{
    char *end;
    errno = 0;
    unsigned long long run = strtoull(text, &end, 10);
    if (errno || !run)
        return error_set(e, ERR_INVALID, "'%s' does not name a run", text);
    out->kind = REFERENCE_RUN;
    out->run = run;
    out->what = end + 1;
    return 0;
}

int reference_parse(const char *text, struct reference *out, struct error *e)
{
    size_t digits = strspn(text, "0123456789");
    *out = (struct reference){.kind = REFERENCE_NONE};
    if (digits && text[digits] == ':')
        return parse_run(text, out, e);
    if (*text == '@')
        return error_set(e, ERR_INVALID, "'%s' is not known to a worker: name the run's number", text);
    if (strncmp(text, "sha256:", 7))
        return 0;
    if (hash_from_hex(text + 7, &out->sha256))
        return error_set(e, ERR_INVALID, "%s is no SHA-256: 64 hexadecimal digits", text);
    out->kind = REFERENCE_HASH;
    return 0;
}

char **reference_field(Islr__JobSpec *job, size_t i, char name[32])
{
    static const char *const names[] = {"init.student", "init.teacher", "init.distilled"};
    enum { INITS = sizeof names / sizeof *names };
    char **inits[INITS] = {&job->init->student, &job->init->teacher, &job->init->distilled};
    if (i >= INITS + job->n_models)
        return NULL;
    if (name && i < INITS)
        snprintf(name, 32, "%s", names[i]);
    else if (name)
        snprintf(name, 32, "models[%zu]", i - INITS);
    return i < INITS ? inits[i] : &job->models[i - INITS];
}
