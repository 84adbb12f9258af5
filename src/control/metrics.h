// control/metrics.h - counters of the server. Thread: any; every field is atomic.
#ifndef CONTROL_METRICS_H
#define CONTROL_METRICS_H

#include "core/base.h"

#include <stdatomic.h>

enum { METRICS_BUCKETS = 12 };
extern const double metrics_bounds_s[METRICS_BUCKETS];

struct metrics {
    _Atomic int64_t accepted, duplicates, rejected, conflicts,
        refused;                 // messages; refused: by the store
    _Atomic int64_t verdicts[6]; // U0..U4, failed
    _Atomic int64_t traces, chat_requests, chat_tokens;
    _Atomic int64_t requests[6]; // answers by status / 100
    _Atomic int64_t
        latency[METRICS_BUCKETS + 1]; // verdicts by receipt-to-verdict seconds, not cumulative
    _Atomic int64_t latency_us;       // their sum
};
void metrics_latency(struct metrics *metrics, double seconds);

#endif
