// triage/layout.h - how a message and its verdict stand in the model's token sequence. The forge writes it for
// training, triage reads it back: this file is the one place that knows.
//
//   <|message|> <|channel:sms|> text... <|verdict|> LEVEL CLASS SOURCE D1 D2 F1 F2
//   <|evidence|> span... [<|evidence|> span...] <|for|> text... <|against|> text... <|endoftext|>
//
// The text is read in lower case. The seven labels are single tokens at fixed positions after <|verdict|>. LEVEL is read in the same pass as the
// message. D1, D2: the two strongest distress kinds with their intensity (<|fear:2|>), or <|no_distress|>; when both
// are present D1 comes first in the order of intensity, then of the guide. F1, F2: flags in the guide's order, or
// <|no_flag|>. Evidence spans are runs of the message's own tokens. Labels and marks are special tokens: a passenger who
// types "<|verdict|>" sends plain bytes, never a mark.
#ifndef TRIAGE_LAYOUT_H
#define TRIAGE_LAYOUT_H

#include "engine/tokenizer.h"
#include "triage/labels.h"

// NULL-terminated list of every special token in id order (id 0 is <|endoftext|>): for tokenizer_train.
const char *const *layout_specials(void);

enum layout_slot { SLOT_LEVEL, SLOT_CLASS, SLOT_SOURCE, SLOT_D1, SLOT_D2, SLOT_F1, SLOT_F2, N_SLOTS };

struct layout {
    const struct tokenizer *tokenizer; // borrowed
    int32_t end, message, verdict, evidence, why_for, why_against;
    int32_t channels[N_CHANNELS + 1]; // the last is <|channel:unknown|>
    int32_t levels[N_LEVELS], classes[N_CLASSES], sources[N_SOURCES];
    int32_t distress[N_DISTRESS][3], no_distress; // [kind][intensity - 1]
    int32_t flags[N_FLAGS], no_flag;
};
// Finds every token in the tokenizer; an error names the first that is missing (another model's folder).
NODISCARD bool layout_init(struct layout *layout, const struct tokenizer *tokenizer, struct error *err);

// Appends <|message|> channel text <|verdict|>. channel -1: unknown. A text of more than max_text_tokens keeps its
// first two thirds and its last third and sets *truncated. *text_begin, *text_end (may be NULL): the token range of
// the text in `list`. dropout, rng: BPE-dropout for training (0 and NULL otherwise).
NODISCARD bool layout_prompt(const struct layout *layout, struct token_list *list, const char *text, size_t n_bytes,
                             int channel, int64_t max_text_tokens, float dropout, struct rng *rng,
                             int64_t *text_begin, int64_t *text_end, bool *truncated, struct error *err);

// The label tokens of a record, one a slot.
void layout_labels(const struct layout *layout, const struct label_record *record, int32_t out[N_SLOTS]);
// The legal tokens of a slot given the slots before it (D2 only after a D1, in order; same for flags): ids, n.
int64_t layout_legal(const struct layout *layout, enum layout_slot slot, const int32_t *before,
                     int32_t out[64]);

// Loss weights of the parts of a training document.
struct layout_weights {
    float text, slot[N_SLOTS], evidence, trace;
};
// A whole training document: tokens in `list` (ids only matter), one loss weight a token in weights (same length;
// caller's buffer grown with realloc, *weights may be NULL at first). with_trace = false, or a record with labels
// only, ends after the labels.
NODISCARD bool layout_document(const struct layout *layout, struct token_list *list, float **weights,
                               int64_t *weights_capacity, const struct label_record *record,
                               const struct layout_weights *w, int64_t max_text_tokens, bool with_trace, float dropout,
                               struct rng *rng, struct error *err);

#endif
