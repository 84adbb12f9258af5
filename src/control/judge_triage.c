// control/judge_triage.c - triage as a judge.
#include "control/judge.h"

static bool judge_triage_run(void *context, const struct message *messages, int64_t n,
                             enum trace_mode mode, struct verdict *verdicts, struct error *err) {
    return triage_run(context, messages, n, mode, verdicts, err);
}

struct judge judge_triage(struct triage *triage) {
    return (struct judge){triage, judge_triage_run, triage_model_name(triage),
                          triage_model_sha256(triage), triage_batch(triage)};
}
