// The scene of most of the server's tests: a server of its own for each test, and a client. For one file of a program.
// SCENE_LEASE_MS: RIG_BRIEF_LEASE_MS, where tests wait for leases to run out.
#ifndef ISLR_TESTS_SERVE_SCENE_H
#define ISLR_TESTS_SERVE_SCENE_H

#include "tests/serve/world.h"

#ifndef SCENE_LEASE_MS
#define SCENE_LEASE_MS RIG_LEASE_MS
#endif

static struct rig rig;
static struct actor client;

static int setup(void **state)
{
    (void)state;
    rig_open_with(&rig, 0, SCENE_LEASE_MS);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

#endif
