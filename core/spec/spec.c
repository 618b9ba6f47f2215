// Jobs from files and arguments: see spec.h.
#include "core/spec/spec.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/nearest.h"
#include "core/spec/check.h"
#include "core/spec/field.h"
#include "core/spec/map.h"
#include "core/spec/preset.h"

// One KEY=VALUE.
struct argument {
    char *source;       // "argument 'train.lr=1e-4'"
    char *key;          // NULL: it is not KEY=VALUE
    struct node *value; // NULL: it cannot be read
};

// Everything that one job is put together from.
struct assembly {
    const char *source; // of the file
    struct node *file;  // NULL: none, or it cannot be read
    struct argument *arguments;
    size_t argument_count;
    bool resolved; // `preset` is only a label
    struct origins origins;
    struct faults *faults;
};

static void read_argument(struct argument *a, const char *text, struct faults *faults)
{
    size_t n = strcspn(text, "=");
    a->source = xprintf(strlen(text) > 200 ? "argument '%.200s...'" : "argument '%s'", text);
    if (!text[n] || n == 0) {
        faults_add(faults, a->source, 0, 0, "", "KEY=VALUE, such as train.lr=1e-4", NULL, "this is no KEY=VALUE");
        return;
    }
    a->key = xprintf("%.*s", (int)n, text);
    a->value = tree_argument(a->source, text + n + 1, faults);
}

static void argument_clear(struct argument *a)
{
    free(a->source);
    free(a->key);
    tree_free(a->value);
}

static void assembly_free(struct assembly *a)
{
    tree_free(a->file);
    for (size_t i = 0; i < a->argument_count; i++)
        argument_clear(&a->arguments[i]);
    free(a->arguments);
    origins_free(&a->origins);
}

// ---- preset -------------------------------------------------------------------------------------------------------

static void apply_preset(struct assembly *a, const struct preset *p, Islr__JobSpec *job)
{
    if (p->base)
        apply_preset(a, preset_find(p->base), job);
    struct origins unused = {0}; // a value that is only the preset's has no line to point at
    const struct mapper m = {.source = p->name, .faults = a->faults, .origins = &unused};
    struct node *tree = tree_parse(p->name, p->yaml, strlen(p->yaml), false, a->faults);
    if (tree)
        map_job(&m, tree, job);
    tree_free(tree);
    origins_free(&unused);
}

static void fault_preset(struct assembly *a, const struct node *n, const char *source)
{
    const char *names[16];
    size_t count = 0;
    struct strbuf allowed = {0};
    for (const struct preset *p = presets; p->name; p++) {
        strbuf_printf(&allowed, "%s%s", count ? " | " : "", p->name);
        names[count++] = p->name;
    }
    faults_add(a->faults, source, n->line, n->column, "preset", allowed.text, nearest_name(n->text, names, count),
               "there is no preset '%.200s'", n->text);
    free(allowed.text);
}

// The last argument's preset, else the file's.
static void find_preset(struct assembly *a, Islr__JobSpec *job)
{
    const struct node *n = a->file ? tree_find(a->file, "preset") : NULL;
    const char *source = a->source;
    for (size_t i = 0; i < a->argument_count; i++) {
        const struct argument *x = &a->arguments[i];
        if (x->value && !strcmp(x->key, "preset"))
            n = x->value, source = x->source;
    }
    if (!n || n->kind != NODE_SCALAR || !*n->text)
        return; // none; or of a wrong type, which mapping reports
    const struct preset *p = preset_find(n->text);
    if (p)
        apply_preset(a, p, job);
    else
        fault_preset(a, n, source);
}

// ---- all together -------------------------------------------------------------------------------------------------

// Runs are listed by name: one that has none takes its preset's.
static void set_name(Islr__JobSpec *job)
{
    if (!*job->name)
        field_set_string(field_find(job->base.descriptor, "name"), &job->name, job->preset);
}

static Islr__JobSpec *assemble(struct assembly *a, bool readable)
{
    Islr__JobSpec *job = spec_default();
    if (!a->resolved)
        find_preset(a, job);
    if (a->file) {
        const struct mapper m = {.source = a->source, .faults = a->faults, .origins = &a->origins};
        map_job(&m, a->file, job);
    }
    for (size_t i = 0; i < a->argument_count; i++) {
        const struct argument *x = &a->arguments[i];
        const struct mapper m = {.source = x->source, .faults = a->faults, .origins = &a->origins};
        if (x->value)
            map_argument(&m, x->key, x->value, job);
    }
    const struct origin *k = origins_find(&a->origins, "data.k");
    job->data->has_k = k && k->kind != ORIGIN_SECTION; // of a job that does not say it, spec_complete() finds it
    spec_complete(job);                                // also lists that were given empty
    set_name(job);
    const struct checker c = {.source = a->source, .origins = &a->origins, .faults = a->faults};
    if (readable) { // else what is missing may stand in the part that could not be read
        check_values(&c, job);
        check_rules(&c, job);
    }
    return job;
}

