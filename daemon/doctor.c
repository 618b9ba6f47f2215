// islrd doctor: what this program was built with, what the machine has, what is missing and what to install.
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/base/parallel.h"
#include "core/comm/comm_device.h"
#include "core/data/parquet.h"
#include "core/rpc/limit.h"
#include "core/spec/describe.h"
#include "core/spec/preset.h"
#include "core/spec/spec.h"
#include "core/store/library.h"
#include "daemon/command.h"
#include "kernels/backend.h"
#include "kernels/cuda_open.h"

enum { MEMORY_ENOUGH_GIB = 4, FILES_ENOUGH = 1024 };

// Everything is collected into one JSON document first: {"version", "build": {name: text}, "libraries": {name:
// version}, "devices": [{"kind", "name", "threads", "memory_bytes", "bf16", "detail"}], "presets": [{"name",
// "summary"}], "limits": [{"what", "value", "unit", "why"}], "cuda": why there is no card to compute on, where there is
// none, "missing": [{"what", "needed_for", "remedy", "fatal"}]}. The text is printed from it.
struct report {
    json_t *root, *missing;
    bool fatal; // nothing works without something that is missing
};

static void add_missing(struct report *r, const char *what, const char *needed_for, const char *remedy, bool fatal)
{
    json_array_append_new(r->missing, json_pack("{s:s, s:s, s:s, s:b}", "what", what, "needed_for", needed_for,
                                                "remedy", remedy, "fatal", (int)fatal));
    r->fatal = r->fatal || fatal;
}

static json_t *build_facts(void)
{
    json_t *build = json_object();
#ifdef __clang__
    json_object_set_new(build, "compiler", json_string("clang " __clang_version__));
#else
    json_object_set_new(build, "compiler", json_string("gcc " __VERSION__));
#endif
#ifdef __OPTIMIZE__
    json_object_set_new(build, "optimised", json_true());
#else
    json_object_set_new(build, "optimised", json_false());
#endif
#ifdef __SANITIZE_ADDRESS__
    json_object_set_new(build, "sanitizers", json_true());
#else
    json_object_set_new(build, "sanitizers", json_false());
#endif
    json_object_set_new(build, "backends", json_pack("[s]", "cpu"));
    if (!backend_cuda_missing(NULL))
        json_array_append_new(json_object_get(build, "backends"), json_string("cuda"));
    return build;
}

static json_t *library_facts(void)
{
    char mpi[COMM_LIBRARY_SIZE], nccl[COMM_DEVICE_LIBRARY];
    struct error none;
    json_t *libraries = json_object();
    json_object_set_new(libraries, "MPI", json_string(comm_library(mpi)));
    if (!comm_device_library(nccl, &none))
        json_object_set_new(libraries, "NCCL", json_string(nccl));
    json_object_set_new(libraries, "Arrow", json_string(parquet_library()));
    json_object_set_new(libraries, "SQLite", json_string(store_sqlite_version()));
    json_object_set_new(libraries, "zstd", json_string(store_zstd_version()));
    json_object_set_new(libraries, "OpenSSL", json_string(hash_library()));
    json_object_set_new(libraries, "libuv", json_string(uv_version_string()));
    json_object_set_new(libraries, "protobuf-c", json_string(protobuf_c_version()));
    json_object_set_new(libraries, "libfyaml", json_string(spec_library()));
    json_object_set_new(libraries, "jansson", json_string(jansson_version_str()));
    return libraries;
}

static void add_device(json_t *devices, struct backend *b, struct device_info *info)
{
    b->op->describe(b, info);
    json_array_append_new(devices, json_pack("{s:s, s:s, s:i, s:I, s:b, s:s}", "kind", b->op->kind, "name", info->name,
                                             "threads", info->threads, "memory_bytes", (json_int_t)info->memory_total,
                                             "bf16", info->has_bf16, "detail", info->detail));
    b->op->close(b);
}

