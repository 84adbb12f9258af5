// train/trainer.c - the loop: batch, gradient, step, log, evaluate, save; and how it starts, resumes and ends.
#include "train/trainer.h"

#include "core/buf.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"
#include "engine/tokenizer.h"
#include "train/checkpoint.h"
#include "train/network.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RECENT_STEPS = 50, PATH_BYTES = 4096 };

struct trainer {
    const struct recipe *recipe;
    const struct trainer_options *options;
    struct pool *pool;
    struct params params;
    struct optimizer optimizer;
    struct network *network;
    struct loader *train, *dev;
    struct arena arena;                 // the flat arrays
    float *w, *grad, *m, *v, *ema;      // ema is NULL when off
    struct subword subword; // n_grams is 0 when nothing is shared
    struct checkpoint_files files;
    struct checkpoint_state state;
    int lock_fd;
    FILE *log;
    char log_path[PATH_BYTES];
    int64_t steps_planned; // 0: until the time is over
    double recent[RECENT_STEPS];
    int64_t n_recent;
    // of this process
    int64_t start_ns, steps_here, tokens_here, last_save_ns;
    double elapsed_before_s, cpu_before_s;
    double eval_s; // spent in evaluation and saving: not counted in tokens/s
    bool on_screen;
};

// ---- time

static double seconds_since(int64_t ns) {
    return (double)(clock_monotonic_ns() - ns) / 1e9;
}

static double cpu_seconds(void) {
    struct timespec ts;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) == 0 ? (double)ts.tv_sec + (double)ts.tv_nsec / 1e9 : 0.0;
}

static void time_update(struct trainer *t) {
    t->state.elapsed_s = t->elapsed_before_s + seconds_since(t->start_ns);
    t->state.cpu_s = t->cpu_before_s + cpu_seconds();
    t->state.energy_j = t->state.cpu_s * t->recipe->watts_per_core;
}

// Steps this run will have: planned, or what the time left allows at the pace so far.
static double steps_expected(const struct trainer *t) {
    double planned = t->steps_planned > 0 ? (double)t->steps_planned : (double)INFINITY;
    if (!(t->recipe->max_minutes > 0.0)) return planned;
    double share = t->state.elapsed_s / (t->recipe->max_minutes * 60.0);
    double paced = share > 0.0 ? (double)t->state.step / share : (double)INFINITY;
    // The first steps say little about the pace.
    if (t->state.step < 10) paced = (double)INFINITY;
    double n = fmin(planned, paced);
    return isfinite(n) ? n : 1e9;
}

static bool finished(const struct trainer *t) {
    if (t->steps_planned > 0 && t->state.step >= t->steps_planned) return true;
    return t->recipe->max_minutes > 0.0 && t->state.elapsed_s >= t->recipe->max_minutes * 60.0;
}

// ---- opening

static bool open_model(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    struct model_config config = r->config;
    if (r->init_from != NULL && !model_config_read(&config, r->init_from, err)) return false;
    if (r->init_from == NULL && config.V == 0) config.V = loader_vocab(t->train);
    if (config.V < loader_vocab(t->train))
        return error_set(err, ERR_INPUT, "vocab_size %lld is smaller than the data's vocabulary, %lld",
                         (long long)config.V, (long long)loader_vocab(t->train));
    if (r->n_closed > 0 && r->closed[r->n_closed - 1] > config.V)
        return error_set(err, ERR_INPUT, "closed_groups: %d is past the vocabulary of %lld",
                         r->closed[r->n_closed - 1], (long long)config.V);
    struct tokenizer *tokenizer;
    if (!tokenizer_open(&tokenizer, r->tokenizer, err)) return false;
    const char *const names[] = {r->bos_token, r->eos_token, r->pad_token};
    int32_t ids[3];
    bool ok = true;
    for (int i = 0; i < 3 && ok; i++) {
        ids[i] = names[i] != NULL ? tokenizer_find(tokenizer, names[i]) : -1;
        if (names[i] != NULL && ids[i] < 0)
            ok = error_set(err, ERR_INPUT, "%s: has no token \"%s\"", r->tokenizer, names[i]);
    }
    tokenizer_close(tokenizer);
    if (!ok) return false;
    if (ids[0] >= 0) config.bos = ids[0];
    if (ids[1] >= 0) {
        config.eos[0] = ids[1];
        config.n_eos = 1;
    }
    if (ids[2] >= 0) config.pad = ids[2];
    return params_init(&t->params, &config, err);
}

