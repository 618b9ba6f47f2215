// Jobs that are not valid: every kind of fault with its exact line; many at once; cascades left out; hostile texts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "tests/spec/helpers.h"

// One fault: a job (data.path is given where `yaml` does not hold "data") and the one line that it must give.
struct single {
    const char *yaml, *argument, *fault;
};

#define DATA "data: {path: /x}\n"
#define TRAIN_ALL                                                                                                      \
    "epochs, steps, batch, group, lr, betas, eps, warmup, weight_decay, clip, smoothing, ousm, seed, "                 \
    "shuffle, precision, eval_every, eval_steps"

static const struct single singles[] = {
    // unknown names
    {DATA "train: {bacth: 5}\n", NULL,
     "job.yaml:2: train.bacth: there is no field 'bacth' in train; allowed: " TRAIN_ALL "; nearest: batch\n"},
    {DATA "mixup:\n  beta: 0.4\n", NULL,
     "job.yaml:3: mixup.beta: there is no field 'beta' in mixup; allowed: p, alpha, ramp\n"},
    {DATA "augment: {crop: {p: 0.5, shere: 0.1}}\n", NULL,
     "job.yaml:2: augment.crop.shere: there is no field 'shere' in augment.crop; allowed: p, share, p_late; nearest: "
     "share\n"},
    {DATA "lr: 3e-4\n", NULL,
     "job.yaml:2: lr: there is no field 'lr' in a job; allowed: kind, name, preset, data, model, distill, teacher, "
     "init, train, augment, mixup, checkpoint, resources, retry, limits, models, method, format; nearest: train.lr\n"},
    {DATA, "train.lrr=1",
     "argument 'train.lrr=1': train.lrr: there is no field 'lrr' in train; allowed: " TRAIN_ALL "; nearest: lr\n"},
    {DATA "preset: tyni\n", NULL,
     "job.yaml:2: preset: there is no preset 'tyni'; allowed: l25 | l80 | l25-code | l80-code | tiny; nearest: tiny\n"},
    {DATA, "preset=l81",
     "argument 'preset=l81': preset: there is no preset 'l81'; allowed: l25 | l80 | l25-code | l80-code | tiny; "
     "nearest: l80\n"},
    // types
    {"kind: trian\n" DATA, NULL,
     "job.yaml:1: kind: 'trian' is given; allowed: train | prepare | evaluate | soup | export; nearest: train\n"},
    {DATA "train:\n  epochs: many\n", NULL,
     "job.yaml:3: train.epochs: 'many' is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "train: {epochs: 1.5}\n", NULL,
     "job.yaml:2: train.epochs: '1.5' is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "train: {epochs: \"10\"}\n", NULL,
     "job.yaml:2: train.epochs: the text \"10\" is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "train: {epochs: 4294967296}\n", NULL,
     "job.yaml:2: train.epochs: '4294967296' is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "checkpoint: {soup_last: 1001}\n", NULL,
     "job.yaml:2: checkpoint.soup_last: 1001 is given; allowed: a whole number from 0 to 1000\n"},
    {DATA "train: {epochs: -1}\n", NULL,
     "job.yaml:2: train.epochs: '-1' is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "train: {seed: 18446744073709551616}\n", NULL,
     "job.yaml:2: train.seed: '18446744073709551616' is given; allowed: a whole number from 0 to "
     "18446744073709551615\n"},
    {DATA "train: {epochs: }\n", NULL,
     "job.yaml:2: train.epochs: nothing is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "train: {lr: .nan}\n", NULL, "job.yaml:2: train.lr: '.nan' is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: inf}\n", NULL, "job.yaml:2: train.lr: 'inf' is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: 1e999}\n", NULL, "job.yaml:2: train.lr: '1e999' is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: 1e-999}\n", NULL, "job.yaml:2: train.lr: '1e-999' is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: 0x1}\n", NULL, "job.yaml:2: train.lr: '0x1' is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: 3e}\n", NULL, "job.yaml:2: train.lr: '3e' is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: [1]}\n", NULL, "job.yaml:2: train.lr: a list of 1 is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {shuffle: yes}\n", NULL, "job.yaml:2: train.shuffle: 'yes' is given; allowed: true | false\n"},
    {DATA "train: {precision: bf17}\n", NULL,
     "job.yaml:2: train.precision: 'bf17' is given; allowed: auto | fp32 | bf16 | fp16; nearest: bf16\n"},
    {DATA "train: 5\n", NULL, "job.yaml:2: train: '5' is given; allowed: a map of fields\n"},
    {DATA "train: [lr, 5]\n", NULL, "job.yaml:2: train: a list of 2 is given; allowed: a map of fields\n"},
    {DATA "name: {a: 1}\n", NULL, "job.yaml:2: name: a map is given; allowed: text\n"},
    {DATA "model: {widths: 64}\n", NULL,
     "job.yaml:2: model.widths: '64' is given; allowed: a list of at most 1000, each a whole number from 16 to "
     "8192\n"},
    {DATA "model: {widths: [64, x, 64, 64]}\n", NULL,
     "job.yaml:2: model.widths[1]: 'x' is given; allowed: a whole number from 16 to 8192\n"},
    {DATA "augment: nane\n", NULL,
     "job.yaml:2: augment: 'nane' is given; allowed: none, or a map of fields; nearest: none\n"},
    {DATA "augment: [none]\n", NULL, "job.yaml:2: augment: a list of 1 is given; allowed: none, or a map of fields\n"},
    {DATA "name: \"a\\0b\"\n", NULL, "job.yaml:2: a text may not hold a NUL character\n"},
    {DATA "name: \"a\\nb\"\n", NULL,
     "job.yaml:2: name: the text has the control character 0x0A; allowed: text without control characters\n"},
    // bounds
    {DATA "train: {lr: 11}\n", NULL, "job.yaml:2: train.lr: 11 is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {lr: -1e-9}\n", NULL, "job.yaml:2: train.lr: -1e-09 is given; allowed: a number from 0 to 10\n"},
    {DATA "train: {eps: 0}\n", NULL, "job.yaml:2: train.eps: 0 is given; allowed: a number above 0, up to 1\n"},
    {DATA "train: {betas: [0.9, 1]}\n", NULL,
     "job.yaml:2: train.betas[1]: 1 is given; allowed: a number from 0 to below 1\n"},
    {DATA "train: {epochs: 0}\n", NULL,
     "job.yaml:2: train.epochs: 0 is given; allowed: a whole number from 1 to 100000\n"},
    {DATA "augment: {flip: {p: 1.01}}\n", NULL,
     "job.yaml:2: augment.flip.p: 1.01 is given; allowed: a number from 0 to 1\n"},
    {DATA "model: {embed_dim: 32}\n", NULL, "job.yaml:2: model.embed_dim: 32 is given; allowed: 16\n"},
    {DATA "model: {max_len: 4}\n", NULL,
     "job.yaml:2: model.max_len: 4 is given; allowed: a whole number from 5 to 512\n"},
    {DATA "model: {dropout_mlp: 1}\n", NULL,
     "job.yaml:2: model.dropout_mlp: 1 is given; allowed: a number from 0 to below 1\n"},
    {DATA "model: {dropout_mlp: 0.99999999}\n", NULL,
     "job.yaml:2: model.dropout_mlp: 0.99999999 (1 in single precision) is given; allowed: a number from 0 to below "
     "1\n"},
    {DATA "distill: {dropout_encoders: [0, 0.99999999, 0]}\n", NULL,
     "job.yaml:2: distill.dropout_encoders[1]: 0.99999999 (1 in single precision) is given; allowed: a number from 0 "
     "to "
     "below 1\n"},
    {DATA "train: {eps: 1e-50}\n", NULL,
     "job.yaml:2: train.eps: 1e-50 (0 in single precision) is given; allowed: a number above 0, up to 1\n"},
    {DATA "train: {clip: 1e-40}\n", NULL,
     "job.yaml:2: train.clip: 1e-40 (9.9999461e-41 in single precision) is given; allowed: a number above 0, up to "
     "1000000000\n"},
    {DATA "checkpoint: {keep_best: 17}\n", NULL,
     "job.yaml:2: checkpoint.keep_best: 17 is given; allowed: a whole number from 0 to 16\n"},
    {DATA "method: average\n", NULL, "job.yaml:2: method: 'average' is given; allowed: uniform | greedy\n"},
    // relations: reported at the field that was set last
    {DATA "train: {batch: 100}\n", NULL,
     "job.yaml:2: train.batch: a batch of 100 is not a whole number of groups of 32; allowed: a batch that is a "
     "multiple of train.group\n"},
    {DATA "preset: tiny\n", "train.group=48",
     "argument 'train.group=48': train.group: a batch of 64 is not a whole number of groups of 48; allowed: a batch "
     "that is a multiple of train.group\n"},
    {DATA "train:\n  ousm: 32\n", NULL,
     "job.yaml:3: train.ousm: leaving out 32 clips of a group of 32 leaves none; allowed: less than train.group\n"},
    {DATA "train: {betas: [0.9]}\n", NULL, "job.yaml:2: train.betas: a list of 1 is given; allowed: two\n"},
    {DATA "model: {dropout_encoders: [0, 0]}\n", NULL,
     "job.yaml:2: model.dropout_encoders: a list of 2 is given; allowed: three, one for each encoder\n"},
    {DATA "model: {widths: [64, 64, 64]}\n", NULL,
     "job.yaml:2: model.widths: a list of 3 is given; allowed: four widths, or none (they follow from transfo_dim "
     "then)\n"},
    {DATA "model: {widths: [64, 72, 64, 64], heads: 8}\n", NULL,
     "job.yaml:2: model.widths[1]: 72 is given; allowed: a multiple of 16\n"},
    {DATA "distill: {widths: [64, 96, 64, 40]}\nmodel: {heads: 16}\n", NULL,
     "job.yaml:2: distill.widths[3]: 40 is given; allowed: a multiple of 16\n"},
    {DATA "model:\n  widths: [96, 96, 112, 64]\n  heads: 3\ndistill: {enabled: false}\n", NULL,
     "job.yaml:4: model.heads: 3 heads do not divide the width 112; allowed: a width that is a multiple of "
     "model.heads\n"},
    {DATA "model: {transfo_dim: 256}\n", NULL,
     "job.yaml:2: model.transfo_dim: 256 is given; allowed: at least 512, or widths: [w0, w1, w2, w3] for smaller "
     "encoders\n"},
    {DATA "model: {transfo_dim: 700}\n", NULL,
     "job.yaml:2: model.transfo_dim: 700 gives encoders of the widths 512, 700, 700 and 512; allowed: a size whose "
     "encoder widths are multiples of 16, or widths: [w0, w1, w2, w3]\n"},
    {DATA "model: {transfo_dim: 1057}\n", NULL,
     "job.yaml:2: model.transfo_dim: 1057 gives encoders of the widths 1024, 1040, 1056 and 1056; allowed: a size "
     "whose encoder widths are multiples of 16, or widths: [w0, w1, w2, w3]\n"},
    {DATA "model: {heads: 12, widths: [96, 96, 96, 96]}\n", NULL,
     "job.yaml:2: model.heads: 12 heads do not divide the width 512 that follows from distill.transfo_dim 768; "
     "allowed: heads that divide every encoder's width\n"},
    {DATA "model: {dense_dim: 100}\n", NULL, "job.yaml:2: model.dense_dim: 100 is given; allowed: a multiple of 16\n"},
    {DATA "distill: {enabled: false}\ninit: {distilled: a}\n", NULL,
     "job.yaml:3: init.distilled: weights are given for a distilled model, but distillation is off; allowed: nothing, "
     "or distill.enabled: true\n"},
    {"data: {path: /x, fold: 4}\n", NULL,
     "job.yaml:1: data.fold: fold 4 is given; allowed: 0 to 3 (data.k is 4), all, or full\n"},
    {"data: {path: /x, fold: 1}\n", "data.k=1",
     "argument 'data.k=1': data.k: fold 1 is given; allowed: 0 to 0 (data.k is 1), all, or full\n"
     "argument 'data.k=1': data.k: with one fold nothing is left to train on; allowed: at least 2 folds, or fold: "
     "full\n"},
    {"data: {path: /x, fold: -1}\n", NULL,
     "job.yaml:1: data.fold: '-1' is given; allowed: 0 to 3 (data.k is 4), all, or full\n"},
    {"data: {path: /x, fold: 01}\n", NULL,
     "job.yaml:1: data.fold: '01' is given; allowed: 0 to 3 (data.k is 4), all, or full\n"},
    {"data: {path: /x, fold: every, fold_file: /f}\n", NULL,
     "job.yaml:1: data.fold: 'every' is given; allowed: a fold's number, all, or full\n"},
    {"data: {path: /x, fold: 5, fold_file: /f, k: 5}\n", NULL,
     "job.yaml:1: data.k: fold 5 is given; allowed: 0 to 4 (data.k is 5), all, or full\n"},
    {"data: {path: /x, fold: all, fold_file: /f, k: 1}\n", NULL,
     "job.yaml:1: data.k: with one fold nothing is left to train on; allowed: at least 2 folds, or fold: full\n"},
    {"data: {path: /x, fold: full, k: 0}\n", NULL,
     "job.yaml:1: data.k: 0 folds are given; allowed: 1 to 1000, or data.fold_file, which says how many there are\n"},
    {DATA "train: {precision: fp16}\nresources: {device: cpu}\n", NULL,
     "job.yaml:3: resources.device: fp16 needs a CUDA device, but resources.device is cpu; allowed: auto | fp32 | bf16 "
     "on CPUs\n"},
    {DATA "resources: {ranks: 16}\n", NULL,
     "job.yaml:2: resources.ranks: 16 ranks for 8 groups (batch 256, group 32); allowed: at most one rank for each "
     "group of the batch\n"},
    {DATA "resources: {ranks: 7, min_ranks: 5}\n", NULL,
     "job.yaml:2: resources.min_ranks: no number of ranks from 5 to 7 shares 8 groups evenly; allowed: numbers between "
     "which one shares the groups evenly\n"},
    {DATA "resources: {ranks: 2, min_ranks: 3}\n", NULL,
     "job.yaml:2: resources.min_ranks: 3 of at most 2 ranks; allowed: at most resources.ranks\n"},
    // kinds
    {"kind: train\n", NULL,
     "job.yaml: data.path: a train job needs data; allowed: a directory in the competition's layout, or a prepared "
     "set\n"},
    {"kind: train\ndata:\n  fold: 1\n", NULL,
     "job.yaml:3: data.path: a train job needs data; allowed: a directory in the competition's layout, or a prepared "
     "set\n"},
    {"kind: evaluate\n" DATA, NULL, "job.yaml: models: a evaluate job needs models; allowed: a list of checkpoints\n"},
    {"kind: soup\nmodels: [a, b]\nmethod: greedy\n", NULL,
     "job.yaml:3: method: a greedy soup job needs data; allowed: a directory in the competition's layout, or a "
     "prepared set\n"},
    {"kind: soup\nmodels: [a, '']\n", NULL,
     "job.yaml:2: models[1]: an empty name is given; allowed: a file, or RUN:what on a server\n"},
    {"kind: soup\nmodels: [a, [b], {c: 1}, ~]\n", NULL,
     "job.yaml:2: models[1]: a list of 1 is given; allowed: text\n"
     "job.yaml:2: models[2]: a map is given; allowed: text\n"
     "job.yaml:2: models[3]: nothing is given; allowed: text\n"},
    {"kind: export\nmodels: [a]\nformat: onnx\n", NULL,
     "job.yaml:1: kind: this version has no jobs of kind export yet; allowed: train | prepare | evaluate | soup\n"},
    {"kind: soup\nmodels: [a]\nformat: onnx\n", NULL,
     "job.yaml:3: format: a format is given to a soup job; allowed: nothing (kind export takes a format)\n"},
    {DATA "models: [a]\n", NULL,
     "job.yaml:2: models: models are given to a train job; allowed: nothing (kinds evaluate and soup take models)\n"},
    // syntax, and what YAML has but jobs have not
    {DATA "train: {lr: 1, lr: 2}\n", NULL, "job.yaml:2: lr: 'lr' is given twice (first on line 2)\n"},
    {DATA "train: {lr: 1}\nname: x\ntrain: {epochs: 2}\n", NULL,
     "job.yaml:4: train: 'train' is given twice (first on line 2)\n"},
    {DATA "name: &n x\n", NULL, "job.yaml:2: anchors (&name) are not allowed in a job\n"},
    {DATA "name: *n\n", NULL, "job.yaml:2: aliases (*name) are not allowed in a job\n"},
    {DATA "name: !!str x\n", NULL, "job.yaml:2: tags (!name) are not allowed in a job\n"},
    {DATA "---\nname: x\n", NULL, "job.yaml:2: a second document begins here: a job is one document\n"},
    {DATA "? [a]\n: 1\n", NULL, "job.yaml:2: the name of a field must be a plain text\n"},
    {"[1, 2]\n", NULL,
     "job.yaml:1: a list of 2 is given; allowed: a map of fields\n"
     "job.yaml: data.path: a train job needs data; allowed: a directory in the competition's layout, "
     "or a prepared set\n"},
    {DATA "name: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n", NULL, "job.yaml:2: nested too deeply for a job\n"},
    {DATA "name: a\xFF\n", NULL, "job.yaml:2: this is not UTF-8 text (byte 0xFF)\n"},
    // arguments
    {DATA, "train.lr", "argument 'train.lr': this is no KEY=VALUE; allowed: KEY=VALUE, such as train.lr=1e-4\n"},
    {DATA, "=5", "argument '=5': this is no KEY=VALUE; allowed: KEY=VALUE, such as train.lr=1e-4\n"},
    {DATA, "train.lr.x=5", "argument 'train.lr.x=5': train.lr: the field has no fields of its own\n"},
    {DATA, "train=5", "argument 'train=5': train: '5' is given; allowed: a map of fields\n"},
    {DATA, "train.epochs=",
     "argument 'train.epochs=': train.epochs: the text \"\" is given; allowed: a whole number "
     "from 1 to 100000\n"},
    {DATA, "train={lr: 1, lr: 2}", "argument 'train={lr: 1, lr: 2}': lr: 'lr' is given twice\n"},
};

