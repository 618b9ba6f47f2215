// Uploads of artifacts: pieces come in as Put, are written and hashed in libuv's pool, and the whole becomes an
// artifact when its hash is right, its file durable and its row committed. Uploads are known by their hash and the run that
// they are for: several connections may bring the same content, a broken one is taken up by the next of its run, and each
// run has to bring all of it, or it could name as its own what others have made (core/store/artifact_row.h).
#ifndef ISLR_DAEMON_SERVE_UPLOAD_H
#define ISLR_DAEMON_SERVE_UPLOAD_H

#include "core/base/hash.h"

struct server;
struct upload;

struct uploads {
    struct upload *first;
};

int upload_under_way(const struct server *s, const struct hash *hash);
void uploads_tick(struct server *s);  // lets go of those that nobody brings any more
void uploads_close(struct server *s); // of a server that stops; nothing is under way then

#endif