static bool open_loader(struct loader **out, const struct recipe *r, const struct loader_source *sources, int64_t n,
                        bool train, int64_t max_doc, struct error *err) {
    int64_t micro = r->micro_tokens > 0 ? r->micro_tokens : min_i64(r->batch_tokens, max_i64(2048, max_doc));
    struct loader_options o = {.mode = r->mode,
                               .shuffle = train,
                               .seed = (uint64_t)r->seed,
                               .max_doc = max_doc,
                               .batch_tokens = train ? r->batch_tokens : micro,
                               .micro_tokens = micro};
    if (max_doc > micro)
        return error_set(err, ERR_USAGE,
                         "documents of up to %lld tokens do not fit in micro_tokens %lld: raise batch_tokens and "
                         "micro_tokens, or set data.max_len",
                         (long long)max_doc, (long long)micro);
    return loader_open(out, sources, n, &o, err);
}

// The longest document kept: data.max_len, or the longest of the files within what the model can see.
static bool longest_doc(int64_t *out, const struct recipe *r, struct error *err) {
    struct model_config config = r->config;
    if (r->init_from != NULL && !model_config_read(&config, r->init_from, err)) return false;
    int64_t longest = 0;
    for (int64_t i = 0; i < r->n_train + r->n_dev; i++) {
        struct data_file file;
        const char *path = i < r->n_train ? r->train[i].path : r->dev[i - r->n_train].path;
        if (!data_file_open(&file, path, err)) return false;
        longest = max_i64(longest, file.longest);
        data_file_close(&file);
    }
    if (r->max_len > config.T_max)
        return error_set(err, ERR_INPUT, "data.max_len %lld is more than max_position_embeddings %lld",
                         (long long)r->max_len, (long long)config.T_max);
    *out = min_i64(longest, r->max_len > 0 ? r->max_len : config.T_max);
    return true;
}

static bool hash_data(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    struct buf all = {0};
    bool ok = true;
    for (int64_t i = 0; ok && i < r->n_train; i++) {
        char hex[HASH_HEX_BYTES];
        ok = hash_file_sha256_hex(hex, r->train[i].path, err);
        if (ok) buf_append(&all, hex, 64);
    }
    if (ok) hash_sha256_hex(t->state.data_sha256, all.data, all.n_bytes);
    buf_release(&all);
    return ok;
}

static bool open_data(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    int64_t max_doc = 0;
    if (!longest_doc(&max_doc, r, err) ||
        !open_loader(&t->train, r, r->train, r->n_train, true, max_doc, err) ||
        (r->n_dev > 0 && !open_loader(&t->dev, r, r->dev, r->n_dev, false, max_doc, err)) || !hash_data(t, err) ||
        !hash_file_sha256_hex(t->state.tokenizer_sha256, r->tokenizer, err))
        return false;
    if (strcmp(t->state.tokenizer_sha256, loader_tokenizer_sha256(t->train)) != 0)
        return error_set(err, ERR_INPUT, "%s: SHA-256 %.12s..., but %s was made with a tokenizer %.12s...",
                         r->tokenizer, t->state.tokenizer_sha256, r->train[0].path,
                         loader_tokenizer_sha256(t->train));
    if (t->dev != NULL && strcmp(loader_tokenizer_sha256(t->dev), loader_tokenizer_sha256(t->train)) != 0)
        return error_set(err, ERR_INPUT, "%s: made with another tokenizer than %s", r->dev[0].path,
                         r->train[0].path);
    if (loader_n_cut(t->train) > 0)
        log_warn("train", "documents_cut=%lld max_len=%lld", (long long)loader_n_cut(t->train), (long long)max_doc);
    if (!open_model(t, err)) return false;
    struct network_options o = {
        .max_tokens = r->micro_tokens > 0 ? r->micro_tokens : min_i64(r->batch_tokens, max_i64(2048, max_doc)),
        .max_doc = max_doc,
        .dropout = (float)r->dropout,
        .embedding_dropout = (float)r->embedding_dropout,
        .token_dropout = (float)r->token_dropout,
        .token_dropout_first_id = (int32_t)r->token_dropout_first_id,
        .closed = r->closed,
        .n_closed = r->n_closed,
        .label_smoothing = (float)r->label_smoothing};
    return network_open(&t->network, &t->params, &o, t->pool, err);
}

