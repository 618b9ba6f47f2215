// Ends the process where something that must end does not: a thread that waits for a deadline. For calls that may hang in
// a driver or a library, where nothing that the caller could do would come back.
#ifndef ISLR_COMM_DEADLINE_H
#define ISLR_COMM_DEADLINE_H

struct deadline;

struct deadline *deadline_create(void);
void deadline_destroy(struct deadline *d); // NULL is fine

// From now on the process has `seconds` before it is left with `exit_code` and this sentence on stderr. A later call
// replaces an earlier one.
void deadline_set(struct deadline *d, double seconds, int exit_code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void deadline_clear(struct deadline *d);

#endif
