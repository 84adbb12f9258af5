// core/clock.c - the system clock and RFC 3339 stamps.
#include "core/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t system_monotonic_ns(void *context) {
    (void)context;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_realtime_ms(void *context) {
    (void)context;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const struct clock clock_system = {NULL, system_monotonic_ns, system_realtime_ms};

int64_t clock_monotonic_ns(void) {
    return system_monotonic_ns(NULL);
}

int64_t clock_realtime_ms(void) {
    return system_realtime_ms(NULL);
}

void clock_stamp(char out[CLOCK_STAMP_BYTES], int64_t unix_ms) {
    int64_t s = unix_ms / 1000, ms = unix_ms % 1000;
    if (ms < 0) ms += 1000, s -= 1;
    time_t seconds = (time_t)s;
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_STAMP_BYTES - 8, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_STAMP_BYTES - n, ".%03dZ", (int)ms);
}

bool clock_stamp_parse(int64_t *unix_ms, const char *s) {
    struct tm tm = {0};
    int n = 0;
    if (sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &n) != 6 || n == 0)
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0 || tm.tm_year < 1)
        return false;
    s += n;
    int64_t ms = 0;
    if (*s == '.') {
        int64_t scale = 100;
        for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10) ms += (*s - '0') * scale;
    }
    int64_t offset_s = 0;
    if (*s == 'Z' || *s == 'z') {
        s++;
    } else if (*s == '+' || *s == '-') {
        int h, m, k = 0;
        if (sscanf(s + 1, "%2d:%2d%n", &h, &m, &k) != 2 || h > 23 || m > 59 || h < 0 || m < 0) return false;
        offset_s = (*s == '-' ? -1 : 1) * (h * 3600 + m * 60);
        s += 1 + k;
    } else {
        return false;
    }
    if (*s != '\0') return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *unix_ms = ((int64_t)timegm(&tm) - offset_s) * 1000 + ms;
    return true;
}
