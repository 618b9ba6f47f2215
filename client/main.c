// islrctl: the table of its commands. A row per file; who adds a command adds its file to meson.build and its row here,
// in the order of a user's way.
#include <signal.h>

#include "client/command.h"

static const struct command commands[] = {
    {"submit", "hand a job to the server", command_submit},
    {"list", "the queue and what has run", command_list},
    {"show", "everything about one run", command_show},
    {"watch", "a run as it goes, or a live screen of all", command_watch},
    {"logs", "what a run has said", command_logs},
    {"metrics", "a run's figures", command_metrics},
    {"wait", "until runs have ended", command_wait},
    {"cancel", "stop runs; they save a resume point first", command_cancel},
    {"hold", "keep a queued run from starting", command_hold},
    {"release", "let a held run start", command_release},
    {"retry", "let an ended run go on from its resume point", command_retry},
    {"set", "change a run's priority", command_set},
    {"plot", "curves of runs' figures", command_plot},
    {"compare", "differing settings and final figures of runs, side by side", command_compare},
    {"checkpoints", "what a run has saved", command_checkpoints},
    {"pull", "fetch a run's checkpoints and predictions", command_pull},
    {"soup", "average checkpoints of runs", command_soup},
    {"pin", "keep a checkpoint from being collected", command_pin},
    {"unpin", "let a checkpoint be collected again", command_unpin},
    {"gc", "remove checkpoints that nobody needs any more", command_gc},
    {"workers", "ranks, hosts, devices and what they do", command_workers},
    {"status", "the server's state", command_status},
    {"limits", "what users may have, and what they have had", command_limits},
    {"drain", "start no more runs", command_drain},
    {"resume-scheduling", "start runs again", command_resume_scheduling},
    {"login", "accept a server's certificate and keep a token for it", command_login},
    {"token", "create, list and revoke tokens", command_token},
    {0},
};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a server or a pager that goes away is an error like any other
    return program_main("islrctl", "client of islrd, the training system for isolated sign language recognition",
                        commands, argc, argv);
}
