// train/recipe.h - what to train: one YAML file. Every key is described in docs/training.md.
// Paths are relative to the working directory. Unknown keys and impossible values are errors.
#ifndef TRAIN_RECIPE_H
#define TRAIN_RECIPE_H

#include "core/arena.h"
#include "engine/config.h"
#include "train/bag.h"
#include "train/loader.h"
#include "train/optimizer.h"
#include "train/subword.h"

struct recipe {
    struct arena arena; // owns the strings
    char sha256[HASH_HEX_BYTES]; // of the file's bytes
    const char *name;
    const char *init_from;  // a model folder, or NULL: random start with `config`
    const char *tokenizer;  // tokenizer.json
    const char *bos_token, *eos_token, *pad_token; // NULL: none
    struct model_config config; // V is 0 when the data decide; unused with init_from
    struct loader_source *train, *dev;
    int64_t n_train, n_dev;
    enum loader_mode mode;
    int64_t max_len; // 0: the longest document, at most T_max
    int64_t seed;
    int64_t steps;      // 0: not given
    double epochs;      // 0: not given
    double max_minutes; // 0: not given
    int64_t batch_tokens, micro_tokens; // micro_tokens 0: chosen
    struct schedule schedule;
    double embedding_lr_ratio, embedding_dropout, token_dropout;
    int64_t token_dropout_first_id;
    int32_t *closed; // [n_closed] boundaries of closed groups of ids
    int64_t n_closed;
    bool fan_in_start, identity_start;
    bool muon; // matrices
    bool freeze_qk_norm; // they keep their start: members of engine/stack.h share them
    struct bag_options bag;
    struct subword_options subwords;
    double beta1, beta2, eps, weight_decay, clip_norm, dropout, ema_decay, label_smoothing;
    bool decay_embeddings;
    int64_t log_every, eval_every, save_every, keep, threads;
    double save_minutes; // also save after this long; 0: no
    const char *out, *log; // log NULL: out/log.ndjson
    double watts_per_core;
};

NODISCARD bool recipe_parse(struct recipe *recipe, const char *text, size_t n_bytes, const char *name,
                            struct error *err);
NODISCARD bool recipe_read(struct recipe *recipe, const char *path, struct error *err);
void recipe_release(struct recipe *recipe); // zeroed storage is fine

#endif