// The cards, or why there are none; that is a fault where the machine shows one.
static void add_cards(struct report *r, json_t *devices)
{
    struct error e = {0};
    int count = backend_cuda_count(&e);
    for (int i = 0; i < count; i++) {
        struct device_info info = {0};
        struct backend *b = backend_cuda_open(i, &e);
        if (b)
            add_device(devices, b, &info);
        else
            add_missing(r, e.text, "using that card", "the driver's own tool, nvidia-smi, may say more", false);
    }
    char nccl[COMM_DEVICE_LIBRARY];
    if (count > 1 && comm_device_library(nccl, &e))
        add_missing(
            r, "NCCL", "sums over ranks on several cards that do not go through host memory",
            "install libnccl2 (or load your site's module); ISLR_NCCL_LIBRARY names the file where it is elsewhere",
            false);
    if (count > 0)
        return;
    json_object_set_new(r->root, "cuda", json_string(e.text));
    if (file_exists("/dev/nvidiactl") || file_exists("/dev/dxg"))
        add_missing(r, e.text, "using the NVIDIA card of this machine",
                    "what that asks for; until then islrd computes on the CPU", false);
}

static void add_cpu(struct report *r, json_t *devices)
{
    struct error e = {0};
    struct device_info info = {0};
    struct backend *b = backend_cpu_open(0, &e);
    if (!b) {
        add_missing(r, e.text, "computing anything",
                    "unset ISLR_CPU_ISA if it is set; else another build of oneDNN (libdnnl)", true);
        return;
    }
    add_device(devices, b, &info);
    if (info.memory_total < (size_t)MEMORY_ENOUGH_GIB << 30)
        add_missing(r, "less than 4 GiB of memory", "training the published sizes", "a larger machine, or preset tiny",
                    false);
}

// ---- what is missing ----------------------------------------------------------------------------------------------

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : ""; *p;) {
        size_t n = strcspn(p, ":");
        char *file = xprintf("%.*s/%s", (int)n, p, program);
        bool found = access(file, X_OK) == 0;
        free(file);
        if (found)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

static void check_tools(struct report *r)
{
    if (!in_path("mpirun"))
        add_missing(r, "mpirun", "several ranks: islrd up, and mpirun islrd work or run",
                    "apt-get install openmpi-bin (or load your site's MPI module)", false);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < FILES_ENOUGH)
        add_missing(r, "open files: the limit is below 1024", "a server with many clients and workers",
                    "ulimit -n 4096 (or LimitNOFILE= in the unit file)", false);
#ifdef __SANITIZE_ADDRESS__
    add_missing(r, "speed: this build has sanitizers", "anything but looking for faults",
                "meson setup build --buildtype=release", false);
#elif !defined __OPTIMIZE__
    add_missing(r, "speed: this build is not optimised", "training", "meson setup build --buildtype=release", false);
#endif
}

static json_t *preset_facts(void)
{
    json_t *list = json_array();
    for (const struct preset *p = presets; p->name; p++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", p->name, "summary", p->summary));
    return list;
}

static json_t *limit_facts(void)
{
    json_t *list = json_array();
    for (const struct rpc_limit *l = rpc_limits; l->what; l++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:s}", "what", l->what, "value", (json_int_t)l->value,
                                              "unit", l->unit, "why", l->why));
    return list;
}

static struct report examine(void)
{
    struct report r = {.root = json_object(), .missing = json_array()};
    json_t *devices = json_array();
    add_cpu(&r, devices);
    add_cards(&r, devices);
    check_tools(&r);
    json_object_set_new(r.root, "version", json_string(ISLR_VERSION));
    json_object_set_new(r.root, "build", build_facts());
    json_object_set_new(r.root, "libraries", library_facts());
    json_object_set_new(r.root, "devices", devices);
    json_object_set_new(r.root, "presets", preset_facts());
    json_object_set_new(r.root, "limits", limit_facts());
    json_object_set_new(r.root, "missing", r.missing);
    return r;
}

// ---- fields of a job ----------------------------------------------------------------------------------------------

static void add_field(void *context, const struct spec_field *f)
{
    json_array_append_new(context,
                          json_pack("{s:s, s:o, s:s}", "name", f->name, "default",
                                    json_loads(f->default_value, JSON_DECODE_ANY, NULL), "allowed", f->allowed));
}