static void test_singles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        char *found = FAULTS(singles[i].yaml, singles[i].argument);
        assert_string_equal(found, singles[i].fault);
        free(found);
    }
}

static void test_json(void **state)
{
    (void)state;
    static const struct single cases[] = {
        {"{\"data\": {\"path\": \"/x\"}, \"name\": 5}", NULL, "job.json:1: name: '5' is given; allowed: text\n"},
        {"{\"data\": {\"path\": \"/x\"},\n \"train\": {\"lr\": \"1\"}}", NULL,
         "job.json:2: train.lr: the text \"1\" is given; allowed: a number from 0 to 10\n"},
        {"{\"data\": {\"path\": \"/x\"}, \"train\": {\"lr\": null}}", NULL,
         "job.json:1: train.lr: nothing is given; allowed: a number from 0 to 10\n"},
        {"{\"data\": {\"path\": \"/x\"}, \"data\": {\"path\": \"/x\"}}", NULL,
         "job.json:1: data: 'data' is given twice (first on line 1)\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *found = faults_of(cases[i].yaml, 1, (const char *const[]){NULL});
        assert_string_equal(found, cases[i].fault);
        free(found);
    }
}

// Where libfyaml finds the fault it has the last word: only ours are compared.
static void test_syntax(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int json;
        const char *argument, *start;
    } cases[] = {
        {DATA "train: {lr: 1\n", 0, NULL, "job.yaml:3: this is not YAML: "},
        {DATA "name: @x\n", 0, NULL, "job.yaml:2: this is not YAML: "},
        {DATA "a\n", 0, NULL, "job.yaml:"},
        {DATA, 0, "model.widths=[64,64", "argument 'model.widths=[64,64': this is not YAML: "},
        {"{\"data\": {\"path\": \"/x\"},}", 1, NULL, "job.json:1: this is not JSON: "},
        {"{data: {path: /x}}", 1, NULL, "job.json:1: this is not JSON: "},
        {"{\"name\": 'x'}", 1, NULL, "job.json:1: this is not JSON: "},
        {"", 1, NULL, "job.json:1: this is not JSON: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *found = faults_of(cases[i].text, cases[i].json, (const char *const[]){cases[i].argument, NULL});
        if (strncmp(found, cases[i].start, strlen(cases[i].start)) || strchr(found, '\n')[1])
            fail_msg("expected %s, found %s", cases[i].start, found);
        free(found);
    }
}

// All at once, in the file's order, then the arguments in theirs.
static void test_many(void **state)
{
    (void)state;
    char *found = FAULTS("name: [1]\n"
                         "train:\n"
                         "  epohcs: 3\n"
                         "  lr: fast\n"
                         "  batch: 100\n"
                         "data: {fold: 9}\n"
                         "mixup: {alpha: 0}\n",
                         "train.ousm=77", "nonsense", "modle.heads=3");
    assert_string_equal(
        found,
        "job.yaml:1: name: a list of 1 is given; allowed: text\n"
        "job.yaml:3: train.epohcs: there is no field 'epohcs' in train; allowed: " TRAIN_ALL "; nearest: epochs\n"
        "job.yaml:4: train.lr: 'fast' is given; allowed: a number from 0 to 10\n"
        "job.yaml:5: train.batch: a batch of 100 is not a whole number of groups of 32; allowed: a batch that "
        "is a multiple of train.group\n"
        "job.yaml:6: data.path: a train job needs data; allowed: a directory in the competition's layout, or a "
        "prepared set\n"
        "job.yaml:6: data.fold: fold 9 is given; allowed: 0 to 3 (data.k is 4), all, or full\n"
        "job.yaml:7: mixup.alpha: 0 is given; allowed: a number above 0, up to 100\n"
        "argument 'train.ousm=77': train.ousm: leaving out 77 clips of a group of 32 leaves none; allowed: less "
        "than train.group\n"
        "argument 'nonsense': this is no KEY=VALUE; allowed: KEY=VALUE, such as train.lr=1e-4\n"
        "argument 'modle.heads=3': modle: there is no field 'modle' in a job; allowed: kind, name, preset, "
        "data, model, distill, teacher, init, train, augment, mixup, checkpoint, resources, retry, limits, "
        "models, method, format; nearest: model\n");
    free(found);
}

// A value with a fault gives no second one through the rules that it is part of.
static void test_no_cascade(void **state)
{
    (void)state;
    char *found = FAULTS(DATA "train: {batch: x, ousm: y}\nmodel: {widths: [64, z]}\n", "train.group=0");
    assert_string_equal(found,
                        "job.yaml:2: train.batch: 'x' is given; allowed: a whole number from 1 to 65536\n"
                        "job.yaml:2: train.ousm: 'y' is given; allowed: a whole number from 0 to 4095\n"
                        "job.yaml:3: model.widths[1]: 'z' is given; allowed: a whole number from 16 to 8192\n"
                        "argument 'train.group=0': train.group: 0 is given; allowed: a whole number from 1 to 4096\n");
    free(found);
}

static void test_limit(void **state)
{
    (void)state;
    struct strbuf b = {0};
    for (int i = 0; i < 150; i++)
        strbuf_printf(&b, "x%d: 1\n", i);
    char *found = FAULTS(b.text, NULL);
    size_t lines = 0;
    for (const char *p = found; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, FAULTS_MAX + 1);
    assert_non_null(strstr(found, "and 51 more\n")); // 50, and data.path
    free(found);
    free(b.text);
}

static void test_as_json(void **state)
{
    (void)state;
    struct faults faults = {0};
    Islr__JobSpec *job;
    const char *yaml = DATA "train: {bacth: \"a\\tb\"}\n";
    assert_int_equal(spec_read("a \"b\".yaml", yaml, strlen(yaml), 0, NULL, 0, &job, &faults), -1);
    char *json = faults_json(&faults);
    assert_string_equal(json, "[{\"source\":\"a \\\"b\\\".yaml\",\"line\":2,\"column\":9,\"field\":\"train.bacth\","
                              "\"problem\":\"there is no field 'bacth' in train\",\"allowed\":\"" TRAIN_ALL
                              "\",\"nearest\":\"batch\"}]");
    free(json);
    faults_free(&faults);
}

// Changed, cut and shuffled jobs: either a valid job or faults, nothing else (the sanitizers look on).
static void test_mutations(void **state)
{
    (void)state;
    static const char seed[] = "kind: train\nname: l25\npreset: l25-code\ndata:\n  path: /data\n  fold: 0\nmodel: "
                               "{heads: 16, widths: [64, 96, 96, 64], dropout_encoders: [0.05, 0.1, 0.1]}\ntrain: {lr: "
                               "3e-4, betas: [0.9, 0.999], seed: 42, shuffle: true, precision: bf16}\naugment: none\n"
                               "mixup: {p: 0.5, ramp: 'falling'}\n# end \"x\"\n";
    static const char alphabet[] = "{}[]:,&*!|>'\"%@`#-? \n\t\\ae1.0\xC3\xA4\xFF";
    struct rng r = rng_make(7, RNG_BENCH, 0, 0, 0);
    int valid = 0;
    for (int round = 0; round < 3000; round++) {
        char text[sizeof seed];
        memcpy(text, seed, sizeof seed);
        size_t size = sizeof seed - 1;
        for (uint32_t k = 1 + rng_below(&r, 2); k > 0; k--)
            text[rng_below(&r, (uint32_t)size)] = alphabet[rng_below(&r, sizeof alphabet - 1)];
        if (rng_below(&r, 4) == 0)
            size = rng_below(&r, (uint32_t)size);
        struct faults faults = {0};
        Islr__JobSpec *job;
        int rc = spec_read("m", text, size, (int)rng_below(&r, 2) == 0 && round % 8 == 0, NULL, 0, &job, &faults);
        assert_true((rc == 0) == (job != NULL) && (rc == 0) == (faults.count == 0));
        valid += rc == 0;
        spec_free(job);
        faults_free(&faults);
    }
    assert_true(valid > 100 && valid < 2900); // both ways are taken
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_singles),    cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_syntax),     cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_no_cascade), cmocka_unit_test(test_limit),
                                       cmocka_unit_test(test_as_json),    cmocka_unit_test(test_mutations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
