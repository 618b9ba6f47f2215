// Artifacts: files by the SHA-256 of their content, below the server's directory:
//     artifacts/ab/abcdef..   complete, verified, durable, never changed
//     incoming/abcdef..-7.part being uploaded by run 7; a broken upload goes on where it stopped
//     trash/                  about to be removed
//     quarantine/             taken out of the store by `islrd fsck --repair`, kept for a person to look at
// Knows no database (artifact_row.h) and no loop: everything here blocks for as long as the disk takes.
#ifndef ISLR_STORE_ARTIFACT_H
#define ISLR_STORE_ARTIFACT_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"

enum { ARTIFACT_STALE_PART_S = 24 * 3600 }; // a part not written to for so long is given up at the next start

struct artifact_store {
    char *artifacts, *incoming, *trash; // directories
};

// Names the directories without touching the disk: for reading beside a server (backup, fsck).
void artifact_store_name(struct artifact_store *s, const char *directory);

// Makes the directories and empties the trash. Parts of uploads stay, unless they are stale.
int artifact_store_open(struct artifact_store *s, const char *directory, struct error *e);
void artifact_store_close(struct artifact_store *s);

// While a backup copies what the database named a moment ago, nothing may be discarded. Both hold the directory of the
// artifacts (flock): backups share it, who collects has it alone. The hold goes with close() and with the process.
enum artifact_hold { ARTIFACT_KEEP, ARTIFACT_COLLECT };
// A descriptor; -1: somebody holds it the other way (errno EWOULDBLOCK), or it cannot be held.
int artifact_store_hold(const struct artifact_store *s, enum artifact_hold hold);

// ---- uploads --------------------------------------------------------------------------------------------------------

// One upload under way, used by one thread at a time. There must be no second one of the same hash and run. Each run brings
// all of a file's bytes, those too that another run has brought already: what it cannot bring is not its own.
struct artifact_upload;

// Begins or takes up again: what is there already is read and hashed anew, so a part that a crash has damaged is found
// out at the end, never believed.
struct artifact_upload *artifact_upload_open(const struct artifact_store *s, const struct hash *hash, uint64_t run,
                                             uint64_t total, struct error *e);
uint64_t artifact_upload_have(const struct artifact_upload *u);

// Data that begins at `offset`. What is there already is passed over; data beyond a gap is not taken (have() says where
// to go on). ERR_INVALID when it goes beyond the total.
int artifact_upload_write(struct artifact_upload *u, uint64_t offset, const void *data, size_t size, struct error *e);

// All bytes are there: verifies the hash, syncs, moves into place (also of a file that is there, which has the same content
// or was damaged), syncs the directory. Frees u. ERR_DAMAGED: the content is not what the hash says (the part is removed).
int artifact_upload_commit(struct artifact_upload *u, struct error *e);
void artifact_upload_suspend(struct artifact_upload *u); // frees u, the part stays; NULL is fine

// ---- complete ones --------------------------------------------------------------------------------------------------

// Reads up to `size` bytes from `offset`; *got < size only at the end. ERR_DAMAGED when the file is missing or is not
// of the size that the database knows (`total`).
int artifact_read(const struct artifact_store *s, const struct hash *hash, uint64_t total, uint64_t offset, void *out,
                  size_t size, size_t *got, struct error *e);

char *artifact_path(const struct artifact_store *s, const struct hash *hash); // to free()

// What is wrong with the file of an artifact; `verify` reads it all.
enum artifact_state { ARTIFACT_WHOLE, ARTIFACT_MISSING, ARTIFACT_WRONG_SIZE, ARTIFACT_WRONG_CONTENT };
// 0, or -1: it cannot be read.
int artifact_inspect(const struct artifact_store *s, const struct hash *hash, uint64_t total, int verify,
                     enum artifact_state *out, struct error *e);

// Takes a file out of the store at once; its blocks are freed by artifact_empty_trash(). A missing one is fine.
int artifact_discard(const struct artifact_store *s, const struct hash *hash, struct error *e);
void artifact_empty_trash(const struct artifact_store *s);

// Calls `known` for every file there; those for which it returns 0 are discarded: left behind by a crash between a file
// and its row. Returns their number, -1 when a directory cannot be read or `known` returned -1.
int artifact_sweep(const struct artifact_store *s, int (*known)(void *context, const struct hash *hash), void *context,
                   struct error *e);

#endif
