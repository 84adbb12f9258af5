// train/optimizer.h - one step of AdamW, or of Muon for matrices and AdamW for the rest, over the
// flat arrays, the gradient's norm, the learning-rate schedule. Work is cut in fixed chunks of each
// tensor; sums over chunks run in order, whatever the number of threads.
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "kernels/kernels.h"
#include "train/params.h"

struct optimizer_chunk {
    int64_t offset, count;
    bool decay;
    float lr_ratio; // multiplies the step's learning rate; 0: AdamW leaves it alone
};

struct optimizer_matrix {
    int64_t offset, rows, columns;
};

struct optimizer {
    const struct kernels *k;
    struct pool *pool;
    struct arena arena;
    struct optimizer_chunk *chunks;
    double *sums; // [n_chunks]
    int64_t n_chunks;
    // Muon only
    struct optimizer_matrix *matrices;
    int64_t n_matrices;
    float *x, *a, *b, *packed; // scratch of one matrix
};

struct optimizer_options {
    bool muon; // matrices by Muon, the rest by AdamW
    bool decay_embeddings;
    float embedding_lr_ratio; // the embedding's (and a tied head's) learning rate to the others':
                              // its rows see few tokens
    bool freeze_qk_norm;      // the norms of q and k heads do not learn
};
// Weight decay applies to matrices, and to the embedding (and a tied head) when decay_embeddings;
// never to norms and biases.
NODISCARD bool optimizer_init(struct optimizer *o, const struct params *params,
                              const struct optimizer_options *options, struct pool *pool,
                              struct error *err);
void optimizer_release(struct optimizer *o);

double optimizer_norm(struct optimizer *o, const float *grad); // of the whole gradient
void optimizer_zero(struct optimizer *o, float *grad);

struct optimizer_step {
    int64_t t; // 1 at the first step
    float lr, b1, b2, eps, weight_decay;
    float grad_scale; // multiplies the gradient: clipping
    float ema_decay;  // used when ema is not NULL: ema += (1 - ema_decay) (w - ema)
};
// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): m = 0.95 m + g; the direction g +
// 0.95 m is made nearly orthogonal by five Newton-Schulz steps (coefficients 3.4445,
// -4.7750, 2.0315) and scaled by 0.2 sqrt(max(rows, columns)), so that AdamW's learning rate and
// weight decay serve for it too (Liu et al. 2025, arXiv:2502.16982, section 2.2).
void optimizer_apply(struct optimizer *o, float *w, float *m, float *v, const float *grad,
                     float *ema, const struct optimizer_step *step);

enum schedule_kind { SCHEDULE_COSINE, SCHEDULE_WSD, SCHEDULE_CONSTANT };
struct schedule {
    enum schedule_kind kind;
    double lr, min_lr_ratio;
    int64_t warmup_steps;
    double decay_fraction; // of all steps, for WSD (Hu et al. 2024, arXiv:2404.06395, section 4)
};
// Learning rate of step i = 0, 1, ... of n_steps. n_steps may be fractional when it is an estimate.
double schedule_lr(const struct schedule *schedule, int64_t i, double n_steps);

#endif
