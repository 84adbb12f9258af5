// forge/tokens.h - from labelled records to what training reads: a tokenizer, then a file of
// weighted tokens.
#ifndef FORGE_TOKENS_H
#define FORGE_TOKENS_H

#include "triage/layout.h"

// Trains a byte-level BPE tokenizer on the texts (in lower case, as the layout reads them) and for/against of NDJSON
// record files and writes tokenizer.json, tokenizer_config.json (chat template) and special_tokens_map.json in `folder`.
NODISCARD bool tokens_tokenizer(const char *folder, int64_t vocab, const char *const *paths, int n_paths,
                                struct error *err);

struct tokens_options {
    const char *in, *tokenizer, *out; // NDJSON; folder or tokenizer.json; token file
    uint64_t seed;
    int64_t epoch; // draws (order of documents, dropout, which keep a trace) differ by epoch
    float bpe_dropout, trace_share;
    int64_t max_text_tokens;
    bool shuffle;
    float original_weight; // document weight of seeds and of variants
    float variant_weight;
    struct layout_weights weights;
    const char *teacher; // forge/teacher.h's file, or NULL
    float teacher_share; // of documents without a trace whose level is drawn from the teacher
};
extern const struct tokens_options tokens_defaults;
// Reads "text=0.1,level=4,class=2,..." into w: text, level, class, source, distress, flags,
// evidence, trace.
NODISCARD bool tokens_weights_parse(struct layout_weights *w, const char *words, struct error *err);
// *n_docs, *n_tokens (may be NULL): what was written.
NODISCARD bool tokens_write(const struct tokens_options *options, int64_t *n_docs,
                            int64_t *n_tokens, struct error *err);

#endif
