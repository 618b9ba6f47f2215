// Who may do what over the network: tokens, roles, expiry, revocation, and what strangers can do to a server.
#include "tests/serve/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"

static struct rig rig;
static struct actor admin; // the server's user, on its socket

static int setup(void **state)
{
    (void)state;
    rig_open_listening(&rig);
    actor_open(&admin, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

// A token's text, in a buffer that the next call uses again; its id.
static uint64_t make_token(const char *user, const char *role, int64_t expires_ms, char text[128])
{
    Islr__CreateToken q = ISLR__CREATE_TOKEN__INIT;
    Islr__Envelope m = ENVELOPE(CREATE_TOKEN, create_token, &q);
    q.user = (char *)user;
    q.role = (char *)role;
    q.has_expires_ms = 1;
    q.expires_ms = expires_ms;
    Islr__Envelope *reply = actor_call(&admin, &m, ISLR__ENVELOPE__BODY_TOKEN_CREATED);
    uint64_t id = reply->token_created->info->id;
    snprintf(text, 128, "%s", reply->token_created->token);
    envelope_free(reply);
    return id;
}

static void enter(struct actor *a, const char *user, const char *role)
{
    char token[128];
    make_token(user, role, 0, token);
    actor_dial(a, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, token);
    actor_wait_up(a);
    assert_string_equal(a->role, role);
}

static void revoke_token(uint64_t id)
{
    Islr__RevokeTokens q = ISLR__REVOKE_TOKENS__INIT;
    Islr__Envelope m = ENVELOPE(REVOKE_TOKENS, revoke_tokens, &q);
    q.ids = &id;
    q.n_ids = 1;
    actor_call_ok(&admin, &m);
}

// ---- roles ----------------------------------------------------------------------------------------------------------

// An envelope around a message without anything in it, to free().
static ProtobufCMessage *wrap_empty(Islr__Envelope *m, Islr__Envelope__BodyCase body)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(&islr__envelope__descriptor, (unsigned)body);
    const ProtobufCMessageDescriptor *type = f->descriptor;
    ProtobufCMessage *empty = xcalloc(1, type->sizeof_message);
    protobuf_c_message_init(type, empty);
    islr__envelope__init(m);
    m->body_case = body;
    m->hello = (Islr__Hello *)empty; // any member of the union
    return empty;
}

// The code of the answer to an empty request: ERR_DENIED is about the role, all else came after it.
static enum error_code try_empty(struct actor *a, Islr__Envelope__BodyCase body)
{
    Islr__Envelope m;
    enum error_code code = ERR_NONE;
    ProtobufCMessage *empty = wrap_empty(&m, body);
    actor_ask(a, &m);
    while (!a->ear->inbox)
        rig_for(&rig, 1);
    for (; a->ear->inbox; rig_for(&rig, 1)) {
        struct message *first = a->ear->inbox;
        if (first->m->body_case == ISLR__ENVELOPE__BODY_FAULT)
            code = (enum error_code)first->m->fault->code;
        a->ear->inbox = first->next;
        envelope_free(first->m);
        free(first);
    }
    free(empty);
    return code;
}

// The same for one that would be taken for an answer if it had an id: being refused ends the connection.
static enum error_code try_without_id(const char *role, Islr__Envelope__BodyCase body)
{
    struct actor a;
    Islr__Envelope m;
    ProtobufCMessage *empty = wrap_empty(&m, body);
    enter(&a, "ann", role);
    a.why.code = ERR_NONE;
    actor_send(&a, &m);
    free(empty);
    while (!a.why.code)
        rig_for(&rig, 1);
    enum error_code code = a.why.code;
    actor_close(&a);
    return code;
}

// Everything that is no answer, written down anew here, so that a change of the server's table is noticed.
#define SERVERS "!" // only the server says it
static const struct {
    Islr__Envelope__BodyCase body;
    const char *roles; // w v s a: worker's token (greeting as a client), viewer, submitter, admin
} allowed[] = {
    {ISLR__ENVELOPE__BODY_PING, "wvsa"},
    {ISLR__ENVELOPE__BODY_SUBMIT, "sa"},
    {ISLR__ENVELOPE__BODY_LIST_RUNS, "vsa"},
    {ISLR__ENVELOPE__BODY_GET_RUN, "vsa"},
    {ISLR__ENVELOPE__BODY_FOLLOW, "vsa"},
    {ISLR__ENVELOPE__BODY_WAIT, "vsa"},
    {ISLR__ENVELOPE__BODY_WATCH, "vsa"},
    {ISLR__ENVELOPE__BODY_CONTROL, "sa"},
    {ISLR__ENVELOPE__BODY_FETCH, "vsa"}, // workers as a rank alone: test_permit.c
    {ISLR__ENVELOPE__BODY_LIST_CHECKPOINTS, "vsa"},
    {ISLR__ENVELOPE__BODY_LIST_WORKERS, "vsa"},
    {ISLR__ENVELOPE__BODY_GET_STATUS, "vsa"},
    {ISLR__ENVELOPE__BODY_GET_LIMITS, "vsa"},
    {ISLR__ENVELOPE__BODY_SET_LIMITS, "a"},
    {ISLR__ENVELOPE__BODY_CREATE_TOKEN, "a"},
    {ISLR__ENVELOPE__BODY_LIST_TOKENS, "a"},
    {ISLR__ENVELOPE__BODY_REVOKE_TOKENS, "a"},
    {ISLR__ENVELOPE__BODY_REGISTER, ""},
    {ISLR__ENVELOPE__BODY_PUT, ""},
    {ISLR__ENVELOPE__BODY_ADD_CHECKPOINT, ""},
    {ISLR__ENVELOPE__BODY_FINISHED, ""},
    {ISLR__ENVELOPE__BODY_COLLECT, "sa"},
    {ISLR__ENVELOPE__BODY_RECORDS, ""},
    {ISLR__ENVELOPE__BODY_PROGRESS, ""},
    {ISLR__ENVELOPE__BODY_PULSE, ""},
    {ISLR__ENVELOPE__BODY_LEAVING, ""},
    {ISLR__ENVELOPE__BODY_ASSIGN, SERVERS},
    {ISLR__ENVELOPE__BODY_STOP, SERVERS},
    {ISLR__ENVELOPE__BODY_RECORDS_ACK, SERVERS},
};
enum { KINDS = sizeof allowed / sizeof *allowed };

static int is_answer(Islr__Envelope__BodyCase body, uint64_t id)
{
    Islr__Envelope m = ISLR__ENVELOPE__INIT;
    m.body_case = body;
    m.id = id;
    return envelope_is_reply(&m);
}

// Of every kind that the protocol has.
static void the_table_is_complete(void **state)
{
    (void)state;
    for (unsigned i = 0; i < islr__envelope__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &islr__envelope__descriptor.fields[i];
        Islr__Envelope__BodyCase body = (Islr__Envelope__BodyCase)f->id;
        size_t k = 0;
        while (k < KINDS && allowed[k].body != body)
            k++;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE || body == ISLR__ENVELOPE__BODY_HELLO || is_answer(body, 0))
            continue;
        if (k == KINDS)
            fail_msg("who may send %s is not in the table", f->name);
    }
}

