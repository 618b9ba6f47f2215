// islrd serve alone, for tests that kill it: a program that is quickly built and has nothing of the trainer in it.
#include "daemon/command.h"

int main(int argc, char **argv)
{
    return command_serve(argc, argv);
}
