// triage/metrics.c - accuracy, F1, kappa, twins, calibration.
#include "triage/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct score score_from(int64_t true_positive, int64_t n_predicted, int64_t n_labelled) {
    struct score s = {.n = n_labelled};
    s.precision = n_predicted > 0 ? (double)true_positive / (double)n_predicted : 0;
    s.recall = n_labelled > 0 ? (double)true_positive / (double)n_labelled : 0;
    s.f1 = s.precision + s.recall > 0 ? 2 * s.precision * s.recall / (s.precision + s.recall) : 0;
    return s;
}

// Scores of the levels [low, high] as one class.
static struct score score_range(const struct metrics *m, int low, int high) {
    int64_t tp = 0, predicted = 0, labelled = 0;
    for (int a = 0; a < N_LEVELS; a++)
        for (int b = 0; b <= N_LEVELS; b++) {
            bool in_label = a >= low && a <= high, in_prediction = b >= low && b <= high;
            if (in_label) labelled += m->confusion[a][b];
            if (in_prediction) predicted += m->confusion[a][b];
            if (in_label && in_prediction) tp += m->confusion[a][b];
        }
    return score_from(tp, predicted, labelled);
}

static void compute_kappa(struct metrics *m) {
    double observed = 0, expected = 0, rows[N_LEVELS] = {0}, columns[N_LEVELS] = {0}, n = 0;
    for (int a = 0; a < N_LEVELS; a++)
        for (int b = 0; b < N_LEVELS; b++) {
            rows[a] += (double)m->confusion[a][b];
            columns[b] += (double)m->confusion[a][b];
            n += (double)m->confusion[a][b];
        }
    for (int a = 0; a < N_LEVELS; a++)
        for (int b = 0; b < N_LEVELS; b++) {
            double w = (double)((a - b) * (a - b));
            observed += w * (double)m->confusion[a][b];
            if (n > 0) expected += w * rows[a] * columns[b] / n;
        }
    m->kappa = expected > 0 ? 1 - observed / expected : 0;
}

static int by_id(const void *a, const void *b) {
    const struct label_record *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static bool count_pairs(struct metrics *m, const struct label_record *records, const struct prediction *predictions,
                        int64_t n, struct error *err) {
    const struct label_record **sorted = malloc((size_t)(n > 0 ? n : 1) * sizeof *sorted);
    if (sorted == NULL) return error_set(err, ERR_NOMEM, "metrics: out of memory");
    for (int64_t i = 0; i < n; i++) sorted[i] = &records[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_id);
    for (int64_t i = 0; i < n; i++) {
        if (records[i].twin == NULL) continue;
        struct label_record key = {.id = records[i].twin};
        const struct label_record *wanted = &key, **found = bsearch(&wanted, sorted, (size_t)n, sizeof *sorted, by_id);
        if (found == NULL) continue;
        int64_t j = *found - records;
        // A pair counts once: from its first member, or from the only one that names the other.
        bool mutual = records[j].twin != NULL && strcmp(records[j].twin, records[i].id) == 0;
        if (mutual && j < i) continue;
        m->n_pairs++;
        m->n_pairs_right += predictions[i].present && predictions[j].present &&
                            predictions[i].level == records[i].level && predictions[j].level == records[j].level;
    }
    free(sorted);
    return true;
}

struct ranked {
    float p;
    bool urgent;
};

static int by_p(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    return x->p > y->p ? -1 : x->p < y->p;
}

// Area under the ROC curve (ties count half) and recall at fixed false-alarm rates.
static void rank_scores(struct metrics *m, struct ranked *r, int64_t n) {
    static const double rates[2] = {0.01, 0.05};
    qsort(r, (size_t)n, sizeof *r, by_p);
    double positives = 0, negatives = 0, tp = 0, fp = 0, area = 0;
    for (int64_t i = 0; i < n; i++) *(r[i].urgent ? &positives : &negatives) += 1;
    m->auc_urgent = m->recall_at_fpr[0] = m->recall_at_fpr[1] = -1;
    if (positives == 0 || negatives == 0) return;
    m->recall_at_fpr[0] = m->recall_at_fpr[1] = 0;
    for (int64_t i = 0; i < n;) {
        double group_tp = 0, group_fp = 0;
        int64_t j = i;
        for (; j < n && r[j].p == r[i].p; j++) *(r[j].urgent ? &group_tp : &group_fp) += 1;
        area += group_fp * (tp + group_tp / 2);
        tp += group_tp;
        fp += group_fp;
        for (int k = 0; k < 2; k++)
            if (fp / negatives <= rates[k]) m->recall_at_fpr[k] = tp / positives;
        i = j;
    }
    m->auc_urgent = area / (positives * negatives);
}

static bool probability_scores(struct metrics *m, const struct label_record *records,
                               const struct prediction *predictions, int64_t n, struct error *err) {
    enum { BINS = 15 };
    double sum_p[BINS] = {0}, right[BINS] = {0}, count[BINS] = {0}, nll = 0, total = 0;
    m->ece = m->nll = m->auc_urgent = m->recall_at_fpr[0] = m->recall_at_fpr[1] = -1;
    struct ranked *ranked = malloc((size_t)(n > 0 ? n : 1) * sizeof *ranked);
    if (ranked == NULL) return error_set(err, ERR_NOMEM, "metrics: out of memory");
    int64_t n_ranked = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct prediction *p = &predictions[i];
        float sum = 0;
        for (int l = 0; l < N_LEVELS; l++) sum += p->p_level[l];
        if (!p->present || p->level < 0 || !(sum > 0.5f)) continue;
        double top = (double)p->p_level[p->level];
        int bin = (int)(top * BINS);
        if (bin >= BINS) bin = BINS - 1;
        sum_p[bin] += top;
        right[bin] += p->level == records[i].level;
        count[bin] += 1;
        total += 1;
        nll -= log(fmax((double)p->p_level[records[i].level], 1e-6));
        ranked[n_ranked++] = (struct ranked){p->p_level[3] + p->p_level[4], records[i].level >= 3};
    }
    if (total > 0) {
        m->ece = 0;
        for (int b = 0; b < BINS; b++) m->ece += fabs(sum_p[b] - right[b]) / total;
        m->nll = nll / total;
        rank_scores(m, ranked, n_ranked);
    }
    free(ranked);
    return true;
}

