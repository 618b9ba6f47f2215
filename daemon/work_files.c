// Files to the server: hashed in the background, uploaded one after the other, each named as a checkpoint when all
// records before it are durable. A newer resume point takes the place of one that has not been begun.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/envelope.h"
#include "core/rpc/protocol.h"
#include "daemon/work_delivery_internal.h"

enum { TRIES_MAX = 3 }; // of a file that the server cannot find or finds damaged

static void free_file(struct work_file *f)
{
    if (f->kept)
        unlink(f->kept);
    free(f->what);
    free(f->path);
    free(f->kept);
    for (int i = 0; i < f->member_count; i++)
        free(f->members[i]);
    free(f->members);
    for (int i = 0; i < f->metric_count; i++)
        free(f->metrics[i].name);
    free(f->metrics);
    free(f->member_hashes);
    free(f);
}

static void drop_first(struct work_delivery *d)
{
    struct work_file *f = d->files;
    d->files = f->next;
    if (!d->files)
        d->last_file = &d->files;
    d->uploaded = d->naming = d->tries = 0;
    free_file(f);
}

void work_files_clear(struct work_delivery *d)
{
    if (d->upload)
        upload_cancel(d->upload);
    d->upload = NULL;
    if (d->naming && link_peer(d->net->link))
        peer_forget(link_peer(d->net->link), d->naming);
    while (d->files)
        drop_first(d);
    for (size_t i = 0; i < d->known_count; i++)
        free(d->known[i].path);
    free(d->known);
    d->known = NULL;
    d->known_count = 0;
}

// ---- hashes ---------------------------------------------------------------------------------------------------------

static void remember(struct work_delivery *d, const char *path, const struct hash *sha256)
{
    for (size_t i = 0; i < d->known_count; i++)
        if (!strcmp(d->known[i].path, path)) {
            d->known[i].sha256 = *sha256;
            return;
        }
    d->known = xrealloc(d->known, d->known_count + 1, sizeof *d->known);
    d->known[d->known_count++] = (struct work_known){xstrdup(path), *sha256};
}

static const struct hash *recall(const struct work_delivery *d, const char *path)
{
    for (size_t i = 0; i < d->known_count; i++)
        if (!strcmp(d->known[i].path, path))
            return &d->known[i].sha256;
    return NULL;
}

// On a thread of the pool: `known` stays as it is meanwhile.
static int hash_first(struct work_delivery *d, struct error *e)
{
    struct work_file *f = d->files;
    struct stat st;
    if (stat(f->kept, &st))
        return error_set_errno(e, ERR_FAILED, "cannot read %s", f->kept);
    f->size = (uint64_t)st.st_size;
    if (hash_file(f->kept, &f->sha256, e))
        return -1;
    f->member_hashes = xcalloc(f->member_count ? (size_t)f->member_count : 1, sizeof *f->member_hashes);
    for (int i = 0; i < f->member_count; i++) {
        const struct hash *known = recall(d, f->members[i]);
        if (known)
            f->member_hashes[i] = *known;
        else if (hash_file(f->members[i], &f->member_hashes[i], e))
            return -1;
    }
    return 0;
}

static void hash_work(uv_work_t *work)
{
    struct work_delivery *d = work->data;
    d->hash_error.code = ERR_NONE;
    hash_first(d, &d->hash_error);
}

// The run goes on without it; how it ends says so (work_delivery.c). Resume points come and go.
static void give_up_first(struct work_delivery *d, const struct error *why)
{
    const struct work_file *f = d->files;
    char *what = f->epoch ? xprintf("%s of epoch %u", f->what, f->epoch) : xstrdup(f->what);
    log_error(d->net->options.log, "run %llu: %s is not delivered: %s", (unsigned long long)d->run, what, why->text);
    if (strcmp(f->what, "resume") && d->missing.code == ERR_NONE)
        error_set(&d->missing, why->code, "the server has not got the run's %s: %s", what, why->text);
    envelope_clean_text(d->missing.text);
    free(what);
    drop_first(d);
}

static void hash_done(uv_work_t *work, int status)
{
    struct work_delivery *d = work->data;
    (void)status;
    d->hashing = 0;
    if (d->hash_error.code != ERR_NONE) {
        give_up_first(d, &d->hash_error);
    } else {
        d->files->hashed = 1;
        remember(d, d->files->path, &d->files->sha256);
    }
    work_delivery_pump(d->net);
}

// ---- upload and name ------------------------------------------------------------------------------------------------

// What the server could not do now it may do later; what it cannot find or finds damaged is sent anew a few times; what
// it says cannot be, will not be the next time either.
static void take_refusal(struct work_delivery *d, const struct error *why)
{
    if (why->code == ERR_UNREACHABLE)
        return; // until work_delivery_up()
    log_warn(d->net->options.log, "run %llu: %s is not delivered yet: %s", (unsigned long long)d->run, d->files->what,
             why->text);
    d->uploaded = 0;
    int again = why->code == ERR_NOT_FOUND || why->code == ERR_DAMAGED;
    int hopeless = why->code == ERR_INVALID || (again && ++d->tries >= TRIES_MAX);
    if (hopeless)
        give_up_first(d, why);
    work_delivery_later(d, hopeless ? 0 : d->net->options.retry_ms); // not at once: this may be a pump's doing
}

