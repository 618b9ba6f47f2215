// Runs as a client names and shows them.
#ifndef ISLR_CLIENT_RUN_H
#define ISLR_CLIENT_RUN_H

#include "client/json.h"
#include "core/base/options.h"
#include "core/rpc/call.h"

const char *run_state_name(Islr__RunState state);                            // "queued", ..
int run_state_parse(const char *name, size_t length, Islr__RunState *state); // -1: no such state
int run_state_ended(Islr__RunState state);
int run_state_exit_code(Islr__RunState state); // of following it to its end: 0, 1, or 130 for a cancelled one

// "12" or "@last" (the newest of this user; asks the server).
int run_find(struct caller *c, const char *text, uint64_t *run, struct error *e);

// GetRun; envelope_free() it.
Islr__Envelope *run_get(struct caller *c, uint64_t run, struct error *e);

// The runs that these names mean: numbers, @last; a group stands for its runs where `members` says so. To free().
int run_find_all(struct caller *c, const struct option_list *names, bool members, uint64_t **runs, size_t *count,
                 struct error *e);

// The members of a run's object: "run", "name", "user", "state", "reason", "kind", "priority", "submitted", "started",
// "ended", "attempt", "ranks", "step", "steps", "final": {metric: value}, "parent"; of a group also "group" and
// "children": {"count", "ended", "failed", "running"}.
void run_json_summary(struct json *j, const Islr__RunSummary *s);

// An artifact's object: "id", "run", "what", "epoch", "step", "sha256", "size_bytes", "time", "pinned", "members",
// "metrics".
void run_json_checkpoint(struct json *j, const Islr__CheckpointInfo *c);
// An array of them, called "checkpoints".
void run_json_checkpoints(struct json *j, Islr__CheckpointInfo *const *list, size_t count);

// A table of checkpoints for people.
void run_print_checkpoints(Islr__CheckpointInfo *const *list, size_t count, FILE *stream);

#endif
