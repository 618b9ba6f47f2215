// The commands of islrctl: one file a command (client/<name>.c; control.c holds those that are one request each),
// listed in main.c's table.
#ifndef ISLR_CLIENT_COMMAND_H
#define ISLR_CLIENT_COMMAND_H

#include "core/base/command.h"

// argv[0] is the command's name; each returns the exit code (enum error_code).
int command_submit(int argc, char **argv);
int command_list(int argc, char **argv);
int command_show(int argc, char **argv);
int command_watch(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_metrics(int argc, char **argv);
int command_wait(int argc, char **argv);
int command_cancel(int argc, char **argv);
int command_hold(int argc, char **argv);
int command_release(int argc, char **argv);
int command_retry(int argc, char **argv);
int command_set(int argc, char **argv);
int command_plot(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_limits(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_resume_scheduling(int argc, char **argv);
int command_checkpoints(int argc, char **argv);
int command_pull(int argc, char **argv);
int command_soup(int argc, char **argv);
int command_pin(int argc, char **argv);
int command_unpin(int argc, char **argv);
int command_gc(int argc, char **argv);
int command_workers(int argc, char **argv);
int command_status(int argc, char **argv);
int command_token(int argc, char **argv);
int command_login(int argc, char **argv);

#endif