static bool open_arrays(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    size_t n = (size_t)t->params.n_floats;
    float **arrays[] = {&t->w, &t->grad, &t->m, &t->v, &t->ema};
    for (int i = 0; i < (r->ema_decay > 0.0 ? 5 : 4); i++)
        *arrays[i] = arena_alloc_array(&t->arena, n, sizeof(float));
    if (!arena_ok(&t->arena))
        return error_set(err, ERR_NOMEM, "out of memory for %lld parameters", (long long)t->params.n_trainable);
    if (r->init_from != NULL) {
        struct tensor_set *set;
        if (!tensor_set_open(&set, r->init_from, err)) return false;
        bool ok = params_read(&t->params, t->w, set, "", r->init_from, err);
        tensor_set_close(set);
        if (!ok) return false;
    } else {
        params_randomise(&t->params, t->w, (uint64_t)r->seed, r->fan_in_start);
        if (r->identity_start && !params_identity_start(&t->params, t->w))
            return error_set(err, ERR_INPUT, "identity_start: needs heads x head_dim = key heads x head_dim = hidden_size");
    }
    if (t->ema != NULL) memcpy(t->ema, t->w, n * sizeof(float));
    struct optimizer_options o = {.muon = r->muon,
                                  .decay_embeddings = r->decay_embeddings,
                                  .embedding_lr_ratio = (float)r->embedding_lr_ratio,
                                  .freeze_qk_norm = r->freeze_qk_norm};
    return optimizer_init(&t->optimizer, &t->params, &o, t->pool, err);
}

static struct subword *shared(struct trainer *t) {
    return t->subword.n_grams > 0 ? &t->subword : NULL;
}

static bool open_subwords(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    if (!(r->subwords.lr_ratio > 0.0)) return true;
    struct tokenizer *tokenizer;
    if (!tokenizer_open(&tokenizer, r->tokenizer, err)) return false;
    bool ok = subword_init(&t->subword, &t->arena, tokenizer, t->params.config.V, t->params.config.C,
                           (int32_t)r->token_dropout_first_id, &r->subwords, err);
    tokenizer_close(tokenizer);
    return ok;
}

static bool resume(struct trainer *t, struct error *err) {
    struct checkpoint_state now = t->state;
    struct checkpoint_arrays arrays = {t->w, t->m, t->v, t->ema, shared(t)};
    bool found;
    if (!checkpoint_load_latest(t->recipe->out, &t->params, &arrays, &t->state, &found, err)) return false;
    if (!found) {
        t->state = now;
        return true;
    }
    if (t->state.seed != now.seed || strcmp(t->state.data_sha256, now.data_sha256) != 0 ||
        strcmp(t->state.tokenizer_sha256, now.tokenizer_sha256) != 0)
        return error_set(err, ERR_STATE,
                         "%s: holds step %" PRId64 " of a run with another %s: choose another out folder, or start "
                         "from its model with init_from",
                         t->recipe->out, t->state.step, t->state.seed != now.seed ? "seed" : "data or tokenizer");
    if (strcmp(t->state.recipe_sha256, now.recipe_sha256) != 0)
        log_warn("train", "resume=step-%" PRId64 " recipe=changed", t->state.step);
    memcpy(t->state.recipe_sha256, now.recipe_sha256, sizeof now.recipe_sha256);
    log_info("train", "resume=step-%" PRId64 " out=%s", t->state.step, t->recipe->out);
    return loader_seek(t->train, (uint64_t)t->state.epoch, t->state.position, err);
}

