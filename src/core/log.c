// core/log.c - formats into one buffer and writes it with one call, so lines of two threads never mix.
#include "core/log.h"

#include "core/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int log_least = -1; // -1: not yet read from the environment

static int log_level_from_environment(void) {
    const char *s = getenv("SILLON_LOG");
    if (s == NULL) return LOG_INFO;
    if (strcmp(s, "debug") == 0) return LOG_DEBUG;
    if (strcmp(s, "warn") == 0) return LOG_WARN;
    if (strcmp(s, "error") == 0) return LOG_ERROR;
    return LOG_INFO;
}

void log_level_set(enum log_level least) {
    if (getenv("SILLON_LOG") == NULL) atomic_store(&log_least, (int)least);
}

void log_write(enum log_level level, const char *module, const char *format, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int least = atomic_load(&log_least);
    if (least < 0) atomic_store(&log_least, least = log_level_from_environment());
    if ((int)level < least) return;
    char line[2048], stamp[CLOCK_STAMP_BYTES];
    clock_stamp(stamp, clock_realtime_ms());
    int n = snprintf(line, sizeof line, "%s %s %s: ", stamp, names[level], module);
    va_list args;
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    size_t length = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (length > sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored;
}