bool metrics_compute(struct metrics *m, const struct label_record *records, const struct prediction *predictions,
                     int64_t n, struct error *err) {
    *m = (struct metrics){.n = n};
    int64_t right = 0, class_right = 0, n_class = 0, source_right = 0, n_source = 0;
    int64_t class_tp[N_CLASSES] = {0}, class_predicted[N_CLASSES] = {0}, class_n[N_CLASSES] = {0};
    for (int64_t i = 0; i < n; i++) {
        const struct label_record *r = &records[i];
        const struct prediction *p = &predictions[i];
        bool known = p->present && p->level >= 0;
        m->n_missing += !known;
        m->confusion[r->level][known ? p->level : N_LEVELS]++;
        right += known && p->level == r->level;
        class_n[r->class_i]++;
        if (p->present && p->class_i >= 0) {
            n_class++;
            class_predicted[p->class_i]++;
            if (p->class_i == r->class_i) class_right++, class_tp[r->class_i]++;
        }
        if (p->present && p->source >= 0) n_source++, source_right += p->source == r->source;
        m->n_station += r->station != NULL;
        m->n_station_right += r->station != NULL && p->has_station && p->station_right;
        m->n_station_invented += r->station == NULL && p->has_station;
        m->n_line += r->line != NULL;
        m->n_line_right += r->line != NULL && p->has_line && p->line_right;
        m->n_line_invented += r->line == NULL && p->has_line;
        m->n_spans += p->n_spans;
        m->n_verbatim += p->n_verbatim;
    }
    m->accuracy = n > 0 ? (double)right / (double)n : 0;
    m->class_accuracy = n_class > 0 ? (double)class_right / (double)n : 0;
    m->source_accuracy = n_source > 0 ? (double)source_right / (double)n : 0;
    for (int l = 0; l < N_LEVELS; l++) m->levels[l] = score_range(m, l, l);
    for (int c = 0; c < N_CLASSES; c++) m->classes[c] = score_from(class_tp[c], class_predicted[c], class_n[c]);
    m->groups[0] = score_range(m, 0, 1);
    m->groups[1] = score_range(m, 2, 2);
    m->groups[2] = m->urgent = score_range(m, 3, 4);
    m->macro_f1_3 = (m->groups[0].f1 + m->groups[1].f1 + m->groups[2].f1) / 3;
    compute_kappa(m);
    return count_pairs(m, records, predictions, n, err) && probability_scores(m, records, predictions, n, err);
}
