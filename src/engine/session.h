// engine/session.h - running a model: KV cache, several sequences in one pass.
// Owns: the KV cache and every activation buffer, planned at open; a pass allocates nothing.
// Thread: one owner thread; the pool given is used inside a pass.
// A sequence's logits are the same bits whatever else is in the batch, at any thread count.
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "core/pool.h"
#include "engine/model.h"

struct session; // opaque

struct session_options {
    int64_t n_slots;      // sequences held at once
    int64_t slot_tokens;  // positions of each (at most T_max)
    int64_t batch_tokens; // tokens of one pass, all sequences together
};

NODISCARD bool session_open(struct session **out, const struct model *model, struct pool *pool,
                            const struct session_options *options, struct error *err);
void session_close(struct session *session); // NULL is fine
const struct model *session_model(const struct session *session);

// One part of a pass: n tokens appended to a slot.
struct session_part {
    int64_t slot;
    const int32_t *tokens;
    int64_t n;
    // What to compute at the end of this part's tokens:
    bool want_hidden; // keep the final normalised hidden state of the last token: session_hidden()
    bool want_all;    // keep it for every token of the part (for perplexity and tests)
};
// Runs the parts in one pass. Over-long slots and over-full batches are errors (ERR_LIMIT) and change nothing.
NODISCARD bool session_forward(struct session *session, const struct session_part *parts, int64_t n_parts,
                               struct error *err);
// Hidden state after the final norm, [C], of row `token_i` of part `part_i` of the last pass (token_i = n - 1 unless
// want_all). Valid until the next pass.
const float *session_hidden(const struct session *session, int64_t part_i, int64_t token_i);
// logits[V] = head x hidden.
void session_logits(const struct session *session, float *logits, const float *hidden);
// Only the listed tokens: logits[i] for ids[i]; the same bits as in session_logits().
void session_logits_of(const struct session *session, float *logits, const float *hidden, const int32_t *ids,
                       int64_t n);
int64_t session_length(const struct session *session, int64_t slot);   // positions held
void session_truncate(struct session *session, int64_t slot, int64_t n); // keep the first n positions
// Copies the first n positions of slot `from` to slot `to` (a shared prefix).
void session_copy(struct session *session, int64_t to, int64_t from, int64_t n);

#endif
