// libFuzzer: jobs from strangers. The first byte chooses the door: a YAML file, a JSON file, an argument, a packed
// message. What is accepted must be complete and read back to itself; what is refused must say why.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// libfyaml 0.7 loses a buffer when some malformed quoted scalars end its parse. That a parser is freed at all is held
// by the unit tests under the sanitizer, which has no suppression there.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}

#define DEMAND(x) ((x) ? (void)0 : abort())

static void check_accepted(const Islr__JobSpec *job)
{
    struct faults faults = {0};
    char *yaml = spec_to_yaml(job), *json = spec_to_json(job);
    Islr__JobSpec *a, *b;
    DEMAND(spec_read_resolved("y", yaml, strlen(yaml), 0, &a, &faults) == 0);
    DEMAND(spec_read_resolved("j", json, strlen(json), 1, &b, &faults) == 0);
    char *yaml_again = spec_to_yaml(a), *json_again = spec_to_json(b);
    DEMAND(!strcmp(yaml, yaml_again) && !strcmp(json, json_again));
    spec_free(a);
    spec_free(b);
    free(yaml);
    free(json);
    free(yaml_again);
    free(json_again);
}

static void try_text(const char *text, size_t size, int json)
{
    struct faults faults = {0};
    Islr__JobSpec *job;
    int rc = spec_read("f", text, size, json, NULL, 0, &job, &faults);
    DEMAND((rc == 0) == (job != NULL) && (rc == 0) == (faults.count == 0));
    if (job)
        check_accepted(job);
    char *said = faults_json(&faults);
    free(said);
    spec_free(job);
    faults_free(&faults);
}

static void try_argument(const char *text, size_t size)
{
    char *argument = xprintf("%.*s", (int)size, text);
    const char *arguments[] = {"data.path=/x", argument};
    struct faults faults = {0};
    Islr__JobSpec *job;
    if (spec_read("f", NULL, 0, 0, arguments, 2, &job, &faults) == 0)
        check_accepted(job);
    spec_free(job);
    faults_free(&faults);
    free(argument);
}

static void try_message(const uint8_t *data, size_t size)
{
    Islr__JobSpec *job = islr__job_spec__unpack(NULL, size, data);
    if (!job)
        return;
    struct faults faults = {0};
    if (spec_check_wire(job, &faults) == 0)
        check_accepted(job);
    else
        DEMAND(faults.count > 0);
    spec_free(job);
    faults_free(&faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    switch (data[0] % 4) {
    case 0:
        try_message(data + 1, size - 1);
        break;
    case 1:
        try_text(text, size - 1, 1);
        break;
    case 2:
        try_argument(text, size - 1);
        break;
    default:
        try_text(text, size - 1, 0);
    }
    return 0;
}
