// forge/teacher.h - doubt for training labels: what a classifier that never saw a message (nor its twin, nor its
// incident) thinks of its level. Mixed with the label, it keeps a small model from learning few messages by heart
// (self-distillation out of fold; Hinton et al. 2015, arXiv:1503.02531).
#ifndef FORGE_TEACHER_H
#define FORGE_TEACHER_H

#include "core/arena.h"
#include "triage/labels.h"

enum { TEACHER_FOLDS = 5 };

// Reads labelled records from IN, writes {"id", "p": [5]} lines to OUT: p = softmax(3 d), d the decisions of
// triage/ngram.h trained on the other folds with C = 0.7. Deterministic.
NODISCARD bool teacher_write(const char *in, const char *out, int64_t *n_records, struct error *err);

struct teacher; // opaque: id -> p
NODISCARD bool teacher_open(struct teacher **out, const char *path, struct error *err);
void teacher_close(struct teacher *teacher); // NULL is fine
// p of the seed record of `id` ("a01-0007~3" is a variant of a01-0007). NULL when it is not known.
const float *teacher_find(const struct teacher *teacher, const char *id);

#endif
