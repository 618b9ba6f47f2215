// Between the files of a training run: not for others. train.c: the loop; check.c: before it; output.c: checkpoints and
// what is kept of them; finish.c: soup, final evaluation, predictions, summary; crossval.c: all folds.
#ifndef ISLR_TRAIN_RUN_H
#define ISLR_TRAIN_RUN_H

#include "core/train/evaluate.h"
#include "core/train/journal.h"
#include "core/train/sampler.h"
#include "core/train/state.h"
#include "core/train/train.h"

enum { RUN_METRICS_MAX = 24 };

struct run {
    const struct train_options *o;
    int root; // this is rank 0: it alone writes files
    struct set *set;
    struct dataset data;
    struct step_space step;
    struct sampler sampler;
    struct run_state state;
    struct journal journal; // root only
    char job_hash[65];      // state_job_hash(), in summary.json and the checkpoints
    double started, clips_per_second;
    double saved;                     // time of the last resume point
    struct figures figures[LEARNERS]; // of the last evaluation of each model
    int evaluated[LEARNERS];          // step of it, 0: none yet
    // Root: what it alone failed at since the ranks last agreed. It goes on with what all do together until they do so
    // again: were it to return at once, they would wait for it in the next collective.
    struct error alone;
};

// A list of figures on its way to the journal and the sink.
struct metric_list {
    struct sink_metric metrics[RUN_METRICS_MAX];
    char names[RUN_METRICS_MAX][40];
    int count;
};
void metric_add(struct metric_list *l, double value, const char *format, ...) __attribute__((format(printf, 3, 4)));
int run_report(struct run *r, const struct metric_list *l, int evaluation, struct error *e); // root only

// The evaluator over a learner's own memory.
struct evaluator run_evaluator(struct run *r, enum learner_role role);

// output.c, root only: checkpoints of the epoch that state.step ends, as the job's `checkpoint` asks for.
int run_save_epoch(struct run *r, struct error *e);
// Weights of one learner as a file; `what` as in struct sink_file, epoch 0: final.
int run_save_model(struct run *r, enum learner_role role, const char *path, uint32_t epoch, struct error *e);
char *run_path(const struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3))); // DIR/.., malloc'ed
char *run_epoch_dir(const struct run *r, uint32_t epoch);
uint32_t run_soup_first(const struct run *r); // the first epoch of the soup
void run_file(struct run *r, const char *what, const char *path, uint32_t epoch);
struct checkpoint;
void run_describe_checkpoint(const struct run *r, struct checkpoint *c, const char *model, uint32_t epoch);

// check.c: refuses what can be known to be wrong before the data is looked at; *type: what it will be trained in.
// Collective.
int run_check(const struct train_options *o, enum dtype *type, struct error *e);

// finish.c: everything after the last step. Collective.
int run_finish(struct run *r, struct error *e);

// crossval.c
int train_all_folds(const struct train_options *o, struct error *e);

// train.c: one fold or the full fit.
int train_one(const struct train_options *o, struct error *e);

#endif