static void sort_faults(const struct assembly *a)
{
    const char **sources = xcalloc(a->argument_count + 1, sizeof *sources);
    sources[0] = a->source;
    for (size_t i = 0; i < a->argument_count; i++)
        sources[i + 1] = a->arguments[i].source;
    faults_sort(a->faults, sources, a->argument_count + 1);
    free(sources);
}

static int read_job(struct assembly *a, const char *text, size_t size, bool json, const char *const *arguments,
                    Islr__JobSpec **job)
{
    size_t before = a->faults->count + a->faults->dropped;
    *job = NULL;
    a->arguments = xcalloc(a->argument_count ? a->argument_count : 1, sizeof *a->arguments);
    if (text)
        a->file = tree_parse(a->source, text, size, json, a->faults);
    for (size_t i = 0; i < a->argument_count; i++)
        read_argument(&a->arguments[i], arguments[i], a->faults);
    Islr__JobSpec *made = assemble(a, a->file || !text);
    int rc = a->faults->count + a->faults->dropped == before ? 0 : -1;
    if (rc) {
        spec_free(made);
        sort_faults(a);
    } else {
        *job = made;
    }
    assembly_free(a);
    return rc;
}

int spec_read(const char *source, const char *text, size_t size, int json, const char *const *arguments,
              size_t argument_count, Islr__JobSpec **job, struct faults *faults)
{
    struct assembly a = {.source = source, .argument_count = argument_count, .faults = faults};
    return read_job(&a, text, size, json, arguments, job);
}

int spec_read_resolved(const char *source, const char *text, size_t size, int json, Islr__JobSpec **job,
                       struct faults *faults)
{
    struct assembly a = {.source = source, .resolved = true, .faults = faults};
    return read_job(&a, text, size, json, NULL, job);
}

Islr__JobSpec *spec_with_argument(const Islr__JobSpec *base, const char *text, struct faults *faults)
{
    size_t before = faults->count + faults->dropped;
    struct argument a = {0};
    struct origins origins = {0};
    Islr__JobSpec *job = spec_copy(base);
    read_argument(&a, text, faults);
    if (a.value) {
        const struct mapper m = {.source = a.source, .faults = faults, .origins = &origins};
        const struct checker c = {.source = a.source, .origins = &origins, .faults = faults};
        map_argument(&m, a.key, a.value, job);
        spec_complete(job); // lists that were given empty
        set_name(job);
        check_values(&c, job);
        check_rules(&c, job);
    }
    argument_clear(&a);
    origins_free(&origins);
    if (faults->count + faults->dropped == before)
        return job;
    spec_free(job);
    return NULL;
}

int spec_load(const char *path, const char *const *arguments, size_t argument_count, Islr__JobSpec **job,
              struct faults *faults, struct error *e)
{
    char *text = NULL;
    size_t size = 0, n = path ? strlen(path) : 0;
    bool json = n > 5 && !strcmp(path + n - 5, ".json");
    *job = NULL;
    if (path && file_read(path, SPEC_FILE_MAX, &text, &size, e))
        return -1;
    int rc = spec_read(path ? path : "arguments", text, size, json, arguments, argument_count, job, faults);
    free(text);
    return rc ? faults_to_error(faults, e) : 0;
}

// ---- paths --------------------------------------------------------------------------------------------------------

// RUN:what, @last:what, sha256:HEX: things that a server has.
static bool is_reference(const char *text)
{
    size_t n = strcspn(text, ":/");
    if (text[n] != ':')
        return false;
    return text[0] == '@' || strspn(text, "0123456789") == n || (n == 6 && !memcmp(text, "sha256", 6));
}

static void make_absolute(char **path, const char *directory)
{
    if (!**path || **path == '/' || is_reference(*path))
        return;
    char *joined = file_join(directory, *path);
    free(*path);
    *path = joined;
}

void spec_make_absolute(Islr__JobSpec *job, const char *directory)
{
    make_absolute(&job->data->path, directory);
    make_absolute(&job->data->fold_file, directory);
    make_absolute(&job->init->student, directory);
    make_absolute(&job->init->teacher, directory);
    make_absolute(&job->init->distilled, directory);
    for (size_t i = 0; i < job->n_models; i++)
        make_absolute(&job->models[i], directory);
}
