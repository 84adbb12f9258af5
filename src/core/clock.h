// core/clock.h - time, through one small interface so that tests can use a simulated clock.
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include "core/base.h"

// A source of time. `context` is passed back to the functions.
struct clock {
    void *context;
    int64_t (*monotonic_ns)(void *context); // never goes back
    int64_t (*realtime_ms)(void *context);  // Unix time; may jump
};
extern const struct clock clock_system;

int64_t clock_monotonic_ns(void); // of clock_system
int64_t clock_realtime_ms(void);

enum { CLOCK_STAMP_BYTES = 32 };
// RFC 3339 in UTC with milliseconds: 2026-11-22T21:04:05.678Z
void clock_stamp(char out[CLOCK_STAMP_BYTES], int64_t unix_ms);
// Parses RFC 3339 ("Z" or an offset; fraction optional). false when malformed.
NODISCARD bool clock_stamp_parse(int64_t *unix_ms, const char *s);

#endif