// A run killed after its last checkpoint has logged steps that will be done again: they are dropped.
static bool open_log(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    int n = r->log != NULL ? snprintf(t->log_path, sizeof t->log_path, "%s", r->log)
                           : snprintf(t->log_path, sizeof t->log_path, "%s/log.ndjson", r->out);
    if (n < 0 || (size_t)n >= sizeof t->log_path) return error_set(err, ERR_LIMIT, "log: path too long");
    if (file_exists(t->log_path)) {
        char *text;
        size_t n_bytes;
        if (!file_read(&text, &n_bytes, t->log_path, 0, err)) return false;
        struct buf kept = {0};
        for (char *line = text, *end; line < text + n_bytes; line = end + 1) {
            end = memchr(line, '\n', (size_t)(text + n_bytes - line));
            if (end == NULL) break; // cut short
            long long step;
            if (sscanf(line, "{\"step\":%lld,", &step) == 1 && step <= t->state.step)
                buf_append(&kept, line, (size_t)(end + 1 - line));
        }
        bool ok = (buf_ok(&kept) || error_set(err, ERR_NOMEM, "%s: out of memory", t->log_path)) &&
                  file_write_atomic(t->log_path, kept.data != NULL ? kept.data : "", kept.n_bytes, err);
        buf_release(&kept);
        free(text);
        if (!ok) return false;
    }
    t->log = fopen(t->log_path, "a");
    return t->log != NULL || error_set(err, ERR_IO, "%s: cannot append", t->log_path);
}

static bool trainer_open(struct trainer *t, struct error *err) {
    const struct recipe *r = t->recipe;
    arena_init(&t->arena, 0);
    t->start_ns = t->last_save_ns = clock_monotonic_ns();
    t->state.seed = r->seed;
    t->state.loss = t->state.dev_loss = (double)NAN;
    memcpy(t->state.recipe_sha256, r->sha256, sizeof r->sha256);
    if (!checkpoint_lock(&t->lock_fd, r->out, err) || !pool_open(&t->pool, (int)r->threads, err) ||
        !open_data(t, err) || !open_arrays(t, err))
        return false;
    t->files = (struct checkpoint_files){.tokenizer = r->tokenizer,
                                         .bos_token = r->bos_token,
                                         .eos_token = r->eos_token,
                                         .pad_token = r->pad_token,
                                         .T_max = t->params.config.T_max};
    t->steps_planned = r->epochs > 0.0 ? loader_count(t->train, r->epochs) : r->steps;
    if (!open_subwords(t, err) || !resume(t, err) || !open_log(t, err)) return false;
    if (t->state.step == 0 && r->bag.epochs > 0.0) {
        if (!bag_train(&t->params, t->w, r, shared(t), err)) return false;
        if (t->ema != NULL) memcpy(t->ema, t->w, (size_t)t->params.n_floats * sizeof(float));
    }
    t->elapsed_before_s = t->state.elapsed_s;
    t->cpu_before_s = t->state.cpu_s - cpu_seconds();
    t->on_screen = isatty(STDERR_FILENO) == 1;
    log_info("train",
             "parameters=%lld docs=%lld tokens=%lld steps=%lld batch_tokens=%lld activations_mib=%.0f threads=%d "
             "kernels=%s",
             (long long)t->params.n_trainable, (long long)loader_n_docs(t->train),
             (long long)loader_n_tokens(t->train), (long long)t->steps_planned, (long long)r->batch_tokens,
             (double)network_bytes(t->network) / 1048576.0, pool_threads(t->pool), kernels_best()->name);
    return true;
}

static void trainer_close(struct trainer *t) {
    if (t->log != NULL) fclose(t->log);
    network_close(t->network);
    loader_close(t->train);
    loader_close(t->dev);
    optimizer_release(&t->optimizer);
    params_release(&t->params);
    arena_release(&t->arena);
    pool_close(t->pool);
    if (t->lock_fd >= 0) close(t->lock_fd); // releases the lock
}

// ---- one step

struct step_result {
    double loss, lr, grad_norm;
    int64_t n_tokens;
};

