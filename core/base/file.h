// Files: whole reads, durable atomic writes, mappings, directories. All descriptors are O_CLOEXEC.
#ifndef ISLR_BASE_FILE_H
#define ISLR_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

// What an error number of opening a file says: it is not there, it may not be opened, or (ERR_FAILED) the machine could not.
enum error_code file_error_code(int number);

// Reads a whole file of at most `limit` bytes; *data is malloc'ed with a NUL behind the last byte.
int file_read(const char *path, size_t limit, char **data, size_t *size, struct error *e);

// Writes a file in the target's directory, fsyncs, renames it over the target and fsyncs the directory: a reader and a
// crash see the old file or the new one, whole. It has no name until it is whole, so that a kill leaves nothing; where
// the file system cannot do that, TARGET.tmp-XXXXXXXX. Links stay: what they lead to is replaced. The mode is 0666 less
// the umask. What is no regular file (a pipe, a terminal, /dev/stdout) is written to as it is, but not secrets.
int file_write_atomic(const char *path, const void *data, size_t size, struct error *e);
int file_write_secret(const char *path, const void *data, size_t size, struct error *e); // for its owner alone: 0600

// The same for content that is produced piece by piece: write to file_writer_stream(), then commit or abandon. Only to
// regular files: others are refused (ERR_INVALID).
struct file_writer;
struct file_writer *file_writer_open(const char *path, struct error *e);
FILE *file_writer_stream(struct file_writer *w);
int file_writer_commit(struct file_writer *w,
                       struct error *e);         // frees w, also on failure (then the target is untouched)
void file_writer_abandon(struct file_writer *w); // leaves nothing of it; NULL is fine

// A read-only mapping of a whole file.
struct file_map {
    const uint8_t *data;
    size_t size;
};
int file_map_open(const char *path, struct file_map *map, struct error *e);
void file_map_close(struct file_map *map);

int file_exists(const char *path);
int file_make_dirs(const char *path, struct error *e);    // like mkdir -p
int file_writable_dir(const char *path, struct error *e); // 0: files can be made in it
int file_remove_tree(const char *path, struct error *e);  // like rm -rf; a missing path is fine; follows no links
int file_sync_dir(const char *path, struct error *e);     // fsync of a directory
char *file_join(const char *directory, const char *name); // "directory/name", malloc'ed
char *file_absolute(const char *path, struct error *e); // from the current directory; malloc'ed; nothing need be there

#ifdef __cplusplus
}
#endif

#endif