static enum error_code try_kind(struct actor *a, const char *role, Islr__Envelope__BodyCase body)
{
    return is_answer(body, 1) ? try_without_id(role, body) : try_empty(a, body);
}

static void roles_are_kept_apart(void **state)
{
    static const char *const roles[] = {"worker", "viewer", "submitter", "admin"};
    (void)state;
    for (size_t r = 0; r < 4; r++) {
        struct actor a;
        enter(&a, "ann", roles[r]);
        for (size_t i = 0; i < KINDS; i++) {
            int may = strchr(allowed[i].roles, roles[r][0]) != NULL;
            enum error_code code = try_kind(&a, roles[r], allowed[i].body);
            int did = code != ERR_DENIED && (*allowed[i].roles != *SERVERS || code != ERR_INVALID);
            if (may != did)
                fail_msg("a %s %s send a message of kind %d", roles[r], did ? "may" : "may not", (int)allowed[i].body);
        }
        actor_close(&a);
    }
}

static void submitters_control_their_own_runs(void **state)
{
    struct actor ann, bob;
    (void)state;
    enter(&ann, "ann", "submitter");
    enter(&bob, "bob", "submitter");
    uint64_t run = client_submit(&ann, job_tiny(0, 1));
    Islr__Envelope *m = client_show(&bob, run); // he may look
    assert_string_equal(m->run_detail->summary->user, "ann");
    envelope_free(m);
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope q = ENVELOPE(CONTROL, control, &c);
    c.has_verb = 1;
    c.targets = &run;
    c.n_targets = 1;
    for (int verb = ISLR__CONTROL__VERB__VERB_CANCEL; verb <= ISLR__CONTROL__VERB__VERB_SET_PRIORITY; verb++) {
        c.verb = (Islr__Control__Verb)verb;
        c.has_priority = 1;
        c.priority = -1;
        actor_call_fault(&bob, &q, ERR_DENIED);
    }
    c.verb = ISLR__CONTROL__VERB__VERB_DRAIN;
    c.n_targets = 0;
    actor_call_fault(&ann, &q, ERR_DENIED);
    client_control(&ann, ISLR__CONTROL__VERB__VERB_HOLD, run);
    client_control(&admin, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    actor_close(&ann);
    actor_close(&bob);
}

static void workers_have_a_role_of_their_own(void **state)
{
    struct actor rank, not_one;
    char token[128];
    (void)state;
    make_token("node", "worker", 0, token);
    actor_dial(&rank, &rig, ISLR__HELLO__ROLE__ROLE_WORKER, token);
    actor_wait_up(&rank);
    rank_introduce(&rank, "w", 0, 1);
    uint64_t run = client_submit(&admin, job_tiny(1, 1));
    uint32_t attempt = world_take(&rank, 1, run);
    rank_records(&rank, run, attempt, 1, 5);
    rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    actor_close(&rank);
    make_token("ann", "submitter", 0, token);
    actor_dial(&not_one, &rig, ISLR__HELLO__ROLE__ROLE_WORKER, token);
    actor_wait_refused(&not_one);
    assert_int_equal(not_one.why.code, ERR_DENIED);
    actor_close(&not_one);
}

// ---- a token's life -------------------------------------------------------------------------------------------------

static void tokens_are_checked_whole(void **state)
{
    char good[128], bad[160];
    (void)state;
    uint64_t id = make_token("ann", "viewer", 0, good);
    const char *secret = strrchr(good, '_');
    for (int i = 0; i < 6; i++) {
        struct actor a;
        snprintf(bad, sizeof bad,
                 i == 0   ? "islr_%llu%s0"
                 : i == 1 ? "islr_%llu"
                 : i == 2 ? "%llu%s"
                          : "islr_%llu%s",
                 (unsigned long long)id + (i == 3), secret);
        if (i == 4)
            bad[strlen(bad) - 1] ^= 1;
        if (i == 5)
            *bad = 0;
        actor_dial(&a, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, bad);
        actor_wait_refused(&a);
        assert_int_equal(a.why.code, ERR_DENIED);
        actor_close(&a);
    }
    Islr__ListTokens q = ISLR__LIST_TOKENS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_TOKENS, list_tokens, &q);
    Islr__Envelope *reply = actor_call(&admin, &m, ISLR__ENVELOPE__BODY_TOKEN_LIST);
    assert_true(reply->token_list->n_tokens >= 1);
    envelope_free(reply);
}

