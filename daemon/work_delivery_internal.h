// The inside of a delivery, shared by work_delivery.c (life and order), work_records.c and work_files.c. All of it is
// the network thread's.
#ifndef ISLR_DAEMON_WORK_DELIVERY_INTERNAL_H
#define ISLR_DAEMON_WORK_DELIVERY_INTERNAL_H

#include "core/rpc/upload.h"
#include "daemon/work_delivery.h"

struct work_known {
    char *path;
    struct hash sha256;
};

struct work_delivery {
    struct work_net *net;
    uint64_t run;
    uint32_t attempt;
    int abandoned;

    struct spool *spool;             // NULL: there are no records
    struct spool_cursor acked, sent; // before the first record that the server has not, that was not sent

    struct work_file *files, **last_file; // the first one is under way
    struct work_known *known;             // hashes by the names that the run uses
    size_t known_count;
    uv_work_t hash_work;
    int hashing;
    struct error hash_error;
    struct upload *upload;
    int uploaded;         // the first file is an artifact now
    uint64_t naming;      // AddCheckpoint is on its way: its id
    int tries;            // of the first file
    struct error missing; // the first file but a resume point that was given up, and why; ERR_NONE: none

    uv_timer_t timer;
    int waiting; // for the timer, before anything is tried again

    int finished; // `end` is there
    struct work_end end;
    uint64_t telling_end; // Finished is on its way: its id
};

void work_delivery_pump(struct work_net *n);
void work_delivery_later(struct work_delivery *d, unsigned ms); // nothing is sent before

uint64_t work_records_total(const struct work_delivery *d);
void work_records_pump(struct work_net *n);
void work_records_acked(struct work_net *n, uint64_t seq);

void work_files_pump(struct work_net *n);
void work_files_clear(struct work_delivery *d); // no hashing may be under way

#endif
