// train/optimizer.h - one AdamW step over the flat arrays, the gradient's norm, the learning-rate
// schedule. Work is cut in fixed chunks of each tensor; sums over chunks run in order, whatever the
// number of threads.
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "kernels/kernels.h"
#include "train/params.h"

struct optimizer_chunk {
    int64_t offset, count;
    bool decay;
    float lr_ratio; // multiplies the step's learning rate
};

struct optimizer {
    const struct kernels *k;
    struct pool *pool;
    struct arena arena;
    struct optimizer_chunk *chunks;
    double *sums; // [n_chunks]
    int64_t n_chunks;
};

// The embedding (and a tied head) learns at embedding_lr_ratio times the others' rate: its rows see
// few tokens each. Weight decay applies to matrices, and to the embedding (and a tied head) when
// decay_embeddings; never to norms and biases. freeze_qk_norm: the norms of q and k heads do not
// learn.
NODISCARD bool optimizer_init(struct optimizer *o, const struct params *params,
                              bool decay_embeddings, float embedding_lr_ratio, bool freeze_qk_norm,
                              struct pool *pool, struct error *err);
void optimizer_release(struct optimizer *o);

double optimizer_norm(struct optimizer *o, const float *grad); // of the whole gradient
void optimizer_zero(struct optimizer *o, float *grad);

struct optimizer_step {
    int64_t t; // 1 at the first step
    float lr, b1, b2, eps, weight_decay;
    float grad_scale; // multiplies the gradient: clipping
    float ema_decay;  // used when ema is not NULL: ema += (1 - ema_decay) (w - ema)
};
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
