// triage/triage.h - messages to verdicts with one model: the level of every message in one pass, the trace (evidence,
// for, against) where someone will read it.
// Owns: the model, its session, the gazetteer. Thread: one owner thread calls triage_run(); opening loads everything.
// The same message gives the same verdict whatever else is in the batch.
#ifndef TRIAGE_TRIAGE_H
#define TRIAGE_TRIAGE_H

#include "core/pool.h"
#include "engine/session.h"
#include "triage/message.h"

enum trace_mode {
    TRACE_AUTO,   // at U2 and above, or when P(U3)+P(U4) is at or above the doubt threshold of sillon.json
    TRACE_ALWAYS, // every message
    TRACE_NEVER,  // labels only
};

struct triage; // opaque

struct triage_options {
    const char *model_folder;
    const char *gazetteer_path; // NULL: the one beside the model (gazetteer.tsv), or none
    int n_threads;              // <= 0: all
    int64_t n_batch;            // messages at once; <= 0: 16
    enum weight_type weights;   // how the model is held: f32, bf16 or int8
};

NODISCARD bool triage_open(struct triage **out, const struct triage_options *options, struct error *err);
void triage_close(struct triage *triage); // NULL is fine
// Judges n messages (any n; cut in batches inside). verdicts[i] is zeroed first and owned by the caller.
// A message whose judging fails alone does not exist: an error here is the machine's (out of memory).
NODISCARD bool triage_run(struct triage *triage, const struct message *messages, int64_t n, enum trace_mode mode,
                          struct verdict *verdicts, struct error *err);
const char *triage_model_name(const struct triage *triage);
const char *triage_model_sha256(const struct triage *triage);
const struct model *triage_model(const struct triage *triage);
struct session *triage_session(struct triage *triage); // for the OpenAI-compatible endpoints (same owner thread)
int64_t triage_batch(const struct triage *triage);
NODISCARD bool trace_mode_parse(enum trace_mode *out, const char *word); // "auto", "always", "never"

#endif
