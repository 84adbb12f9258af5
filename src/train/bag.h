// train/bag.h - the phase before training: the embedding alone, as a bag-of-tokens classifier of
// the closed groups. h = dropout(rmsnorm(mean of the embeddings of a document's plain tokens));
// every target of a closed group is predicted by softmax over the group's rows of the tied
// embedding. A few seconds of it give a small decoder trained on a few thousand documents what it
// otherwise never learns: which tokens speak for which label (Joulin et al. 2017, arXiv:1607.01759,
// "bag of tricks"). With an identity start the decoder's first layer then begins as this
// classifier.
#ifndef TRAIN_BAG_H
#define TRAIN_BAG_H

#include "train/params.h"

struct bag_options {
    double epochs;  // over all training files together; 0: no such phase
    double lr;      // Adam, falling linearly to 0
    double dropout; // of h
    double token_dropout;
    int64_t batch_docs;
};

struct recipe;
struct subword;
// Trains params->embedding in w; tokens share what they learn through `subword` (NULL: they do
// not). Deterministic from recipe->seed. Needs a tied head and closed groups.
NODISCARD bool bag_train(const struct params *params, float *w, const struct recipe *recipe,
                         struct subword *subword, struct error *err);

#endif
