// Jobs: YAML or JSON -> Islr__JobSpec (proto/job.proto), checked whole, and back. The mapping walks the descriptors of
// job.proto, so a field added there is known here; its bounds stand in bounds.c.
//
// A *complete* job has every field present: messages allocated, presence flags set, strings owned, lists filled with
// their defaults (`widths` alone may be empty: they follow from transfo_dim then, spec_widths(); and data.k is 0 where
// a fold file is given and no number, which the file has then). Everything here returns complete jobs; readers of a job
// need not look at presence flags. Free with spec_free().
#ifndef ISLR_SPEC_SPEC_H
#define ISLR_SPEC_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/spec/fault.h"
#include "proto/job.pb-c.h"

enum { SPEC_FILE_MAX = 1 << 20 }; // bytes of a job file

// Reads a job file (YAML; JSON where the name ends in .json) and the KEY=VALUE arguments on top of it (VALUE as in
// YAML: train.lr=1e-4, model.dropout_encoders=[0,0,0], augment=none, distill={enabled: false}). Order of precedence:
// arguments, file, preset (the file's or the argument's `preset`), defaults of job.proto. The job is validated. path
// may be NULL: arguments alone. On failure *job is NULL and either `faults` says what is wrong with the job (then `e`
// holds the same as text, ERR_INVALID), or `faults` is empty and `e` says why the file could not be read.
int spec_load(const char *path, const char *const *arguments, size_t argument_count, Islr__JobSpec **job,
              struct faults *faults, struct error *e);

// A valid job with one more KEY=VALUE argument on top, as spec_load() would have put it there; not of `preset`, which what
// has been said before wins over. NULL: faults.
Islr__JobSpec *spec_with_argument(const Islr__JobSpec *base, const char *argument, struct faults *faults);

// spec_load() for a job in memory; `source` is what faults call it ("job.yaml"). json: JSON's grammar and types.
int spec_read(const char *source, const char *text, size_t size, int json, const char *const *arguments,
              size_t argument_count, Islr__JobSpec **job, struct faults *faults);

// Reads back what spec_to_json() or spec_to_yaml() wrote. `preset` is a label here: what it once filled in stands in
// the text, and jobs of presets that this version no longer has, or not yet, can be read.
int spec_read_resolved(const char *source, const char *text, size_t size, int json, Islr__JobSpec **job,
                       struct faults *faults);

// Every cross-field and range rule. 0, or -1 with the faults added. `source` is what they are reported under.
int spec_validate(const Islr__JobSpec *job, const char *source, struct faults *faults);

// A job that came over the wire (unpacked with protobuf-c): what is absent gets its default, then everything is checked
// as for a file: rules and ranges, and what protobuf does not: text that is not UTF-8, unknown enum values and fields.
// Any message that unpacks is safe to give. 0: the job is complete and valid; -1: faults, and the job is to be freed.
int spec_check_wire(Islr__JobSpec *job, struct faults *faults);

// Fills in what is absent (see "complete" above). Makes no use of `preset`.
void spec_complete(Islr__JobSpec *job);

Islr__JobSpec *spec_default(void); // the defaults of job.proto, complete
Islr__JobSpec *spec_copy(const Islr__JobSpec *job);
void spec_free(Islr__JobSpec *job); // NULL is fine; also for messages that protobuf-c unpacked with its own allocator

// Many jobs that differ in little (a sweep): what `job` has that `base` has not, both complete. The result holds the
// fields that differ and nothing else, lists whole. NULL (ERR_INVALID): a list is empty in `job` and not in `base`, which
// cannot be said so.
Islr__JobSpec *spec_difference(const Islr__JobSpec *base, const Islr__JobSpec *job, struct error *e);
// The other way round: `base` with the fields that `difference` gives, complete if `base` is; not validated. NULL
// (ERR_INVALID): `difference` has unknown fields.
Islr__JobSpec *spec_vary(const Islr__JobSpec *base, const Islr__JobSpec *difference, struct error *e);

// Every value of a complete job: "train.lr" and its JSON. All jobs have the same names in the same order.
struct spec_setting {
    char *name, *value;
};
struct spec_settings {
    struct spec_setting *items;
    size_t count;
};
struct spec_settings spec_settings(const Islr__JobSpec *job);
void spec_settings_free(struct spec_settings *s);

// Text of a complete job, to free(). Both read back to the same job; floats are the shortest that do. The JSON is
// canonical: fields by their numbers, no blanks, so equal jobs are equal bytes.
char *spec_to_yaml(const Islr__JobSpec *job);
char *spec_to_json(const Islr__JobSpec *job);
struct hash spec_hash(const Islr__JobSpec *job); // SHA-256 of spec_to_json()

// Makes data.path, data.fold_file, init.* and models absolute: relative ones are taken from `directory`. References to
// a server's things (RUN:what, @last:what, sha256:HEX) stay. For jobs that leave the machine's directory.
void spec_make_absolute(Islr__JobSpec *job, const char *directory);

// Encoder widths: those given (4), else from transfo_dim (reference section 3): encoder i goes from out[i-1] to out[i].
void spec_widths(uint32_t transfo_dim, const uint32_t *widths, size_t n_widths, uint32_t out[4]);

// 0..k-1 for a fold's number (data.fold), or one of these.
enum { SPEC_FOLD_ALL = -1, SPEC_FOLD_FULL = -2 };
int spec_fold(const Islr__JobSpec *job);

const char *spec_kind_name(Islr__JobSpec__Kind kind); // "train", ..

const char *spec_library(void); // version of the YAML reader (libfyaml) in use

#endif
