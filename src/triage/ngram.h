// triage/ngram.h - a linear classifier of levels over character n-grams: the floor every model must beat, and the
// out-of-fold teacher whose doubt softens training labels. TF-IDF over n-grams of 2 to 5 characters (lower case,
// sublinear counts, unit length), one L2-regularised squared-hinge machine a level, by dual coordinate descent
// (Hsieh et al. 2008, algorithm 1): what scikit-learn calls TfidfVectorizer(analyzer="char", ngram_range=(2, 5),
// sublinear_tf=True, min_df=2) and LinearSVC(C).
#ifndef TRIAGE_NGRAM_H
#define TRIAGE_NGRAM_H

#include "triage/labels.h"

struct ngram; // opaque: a trained classifier

// Trains on texts[i] with levels[i] in [0, N_LEVELS). C > 0, e.g. 0.3. Deterministic.
NODISCARD bool ngram_train(struct ngram **out, const char *const *texts, const int *levels, int64_t n, double C,
                           struct error *err);
void ngram_close(struct ngram *ngram); // NULL is fine
// Signed distances, one a level; the greatest is the prediction.
NODISCARD bool ngram_decide(const struct ngram *ngram, const char *text, float decision[N_LEVELS], struct error *err);

#endif
