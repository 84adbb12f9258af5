// control/metrics.c - the latency histogram.
#include "control/metrics.h"

const double metrics_bounds_s[METRICS_BUCKETS] = {0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                  2.5,   5,    10,  30,   60,  300};

void metrics_latency(struct metrics *metrics, double seconds) {
    int i = 0;
    while (i < METRICS_BUCKETS && seconds > metrics_bounds_s[i]) i++;
    metrics->latency[i]++;
    metrics->latency_us += (int64_t)(seconds * 1e6);
}
