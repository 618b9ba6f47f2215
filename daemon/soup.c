// islrd soup: the average of checkpoints.
#include <stdio.h>
#include <string.h>

#include "core/base/options.h"
#include "core/train/device.h"
#include "core/train/mix.h"
#include "daemon/command.h"

struct soup {
    const char *out, *method, *data, *fold_file, *device;
    struct option_list files;
    int64_t fold, k, fold_seed, threads;
};

static int make_soup(const struct soup *s, struct error *e)
{
    struct comm *comm = comm_open_single();
    struct mix_options o = {.files = s->files.items,
                            .file_count = s->files.count,
                            .heads = 16,
                            .greedy = !strcmp(s->method, "greedy"),
                            .data = s->data,
                            .fold = (int)s->fold,
                            .k = (int)s->k,
                            .fold_seed = (uint64_t)s->fold_seed,
                            .fold_file = s->fold_file,
                            .threads = (int)s->threads,
                            .log = {stderr, LOG_INFO, NULL}};
    struct checkpoint out = {0};
    int rc = 0;
    if (o.greedy && !s->data)
        rc = error_set(e, ERR_INVALID, "--method greedy needs --data: clips that the soup is judged on");
    else if (o.greedy && !(o.backend = device_open(s->device, (int)s->threads, comm, e)))
        rc = -1;
    if (!rc)
        rc = mix(&o, &out, NULL, e) || checkpoint_write(&out, s->out, e) ? -1 : 0;
    checkpoint_destroy(&out);
    if (o.backend)
        o.backend->op->close(o.backend);
    comm_close(comm);
    return rc;
}

int command_soup(int argc, char **argv)
{
    struct soup s = {.method = "uniform", .device = "auto", .fold = -1, .k = 4, .fold_seed = 42};
    const struct option_row options[] = {
        {'o', "out", "OUT", "file to write", OPTION_STRING, &s.out, .path = true},
        {0, "method", "uniform|greedy", "all of them, or those that make the soup better", OPTION_CHOICE, &s.method},
        {0, "data", "SET", "greedy: a prepared set or data directory to judge on", OPTION_STRING, &s.data,
         .path = true},
        {0, "fold", "N", "greedy: judge on this fold alone", OPTION_INT, &s.fold, .min = -1, .max = 1000,
         .default_shown = "all clips"},
        {0, "k", "K", "folds, where a directory is prepared", OPTION_INT, &s.k, .max = 1000},
        {0, "fold-seed", "S", "seed of the folds", OPTION_INT, &s.fold_seed, 0, 9007199254740992.0},
        {0, "fold-file", "CSV", "folds from a file: participant_id,sequence_id,fold", OPTION_STRING, &s.fold_file,
         .path = true},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &s.device},
        {0, "threads", "N", "CPU threads; 0: all cores", OPTION_INT, &s.threads, .max = 4096},
        {0}};
    const struct option_operand operands[] = {
        {"FILE", "checkpoints of one architecture", .list = &s.files, .path = true}, {0}};
    const struct usage usage = {"islrd soup", "the average of checkpoints", options, operands,
                                "islrd soup -o soup.safetensors run/checkpoints/epoch-*/distilled.safetensors"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    int rc = s.out ? make_soup(&s, &e) : error_set(&e, ERR_INVALID, "-o OUT is needed: the file to write");
    if (rc)
        fprintf(stderr, "islrd soup: %s\n", e.text);
    option_list_free(&s.files);
    return rc ? (int)e.code : 0;
}
