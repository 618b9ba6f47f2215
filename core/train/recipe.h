// From a resolved job to what the engine takes: sizes of the models, type of the computation.
#ifndef ISLR_TRAIN_RECIPE_H
#define ISLR_TRAIN_RECIPE_H

#include "core/nn/config.h"
#include "proto/job.pb-c.h"

struct model_config recipe_student(const Islr__JobSpec *job, int classes); // the teacher's too
struct model_config recipe_distilled(const Islr__JobSpec *job, int classes);

// train.precision; auto: bf16 where the device has it in hardware, else fp16 on cards (with dynamic loss scaling, scale.h)
// and fp32 on the CPU. Fails for types the device cannot train in.
int recipe_type(Islr__Train__Precision precision, struct backend *backend, enum dtype *type, struct error *e);

const char *dtype_name(enum dtype type); // "fp32" | "bf16" | "fp16"

#endif
