// The published recipes: reference-system sections 3 to 5. DOC is the authors' description, CODE their program.
#include "core/spec/preset.h"

#include <string.h>

// The pairs of sizes of section 4. Everything else of DOC is job.proto's default.
#define L25_SIZES                                                                                                      \
    "model: {dense_dim: 512, transfo_dim: 1536, max_len: 25}\n"                                                        \
    "distill: {dense_dim: 192, transfo_dim: 768}\n"
#define L80_SIZES                                                                                                      \
    "model: {dense_dim: 256, transfo_dim: 1024, max_len: 80}\n"                                                        \
    "distill: {dense_dim: 192, transfo_dim: 576}\n"

// What CODE does differently, but for dropout. Its slip in filling in hands is not followed (section 5).
#define CODE_RECIPE                                                                                                    \
    "train: {eval_steps: 250}\n"                                                                                       \
    "augment:\n"                                                                                                       \
    "  face_cutmix: {any_signer: true, per_coordinate: true}\n"                                                        \
    "  rotate: {degrees: 30}\n"                                                                                        \
    "  crop: {p_late: 0.25}\n"                                                                                         \
    "  scale: {p: 0.25}\n"                                                                                             \
    "  distort: {p: 0.25, added: true}\n"                                                                              \
    "mixup: {ramp: falling}\n"                                                                                         \
    "checkpoint: {soup_last: 11}\n"

const struct preset presets[] = {
    {"l25", "the L=25 pair (1536 and 768) as its authors describe it", NULL, L25_SIZES},
    {"l80", "the L=80 pair (1024 and 576) as its authors describe it", NULL, L80_SIZES},
    // drop_rate 0.05; in the five part MLPs halved where dense_dim < 256; in the encoders 1, 2 and 2 times (the last
    // one 4 times from transfo_dim 1024 on).
    {"l25-code", "the L=25 pair as the published program trains it", "l25",
     CODE_RECIPE "model: {dropout_mlp: 0.05, dropout_landmark: 0.05, dropout_encoders: [0.05, 0.1, 0.2]}\n"
                 "distill: {dropout_mlp: 0.025, dropout_landmark: 0.05, dropout_encoders: [0.05, 0.1, 0.1], "
                 "eval_mode_from: 0.5}\n"},
    {"l80-code", "the L=80 pair as the published program trains it", "l80",
     CODE_RECIPE "model: {dropout_mlp: 0.05, dropout_landmark: 0.05, dropout_encoders: [0.05, 0.1, 0.2]}\n"
                 "distill: {dropout_mlp: 0.025, dropout_landmark: 0.05, dropout_encoders: [0.05, 0.1, 0.1], "
                 "eval_mode_from: 0.5}\n"},
    {"tiny", "a small pair that trains in a minute on two CPU cores, for a first try", NULL,
     "model: {dense_dim: 64, widths: [64, 96, 96, 64], heads: 4, max_len: 25, dropout_mlp: 0.1, dropout_landmark: "
     "0.1}\n"
     "distill: {dense_dim: 48, widths: [64, 64, 64, 64], dropout_mlp: 0.1, dropout_landmark: 0.1}\n"
     "train: {epochs: 12, batch: 64, group: 32, lr: 1e-3, weight_decay: 0.05}\n"
     "checkpoint: {soup_last: 3}\n"},
    {NULL, NULL, NULL, NULL},
};

const struct preset *preset_find(const char *name)
{
    for (const struct preset *p = presets; p->name; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}
