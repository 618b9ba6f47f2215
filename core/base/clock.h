// Time.
#ifndef ISLR_BASE_CLOCK_H
#define ISLR_BASE_CLOCK_H

#include <stdint.h>

double clock_seconds(void);     // monotonic, for intervals
double clock_cpu_seconds(void); // that this thread has worked
int64_t clock_wall_ms(void);    // milliseconds since 1970, for records: may jump
void clock_sleep(double seconds);

// "1h 02m", "3m 20s", "12.3 s": a duration for people.
const char *clock_format(double seconds, char text[32]);

#endif
