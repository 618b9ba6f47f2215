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

static int parse_tls(const char *text, const char *rest, struct address *out, struct error *e)
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
        return error_set(e, ERR_INVALID, "\"%s\" is not of the form tls:HOST:PORT", text);
    char *stop;
    long number = strtol(port, &stop, 10);
    if (*port < '0' || *port > '9' || *stop || number < 1 || number > 65535)
        return error_set(e, ERR_INVALID, "the port in \"%s\" must be a number from 1 to 65535", text);
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
        return parse_tls(text, text + 4, out, e);
    return error_set(e, ERR_INVALID, "\"%s\" is not a server's address: unix:PATH or tls:HOST:PORT", text);
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
