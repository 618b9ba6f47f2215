// The commands of islrd: one file a command (daemon/<name>.c), listed in main.c's table.
#ifndef ISLR_DAEMON_COMMAND_H
#define ISLR_DAEMON_COMMAND_H

#include "core/base/command.h"

// argv[0] is the command's name; each returns the exit code (enum error_code).
int command_run(int argc, char **argv);
int command_work(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_up(int argc, char **argv);
int command_prepare(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_predict(int argc, char **argv);
int command_evaluate(int argc, char **argv);
int command_soup(int argc, char **argv);
int command_export(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_synth(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_fsck(int argc, char **argv);
int command_doctor(int argc, char **argv);

#endif