static void on_uploaded(void *context, const struct error *why)
{
    struct work_delivery *d = context;
    d->upload = NULL;
    if (why->code != ERR_NONE) {
        take_refusal(d, why);
        return;
    }
    d->uploaded = 1;
    work_delivery_pump(d->net);
}

static void upload_first(struct work_delivery *d, struct peer *p)
{
    struct error e;
    struct upload_options o = {.path = d->files->kept,
                               .sha256 = d->files->sha256,
                               .size = d->files->size,
                               .context = d,
                               .on_end = on_uploaded};
    d->upload = upload_start(p, &o, &e);
    if (!d->upload)
        take_refusal(d, &e);
}

static void on_named(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct work_delivery *d = context;
    (void)p;
    d->naming = 0;
    if (m)
        drop_first(d);
    else
        take_refusal(d, why);
    work_delivery_pump(d->net);
}

static void name_first(struct work_delivery *d, struct peer *p)
{
    const struct work_file *f = d->files;
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    ProtobufCBinaryData *members = xcalloc(f->member_count ? (size_t)f->member_count : 1, sizeof *members);
    Islr__Value **metrics = xcalloc(f->metric_count ? (size_t)f->metric_count : 1, sizeof *metrics);
    for (int i = 0; i < f->member_count; i++)
        members[i] = (ProtobufCBinaryData){sizeof f->member_hashes[i].bytes, f->member_hashes[i].bytes};
    for (int i = 0; i < f->metric_count; i++)
        metrics[i] = &f->metrics[i];
    info.what = f->what;
    info.has_epoch = info.has_step = info.has_sha256 = info.has_size_bytes = info.has_time_ms = 1;
    info.epoch = f->epoch;
    info.step = f->step;
    info.sha256 = (ProtobufCBinaryData){sizeof f->sha256.bytes, (uint8_t *)f->sha256.bytes};
    info.size_bytes = f->size;
    info.time_ms = f->time_ms;
    info.n_metrics = (size_t)f->metric_count;
    info.metrics = metrics;
    add.has_run = add.has_attempt = 1;
    add.run = d->run;
    add.attempt = d->attempt;
    add.checkpoint = &info;
    add.n_member_hashes = (size_t)f->member_count;
    add.member_hashes = members;
    d->naming = peer_request(p, &m, RPC_DURABLE_MS, on_named, d, NULL);
    free(members);
    free(metrics);
}

void work_files_pump(struct work_net *n)
{
    struct work_delivery *d = n->delivery;
    struct peer *p = work_net_peer(n);
    if (!d->files || d->hashing || d->upload || d->naming || d->waiting)
        return;
    if (!d->files->hashed) {
        d->hashing = 1;
        d->hash_work.data = d;
        uv_queue_work(&n->loop, &d->hash_work, hash_work, hash_done);
    } else if (p && !d->uploaded) {
        upload_first(d, p);
    } else if (p && d->acked.seq > d->files->after_seq) {
        name_first(d, p);
    }
}

// ---- what the main thread says --------------------------------------------------------------------------------------

// Resume points behind the first file, which is under way.
static void drop_superseded(struct work_delivery *d)
{
    for (struct work_file **at = d->files ? &d->files->next : &d->files; *at;) {
        struct work_file *f = *at;
        if (strcmp(f->what, "resume")) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        free_file(f);
    }
    d->last_file = &d->files;
    while (*d->last_file)
        d->last_file = &(*d->last_file)->next;
}

static void take_file(struct work_net *n, struct work_mail *mail)
{
    struct work_file *f = (struct work_file *)mail;
    struct work_delivery *d = n->delivery;
    if (d->abandoned) {
        free_file(f);
        return;
    }
    if (!strcmp(f->what, "resume"))
        drop_superseded(d);
    f->next = NULL;
    *d->last_file = f;
    d->last_file = &f->next;
    work_delivery_pump(n);
}

void work_delivery_file(struct work_net *n, struct work_file *f)
{
    f->mail.deliver = take_file;
    work_net_post(n, &f->mail);
}

struct known_mail {
    struct work_mail mail;
    char *path;
    struct hash sha256;
};

static void take_known(struct work_net *n, struct work_mail *mail)
{
    struct known_mail *k = (struct known_mail *)mail;
    remember(n->delivery, k->path, &k->sha256);
    free(k->path);
    free(k);
}

void work_delivery_known(struct work_net *n, const char *path, const struct hash *sha256)
{
    struct known_mail *k = xmalloc(sizeof *k);
    *k = (struct known_mail){{NULL, take_known}, xstrdup(path), *sha256};
    work_net_post(n, &k->mail);
}
