// triage/metrics.h - scores of verdicts against labels. One confusion table, everything read from it.
#ifndef TRIAGE_METRICS_H
#define TRIAGE_METRICS_H

#include "triage/labels.h"

// What was predicted for one labelled message, whoever predicted it.
struct prediction {
    bool present;            // false: no verdict (counts as wrong)
    int level;               // -1 unknown
    float p_level[N_LEVELS]; // all 0 when the system gives no probabilities
    int class_i, source;     // -1 when not given
    bool has_station, has_line;
    bool station_right, line_right; // against the record (normalised); also right when both are empty
    int n_spans, n_verbatim;
};

struct score {
    double precision, recall, f1;
    int64_t n; // labelled so
};

struct metrics {
    int64_t n, n_missing;
    int64_t confusion[N_LEVELS][N_LEVELS + 1]; // [label][prediction]; the last column is "no verdict"
    double accuracy;
    double macro_f1_3;      // groups {U0-U1}, {U2}, {U3-U4}
    struct score urgent;    // U3-U4 against the rest
    struct score levels[N_LEVELS], groups[3];
    double kappa;           // quadratically weighted, Cohen 1968
    int64_t n_pairs, n_pairs_right; // twins in the data: both levels exactly right
    double class_accuracy;
    struct score classes[N_CLASSES];
    double source_accuracy;
    double ece;             // expected calibration error of the level's probability, 15 bins; -1 without probabilities
    double nll;             // mean -log p(label); -1 likewise
    double auc_urgent;      // P(U3)+P(U4) ranks an urgent message above another; -1 likewise
    double recall_at_fpr[2]; // of U3-U4 by P(U3)+P(U4), at false-alarm rates 0.01 and 0.05; -1 likewise
    int64_t n_station, n_station_right, n_station_invented; // labelled with one; found; given where none is labelled
    int64_t n_line, n_line_right, n_line_invented;
    int64_t n_spans, n_verbatim;
};

// records[i] against predictions[i].
NODISCARD bool metrics_compute(struct metrics *out, const struct label_record *records,
                               const struct prediction *predictions, int64_t n, struct error *err);

#endif
