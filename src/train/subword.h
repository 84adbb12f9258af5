// train/subword.h - what rows of the embedding share: the character n-grams inside their tokens.
// A token that is rare in a small corpus learns from the tokens that look like it ("evanoui",
// "évanouie", "évanouir"), as in fastText (Bojanowski et al. 2017, arXiv:1607.04606): E = free + S
// G, S [V, n_grams] sparse with rows that sum to 1, G [n_grams, C]. E itself is what is stored; a
// step of G is a step S dG of E, so the model that comes out is an ordinary one.
#ifndef TRAIN_SUBWORD_H
#define TRAIN_SUBWORD_H

#include "core/arena.h"
#include "core/error.h"
#include "core/pool.h"

struct tokenizer;

struct subword_options {
    double lr_ratio;   // of G's learning rate to the embedding's; 0: nothing is shared
    int64_t low, high; // characters of an n-gram
};

struct subword {
    int64_t V, C, n_grams;
    int32_t *token_begin, *token_gram; // [V + 1]; n-grams of token t: token_gram[token_begin[t] ..
                                       // token_begin[t + 1])
    int32_t *gram_begin, *gram_token;  // [n_grams + 1]; and back
    float *m, *v;                      // [n_grams, C]: Adam's moments of G
    float *grad, *move;                // [n_grams, C]: scratch
};

// n-grams of each token of `tokenizer` from first_id on: lower case, without accents, the leading
// space kept as a mark. The whole token counts as one. n-grams of a single token are left out.
// Lives in `arena`.
NODISCARD bool subword_init(struct subword *s, struct arena *arena,
                            const struct tokenizer *tokenizer, int64_t V, int64_t C,
                            int32_t first_id, const struct subword_options *options,
                            struct error *err);

struct subword_step {
    int64_t t; // 1, 2, ...
    float lr, b1, b2, eps, grad_scale;
};
// One Adam step of G, seen from the embedding e [V, C] and its gradient: e += S dG. Same bits for
// any number of threads.
void subword_apply(struct subword *s, struct pool *pool, float *e, const float *grad_e,
                   const struct subword_step *step);
// Forgets the moments.
void subword_reset(struct subword *s);

#endif
