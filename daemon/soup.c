// islrd soup: the average of checkpoints.
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/data/prepare.h"
#include "core/train/device.h"
#include "core/train/evaluate.h"
#include "core/train/soup.h"
#include "daemon/command.h"

struct soup {
    const char *out, *method, *data, *device;
    struct option_list files;
    int64_t fold, k, fold_seed, threads;
};

// What greedy soups are judged with: a set's held-out clips.
struct judge {
    struct backend *backend;
    struct comm *comm;
    struct set *set;
    struct dataset data;
    const uint32_t *clips;
    uint32_t count;
    struct log log;
};

enum { JUDGE_CLIPS = 64 };

static int score(void *context, const struct checkpoint *c, double *out, struct error *e)
{
    struct judge *j = context;
    struct model model = {0};
    struct workspace space = {0};
    struct view_buffer views = {0};
    struct stream *s = j->backend->op->stream_create(j->backend, e);
    size_t bytes = (size_t)JUDGE_CLIPS * (size_t)c->config.max_len * LANDMARKS * 3 * sizeof(float);
    float *x = s ? j->backend->op->allocate(j->backend, bytes, e) : NULL;
    int rc = -1;
    if (x && !model_create(&model, j->backend, &c->config, DTYPE_F32, 0, e) &&
        !workspace_create(&space, &model, JUDGE_CLIPS, 0, e) &&
        !view_buffer_create(&views, j->backend, JUDGE_CLIPS, c->config.max_len, e)) {
        struct figures f;
        struct evaluator v = {.comm = j->comm,
                              .stream = s,
                              .data = &j->data,
                              .model = &model,
                              .space = &space,
                              .views = &views,
                              .x = x,
                              .clips = JUDGE_CLIPS};
        model_set(&model, s, c->parameters, c->buffers);
        rc = evaluate_model(&v, j->clips, j->count, &f, NULL, e);
        *out = f.accuracy;
    }
    view_buffer_destroy(&views);
    workspace_destroy(&space);
    model_destroy(&model);
    if (x)
        j->backend->op->release(j->backend, x);
    if (s)
        s->op->stream_destroy(s);
    return rc;
}

struct candidate {
    const char *path;
    double accuracy;
    size_t place; // as given: decides between equals
};

static int by_accuracy(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->accuracy != y->accuracy)
        return x->accuracy < y->accuracy ? 1 : -1;
    return x->place < y->place ? -1 : 1;
}

// Files by their own accuracy, best first.
static int rank_files(struct judge *j, const struct option_list *files, const char **sorted, struct error *e)
{
    struct candidate *list = xcalloc(files->count, sizeof *list);
    int rc = 0;
    for (size_t i = 0; i < files->count && !rc; i++) {
        struct checkpoint c;
        list[i] = (struct candidate){files->items[i], 0, i};
        rc = checkpoint_read(&c, files->items[i], 16, e);
        if (rc)
            break;
        if (c.config.max_len != set_max_len(j->set))
            rc = error_set(e, ERR_INVALID, "%s takes %d frames, the set has %d", files->items[i], c.config.max_len,
                           set_max_len(j->set));
        else if (c.config.classes != set_sign_count(j->set))
            rc = error_set(e, ERR_INVALID, "%s knows %d signs, the set has %d", files->items[i], c.config.classes,
                           set_sign_count(j->set));
        else
            rc = score(j, &c, &list[i].accuracy, e);
        checkpoint_destroy(&c);
        log_info(&j->log, "%s alone: accuracy %.4f", files->items[i], list[i].accuracy);
    }
    qsort(list, files->count, sizeof *list, by_accuracy);
    for (size_t i = 0; i < files->count; i++)
        sorted[i] = list[i].path;
    free(list);
    return rc;
}

