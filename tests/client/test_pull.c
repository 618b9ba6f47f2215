// pull: whole and right files only, over broken connections, stopped calls, wrong bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/rpc/protocol.h"
#include "tests/client/scripted.h"

enum { LARGE = 9 * RPC_CHUNK_MAX + 12345 };

static void expect(struct outcome o, int code, const char *out, const char *err)
{
    if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
        fail_msg("exit %d, not %d; expected out '%s' err '%s'\nstdout: %s\nstderr: %s", o.code, code, out ? out : "",
                 err ? err : "", o.out, o.err);
    outcome_free(&o);
}

struct place {
    struct scripted s;
    char out[128];
};

static void open_place(struct place *p)
{
    memset(p, 0, sizeof *p);
    p->s.runs = 2;
    p->s.state = ISLR__RUN_STATE__RUN_SUCCEEDED;
    scripted_open(&p->s);
    snprintf(p->out, sizeof p->out, "%s/out", p->s.rig.directory);
    scripted_add_artifact(&p->s, "soup", 0, 0, LARGE);
    scripted_add_artifact(&p->s, "student", 0, 0, 1000);
    scripted_add_artifact(&p->s, "distilled", 1, 0.5, 2000);
    scripted_add_artifact(&p->s, "distilled", 2, 0.75, 3000);
    scripted_add_artifact(&p->s, "student", 2, 0, 100);
    scripted_add_artifact(&p->s, "distilled", 3, 0.625, RPC_CHUNK_MAX);
    scripted_add_artifact(&p->s, "resume", 0, 0, 5000);
    scripted_add_artifact(&p->s, "predictions", 0, 0, 0); // an empty file is a file
    scripted_add_artifact(&p->s, "predictions.csv", 0, 0, 2 * RPC_CHUNK_MAX);
    scripted_add_artifact(&p->s, "evaluation", 0, 0, 10);
}

static void close_place(struct place *p)
{
    assert_int_equal(file_remove_tree(p->out, NULL), 0);
    scripted_close(&p->s);
}

static void same(const struct place *p, const char *name, size_t artifact)
{
    char path[256], *data = NULL;
    size_t size = 0;
    struct error e = {0};
    snprintf(path, sizeof path, "%s/%s", p->out, name);
    if (file_read(path, 1 << 26, &data, &size, &e))
        fail_msg("%s", e.text);
    assert_int_equal(size, p->s.artifacts[artifact].size);
    assert_memory_equal(data, p->s.artifacts[artifact].data, size);
    free(data);
}

static int count_parts(const struct place *p)
{
    DIR *d = opendir(p->out);
    int parts = 0;
    for (struct dirent *entry; d && (entry = readdir(d));)
        parts += strstr(entry->d_name, ".part") != NULL;
    if (d)
        closedir(d);
    return parts;
}

static void names_and_layout(void **state)
{
    struct place p;
    (void)state;
    open_place(&p);
    expect(RUN(&p.s, "pull", "1", "-o", p.out), 0, "/out/soup.safetensors\n", NULL);
    same(&p, "soup.safetensors", 0);
    expect(RUN(&p.s, "pull", "@last:best", "-o", p.out), 0, "distilled-epoch-0002.safetensors\n", NULL);
    same(&p, "distilled-epoch-0002.safetensors", 3);
    expect(RUN(&p.s, "pull", "1:epoch-2", "-o", p.out), 0, NULL, NULL);
    same(&p, "checkpoints/epoch-0002/distilled.safetensors", 3);
    same(&p, "checkpoints/epoch-0002/student.safetensors", 4);
    expect(RUN(&p.s, "pull", "1:all", "-o", p.out, "--json"), 0, "\"path\"", NULL);
    same(&p, "final/soup.safetensors", 0);
    same(&p, "final/student.safetensors", 1);
    same(&p, "checkpoints/epoch-0003/distilled.safetensors", 5);
    same(&p, "predictions.npy", 7);
    same(&p, "predictions.csv", 8);
    same(&p, "evaluation.json", 9);
    char resume[160];
    snprintf(resume, sizeof resume, "%s/resume", p.out);
    assert_int_equal(access(resume, F_OK), -1);
    expect(RUN(&p.s, "pull", "1:teacher", "-o", p.out), 3, NULL, "there is: soup, student, epoch-1 (distilled)");
    expect(RUN(&p.s, "pull", "9:soup", "-o", p.out), 3, NULL, NULL);
    expect(RUN(&p.s, "pull", "1", "--list"), 0, "distilled", NULL);
    expect(RUN(&p.s, "show", "1"), 0, "predictions.csv", NULL); // more than its detail has
    assert_int_equal(count_parts(&p), 0);
    close_place(&p);
}

