// islrd evaluate: how good models are on labelled clips.
#include <stdio.h>
#include <string.h>

#include "core/base/options.h"
#include "core/train/assess.h"
#include "core/train/device.h"
#include "daemon/command.h"

static void print_text(const struct assessment *a)
{
    printf("%zu clips: accuracy %.4f, top-5 %.4f, loss %.4f\n\n%-24s %8s %8s %9s\n", a->count, a->accuracy, a->top5,
           a->loss, "sign", "clips", "correct", "accuracy");
    for (int c = 0; c < a->classes; c++)
        if (a->seen[c])
            printf("%-24s %8u %8u %9.4f\n", set_sign_name(a->set, c), a->seen[c], a->right[c],
                   (double)a->right[c] / a->seen[c]);
    if (a->confused_count)
        printf("\nmost confused:\n");
    for (size_t i = 0; i < a->confused_count && i < ASSESS_CONFUSED_SHOWN; i++)
        printf("  %s taken for %s: %u\n", set_sign_name(a->set, a->confused[i].label),
               set_sign_name(a->set, a->confused[i].predicted), a->confused[i].count);
}

static void print_json(const struct assessment *a)
{
    json_t *root = assessment_json(a);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(root);
}

static int evaluate(struct assess_options *o, const char *device, bool json, struct error *e)
{
    struct assessment a = {0};
    struct comm *comm = comm_open_single();
    o->backend = device_open(device, o->threads, comm, e);
    int rc = o->backend ? assess(o, &a, e) : -1;
    if (!rc)
        (json ? print_json : print_text)(&a);
    assessment_free(&a);
    if (o->backend)
        o->backend->op->close(o->backend);
    comm_close(comm);
    return rc;
}

int command_evaluate(int argc, char **argv)
{
    struct option_list models = {0};
    const char *data = NULL, *device = "auto", *precision = "fp32", *fold_file = NULL;
    int64_t fold = -1, k = -1, fold_seed = 42, threads = 0;
    bool json = false;
    const struct option_row options[] = {
        {'m', "model", "FILE", "checkpoint; several: the mean of their softmax", OPTION_LIST, &models, .path = true},
        {0, "fold", "N", "only the clips of this fold", OPTION_INT, &fold, .min = -1, .max = 1000,
         .default_shown = "all clips"},
        {0, "k", "K", "folds, where a directory is prepared", OPTION_INT, &k, .min = -1, .max = 1000,
         .default_shown = "4, or as many as CSV names"},
        {0, "fold-seed", "S", "seed of the folds", OPTION_INT, &fold_seed, 0, 9007199254740992.0},
        {0, "fold-file", "CSV", "folds from a file: participant_id,sequence_id,fold", OPTION_STRING, &fold_file,
         .path = true},
        {0, "json", NULL, "{clips, accuracy, top5, loss, signs: [..], most_confused: [..]}", OPTION_FLAG, &json},
        {0, "precision", "fp32|bf16", "of the computation", OPTION_CHOICE, &precision},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &device},
        {0, "threads", "N", "CPU threads; 0: all cores", OPTION_INT, &threads, .max = 4096},
        {0}};
    const struct option_operand operands[] = {
        {"DATA", "a data directory or a prepared set", .value = &data, .path = true}, {0}};
    const struct usage usage = {"islrd evaluate", "accuracy of models on labelled clips", options, operands,
                                "islrd evaluate --model out/final/soup.safetensors --fold 0 recordings"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    struct assess_options o = {.models = models.items,
                               .model_count = models.count,
                               .data = data,
                               .fold = (int)fold,
                               .k = k >= 0                    ? (int)k
                                    : fold_file && *fold_file ? 0
                                                              : 4,
                               .fold_seed = (uint64_t)fold_seed,
                               .fold_file = fold_file,
                               .heads = 16,
                               .type = strcmp(precision, "bf16") ? DTYPE_F32 : DTYPE_BF16,
                               .threads = (int)threads};
    int rc = models.count ? evaluate(&o, device, json, &e)
                          : error_set(&e, ERR_INVALID, "--model FILE is needed: the checkpoint to evaluate");
    if (rc)
        fprintf(stderr, "islrd evaluate: %s\n", e.text);
    option_list_free(&models);
    return rc ? (int)e.code : 0;
}