static void print_field(void *context, const struct spec_field *f)
{
    (void)context;
    printf("%-34s %-16s %s\n", f->name, f->default_value, f->allowed);
}

static void print_fields(bool json)
{
    if (!json) {
        describe_fields(print_field, NULL);
        return;
    }
    json_t *list = json_array();
    describe_fields(add_field, list);
    json_dumpf(list, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(list);
}

// ---- text ---------------------------------------------------------------------------------------------------------

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void print_limits(const struct report *r)
{
    const json_t *value;
    size_t i;
    printf("\nlimits of the server\n");
    json_array_foreach(json_object_get(r->root, "limits"), i, value) printf(
        "  %-44s %9lld %-6s %s\n", text_of(value, "what"),
        (long long)json_integer_value(json_object_get(value, "value")), text_of(value, "unit"), text_of(value, "why"));
}

static void print_text(const struct report *r)
{
    const char *key;
    json_t *value;
    size_t i;
    const json_t *build = json_object_get(r->root, "build");
    printf("islrd %s\n\nbuilt with %s%s%s; backends: cpu%s\n", text_of(r->root, "version"), text_of(build, "compiler"),
           json_is_true(json_object_get(build, "optimised")) ? "" : ", not optimised",
           json_is_true(json_object_get(build, "sanitizers")) ? ", with sanitizers" : "",
           json_array_size(json_object_get(build, "backends")) > 1 ? ", cuda" : "");
    printf("\nlibraries\n");
    json_object_foreach(json_object_get(r->root, "libraries"), key, value)
        printf("  %-12s %s\n", key, json_string_value(value));
    printf("\ndevices\n");
    json_array_foreach(json_object_get(r->root, "devices"), i, value)
        printf("  %s: %s, %lld %s, %.1f GiB of memory, bf16 %s; %s\n", text_of(value, "kind"), text_of(value, "name"),
               (long long)json_integer_value(json_object_get(value, "threads")),
               strcmp(text_of(value, "kind"), "cuda") ? "threads" : "multiprocessors",
               (double)json_integer_value(json_object_get(value, "memory_bytes")) / (1 << 30),
               json_is_true(json_object_get(value, "bf16")) ? "faster than fp32" : "not faster than fp32",
               text_of(value, "detail"));
    if (json_object_get(r->root, "cuda"))
        printf("  no card: %s\n", text_of(r->root, "cuda"));
    printf("\npresets\n");
    json_array_foreach(json_object_get(r->root, "presets"), i, value)
        printf("  %-12s %s\n", text_of(value, "name"), text_of(value, "summary"));
    print_limits(r);
    printf("\n%s\n", json_array_size(r->missing) ? "missing" : "nothing is missing");
    json_array_foreach(r->missing, i, value) printf("  %s\n      needed for %s\n      %s\n", text_of(value, "what"),
                                                    text_of(value, "needed_for"), text_of(value, "remedy"));
}

int command_doctor(int argc, char **argv)
{
    bool json = false, fields = false;
    const struct option_row options[] = {
        {0, "json", NULL,
         "one JSON document: version, build, libraries {name: version}, devices [{kind, name, threads, memory_bytes, "
         "bf16, detail}], cuda (why there is no card), presets [{name, summary}], limits [{what, value, unit, why}], "
         "missing [{what, needed_for, remedy, fatal}]",
         OPTION_FLAG, &json},
        {0, "fields", NULL,
         "instead: every field of a job, its default and what is allowed; with --json [{name, default, allowed}]",
         OPTION_FLAG, &fields},
        {0}};
    const struct usage usage = {"islrd doctor",
                                "what was built in, what this machine has, what is missing and what to install",
                                options,
                                NULL,
                                "islrd doctor\nislrd doctor --json | jq .devices\nislrd doctor --fields",
                                "Exits with 1 where something is missing without which nothing works."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (fields) {
        print_fields(json);
        return 0;
    }
    struct report r = examine();
    if (json) {
        json_dumpf(r.root, stdout, JSON_INDENT(2));
        printf("\n");
    } else {
        print_text(&r);
    }
    json_decref(r.root);
    return r.fatal ? ERR_FAILED : 0;
}
