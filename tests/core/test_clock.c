// tests/core/test_clock.c - stamps there and back, and what is not a stamp.
#include "check.h"
#include "core/clock.h"

#include <string.h>

int main(void) {
    static const struct {
        const char *stamp;
        int64_t ms;
        bool canonical;
    } good[] = {
        {"1970-01-01T00:00:00.000Z", 0, true},
        {"1969-12-31T23:59:59.999Z", -1, true},
        {"2026-11-22T21:04:05.678Z", 1795381445678, true},
        {"2024-02-29T12:00:00.000Z", 1709208000000, true},
        {"2038-01-19T03:14:08.000Z", 2147483648000, true},
        {"0001-01-01T00:00:00.000Z", -62135596800000, true},
        {"9999-12-31T23:59:59.999Z", 253402300799999, true},
        {"2026-11-22T22:04:05.678+01:00", 1795381445678, false},
        {"2026-11-22T15:34:05.678-05:30", 1795381445678, false},
        {"2026-11-22t21:04:05.678z", 1795381445678, false},
        {"2026-11-22 21:04:05.678912345Z", 1795381445678, false},
        {"2026-11-22T21:04:05.6Z", 1795381445600, false},
        {"2026-11-22T21:04:05Z", 1795381445000, false},
        {"2016-12-31T23:59:60Z", 1483228800000, false}, // a leap second
    };
    for (int64_t i = 0; i < COUNT_OF(good); i++) {
        int64_t ms = -7;
        char out[CLOCK_STAMP_BYTES];
        CHECK(clock_stamp_parse(&ms, good[i].stamp) && ms == good[i].ms, "%s: %lld, want %lld",
              good[i].stamp, (long long)ms, (long long)good[i].ms);
        if (!good[i].canonical) continue;
        clock_stamp(out, good[i].ms);
        CHECK(strcmp(out, good[i].stamp) == 0, "%lld: %s, want %s", (long long)good[i].ms, out,
              good[i].stamp);
    }
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T21:04:05",
        "2026-11-22T21:04Z",
        "2026-13-22T21:04:05Z",
        "2026-00-22T21:04:05Z",
        "2026-02-30T21:04:05Z",
        "2026-11-31T21:04:05Z",
        "2023-02-29T21:04:05Z",
        "2026-11-22T24:04:05Z",
        "2026-11-22T21:60:05Z",
        "2026-11-22T21:04:61Z",
        "2026-11-22T21:04:05.Z",
        "2026-11-22T21:04:05.678",
        "2026-11-22T21:04:05.678Zx",
        "2026-11-22T21:04:05+24:00",
        "2026-11-22T21:04:05+0100",
        "2026-11-22T21:04:05+01:60",
        "2026-1-2T3:4:5Z",
        " 2026-11-22T21:04:05Z",
        "+026-11-22T21:04:05Z",
        "2026-11-22X21:04:05Z",
        "0000-01-01T00:00:00Z",
        "2026-11-22T21:04:05+-1:00",
    };
    for (int64_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t ms;
        CHECK(!clock_stamp_parse(&ms, bad[i]), "\"%s\" accepted", bad[i]);
    }
    char out[CLOCK_STAMP_BYTES];
    static const int64_t extreme[] = {INT64_MAX, INT64_MIN};
    for (int64_t i = 0; i < COUNT_OF(extreme); i++) {
        clock_stamp(out, extreme[i]); // no such year: any text, but a text
        CHECK(strlen(out) < CLOCK_STAMP_BYTES, "%s", out);
    }
    int64_t a = clock_monotonic_ns(), b = clock_system.monotonic_ns(clock_system.context);
    CHECK(b >= a && clock_realtime_ms() > 1700000000000, "clocks: %lld %lld", (long long)a,
          (long long)b);
    return n_failed > 0;
}
