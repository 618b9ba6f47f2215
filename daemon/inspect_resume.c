// What islrd inspect tells of a resume point: its step and sections, after every hash has been checked.
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/ckpt/resume.h"
#include "core/ckpt/resume_format.h"
#include "daemon/inspect.h"
#include "daemon/name_json.h"

static bool recognises(const char *path)
{
    char magic[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool same = fd >= 0 && read(fd, magic, sizeof magic) == sizeof magic && !memcmp(magic, RESUME_MAGIC, sizeof magic);
    if (fd >= 0)
        close(fd);
    return same;
}

static int print(const struct inspect_request *r, struct error *e)
{
    struct resume_point p;
    if (resume_open_file(r->file, &p, e))
        return -1;
    json_t *sections = json_array();
    if (!r->json)
        printf("resume point %s: step %" PRIu64 ", %.1f MB, all hashes agree\n", r->file, p.step,
               (double)p.map.size / 1e6);
    for (size_t i = 0; i < p.count; i++) {
        if (!r->json)
            printf("  %-40s %12zu bytes\n", p.sections[i].name, p.sections[i].size);
        json_array_append_new(sections, json_pack("{s:s, s:I}", "name", p.sections[i].name, "size_bytes",
                                                  (json_int_t)p.sections[i].size));
    }
    json_t *root = json_pack("{s:s, s:o, s:I, s:I, s:o}", "kind", "resume", "file", name_json(r->file), "step",
                             (json_int_t)p.step, "size_bytes", (json_int_t)p.map.size, "sections", sections);
    if (r->json)
        inspect_print_json(root);
    else
        json_decref(root);
    resume_close(&p);
    return 0;
}

const struct inspect_kind inspect_resume = {"resume point", recognises, print};
