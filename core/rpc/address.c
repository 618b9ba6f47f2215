// Where a server is: see address.h.
#include "core/rpc/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"

#define SYSTEM_DIRECTORY "/var/lib/islr"

_Static_assert(sizeof((struct address *)0)->path >= sizeof((struct sockaddr_un *)0)->sun_path, "room for a path");

static int parse_unix(const char *path, struct address *out, struct error *e)
{
    if (*path != '/')
        return error_set(e, ERR_INVALID, "the socket's path \"%s\" must be absolute", path);
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return error_set(e, ERR_INVALID, "the socket's path %s is too long: a unix socket's may have %zu bytes", path,
                         sizeof((struct sockaddr_un *)0)->sun_path - 1);
    out->kind = ADDRESS_UNIX;
    strcpy(out->path, path);
    return 0;
}

// text: the whole of it, for messages; form: what it should look like.
static int parse_tls(const char *text, const char *rest, const char *form, long port_min, struct address *out,
                     struct error *e)
{
    const char *host = rest, *end, *port;
    if (*host == '[') {
        end = strchr(++host, ']');
        port = end && end[1] == ':' ? end + 2 : NULL;
    } else {
        end = strrchr(host, ':');
        port = end ? end + 1 : NULL;
    }
    if (!port || end == host || (size_t)(end - host) >= sizeof out->host)
        return error_set(e, ERR_INVALID, "\"%s\" is not of the form %s", text, form);
    char *stop;
    long number = strtol(port, &stop, 10);
    if (*port < '0' || *port > '9' || *stop || number < port_min || number > 65535)
        return error_set(e, ERR_INVALID, "the port in \"%s\" must be a number from %ld to 65535", text, port_min);
    out->kind = ADDRESS_TLS;
    memcpy(out->host, host, (size_t)(end - host));
    out->host[end - host] = 0;
    snprintf(out->port, sizeof out->port, "%ld", number);
    return 0;
}

int address_parse(const char *text, struct address *out, struct error *e)
{
    memset(out, 0, sizeof *out);
    if (*text == '/')
        return parse_unix(text, out, e);
    if (!strncmp(text, "unix:", 5))
        return parse_unix(text + 5, out, e);
    if (!strncmp(text, "tls:", 4))
        return parse_tls(text, text + 4, "tls:HOST:PORT", 1, out, e);
    return error_set(e, ERR_INVALID, "\"%s\" is not a server's address: unix:PATH or tls:HOST:PORT", text);
}

int address_parse_listen(const char *text, struct address *out, struct error *e)
{
    memset(out, 0, sizeof *out);
    return parse_tls(text, text, "HOST:PORT", 0, out, e);
}

void address_format(const struct address *a, char text[ADDRESS_TEXT])
{
    if (a->kind == ADDRESS_UNIX)
        snprintf(text, ADDRESS_TEXT, "unix:%s", a->path);
    else if (strchr(a->host, ':'))
        snprintf(text, ADDRESS_TEXT, "tls:[%s]:%s", a->host, a->port);
    else
        snprintf(text, ADDRESS_TEXT, "tls:%s:%s", a->host, a->port);
}

// ---- what a server must show ----------------------------------------------------------------------------------------

static const char prefix[] = "SHA256:";

void fingerprint_format(const struct hash *fingerprint, char text[FINGERPRINT_TEXT])
{
    strcpy(text, prefix);
    hash_to_hex(fingerprint, text + sizeof prefix - 1);
}

int fingerprint_parse(const char *text, struct hash *out, struct error *e)
{
    char digits[65];
    size_t n = 0;
    const char *c = strncasecmp(text, prefix, sizeof prefix - 1) ? text : text + sizeof prefix - 1;
    for (; *c && n < sizeof digits; c++)
        if (*c != ':')
            digits[n++] = *c;
    digits[n < sizeof digits ? n : sizeof digits - 1] = 0;
    if (*c || n != sizeof digits - 1 || hash_from_hex(digits, out))
        return error_set(e, ERR_INVALID, "\"%s\" is not a certificate's fingerprint: SHA256: and 64 hexadecimal digits",
                         text);
    return 0;
}

int address_trust(struct address *a, const char *fingerprint, const char *ca_file, struct error *e)
{
    if (!(fingerprint && *fingerprint) && !(ca_file && *ca_file)) {
        fingerprint = getenv("ISLR_FINGERPRINT");
        ca_file = getenv("ISLR_CA");
    }
    int pin = fingerprint && *fingerprint, ca = ca_file && *ca_file;
    if (pin && ca)
        return error_set(e, ERR_INVALID,
                         "a server's certificate is known by its fingerprint or by a CA file, not both");
    if (ca && strlen(ca_file) >= sizeof a->ca_file)
        return error_set(e, ERR_INVALID, "the CA file's path %s is too long", ca_file);
    if (pin && fingerprint_parse(fingerprint, &a->fingerprint, e))
        return -1;
    a->pinned = pin;
    strcpy(a->ca_file, ca ? ca_file : "");
    return 0;
}

// ---- a server on this machine ---------------------------------------------------------------------------------------

char *address_default_directory(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (geteuid() == 0)
        return xstrdup(SYSTEM_DIRECTORY);
    if (state && *state == '/')
        return file_join(state, "islr");
    return file_join(home && *home == '/' ? home : "/tmp", ".local/state/islr");
}

char *address_default_socket(const char *directory)
{
    if (directory)
        return file_join(directory, "islr.sock");
    char *standard = address_default_directory();
    char *path = file_join(standard, "islr.sock");
    free(standard);
    return path;
}

char *address_find_socket(void)
{
    char *own = address_default_socket(NULL);
    if (!file_exists(own) && file_exists(SYSTEM_DIRECTORY "/islr.sock")) {
        free(own);
        return xstrdup(SYSTEM_DIRECTORY "/islr.sock");
    }
    return own;
}