static int greedy(struct judge *j, const struct soup *s, struct checkpoint *out, struct error *e)
{
    const char **sorted = xcalloc(s->files.count, sizeof *sorted);
    int *kept = xcalloc(s->files.count, sizeof *kept);
    struct soup_judge judge = {score, j};
    int rc = rank_files(j, &s->files, sorted, e) || soup_greedy(out, sorted, s->files.count, 16, &judge, kept, e);
    for (size_t i = 0; i < s->files.count && !rc; i++)
        log_info(&j->log, "%s %s", kept[i] ? "in: " : "out:", sorted[i]);
    free(sorted);
    free(kept);
    return rc ? -1 : 0;
}

// Opens the set for the first file's frame limit and hands over to greedy().
static int judge_and_mix(const struct soup *s, struct backend *backend, struct comm *comm, struct checkpoint *out,
                         struct error *e)
{
    struct judge j = {.backend = backend, .comm = comm, .log = {stderr, LOG_INFO, NULL}};
    struct checkpoint first;
    if (checkpoint_read(&first, s->files.items[0], 16, e))
        return -1;
    struct prepare_options o = {.max_len = first.config.max_len,
                                .k = (int)s->k,
                                .fold_seed = (uint64_t)s->fold_seed,
                                .any_folds = s->fold < 0,
                                .threads = (int)s->threads};
    checkpoint_destroy(&first);
    char *path = NULL, *cache = prepare_default_cache(), fold[24];
    snprintf(fold, sizeof fold, "%lld", (long long)s->fold);
    Islr__Data data = ISLR__DATA__INIT;
    data.fold = fold;
    int rc = prepare_cached(s->data, cache, &o, NULL, &path, e);
    if (!rc && !(j.set = set_open(path, e)))
        rc = -1;
    if (!rc)
        rc = s->fold < 0 ? dataset_create_whole(&j.data, j.set, backend, e)
                         : dataset_create(&j.data, j.set, backend, &data, e);
    j.clips = j.data.held_out;
    j.count = j.data.held_out_count;
    if (!rc)
        rc = greedy(&j, s, out, e);
    dataset_destroy(&j.data);
    set_close(j.set);
    free(path);
    free(cache);
    return rc;
}

static int make_soup(const struct soup *s, struct error *e)
{
    struct checkpoint out = {0};
    int rc;
    if (!strcmp(s->method, "uniform")) {
        rc = soup_uniform(&out, s->files.items, s->files.count, 16, e);
    } else if (!s->data) {
        rc = error_set(e, ERR_INVALID, "--method greedy needs --data: clips that the soup is judged on");
    } else {
        struct comm *comm = comm_open_single();
        struct backend *backend = device_open(s->device, (int)s->threads, comm, e);
        rc = backend ? judge_and_mix(s, backend, comm, &out, e) : -1;
        if (backend)
            backend->op->close(backend);
        comm_close(comm);
    }
    if (!rc) {
        out.origin = xprintf("{\"model\":\"soup\",\"method\":\"%s\",\"files\":%zu}", s->method, s->files.count);
        rc = checkpoint_write(&out, s->out, e);
        checkpoint_destroy(&out);
    }
    return rc;
}

int command_soup(int argc, char **argv)
{
    struct soup s = {.method = "uniform", .device = "auto", .fold = -1, .k = 4, .fold_seed = 42};
    const struct option_row options[] = {
        {'o', "out", "OUT", "file to write", OPTION_STRING, &s.out},
        {0, "method", "uniform|greedy", "all of them, or those that make the soup better", OPTION_CHOICE, &s.method},
        {0, "data", "SET", "greedy: a prepared set or data directory to judge on", OPTION_STRING, &s.data},
        {0, "fold", "N", "greedy: judge on this fold alone", OPTION_INT, &s.fold, .min = -1, .max = 1000,
         .default_shown = "all clips"},
        {0, "k", "K", "folds, where a directory is prepared", OPTION_INT, &s.k, .max = 1000},
        {0, "fold-seed", "S", "seed of the folds", OPTION_INT, &s.fold_seed},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &s.device},
        {0, "threads", "N", "CPU threads; 0: all cores", OPTION_INT, &s.threads, .max = 4096},
        {0}};
    const struct option_operand operands[] = {{"FILE", "checkpoints of one architecture", .list = &s.files}, {0}};
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
