// train/optimizer.c - AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) shared over threads by
// fixed chunks; Muon a matrix after the other.
#include "train/optimizer.h"

#include "core/pool.h"
#include "kernels/gemm.h"

#include <math.h>
#include <string.h>

enum { OPTIMIZER_CHUNK = 16384 };

static int64_t chunks_of(int64_t count) {
    return (count + OPTIMIZER_CHUNK - 1) / OPTIMIZER_CHUNK;
}

bool optimizer_init(struct optimizer *o, const struct params *params,
                    const struct optimizer_options *options, struct pool *pool, struct error *err) {
    *o = (struct optimizer){.k = kernels_best(), .pool = pool};
    arena_init(&o->arena, 0);
    int64_t n = 0, most = 0, least = 0;
    for (int64_t i = 0; i < params->n_tensors; i++) n += chunks_of(params->tensors[i].count);
    o->chunks = arena_alloc_array(&o->arena, (size_t)n, sizeof o->chunks[0]);
    o->sums = arena_alloc_array(&o->arena, (size_t)n, sizeof o->sums[0]);
    o->matrices = arena_alloc_array(&o->arena, (size_t)params->n_tensors, sizeof o->matrices[0]);
    if (!arena_ok(&o->arena)) return error_set(err, ERR_NOMEM, "optimizer: out of memory");
    for (int64_t i = 0; i < params->n_tensors; i++) {
        const struct params_tensor *t = &params->tensors[i];
        bool decay =
            t->kind == PARAMS_MATRIX || (t->kind == PARAMS_EMBEDDING && options->decay_embeddings);
        // An untied head is a matrix by shape, an embedding by what it does.
        bool muon = options->muon && t->kind == PARAMS_MATRIX && t->offset != params->head;
        float ratio = t->kind == PARAMS_EMBEDDING ? options->embedding_lr_ratio : 1.0f;
        if ((t->kind == PARAMS_QK_NORM && options->freeze_qk_norm) || muon) ratio = 0.0f;
        if (muon) {
            o->matrices[o->n_matrices++] =
                (struct optimizer_matrix){t->offset, t->shape[0], t->shape[1]};
            most = max_i64(most, t->count);
            least = max_i64(least, min_i64(t->shape[0], t->shape[1]));
        }
        for (int64_t at = 0; at < t->count; at += OPTIMIZER_CHUNK)
            o->chunks[o->n_chunks++] = (struct optimizer_chunk){
                t->offset + at, min_i64(OPTIMIZER_CHUNK, t->count - at), decay, ratio};
    }
    if (o->n_matrices == 0) return true;
    size_t square = (size_t)(least * least), largest = (size_t)most;
    o->x = arena_alloc_array(&o->arena, largest, sizeof(float));
    o->a = arena_alloc_array(&o->arena, square, sizeof(float));
    o->b = arena_alloc_array(&o->arena, square, sizeof(float));
    // a product's packed side is at most the matrix or its transpose, padded to panels
    o->packed = arena_alloc_array(
        &o->arena, largest + square + 64 * (size_t)(most / max_i64(1, least) + least),
        sizeof(float));
    return arena_ok(&o->arena) || error_set(err, ERR_NOMEM, "optimizer: out of memory");
}

void optimizer_release(struct optimizer *o) {
    arena_release(&o->arena);
    *o = (struct optimizer){0};
}

struct optimizer_job {
    struct optimizer *o;
    float *w, *m, *v, *ema, *zero;
    const float *grad;
    const struct optimizer_step *step;
    float bc1, bc2;
};

static void norm_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct optimizer_job *j = context;
    for (int64_t i = begin; i < end; i++)
        j->o->sums[i] =
            j->o->k->sum_squares(j->grad + j->o->chunks[i].offset, j->o->chunks[i].count);
}

double optimizer_norm(struct optimizer *o, const float *grad) {
    struct optimizer_job job = {.o = o, .grad = grad};
    pool_run(o->pool, norm_part, &job, o->n_chunks, 1);
    double sum = 0.0;
    for (int64_t i = 0; i < o->n_chunks; i++) sum += o->sums[i];
    return sqrt(sum);
}

static void zero_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct optimizer_job *j = context;
    for (int64_t i = begin; i < end; i++)
        memset(j->zero + j->o->chunks[i].offset, 0, (size_t)j->o->chunks[i].count * sizeof(float));
}

void optimizer_zero(struct optimizer *o, float *grad) {
    struct optimizer_job job = {.o = o, .zero = grad};
    pool_run(o->pool, zero_part, &job, o->n_chunks, 1);
}