// More than one message has.
static void many_tokens_come_in_pieces(void **state)
{
    enum { MANY = 300 };
    char text[128];
    uint64_t ids[MANY];
    size_t seen = 0, messages = 0;
    Islr__ListTokens q = ISLR__LIST_TOKENS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_TOKENS, list_tokens, &q);
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        ids[i] = make_token("ann", "viewer", 0, text);
    revoke_token(ids[7]); // is not shown
    actor_ask(&admin, &m);
    for (int more = 1; more; messages++) {
        Islr__Envelope *piece = actor_next(&admin, ISLR__ENVELOPE__BODY_TOKEN_LIST);
        more = piece->token_list->more;
        for (size_t i = 0; i < piece->token_list->n_tokens; i++) {
            seen += seen == 7;
            assert_int_equal(piece->token_list->tokens[i]->id, ids[seen++]);
        }
        envelope_free(piece);
    }
    assert_int_equal(seen, MANY);
    assert_int_equal(messages, 2);
}

static void tokens_that_make_no_sense(void **state)
{
    static const char *const users[] = {"", "a b", "../x", "a\nb", "ann"};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        Islr__CreateToken q = ISLR__CREATE_TOKEN__INIT;
        Islr__Envelope m = ENVELOPE(CREATE_TOKEN, create_token, &q);
        q.user = (char *)users[i];
        q.role = (char *)(i < 4 ? "viewer" : "root");
        actor_call_fault(&admin, &m, ERR_INVALID);
        q.role = (char *)"viewer";
        q.has_expires_ms = 1;
        q.expires_ms = clock_wall_ms() - 1000;
        actor_call_fault(&admin, &m, ERR_INVALID);
    }
    Islr__RevokeTokens q = ISLR__REVOKE_TOKENS__INIT;
    Islr__Envelope m = ENVELOPE(REVOKE_TOKENS, revoke_tokens, &q);
    uint64_t id = 4711;
    actor_call_fault(&admin, &m, ERR_INVALID);
    q.ids = &id;
    q.n_ids = 1;
    actor_call_fault(&admin, &m, ERR_NOT_FOUND);
}

