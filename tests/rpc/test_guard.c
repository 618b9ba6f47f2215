// Who is let in from the network: limits by address, blame and its end, and a memory that stays bounded.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "core/rpc/guard.h"
#include "core/rpc/protocol.h"

static struct network at(const char *text)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    char shown[64];
    struct network n;
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        n = network_of((struct sockaddr *)&v6, shown, sizeof shown);
    } else {
        assert_int_equal(inet_pton(AF_INET, text, &v4.sin_addr), 1);
        n = network_of((struct sockaddr *)&v4, shown, sizeof shown);
    }
    assert_string_equal(shown, text);
    return n;
}

static int same(const char *a, const char *b)
{
    struct network x = at(a), y = at(b);
    return !memcmp(&x, &y, sizeof x);
}

static void hosts_are_told_apart(void **state)
{
    (void)state;
    assert_true(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert_false(same("192.0.2.1", "192.0.2.2"));
    assert_false(same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    assert_true(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::9")); // one host may have them all
    assert_false(same("2001:db8:0:1::1", "2001:db8:0:2::1"));
}

static void one_address_does_not_take_all(void **state)
{
    struct guard g = {0};
    struct network a = at("192.0.2.1"), b = at("192.0.2.2");
    (void)state;
    for (int i = 0; i < RPC_STRANGERS_PER_NETWORK; i++)
        assert_true(guard_admit(&g, &a, 0));
    assert_false(guard_admit(&g, &a, 0));
    assert_true(guard_admit(&g, &b, 0));
    guard_release(&g, &a);
    assert_true(guard_admit(&g, &a, 0));
    guard_free(&g);
}

static void wrong_tokens_shut_the_door_for_a_while(void **state)
{
    struct guard g = {0};
    struct network a = at("192.0.2.1"), b = at("192.0.2.2");
    (void)state;
    for (int i = 0; i < RPC_BLAMES_MAX; i++) {
        assert_true(guard_admit(&g, &a, (uint64_t)i));
        guard_blame(&g, &a, (uint64_t)i);
        guard_release(&g, &a);
    }
    assert_false(guard_admit(&g, &a, 1000));
    assert_false(guard_admit(&g, &a, RPC_BLAMES_MS - 1));
    assert_true(guard_admit(&g, &b, 1000));
    assert_true(guard_admit(&g, &a, RPC_BLAMES_MS));
    guard_free(&g);
}

static void strangers_from_everywhere_are_bounded(void **state)
{
    struct guard g = {0};
    unsigned in = 0;
    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 + i)};
        char text[64];
        struct network n = network_of((struct sockaddr *)&v4, text, sizeof text);
        in += guard_admit(&g, &n, i) != 0;
        if (i % 3 == 0)
            guard_blame(&g, &n, i);
    }
    assert_int_equal(in, RPC_STRANGERS_MAX);
    assert_int_equal(g.strangers, RPC_STRANGERS_MAX);
    assert_true(g.count <= 2 * RPC_STRANGERS_MAX);
    struct network first = at("10.0.0.0"); // was not forgotten for the others
    guard_release(&g, &first);
    assert_int_equal(g.strangers, RPC_STRANGERS_MAX - 1);
    guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_told_apart),
        cmocka_unit_test(one_address_does_not_take_all),
        cmocka_unit_test(wrong_tokens_shut_the_door_for_a_while),
        cmocka_unit_test(strangers_from_everywhere_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