static void apply_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct optimizer_job *j = context;
    const struct optimizer_step *s = j->step;
    for (int64_t i = begin; i < end; i++) {
        const struct optimizer_chunk *c = &j->o->chunks[i];
        if (c->lr_ratio == 0.0f) continue;
        float *w = j->w + c->offset;
        j->o->k->adamw(w, j->m + c->offset, j->v + c->offset, j->grad + c->offset, c->count,
                       s->lr * c->lr_ratio, s->b1, s->b2, s->eps, c->decay ? s->weight_decay : 0.0f,
                       j->bc1, j->bc2, s->grad_scale);
        if (j->ema == NULL) continue;
        float *ema = j->ema + c->offset, take = 1.0f - s->ema_decay;
        for (int64_t e = 0; e < c->count; e++) ema[e] += take * (w[e] - ema[e]);
    }
}

// X [r, c], r <= c: X = a X + (b A + c A A) X with A = X X^T, five times; X starts at Frobenius
// norm 1. Its singular values end near 1.
static void newton_schulz(struct optimizer *o, float *x, int64_t r, int64_t c) {
    enum { STEPS = 5 };
    const float a = 3.4445f, b = -4.7750f, cc = 2.0315f;
    for (int step = 0; step < STEPS; step++) {
        // A = X X^T: the right side is X^T, [c, r].
        gemm_pack(o->k, o->pool, o->packed, x, 1, c, c, r);
        gemm_run(o->k, o->pool, o->a, r, x, c, 1, o->packed, r, r, c, false);
        // B = b A + c A A
        gemm_pack(o->k, o->pool, o->packed, o->a, r, 1, r, r);
        gemm_run(o->k, o->pool, o->b, r, o->a, r, 1, o->packed, r, r, r, false);
        for (int64_t i = 0; i < r * r; i++) o->b[i] = b * o->a[i] + cc * o->b[i];
        // X = a X + B X, a row block at a time would need a copy: add a to B's diagonal instead.
        for (int64_t i = 0; i < r; i++) o->b[i * r + i] += a;
        gemm_pack(o->k, o->pool, o->packed, x, c, 1, r, c);
        gemm_run(o->k, o->pool, x, c, o->b, r, 1, o->packed, r, c, r, false);
    }
}

static void muon_step(struct optimizer *o, const struct optimizer_matrix *t, float *w, float *m,
                      const float *grad, float *ema, const struct optimizer_step *s) {
    const float momentum = 0.95f;
    int64_t n = t->rows * t->columns, r = min_i64(t->rows, t->columns), c = n / r;
    bool tall = t->rows > t->columns;
    w += t->offset;
    m += t->offset;
    grad += t->offset;
    for (int64_t i = 0; i < n; i++) {
        float g = grad[i] * s->grad_scale;
        m[i] = momentum * m[i] + g;
        int64_t at = tall ? i % t->columns * c + i / t->columns : i;
        o->x[at] = g + momentum * m[i];
    }
    float norm = (float)sqrt(o->k->sum_squares(o->x, n)) + 1e-7f;
    for (int64_t i = 0; i < n; i++) o->x[i] /= norm;
    newton_schulz(o, o->x, r, c);
    float rate = s->lr * 0.2f * sqrtf((float)c), keep = 1.0f - s->lr * s->weight_decay;
    for (int64_t i = 0; i < n; i++)
        w[i] = keep * w[i] - rate * o->x[tall ? i % t->columns * c + i / t->columns : i];
    if (ema == NULL) return;
    ema += t->offset;
    for (int64_t i = 0; i < n; i++) ema[i] += (1.0f - s->ema_decay) * (w[i] - ema[i]);
}

void optimizer_apply(struct optimizer *o, float *w, float *m, float *v, const float *grad,
                     float *ema, const struct optimizer_step *step) {
    struct optimizer_job job = {
        .o = o, .w = w, .m = m, .v = v, .ema = ema, .grad = grad, .step = step};
    job.bc1 = (float)(1.0 - pow((double)step->b1, (double)step->t));
    job.bc2 = (float)(1.0 - pow((double)step->b2, (double)step->t));
    pool_run(o->pool, apply_part, &job, o->n_chunks, 1);
    for (int64_t i = 0; i < o->n_matrices; i++)
        muon_step(o, &o->matrices[i], w, m, grad, ema, step);
}

double schedule_lr(const struct schedule *s, int64_t i, double n_steps) {
    double warm = (double)s->warmup_steps, at = (double)i, low = s->min_lr_ratio;
    if (at < warm) return s->lr * (at + 1.0) / warm;
    double factor = 1.0;
    if (s->kind == SCHEDULE_COSINE && n_steps > warm) {
        double u = fmin(1.0, (at - warm) / (n_steps - warm));
        factor = low + (1.0 - low) * 0.5 * (1.0 + cos(3.14159265358979323846 * u));
    } else if (s->kind == SCHEDULE_WSD) {
        double length = fmax(1.0, s->decay_fraction * n_steps), start = n_steps - length;
        if (at >= start) factor = 1.0 - (1.0 - low) * fmin(1.0, (at - start + 1.0) / length);
    }
    return s->lr * factor;
}
