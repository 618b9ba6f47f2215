// The published recipes by name. The table in preset.c is what `preset:` in a job fills in and what --help shows.
#ifndef ISLR_SPEC_PRESET_H
#define ISLR_SPEC_PRESET_H

#include <stddef.h>

struct preset {
    const char *name;
    const char *summary; // half a sentence
    const char *base;    // the preset whose values come first, or NULL: job.proto's defaults
    const char *yaml;    // what differs from `base`
};

extern const struct preset presets[]; // ends with a NULL name

const struct preset *preset_find(const char *name); // NULL: no such preset

#endif
