// triage/calibration.h - what sillon.json says of turning level logits into probabilities and decisions.
#ifndef TRIAGE_CALIBRATION_H
#define TRIAGE_CALIBRATION_H

#include "triage/labels.h"

struct calibration {
    float temperature;    // > 0
    float bias[N_LEVELS]; // added to logits / temperature
    bool model_writes;    // "trace_writer": "model": for and against are the model's own sentences, else reason.h's
    float trace_doubt;    // a trace is written when P(U3) + P(U4) reaches this, whatever the level
};
// "calibration" of FOLDER/sillon.json (FOLDER may be a GGUF file that carries it); without the file or the key: temperature 1, no bias, doubt 0.1.
NODISCARD bool calibration_read(struct calibration *out, const char *folder, struct error *err);
// Fits the temperature that minimises the negative log-likelihood of levels[i] under p[i] (probabilities of an
// uncalibrated model); with_bias, biases too, held near 0 by an L2 penalty worth about two messages. For held-out messages
// only, and biases for messages of the very feed that will be read: they move decisions (docs/model.md).
void calibration_fit(struct calibration *out, const float (*p)[N_LEVELS], const int *levels, int64_t n, bool with_bias);
// p = softmax(logits / temperature + bias), summing to 1.
void calibration_apply(const struct calibration *c, float p[N_LEVELS], const float logits[N_LEVELS]);

#endif
