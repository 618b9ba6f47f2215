// The job's fields and presets as text for --help and doctor, from the tables that enforce them.
#ifndef ISLR_SPEC_DESCRIBE_H
#define ISLR_SPEC_DESCRIBE_H

struct spec_field {
    const char *name;          // "train.lr"
    const char *default_value; // as JSON: "0.0003", "[0.9,0.999]", "\"\""
    const char *allowed;       // "a number from 0 to 10"
};

// Calls `row` for every field in the order of job.proto; its texts live until it returns.
void describe_fields(void (*row)(void *context, const struct spec_field *field), void *context);

// "presets:\n  l25   the L=25 pair ..", to free(): the notes of a command's --help.
char *describe_presets(void);

#endif