static bool step_check(struct trainer *t, const struct loader_batch *batch, const struct step_result *s,
                       struct error *err) {
    // Four times the loss of guessing evenly: no recovery from there.
    double limit = 4.0 * log((double)t->params.config.V) + 1.0;
    if (isfinite(s->loss) && isfinite(s->grad_norm) && s->loss < limit) return true;
    char docs[320];
    loader_describe(t->train, batch, docs, sizeof docs);
    return error_set(err, ERR_STATE, "step %" PRId64 ": loss %g, gradient norm %g: diverged. Batch: %s",
                     t->state.step + 1, s->loss, s->grad_norm, docs);
}

static bool train_step(struct trainer *t, struct step_result *s, struct error *err) {
    const struct recipe *r = t->recipe;
    struct loader_batch batch;
    loader_next(t->train, &batch);
    optimizer_zero(&t->optimizer, t->grad);
    network_load(t->network, t->w, true);
    float scale = batch.weight > 0.0 ? (float)(1.0 / batch.weight) : 0.0f;
    double sum = 0.0;
    for (int64_t i = 0; i < batch.n_micros; i++) {
        uint64_t key = ((uint64_t)r->seed * 0x9E3779B97F4A7C15u) ^ ((uint64_t)t->state.step << 20) ^ (uint64_t)i;
        sum += network_pass(t->network, &batch.micros[i], t->grad, scale, key);
    }
    s->loss = batch.weight > 0.0 ? sum / batch.weight : 0.0;
    s->grad_norm = optimizer_norm(&t->optimizer, t->grad);
    s->lr = schedule_lr(&r->schedule, t->state.step, steps_expected(t));
    s->n_tokens = batch.n_tokens;
    if (!step_check(t, &batch, s, err)) return false;
    double clip = r->clip_norm > 0.0 && s->grad_norm > r->clip_norm ? r->clip_norm / s->grad_norm : 1.0;
    double n = (double)t->state.step;
    struct optimizer_step o = {.t = t->state.step + 1,
                               .lr = (float)s->lr,
                               .b1 = (float)r->beta1,
                               .b2 = (float)r->beta2,
                               .eps = (float)r->eps,
                               .weight_decay = (float)r->weight_decay,
                               .grad_scale = (float)clip,
                               .ema_decay = (float)fmin(r->ema_decay, (1.0 + n) / (10.0 + n))};
    optimizer_apply(&t->optimizer, t->w, t->m, t->v, t->grad, t->ema, &o);
    if (shared(t) != NULL) {
        struct subword_step g = {.t = o.t,
                                 .lr = (float)(s->lr * r->embedding_lr_ratio * r->subwords.lr_ratio),
                                 .b1 = o.b1,
                                 .b2 = o.b2,
                                 .eps = o.eps,
                                 .grad_scale = o.grad_scale};
        subword_apply(&t->subword, t->pool, t->w + t->params.embedding, t->grad + t->params.embedding, &g);
    }
    t->state.step++;
    t->state.tokens += batch.n_tokens;
    t->state.epoch = (int64_t)loader_epoch(t->train);
    t->state.position = loader_position(t->train);
    t->steps_here++;
    t->tokens_here += batch.n_tokens;
    t->recent[t->n_recent++ % RECENT_STEPS] = s->loss;
    double mean = 0.0;
    int64_t n_mean = min_i64(t->n_recent, RECENT_STEPS);
    for (int64_t i = 0; i < n_mean; i++) mean += t->recent[i];
    t->state.loss = mean / (double)n_mean;
    time_update(t);
    return true;
}

// Mean loss over the dev files, by the weights that would be exported.
static double evaluate(struct trainer *t) {
    int64_t begin_ns = clock_monotonic_ns();
    double sum = 0.0, weight = 0.0;
    if (!loader_seek(t->dev, 0, 0, NULL)) return (double)NAN;
    network_load(t->network, t->ema != NULL ? t->ema : t->w, false);
    while (loader_epoch(t->dev) == 0) {
        struct loader_batch batch;
        loader_next(t->dev, &batch);
        for (int64_t i = 0; i < batch.n_micros; i++)
            sum += network_pass(t->network, &batch.micros[i], NULL, 0.0f, 0);
        weight += batch.weight;
    }
    t->eval_s += seconds_since(begin_ns);
    time_update(t);
    return weight > 0.0 ? sum / weight : (double)NAN;
}

