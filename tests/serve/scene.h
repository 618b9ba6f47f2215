// The scene of most of the server's tests: a server of its own for each test, and a client. For one file of a program.
#ifndef ISLR_TESTS_SERVE_SCENE_H
#define ISLR_TESTS_SERVE_SCENE_H

#include "tests/serve/world.h"

static struct rig rig;
static struct actor client;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    actor_close(&client);
    rig_close(&rig);
    return 0;
}

#endif
