// Archives of plain files in the format of tar(1) (POSIX ustar; sizes of 8 GiB and more in GNU's base-256 form, which
// every tar of today reads). Only what a backup needs: regular files with short relative names.
#ifndef ISLR_BASE_TAR_H
#define ISLR_BASE_TAR_H

#include <stdint.h>
#include <stdio.h>

#include "core/base/error.h"

enum { TAR_NAME_MAX = 99 }; // bytes of a name

// ---- writing --------------------------------------------------------------------------------------------------------

// The header of a file of `size` bytes; its content follows by fwrite(), then tar_end_entry().
int tar_begin_entry(FILE *stream, const char *name, uint64_t size, int64_t time_s, struct error *e);
int tar_end_entry(FILE *stream, uint64_t size, struct error *e);
int tar_end(FILE *stream, struct error *e); // the end of the archive

// ---- reading --------------------------------------------------------------------------------------------------------

struct tar_entry {
    char name[TAR_NAME_MAX + 1];
    uint64_t size;
};

// 1: a file, whose content is read by fread(); 0: the end of the archive; -1: ERR_DAMAGED (no header, wrong checksum,
// cut off, something else than a file). After the content: tar_skip_padding().
int tar_next(FILE *stream, struct tar_entry *out, struct error *e);
int tar_skip_padding(FILE *stream, uint64_t size, struct error *e);

#endif
