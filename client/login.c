// islrctl login: accept a server's certificate, once and for all, and keep the token for it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "client/command.h"
#include "client/config.h"
#include "client/json.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/tls.h"
#include "core/rpc/token.h"

enum { LINE_SIZE = 1024, SKEW_MS = 60000 };

struct login {
    const char *server, *fingerprint, *ca, *token_file;
    bool json;
};

// ---- asking ---------------------------------------------------------------------------------------------------------

static int read_line(char line[LINE_SIZE])
{
    if (!fgets(line, LINE_SIZE, stdin))
        return -1;
    line[strcspn(line, "\r\n")] = 0;
    return 0;
}

static int ask(const struct address *a, const struct hash *shown, struct error *e)
{
    char where[ADDRESS_TEXT], text[FINGERPRINT_TEXT], line[LINE_SIZE];
    address_format(a, where);
    fingerprint_format(shown, text);
    if (!isatty(STDIN_FILENO))
        return error_set(
            e, ERR_DENIED,
            "the server at %s is not known yet and there is nobody to ask: it shows %s; if the server's log "
            "says the same, give --fingerprint %s",
            where, text, text);
    fprintf(
        stderr,
        "The server at %s is not known yet. Its certificate is\n  %s\nIt should be what the server's log says. Is it "
        "(yes/no)? ",
        where, text);
    if (read_line(line) || strcmp(line, "yes"))
        return error_set(e, ERR_DENIED, "not accepted; nothing was sent to the server");
    return 0;
}

// A token is typed without being seen.
static char *ask_token(struct error *e)
{
    struct termios before, quiet;
    char line[LINE_SIZE];
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before)) {
        error_set(e, ERR_INVALID, "a token is needed: $ISLR_TOKEN, or --token-file FILE (-: standard input)");
        return NULL;
    }
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet); // before it is asked for: what is pasted at once is not shown either
    fprintf(stderr, "token: ");
    int rc = read_line(line);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    fprintf(stderr, "\n");
    if (!rc && *line)
        return xstrdup(line);
    error_set(e, ERR_INVALID, "no token was given");
    return NULL;
}

static char *find_token(const struct login *l, struct error *e)
{
    const char *variable = getenv("ISLR_TOKEN");
    if (l->token_file)
        return token_read(l->token_file, e);
    return variable && *variable ? xstrdup(variable) : ask_token(e);
}

// ---- trust ----------------------------------------------------------------------------------------------------------

// Without a proof in hand the certificate is looked at and shown; one that was accepted before must not have changed.
static int find_trust(const struct login *l, const struct config *old, struct address *a, struct error *e)
{
    char where[ADDRESS_TEXT];
    if (address_trust(a, l->fingerprint, l->ca, e))
        return -1;
    if (a->pinned || *a->ca_file)
        return 0;
    address_format(a, where);
    if (old->server && old->fingerprint && !strcmp(old->server, where))
        return address_trust(a, old->fingerprint, NULL, e);
    struct hash shown;
    if (tls_look(a, &shown, e) || ask(a, &shown, e))
        return -1;
    a->pinned = 1;
    a->fingerprint = shown;
    return 0;
}

// ---- the login itself -----------------------------------------------------------------------------------------------

static int keep(const struct address *a, const char *token, struct error *e)
{
    char where[ADDRESS_TEXT], fingerprint[FINGERPRINT_TEXT];
    address_format(a, where);
    fingerprint_format(&a->fingerprint, fingerprint);
    char *ca = *a->ca_file ? realpath(a->ca_file, NULL) : NULL;
    const struct config c = {where, (char *)token, a->pinned ? fingerprint : NULL, ca};
    int rc = config_write(&c, e);
    free(ca);
    return rc;
}

static void report(const struct login *l, const struct address *a, const Islr__Welcome *w)
{
    char where[ADDRESS_TEXT];
    int64_t ahead_ms = w->time_ms - clock_wall_ms();
    address_format(a, where);
    if (w->time_ms && (ahead_ms > SKEW_MS || ahead_ms < -SKEW_MS))
        fprintf(stderr, "islrctl: the server's clock is %lld s %s this machine's\n",
                (long long)(ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000, ahead_ms < 0 ? "behind" : "ahead of");
    if (l->json) {
        struct json j = {0};
        json_begin(&j, NULL, '{');
        json_text(&j, "server", where);
        json_text(&j, "user", w->user ? w->user : "");
        json_text(&j, "role", w->role ? w->role : "");
        json_end(&j, '}');
        json_print(&j, stdout);
        free(j.text.text);
    } else {
        text_say("logged in to %s as %s (%s)", where, w->user ? w->user : "?", w->role ? w->role : "?");
    }
}

static int login(const struct login *l, struct error *e)
{
    struct config old;
    struct address a;
    char *token = NULL;
    struct caller *c = NULL;
    int rc = -1;
    if (config_read(&old, e))
        return -1;
    if (address_parse(l->server, &a, e))
        goto out;
    if (a.kind != ADDRESS_TLS) {
        error_set(e, ERR_INVALID, "only tls: servers need a login; on a unix socket the system says who you are");
        goto out;
    }
    if (find_trust(l, &old, &a, e) || !(token = find_token(l, e)) || !(c = caller_open(&a, token, e)) ||
        keep(&a, token, e))
        goto out;
    report(l, &a, caller_welcome(c));
    rc = 0;
out:
    caller_close(c);
    free(token);
    config_free(&old);
    return rc;
}

int command_login(int argc, char **argv)
{
    struct login l = {NULL};
    const struct option_row options[] = {
        {0, "fingerprint", "SHA256:HEX", "the certificate that the server must show; for scripts, instead of asking",
         OPTION_STRING, &l.fingerprint, .default_shown = "$ISLR_FINGERPRINT"},
        {0, "ca", "FILE", "the server's certificate is valid by one of these, whatever it is", OPTION_STRING, &l.ca,
         .path = true, .default_shown = "$ISLR_CA"},
        {0, "token-file", "FILE", "where the token is; -: standard input", OPTION_STRING, &l.token_file, .path = true,
         .default_shown = "$ISLR_TOKEN, or it is asked for"},
        OPTION_JSON(&l.json, "{\"server\", \"user\", \"role\"}"),
        {0}};
    const struct option_operand operands[] = {{"tls:HOST:PORT", "the server", .value = &l.server}, {0}};
    const struct usage usage = {
        "islrctl login",
        "accept a server's certificate and keep a token for it",
        options,
        operands,
        "islrctl login tls:head:7443",
        "The certificate is shown and accepted once, as with ssh: from then on the server must show the same. It is "
        "kept\n"
        "with the token in ~/.config/islr/client.yaml (0600), and the server is the default one."};
    struct error e = {ERR_NONE, ""};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    return login(&l, &e) ? client_fail(&e) : 0;
}
