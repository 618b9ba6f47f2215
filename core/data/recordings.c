// The competition's layout: see recordings.h.
#include "core/data/recordings.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/base/file.h"
#include "core/base/parallel.h"
#include "core/base/utf8.h"
#include "core/data/csv.h"
#include "core/data/signs.h"

static const char CSV_NAME[] = "train.csv";

// Faults of train.csv, told all at once.
struct faults {
    size_t count;
    struct strbuf text;
};
enum { FAULTS_SHOWN = 10 };

static void add_fault(struct faults *f, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add_fault(struct faults *f, int line, const char *format, ...)
{
    if (f->count++ >= FAULTS_SHOWN)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strbuf_printf(&f->text, "%sline %d: %s", f->text.length ? "\n  " : "", line, text);
}

static int report_faults(struct faults *f, const char *directory, struct error *e)
{
    int rc = 0;
    if (f->count == 1)
        rc = error_set(e, ERR_INVALID, "%s/%s, %s", directory, CSV_NAME, f->text.text);
    else if (f->count) {
        if (f->count > FAULTS_SHOWN)
            strbuf_printf(&f->text, "\n  and %zu more", f->count - FAULTS_SHOWN);
        rc = error_set(e, ERR_INVALID, "%s/%s has %zu faults:\n  %s", directory, CSV_NAME, f->count, f->text.text);
    }
    free(f->text.text);
    return rc;
}

// Whether a path stays below the directory it is relative to.
static bool path_stays_inside(const char *path)
{
    if (!*path || *path == '/')
        return false;
    for (const char *p = path; *p; p += strcspn(p, "/"), p += *p == '/')
        if (strcspn(p, "/") == 2 && p[0] == '.' && p[1] == '.')
            return false;
    return true;
}

static void read_row(struct recordings *r, const struct csv *csv, const int at[4], const struct sign_index *signs,
                     struct faults *faults)
{
    struct recording *clip = &r->clips[r->count];
    const char *path = csv->field[at[0]], *sign = csv->field[at[3]];
    *clip = (struct recording){.line = csv->line, .label = sign_index_find(signs, sign)};
    bool sound = true;
    if (!utf8_printable(path, strlen(path))) {
        add_fault(faults, csv->line, "the path is not UTF-8, or has control characters");
        sound = false;
    } else if (!path_stays_inside(path)) {
        add_fault(faults, csv->line, "the path \"%s\" does not lie in the data directory", path);
        sound = false;
    }
    if (csv_integer(csv->field[at[1]], &clip->participant)) {
        add_fault(faults, csv->line, "participant_id \"%s\" is not an integer", csv->field[at[1]]);
        sound = false;
    }
    if (csv_integer(csv->field[at[2]], &clip->sequence)) {
        add_fault(faults, csv->line, "sequence_id \"%s\" is not an integer", csv->field[at[2]]);
        sound = false;
    }
    if (clip->label < 0) {
        add_fault(faults, csv->line, "the sign \"%s\" is not in %s", sign, SIGNS_FILE);
        sound = false;
    }
    if (!sound)
        return;
    clip->path = xstrdup(path);
    r->count++;
}

static int read_rows(struct recordings *r, const char *path, const struct sign_index *signs, struct faults *faults,
                     struct error *e)
{
    static const char *const columns[] = {"path", "participant_id", "sequence_id", "sign"};
    struct csv csv;
    int at[4], rc;
    if (csv_open(&csv, path, path, e))
        return -1;
    r->csv_hash = csv.hash;
    rc = csv_columns(&csv, 4, columns, at, e);
    size_t capacity = 0;
    while (!rc && (rc = csv_next(&csv, e)) > 0) {
        if (r->count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            r->clips = xrealloc(r->clips, capacity, sizeof *r->clips);
        }
        read_row(r, &csv, at, signs, faults);
        rc = 0;
    }
    csv_close(&csv);
    if (!rc && !r->count && !faults->count)
        rc = error_set(e, ERR_INVALID, "%s names no clips", path);
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    const struct recording *x = *(struct recording *const *)a, *y = *(struct recording *const *)b;
    if (x->participant != y->participant)
        return x->participant < y->participant ? -1 : 1;
    if (x->sequence != y->sequence)
        return x->sequence < y->sequence ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int compare_paths(const void *a, const void *b)
{
    const struct recording *x = *(struct recording *const *)a, *y = *(struct recording *const *)b;
    int order = strcmp(x->path, y->path);
    return order ? order : x->line < y->line ? -1 : x->line > y->line;
}

static void find_duplicates(const struct recordings *r, struct faults *faults)
{
    struct recording **sorted = xcalloc(r->count, sizeof *sorted);
    for (size_t i = 0; i < r->count; i++)
        sorted[i] = &r->clips[i];
    qsort(sorted, r->count, sizeof *sorted, compare_ids);
    for (size_t i = 1; i < r->count; i++) {
        const struct recording *a = sorted[i - 1], *b = sorted[i];
        if (a->participant == b->participant && a->sequence == b->sequence)
            add_fault(faults, b->line, "the clip %lld/%lld stands in line %d already", (long long)b->participant,
                      (long long)b->sequence, a->line);
    }
    qsort(sorted, r->count, sizeof *sorted, compare_paths);
    for (size_t i = 1; i < r->count; i++) {
        const struct recording *a = sorted[i - 1], *b = sorted[i];
        if (!strcmp(a->path, b->path) && (a->participant != b->participant || a->sequence != b->sequence))
            add_fault(faults, b->line, "the file %s stands in line %d already", b->path, a->line);
    }
    free(sorted);
}

// bytes: the size, or minus the errno why there is none.
static int look_at_file(void *context, size_t i, int thread)
{
    (void)thread;
    const struct recordings *r = context;
    char *path = file_join(r->directory, r->clips[i].path);
    struct stat st = {0};
    if (stat(path, &st))
        r->clips[i].bytes = -errno;
    else if (!S_ISREG(st.st_mode))
        r->clips[i].bytes = -EISDIR;
    else
        r->clips[i].bytes = st.st_size;
    r->clips[i].modified = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    free(path);
    return 0;
}

static void find_missing_files(struct recordings *r, int threads, struct faults *faults)
{
    parallel_for(threads, r->count, look_at_file, r);
    for (size_t i = 0; i < r->count; i++)
        if (r->clips[i].bytes < 0)
            add_fault(faults, r->clips[i].line, "%s: %s", r->clips[i].path,
                      r->clips[i].bytes == -EISDIR ? "not a regular file" : strerror((int)-r->clips[i].bytes));
}

struct recordings *recordings_read(const char *directory, int threads, struct error *e)
{
    struct recordings *r = xcalloc(1, sizeof *r);
    r->directory = xstrdup(directory);
    char *csv_path = file_join(directory, CSV_NAME), *signs_path = file_join(directory, SIGNS_FILE);
    struct faults faults = {0};
    struct sign_index *signs = NULL;
    int rc = signs_read(signs_path, &r->sign_count, &r->signs, &r->signs_hash, e);
    if (!rc) {
        signs = sign_index_create(r->sign_count, r->signs);
        rc = read_rows(r, csv_path, signs, &faults, e);
    }
    if (!rc) {
        find_duplicates(r, &faults);
        find_missing_files(r, threads, &faults);
        rc = report_faults(&faults, directory, e);
    }
    sign_index_free(signs);
    free(csv_path);
    free(signs_path);
    if (!rc)
        return r;
    recordings_free(r);
    return NULL;
}

void recordings_free(struct recordings *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->clips[i].path);
    signs_free(r->sign_count, r->signs);
    free(r->clips);
    free(r->directory);
    free(r);
}
