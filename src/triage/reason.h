// triage/reason.h - for and against in French, composed by rule from what the model said and what code checked: labels,
// probabilities, verbatim evidence, places. Nothing in them is invented: a small model's own sentences are not shown
// unless its card says it writes well enough (sillon.json "trace_writer": "model").
#ifndef TRIAGE_REASON_H
#define TRIAGE_REASON_H

#include "triage/message.h"

// Sets why_for and why_against (owned by the verdict). false when out of memory: both stay NULL.
bool reason_compose(struct verdict *verdict, const struct message *message);

#endif
