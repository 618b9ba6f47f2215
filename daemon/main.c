// islrd: the table of its commands. A row per file; who adds a command adds its file to meson.build and its row here,
// in the order of a user's way.
#include "daemon/command.h"

static const struct command commands[] = {
    {"synth", "synthetic recordings, to try things with", command_synth},
    {"prepare", "recordings in the competition's layout become a prepared set", command_prepare},
    {"run", "a job in the foreground, alone or under mpirun", command_run},
    {"inspect", "what a prepared set, checkpoint or artifact holds", command_inspect},
    {"predict", "signs of recordings", command_predict},
    {"evaluate", "accuracy of models on labelled clips", command_evaluate},
    {"soup", "the average of checkpoints", command_soup},
    {"bench", "throughput of this machine", command_bench},
    {"serve", "control server: queue, history, artifacts", command_serve},
    {"work", "one worker rank, under mpirun", command_work},
    {"up", "server and workers on this machine", command_up},
    {"backup", "a server's whole state as one file, also while it serves", command_backup},
    {"fsck", "a server's database and artifacts checked against each other", command_fsck},
    {"doctor", "what was built in, what this machine has, what is missing", command_doctor},
    {0},
};

int main(int argc, char **argv)
{
    return program_main("islrd", "training system for isolated sign language recognition", commands, argc, argv);
}
