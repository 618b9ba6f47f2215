// islrd inspect: what a file holds. A kind of file is one row here and one file inspect_<kind>.c.
#include "daemon/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/options.h"
#include "daemon/command.h"

static const struct inspect_kind *const kinds[] = {&inspect_set, &inspect_resume, &inspect_checkpoint};

void inspect_print_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(root);
}

static int inspect(const struct inspect_request *r, struct error *e)
{
    if (access(r->file, R_OK))
        return error_set_errno(e, access(r->file, F_OK) ? ERR_NOT_FOUND : ERR_DENIED, "cannot open %s", r->file);
    struct stat st;
    if (stat(r->file, &st) || !S_ISREG(st.st_mode)) // a pipe would be waited for
        return error_set(e, ERR_DAMAGED, "%s is no regular file", r->file);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!kinds[i]->recognises(r->file))
            continue;
        if ((r->clip || r->npy) && kinds[i] != &inspect_set)
            return error_set(e, ERR_INVALID, "--clip and --npy are for prepared sets; %s is a %s", r->file,
                             kinds[i]->name);
        return kinds[i]->print(r, e);
    }
    return error_set(e, ERR_DAMAGED, "%s is no file of a kind that islrd knows", r->file);
}

// "PARTICIPANT/SEQUENCE"
static bool parse_clip(const char *text, struct inspect_request *r)
{
    long long participant, sequence;
    int end = 0;
    if (sscanf(text, "%lld/%lld%n", &participant, &sequence, &end) != 2 || text[end])
        return false;
    r->clip = true;
    r->participant = participant;
    r->sequence = sequence;
    return true;
}

int command_inspect(int argc, char **argv)
{
    struct inspect_request request = {0};
    const char *clip = NULL;
    const struct option_row options[] = {
        {0, "json", NULL, "one JSON document: \"kind\" and what the text tells, under the same names", OPTION_FLAG,
         &request.json},
        {0, "clip", "PARTICIPANT/SEQUENCE", "only this clip of a prepared set", OPTION_STRING, &clip},
        {0, "npy", "OUT.npy", "write that clip's frames: float32 [frames, 100, 3]", OPTION_STRING, &request.npy,
         .path = true},
        {0}};
    const struct option_operand operands[] = {
        {"FILE", "a prepared set, a checkpoint or a resume point", .value = &request.file, .path = true}, {0}};
    const struct usage usage = {"islrd inspect",
                                "what a file holds, after checking that it is sound",
                                options,
                                operands,
                                "islrd inspect asl-25.islr\n"
                                "islrd inspect asl-25.islr --clip 26734/1000035562 --npy clip.npy\n"
                                "islrd inspect runs/l25/final/soup.safetensors --json",
                                NULL};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    int rc = 0;
    if (clip && !parse_clip(clip, &request))
        rc = error_set(&e, ERR_INVALID, "--clip %s: PARTICIPANT/SEQUENCE are two integers", clip);
    else if (request.npy && !clip)
        rc = error_set(&e, ERR_INVALID, "--npy needs --clip PARTICIPANT/SEQUENCE");
    else
        rc = inspect(&request, &e);
    if (!rc)
        return 0;
    fprintf(stderr, "islrd inspect: %s\n", e.text);
    return e.code;
}