// ---- telling

static double tokens_per_s(const struct trainer *t) {
    double s = seconds_since(t->start_ns) - t->eval_s;
    return s > 0.0 ? (double)t->tokens_here / s : 0.0;
}

static void show_progress(const struct trainer *t, const struct step_result *s, bool evaluated) {
    if (t->options->quiet) return;
    double n = steps_expected(t), pace = seconds_since(t->start_ns) / (double)t->steps_here;
    double left = fmax(0.0, (n - (double)t->state.step) * pace);
    if (t->recipe->max_minutes > 0.0) left = fmin(left, t->recipe->max_minutes * 60.0 - t->state.elapsed_s);
    if (left < 0.0) left = 0.0;
    char dev[48] = "";
    if (evaluated) snprintf(dev, sizeof dev, "  dev %.4f", t->state.dev_loss);
    fprintf(stderr, "%sstep %" PRId64 "/%.0f  loss %.4f  lr %.2e  norm %.2f  %.0f tokens/s  left %d:%02d:%02d%s%s",
            t->on_screen ? "\r" : "", t->state.step, n < 1e9 ? n : 0.0, s->loss, s->lr, s->grad_norm, tokens_per_s(t),
            (int)(left / 3600.0), (int)(left / 60.0) % 60, (int)left % 60, dev,
            t->on_screen ? (evaluated ? "\033[K\n" : "\033[K") : "\n");
}

static bool write_log(struct trainer *t, const struct step_result *s, bool evaluated, struct error *err) {
    char dev[64] = "";
    if (evaluated && isfinite(t->state.dev_loss)) snprintf(dev, sizeof dev, ",\"dev_loss\":%.9g", t->state.dev_loss);
    fprintf(t->log,
            "{\"step\":%" PRId64 ",\"tokens\":%" PRId64
            ",\"loss\":%.9g,\"lr\":%.9g,\"grad_norm\":%.9g,\"tokens_per_s\":%.0f,\"elapsed_s\":%.1f%s}\n",
            t->state.step, t->state.tokens, s->loss, s->lr, s->grad_norm, tokens_per_s(t), t->state.elapsed_s, dev);
    return fflush(t->log) == 0 ||
           error_set(err, ERR_IO, "%s: cannot write (disk full?); the last checkpoint is intact", t->log_path);
}

static bool save(struct trainer *t, struct error *err) {
    int64_t begin_ns = clock_monotonic_ns();
    struct checkpoint_arrays arrays = {t->w, t->m, t->v, t->ema, shared(t)};
    time_update(t);
    t->state.n_steps_planned = (double)t->steps_planned;
    bool ok = checkpoint_save(t->recipe->out, &t->params, &arrays, &t->files, &t->state, t->recipe->keep, err);
    t->last_save_ns = clock_monotonic_ns();
    t->eval_s += seconds_since(begin_ns);
    if (ok) log_debug("train", "checkpoint=step-%" PRId64, t->state.step);
    return ok;
}

static void json_number(struct buf *b, const char *key, double value) {
    if (isfinite(value)) buf_printf(b, ",\n  \"%s\": %.9g", key, value);
    else buf_printf(b, ",\n  \"%s\": null", key);
}

