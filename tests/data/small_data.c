// Few recordings to prepare: see small_data.h.
#include "tests/data/small_data.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/data/recordings.h"
#include "core/data/synth.h"
#include "tests/data/scratch.h"

const struct prepare_options data_usual = {.max_len = 25, .k = 3, .fold_seed = 42, .threads = 2};

char *data_make(void **state, const char *name)
{
    char *directory = scratch_path(state, name);
    struct synth_options o = {.signs = 5, .participants = 4, .clips = DATA_CLIPS, .seed = 3, .replace = true};
    struct error e;
    if (synth_write(directory, &o, &e))
        fail_msg("%s", e.text);
    return directory;
}

void data_break_clip(const char *directory, size_t row, const char *text)
{
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    assert_non_null(r);
    char *path = file_join(directory, r->clips[row].path);
    scratch_write_bytes(path, text, strlen(text));
    free(path);
    recordings_free(r);
}

void data_prepare(const char *directory, const char *out, const struct prepare_options *o)
{
    struct error e;
    if (prepare_set(directory, out, o, NULL, &e))
        fail_msg("%s", e.text);
}

struct set *data_open_set(const char *path)
{
    struct error e;
    struct set *s = set_open(path, &e);
    if (!s)
        fail_msg("%s", e.text);
    if (set_verify(s, 0, &e))
        fail_msg("%s", e.text);
    return s;
}

int data_count_files(const char *directory, const char *prefix)
{
    int count = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        count += !strncmp(entry->d_name, prefix, strlen(prefix));
    closedir(d);
    return count;
}