static void revoked_ones_end_at_once(void **state)
{
    struct actor ann, rank;
    char token[128];
    (void)state;
    uint64_t viewer = make_token("ann", "viewer", 0, token);
    actor_dial(&ann, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, token);
    actor_wait_up(&ann);
    revoke_token(viewer);
    actor_wait_refused(&ann); // it has tried again, too
    assert_int_equal(ann.why.code, ERR_DENIED);
    actor_close(&ann);
    uint64_t worker = make_token("node", "worker", 0, token);
    actor_dial(&rank, &rig, ISLR__HELLO__ROLE__ROLE_WORKER, token);
    actor_wait_up(&rank);
    rank_introduce(&rank, "w", 0, 1);
    revoke_token(worker);
    actor_wait_refused(&rank);
    actor_close(&rank);
    revoke_token(worker); // again: fine
    // Neither comes back with the server.
    actor_close(&admin);
    rig_stop_server(&rig);
    rig_start_server(&rig);
    actor_open(&admin, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    actor_dial(&ann, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, token);
    actor_wait_refused(&ann);
    actor_close(&ann);
}

// A connection by a token that is good for so long, to a server that was started after it was made; 0: it has
// expired before.
static int enter_after_restart(struct actor *a, int64_t ms)
{
    char token[128];
    make_token("ann", "submitter", clock_wall_ms() + ms, token);
    rig_stop_server(&rig);
    rig_start_server(&rig);
    actor_wait_up(&admin);
    actor_dial(a, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, token);
    for (unsigned waited = 0; !a->up && !a->refused;)
        rig_wait(&rig, &waited, "a connection or a refusal");
    if (!a->refused)
        return 1;
    assert_non_null(strstr(a->why.text, "has expired"));
    actor_close(a);
    return 0;
}

static void tokens_outlive_the_server_until_they_expire(void **state)
{
    struct actor a;
    int64_t ms = 1000;
    (void)state;
    while (!enter_after_restart(&a, ms)) // as long as this machine needs
        assert_true((ms *= 3) < 60000);
    actor_wait_refused(&a); // the connection that was open ends, and no other comes
    assert_non_null(strstr(a.why.text, "has expired"));
    actor_close(&a);
}

// ---- strangers ------------------------------------------------------------------------------------------------------

static int connect_raw(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(rig.network.port));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static int count_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 20000; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

// Ten thousand connections from one address, hundreds open at a time: those over the limit are closed at once, the
// server's own descriptors stay few, and whoever is known goes on being served.
static void ten_thousand_strangers(void **state)
{
    enum { OPEN = 400, ROUNDS = 25 };
    static int fds[OPEN];
    struct actor known;
    int most = 0;
    (void)state;
    enter(&known, "ann", "viewer");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < OPEN; i++) {
            fds[i] = connect_raw();
            assert_true(fds[i] >= 0);
            if (i % 50 == 0)
                rig_for(&rig, 1);
        }
        rig_for(&rig, 5);
        int own = count_files() - OPEN;
        most = own > most ? own : most;
        assert_int_equal(try_empty(&known, ISLR__ENVELOPE__BODY_GET_STATUS), ERR_NONE);
        for (int i = 0; i < OPEN; i++)
            close(fds[i]);
        rig_for(&rig, 1);
    }
    assert_true(most <= RPC_STRANGERS_PER_NETWORK + 60);
    for (unsigned ms = 0; count_files() > 60;) // nothing is left of them
        rig_wait(&rig, &ms, "the strangers' end");
    actor_close(&known);
}

// After so many wrong tokens an address is not let in any more, for a while.
static void guessing_is_slow(void **state)
{
    int hung_up = 0;
    (void)state;
    for (int i = 0; i < 2 * RPC_BLAMES_MAX && !hung_up; i++) {
        struct actor a;
        actor_dial(&a, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, "islr_1_0123456789");
        while (!a.refused && !*a.why.text)
            rig_for(&rig, 1);
        hung_up = a.why.code == ERR_UNREACHABLE; // not even asked for its token
        actor_close(&a);
    }
    assert_true(hung_up);
    assert_int_equal(try_empty(&admin, ISLR__ENVELOPE__BODY_GET_STATUS), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_complete),
        cmocka_unit_test_setup_teardown(roles_are_kept_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(submitters_control_their_own_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_have_a_role_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_are_checked_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(many_tokens_come_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_that_make_no_sense, setup, teardown),
        cmocka_unit_test_setup_teardown(revoked_ones_end_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_outlive_the_server_until_they_expire, setup, teardown),
        cmocka_unit_test_setup_teardown(ten_thousand_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(guessing_is_slow, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
