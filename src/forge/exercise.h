// forge/exercise.h - a synthetic exercise: an ordinary feed in which incidents build up, to be
// replayed on a screen.
#ifndef FORGE_EXERCISE_H
#define FORGE_EXERCISE_H

#include "core/buf.h"
#include "forge/variant.h"

struct exercise_options {
    double minutes;
    int64_t n_messages; // 0: about 27 a minute
    int n_incidents;
};
// Appends NDJSON {"id","text","channel","author","t"} in order of t (seconds), without labels. The
// seeds of `forge` must be the train split.
NODISCARD bool exercise_write(const struct forge *forge, const struct exercise_options *options,
                              struct buf *out, int64_t *n_messages, struct error *err);

#endif
