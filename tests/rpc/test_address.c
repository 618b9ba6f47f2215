// Servers' addresses: what is taken, what is refused and with which words.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/rpc/address.h"

static void takes_all_forms(void **state)
{
    static const struct {
        const char *text, *formatted;
    } rows[] = {
        {"unix:/run/x.sock", "unix:/run/x.sock"},
        {"/run/x.sock", "unix:/run/x.sock"},
        {"tls:head.example.org:7443", "tls:head.example.org:7443"},
        {"tls:[2001:db8::1]:7443", "tls:[2001:db8::1]:7443"},
        {"tls:10.0.0.1:1", "tls:10.0.0.1:1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a;
        struct error e = {0};
        char text[ADDRESS_TEXT];
        if (address_parse(rows[i].text, &a, &e))
            fail_msg("%s: %s", rows[i].text, e.text);
        address_format(&a, text);
        assert_string_equal(text, rows[i].formatted);
    }
}

static void refuses_others(void **state)
{
    char tall[400];
    memset(tall, 'a', sizeof tall);
    memcpy(tall, "unix:/", 6);
    tall[sizeof tall - 1] = 0;
    char host[400];
    memset(host, 'h', sizeof host);
    memcpy(host, "tls:", 4);
    strcpy(host + sizeof host - 4, ":80");
    const char *rows[] = {"",           "relative.sock",  "unix:relative", "http://x", "tls:host",  "tls::7443",
                          "tls:host:0", "tls:host:65536", "tls:host:x",    "tls:h:7x", "tls:[::1]", tall,
                          host};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a;
        struct error e = {0};
        assert_int_equal(address_parse(rows[i], &a, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_true(strlen(e.text) > 10);
    }
}

static void default_socket_follows_the_environment(void **state)
{
    (void)state;
    char *path = address_default_socket("/srv/islr");
    assert_string_equal(path, "/srv/islr/islr.sock");
    free(path);
    setenv("XDG_STATE_HOME", "/tmp/state-home", 1);
    path = address_default_socket(NULL);
    assert_string_equal(path, geteuid() ? "/tmp/state-home/islr/islr.sock" : "/var/lib/islr/islr.sock");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_all_forms),
        cmocka_unit_test(refuses_others),
        cmocka_unit_test(default_socket_follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
