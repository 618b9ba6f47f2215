// One handler a message: the file is named after what a user calls it. A handler answers now or later, always under the
// message's id, and holds the session as long as it has something to say to it. The message is freed when it returns
// unless peer_keep_message() was called.
#ifndef ISLR_DAEMON_SERVE_HANDLERS_H
#define ISLR_DAEMON_SERVE_HANDLERS_H

#include "daemon/serve_session.h"

void handle_submit(struct session *session, Islr__Envelope *m);           // serve_submit.c
void handle_list_runs(struct session *session, Islr__Envelope *m);        // serve_list.c
void handle_get_run(struct session *session, Islr__Envelope *m);          // serve_show.c
void handle_list_checkpoints(struct session *session, Islr__Envelope *m); // serve_show.c
void handle_follow(struct session *session, Islr__Envelope *m);           // serve_follow.c
void handle_wait(struct session *session, Islr__Envelope *m);             // serve_wait.c
void handle_watch(struct session *session, Islr__Envelope *m);            // serve_watch.c
void handle_control(struct session *session, Islr__Envelope *m);          // serve_control.c
void handle_get_limits(struct session *session, Islr__Envelope *m);       // serve_limits.c
void handle_set_limits(struct session *session, Islr__Envelope *m);       // serve_limits.c
void handle_fetch(struct session *session, Islr__Envelope *m);            // serve_fetch.c
void handle_collect(struct session *session, Islr__Envelope *m);          // serve_gc.c
void handle_list_workers(struct session *session, Islr__Envelope *m);     // serve_workers.c
void handle_get_status(struct session *session, Islr__Envelope *m);       // serve_status.c
void handle_create_token(struct session *session, Islr__Envelope *m);     // serve_token.c
void handle_list_tokens(struct session *session, Islr__Envelope *m);      // serve_token.c
void handle_revoke_tokens(struct session *session, Islr__Envelope *m);    // serve_token.c

void handle_register(struct session *session, Islr__Envelope *m);       // serve_register.c
void handle_records(struct session *session, Islr__Envelope *m);        // serve_records.c
void handle_put(struct session *session, Islr__Envelope *m);            // serve_upload.c
void handle_add_checkpoint(struct session *session, Islr__Envelope *m); // serve_checkpoint.c
void handle_finished(struct session *session, Islr__Envelope *m);       // serve_attempt.c
void handle_progress(struct session *session, Islr__Envelope *m);       // serve_progress.c
void handle_pulse(struct session *session, Islr__Envelope *m);          // serve_health.c
void handle_leaving(struct session *session, Islr__Envelope *m);        // serve_register.c

#endif
