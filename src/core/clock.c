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
    char rest[16]; // strftime pads no year
    if (strftime(rest, sizeof rest, "%m-%dT%H:%M:%S", &tm) == 0) rest[0] = '\0';
    snprintf(out, CLOCK_STAMP_BYTES, "%04lld-%s.%03dZ", tm.tm_year + 1900LL, rest, (int)ms);
}

// Reads exactly n digits; false when one is missing.
static bool digits(int *out, const char **s, int n) {
    *out = 0;
    for (; n > 0; n--, (*s)++) {
        if (**s < '0' || **s > '9') return false;
        *out = *out * 10 + (**s - '0');
    }
    return true;
}

static bool separator(const char **s, const char *one_of) {
    if (**s == '\0' || strchr(one_of, **s) == NULL) return false;
    (*s)++;
    return true;
}

bool clock_stamp_parse(int64_t *unix_ms, const char *s) {
    struct tm tm = {0};
    if (!digits(&tm.tm_year, &s, 4) || !separator(&s, "-") || !digits(&tm.tm_mon, &s, 2) ||
        !separator(&s, "-") || !digits(&tm.tm_mday, &s, 2) || !separator(&s, "Tt ") ||
        !digits(&tm.tm_hour, &s, 2) || !separator(&s, ":") || !digits(&tm.tm_min, &s, 2) ||
        !separator(&s, ":") || !digits(&tm.tm_sec, &s, 2))
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_year < 1)
        return false;
    int64_t ms = 0;
    if (*s == '.') {
        int64_t scale = 100;
        s++;
        if (*s < '0' || *s > '9') return false;
        for (; *s >= '0' && *s <= '9'; s++, scale /= 10) ms += (*s - '0') * scale;
    }
    int64_t offset_s = 0;
    if (*s == '+' || *s == '-') {
        int sign = *s++ == '-' ? -1 : 1, h, m;
        if (!digits(&h, &s, 2) || !separator(&s, ":") || !digits(&m, &s, 2) || h > 23 || m > 59)
            return false;
        offset_s = sign * (h * 3600 + m * 60);
    } else if (!separator(&s, "Zz")) {
        return false;
    }
    if (*s != '\0') return false;
    int day = tm.tm_mday;
    struct tm check = {.tm_year = tm.tm_year - 1900, .tm_mon = tm.tm_mon - 1, .tm_mday = day};
    timegm(&check);
    if (check.tm_mday != day) return false; // timegm would make 30 February of it 2 March
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *unix_ms = ((int64_t)timegm(&tm) - offset_s) * 1000 + ms;
    return true;
}