static bool export(struct trainer *t, struct trainer_summary *summary, struct error *err) {
    const struct recipe *r = t->recipe;
    const struct checkpoint_state *s = &t->state;
    struct buf b = {0};
    buf_append_str(&b, "{\n  \"name\": ");
    buf_append_json_string(&b, r->name, strlen(r->name));
    buf_printf(&b, ",\n  \"parameters\": %" PRId64 ",\n  \"steps\": %" PRId64 ",\n  \"tokens\": %" PRId64
                   ",\n  \"seed\": %" PRId64,
               t->params.n_trainable, s->step, s->tokens, s->seed);
    buf_printf(&b, ",\n  \"recipe_sha256\": \"%s\",\n  \"data_sha256\": \"%s\",\n  \"tokenizer_sha256\": \"%s\"",
               s->recipe_sha256, s->data_sha256, s->tokenizer_sha256);
    buf_printf(&b, ",\n  \"weights\": \"%s\"", t->ema != NULL ? "moving average" : "last");
    json_number(&b, "loss", s->loss);
    json_number(&b, "dev_loss", s->dev_loss);
    json_number(&b, "elapsed_s", s->elapsed_s);
    json_number(&b, "cpu_s", s->cpu_s);
    json_number(&b, "watts_per_core", r->watts_per_core);
    json_number(&b, "energy_wh", s->energy_j / 3600.0);
    buf_append_str(&b, ",\n  \"energy_is\": \"an estimate: watts_per_core times processor seconds\"\n}\n");
    bool ok = buf_ok(&b) || error_set(err, ERR_NOMEM, "training.json: out of memory");
    ok = ok && checkpoint_export(r->out, &t->params, t->ema != NULL ? t->ema : t->w, &t->files, s, b.data, err);
    buf_release(&b);
    if (ok) snprintf(summary->model_folder, sizeof summary->model_folder, "%s/model", r->out);
    return ok;
}

// ---- the loop

static bool stop_asked(const struct trainer *t, const sigset_t *signals) {
    struct timespec none = {0, 0};
    if (t->options->stop_after > 0 && t->steps_here >= t->options->stop_after) return true;
    return sigtimedwait(signals, NULL, &none) > 0;
}

static enum trainer_result run(struct trainer *t, const sigset_t *signals, struct error *err) {
    const struct recipe *r = t->recipe;
    t->start_ns = t->last_save_ns = clock_monotonic_ns();
    int64_t saved_step = t->state.step;
    while (!finished(t)) {
        struct step_result s;
        if (!train_step(t, &s, err)) return TRAINER_FAILED;
        bool last = finished(t);
        bool eval = t->dev != NULL && (last || (r->eval_every > 0 && t->state.step % r->eval_every == 0));
        if (eval) t->state.dev_loss = evaluate(t);
        bool log_now = eval || last || t->state.step % r->log_every == 0;
        if (log_now && !write_log(t, &s, eval, err)) return TRAINER_FAILED;
        if (log_now || t->on_screen) show_progress(t, &s, eval);
        bool stop = !last && stop_asked(t, signals);
        bool due = r->save_every > 0 && t->state.step % r->save_every == 0;
        due = due || (r->save_minutes > 0.0 && seconds_since(t->last_save_ns) >= r->save_minutes * 60.0);
        if (due || stop || last) {
            if (!save(t, err)) return TRAINER_FAILED;
            saved_step = t->state.step;
        }
        if (stop) return TRAINER_STOPPED;
    }
    // Resumed when all steps were already done: only the final folder may be missing.
    assert(saved_step == t->state.step);
    return TRAINER_DONE;
}

enum trainer_result trainer_run(const struct recipe *recipe, const struct trainer_options *options,
                                struct trainer_summary *summary, struct error *err) {
    struct trainer t = {.recipe = recipe, .options = options, .lock_fd = -1};
    *summary = (struct trainer_summary){.loss = (double)NAN, .dev_loss = (double)NAN};
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, &before); // before the pool starts: its threads inherit the mask
    enum trainer_result result = TRAINER_FAILED;
    if (trainer_open(&t, err)) {
        result = run(&t, &signals, err);
        if (t.on_screen && !options->quiet) fputc('\n', stderr);
        if (result == TRAINER_DONE && !export(&t, summary, err)) result = TRAINER_FAILED;
        summary->n_parameters = t.params.n_trainable;
        summary->steps = t.state.step;
        summary->tokens = t.state.tokens;
        summary->loss = t.state.loss;
        summary->dev_loss = t.state.dev_loss;
        summary->elapsed_s = t.state.elapsed_s;
        summary->cpu_s = t.state.cpu_s;
        summary->energy_wh = t.state.energy_j / 3600.0;
        summary->tokens_per_s = tokens_per_s(&t);
    }
    trainer_close(&t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}