static void breaks_are_mended(void **state)
{
    struct place p;
    (void)state;
    open_place(&p);
    p.s.break_fetch = 4; // the connection ends at every fourth chunk
    expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 0, NULL, NULL);
    assert_true(p.s.hellos >= 3);
    same(&p, "soup.safetensors", 0);
    int fetches = p.s.fetches;
    assert_true(fetches < 10 + 3 * 8); // what had come was not fetched again, but for what was on the way
    expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 0, "soup.safetensors", NULL); // there already
    assert_int_equal(p.s.fetches, fetches);
    close_place(&p);
}

// Not in the middle of files alone: what a group's runs are is asked again too.
static void a_group_over_breaks(void **state)
{
    struct place p;
    (void)state;
    open_place(&p);
    p.s.runs = 3;
    p.s.group = 3;
    p.s.members = 2;
    p.s.break_ask = 2;
    expect(RUN(&p.s, "pull", "3:soup", "-o", p.out), 0, "run-1/soup.safetensors\n", NULL);
    assert_int_equal(p.s.asks, 7); // the group, its runs and each of them: all but the first twice
    same(&p, "run-1/soup.safetensors", 0);
    same(&p, "run-2/soup.safetensors", 0);
    close_place(&p);
}

static void part_path(const struct place *p, char path[256])
{
    size_t n = (size_t)snprintf(path, 200, "%s/soup.safetensors.", p->out);
    for (int i = 0; i < 8; i++)
        n += (size_t)snprintf(path + n, 256 - n, "%02x", p->s.artifacts[0].sha256[i]);
    snprintf(path + n, 256 - n, ".part");
}

static void another_call_goes_on(void **state)
{
    struct place p;
    char path[256];
    (void)state;
    open_place(&p);
    part_path(&p, path);
    assert_int_equal(file_make_dirs(p.out, NULL), 0);
    FILE *f = fopen(path, "w"); // what a killed call leaves
    fwrite(p.s.artifacts[0].data, 1, 7 * RPC_CHUNK_MAX + 99, f);
    fclose(f);
    expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 0, NULL, NULL);
    same(&p, "soup.safetensors", 0);
    assert_int_equal(p.s.fetches, 3);
    assert_int_equal(count_parts(&p), 0);
    close_place(&p);
}

static void altered_part_is_fetched_anew(void **state)
{
    struct place p;
    char path[256];
    (void)state;
    open_place(&p);
    part_path(&p, path);
    assert_int_equal(file_make_dirs(p.out, NULL), 0);
    for (int size = 0; size < 3; size++) { // shorter than, as long as and longer than the file
        FILE *f = fopen(path, "w");
        for (size_t i = 0; i < (size_t)LARGE / 2 * (size_t)(size + 1) + 1; i++)
            fputc('x', f);
        fclose(f);
        if (size == 1)
            assert_int_equal(truncate(path, LARGE), 0);
        expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 0, NULL, NULL);
        same(&p, "soup.safetensors", 0);
        assert_int_equal(count_parts(&p), 0);
        char final[256];
        snprintf(final, sizeof final, "%s/soup.safetensors", p.out);
        unlink(final);
    }
    close_place(&p);
}

static void wrong_bytes_are_not_taken(void **state)
{
    struct place p;
    char path[256];
    struct stat st;
    (void)state;
    open_place(&p);
    assert_int_equal(file_make_dirs(p.out, NULL), 0);
    snprintf(path, sizeof path, "%s/soup.safetensors", p.out);
    assert_int_equal(file_write_atomic(path, "old", 3, NULL), 0);
    p.s.corrupt_fetch = 1;
    expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 7, NULL, "SHA-256");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3); // the old file is untouched
    assert_int_equal(count_parts(&p), 0);
    expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 0, NULL, NULL);
    same(&p, "soup.safetensors", 0);
    close_place(&p);
}

static void unfit_places_and_names(void **state)
{
    struct place p;
    (void)state;
    open_place(&p);
    expect(RUN(&p.s, "pull", "1:soup", "-o", "/proc/nowhere"), 3, NULL, "/proc/nowhere");
    p.s.artifacts[1].what = "../../etc/passwd";
    expect(RUN(&p.s, "pull", "1:soup", "-o", p.out), 7, NULL, "not fit");
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_layout),
        cmocka_unit_test(breaks_are_mended),
        cmocka_unit_test(a_group_over_breaks),
        cmocka_unit_test(another_call_goes_on),
        cmocka_unit_test(altered_part_is_fetched_anew),
        cmocka_unit_test(wrong_bytes_are_not_taken),
        cmocka_unit_test(unfit_places_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
