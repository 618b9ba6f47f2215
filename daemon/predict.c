// islrd predict: signs of recordings by one model or several.
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/npy.h"
#include "core/base/options.h"
#include "core/train/device.h"
#include "core/train/predictions.h"
#include "core/train/predictor.h"
#include "daemon/command.h"
#include "daemon/name_json.h"

struct predict {
    struct option_list models, inputs;
    int64_t top, batch, threads;
    const char *csv, *npy, *device, *precision;
    bool logits, json;
    struct sources sources;
    struct predictor *predictor;
    float *values; // [clips, classes]
};

struct ranked {
    float value;
    int class;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return x->class - y->class;
}

// Classes of a row, most probable first; ties: the lower class. order [classes].
static void rank_classes(const float *row, int classes, struct ranked *order)
{
    for (int c = 0; c < classes; c++)
        order[c] = (struct ranked){row[c], c};
    qsort(order, (size_t)classes, sizeof *order, by_value);
}

static const char *sign_text(const struct predict *p, int c, char buffer[24])
{
    const char *name = predictor_sign(p->predictor, c);
    if (!name)
        snprintf(buffer, 24, "class %d", c);
    return name ? name : buffer;
}

static void print_text(const struct predict *p, int classes, int top)
{
    struct ranked *order = xcalloc((size_t)classes, sizeof *order);
    for (size_t i = 0; i < p->sources.count; i++) {
        const float *row = p->values + i * (size_t)classes;
        rank_classes(row, classes, order);
        printf("%s:", p->sources.items[i].name);
        for (int k = 0; k < top; k++) {
            char buffer[24];
            printf("%s %s %.4f", k ? "," : "", sign_text(p, order[k].class, buffer), order[k].value);
        }
        printf("\n");
    }
    free(order);
}

static void print_json(const struct predict *p, int classes, int top)
{
    json_t *root = json_array();
    struct ranked *order = xcalloc((size_t)classes, sizeof *order);
    for (size_t i = 0; i < p->sources.count; i++) {
        const float *row = p->values + i * (size_t)classes;
        json_t *list = json_array();
        rank_classes(row, classes, order);
        for (int k = 0; k < top; k++) {
            char buffer[24];
            json_array_append_new(list,
                                  json_pack("{s:s, s:i, s:f}", "sign", sign_text(p, order[k].class, buffer), "class",
                                            order[k].class, p->logits ? "logit" : "probability", order[k].value));
        }
        json_array_append_new(root, json_pack("{s:o, s:o}", "clip", name_json(p->sources.items[i].name), "top", list));
    }
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(root);
    free(order);
}

static int write_csv(const struct predict *p, int classes, int top, struct error *e)
{
    struct strbuf text = {0};
    struct ranked *order = xcalloc((size_t)classes, sizeof *order);
    strbuf_printf(&text, "path,rank,sign,class,%s\n", p->logits ? "logit" : "probability");
    for (size_t i = 0; i < p->sources.count; i++) {
        const float *row = p->values + i * (size_t)classes;
        rank_classes(row, classes, order);
        for (int k = 0; k < top; k++) {
            char buffer[24];
            csv_add_field(&text, p->sources.items[i].name);
            strbuf_printf(&text, ",%d,", k + 1);
            csv_add_field(&text, sign_text(p, order[k].class, buffer));
            strbuf_printf(&text, ",%d,%.9g\n", order[k].class, order[k].value);
        }
    }
    free(order);
    int rc = file_write_atomic(p->csv, text.text, text.length, e);
    free(text.text);
    return rc;
}

static int output(const struct predict *p, struct error *e)
{
    int classes = predictor_classes(p->predictor), top = p->top < classes ? (int)p->top : classes;
    int64_t shape[2] = {(int64_t)p->sources.count, classes};
    if ((p->npy && npy_write_f32(p->npy, p->values, 2, shape, e)) || (p->csv && write_csv(p, classes, top, e)))
        return -1;
    if (p->json)
        print_json(p, classes, top);
    else if (!p->npy && !p->csv)
        print_text(p, classes, top);
    return 0;
}

static int predict(struct predict *p, struct comm *comm, struct error *e)
{
    for (size_t i = 0; i < p->inputs.count; i++)
        if (sources_add(&p->sources, p->inputs.items[i], e))
            return -1;
    if (p->logits && !p->npy && !p->json && !p->csv)
        return error_set(e, ERR_INVALID, "--logits goes with --npy, --csv or --json");
    struct backend *backend = device_open(p->device, (int)p->threads, comm, e);
    if (!backend)
        return -1;
    struct predictor_options o = {
        .backend = backend,
        .models = p->models.items,
        .model_count = p->models.count,
        .heads = 16,
        .type = strcmp(p->precision, "bf16") ? DTYPE_F32 : DTYPE_BF16,
        .clips = (size_t)p->batch < p->sources.count ? (int)p->batch : (int)p->sources.count + !p->sources.count,
        .threads = (int)p->threads};
    int rc = -1;
    p->predictor = predictor_create(&o, e);
    if (p->predictor) {
        p->values = xcalloc(p->sources.count * (size_t)predictor_classes(p->predictor) + 1, sizeof *p->values);
        rc = predictor_run(p->predictor, &p->sources, p->logits, p->values, e) || output(p, e) ? -1 : 0;
        free(p->values);
        predictor_destroy(p->predictor);
    }
    backend->op->close(backend);
    return rc;
}

int command_predict(int argc, char **argv)
{
    struct predict p = {.top = 3, .batch = 64, .device = "auto", .precision = "fp32"};
    const struct option_row options[] = {
        {'m', "model", "FILE", "checkpoint; several: the mean of their softmax", OPTION_LIST, &p.models, .path = true},
        {'k', "top", "K", "how many signs to print for each clip", OPTION_INT, &p.top, .min = 1, .max = 65536},
        {0, "csv", "OUT", "write a table: path,rank,sign,class,probability", OPTION_STRING, &p.csv, .path = true},
        {0, "npy", "OUT", "write probabilities: float32 [clips, classes] in the inputs' order", OPTION_STRING, &p.npy,
         .path = true},
        {0, "logits", NULL, "logits in place of probabilities (one model)", OPTION_FLAG, &p.logits},
        {0, "json", NULL, "[{\"clip\": .., \"top\": [{\"sign\": .., \"class\": .., \"probability\": ..}]}]",
         OPTION_FLAG, &p.json},
        {0, "batch", "N", "clips at a time", OPTION_INT, &p.batch, .min = 1, .max = 4096},
        {0, "precision", "fp32|bf16", "of the computation", OPTION_CHOICE, &p.precision},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &p.device},
        {0, "threads", "N", "CPU threads; 0: all cores", OPTION_INT, &p.threads, .max = 4096},
        {0}};
    const struct option_operand operands[] = {
        {"INPUT", "parquet files, data directories or prepared sets", .list = &p.inputs, .path = true}, {0}};
    const struct usage usage = {"islrd predict", "signs of recordings", options, operands,
                                "islrd predict --model soup.safetensors --top 3 clip.parquet"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    struct comm *comm = comm_open_single();
    int rc = p.models.count ? predict(&p, comm, &e)
                            : error_set(&e, ERR_INVALID, "--model FILE is needed: the checkpoint to predict with");
    if (rc)
        fprintf(stderr, "islrd predict: %s\n", e.text);
    sources_free(&p.sources);
    option_list_free(&p.models);
    option_list_free(&p.inputs);
    comm_close(comm);
    return rc ? (int)e.code : 0;
}
