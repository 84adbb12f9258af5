// control/generator_engine.c - plain text generation with the engine, for the OpenAI-compatible
// endpoint. It has a session of its own, beside triage's, so that a half-written answer holds no
// slot that passengers need.
#include "control/judge.h"

#include "engine/chat.h"
#include "engine/sampler.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_TOKENS = 4096, PROMPT_TOKENS_A_TURN = 128 };

struct generator_engine {
    const struct model *model;
    int n_threads;
    struct chat_template *template;
    struct pool *pool;
    struct session *session; // NULL until the first request
    int64_t slot_tokens;
    float *logits, *scratch; // [V], [2 V]
    // the text being written:
    struct token_list prompt, written;
    int64_t prompt_done, max_tokens;
    int64_t shown, context_begin; // tokens whose text went out; where decoding starts, so that
                                  // spaces come out right
    struct sampler sampler;
};

bool generator_engine_open(struct generator_engine **out, const struct model *model,
                           const char *folder, int n_threads, struct error *err) {
    *out = NULL;
    struct generator_engine *g = calloc(1, sizeof *g);
    if (g == NULL) return error_set(err, ERR_NOMEM, "generator: out of memory");
    g->model = model;
    g->n_threads = n_threads;
    g->slot_tokens = min_i64(model->config.T_max, SLOT_TOKENS);
    if (!chat_template_open(&g->template, folder, err)) {
        generator_engine_close(g);
        return false;
    }
    *out = g;
    return true;
}

void generator_engine_close(struct generator_engine *g) {
    if (g == NULL) return;
    session_close(g->session);
    pool_close(g->pool);
    chat_template_close(g->template);
    token_list_release(&g->prompt);
    token_list_release(&g->written);
    free(g->logits);
    free(g->scratch);
    free(g);
}

static bool engine_prepare(struct generator_engine *g, struct error *err) {
    if (g->session != NULL) return true;
    size_t V = (size_t)g->model->config.V;
    if (g->logits == NULL) g->logits = calloc(V, sizeof *g->logits);
    if (g->scratch == NULL) g->scratch = calloc(2 * V, sizeof *g->scratch);
    if (g->logits == NULL || g->scratch == NULL)
        return error_set(err, ERR_NOMEM, "generator: out of memory");
    if (g->pool == NULL && !pool_open(&g->pool, g->n_threads, err)) return false;
    struct session_options options = {.n_slots = 1,
                                      .slot_tokens = g->slot_tokens,
                                      .batch_tokens =
                                          min_i64(g->slot_tokens, PROMPT_TOKENS_A_TURN)};
    return session_open(&g->session, g->model, g->pool, &options, err);
}

// The written form of a special token of the config, for templates that print it.
static void variable_set(json_t *variables, const char *name, const struct tokenizer *tokenizer,
                         int32_t id) {
    size_t n_bytes;
    const char *bytes = id >= 0 ? tokenizer_token_bytes(tokenizer, id, &n_bytes) : NULL;
    if (bytes != NULL) json_object_set_new(variables, name, json_stringn(bytes, n_bytes));
}

static bool engine_prompt(struct generator_engine *g, const json_t *messages, struct error *err) {
    const struct model_config *c = &g->model->config;
    struct buf text = {0};
    json_t *variables = json_object();
    variable_set(variables, "bos_token", g->model->tokenizer, c->bos);
    variable_set(variables, "eos_token", g->model->tokenizer, c->n_eos > 0 ? c->eos[0] : -1);
    bool ok = chat_template_render(g->template, &text, messages, true, variables, err) &&
              (buf_ok(&text) || error_set(err, ERR_LIMIT, "messages: the prompt is too long"));
    ok = ok && tokenizer_encode(g->model->tokenizer, &g->prompt, text.data != NULL ? text.data : "",
                                text.n_bytes, TOKENIZER_PARSE_SPECIAL, err);
    json_decref(variables);
    buf_release(&text);
    return ok;
}

static bool engine_begin(void *context, const struct generator_request *request,
                         int64_t *prompt_tokens, struct error *err) {
    struct generator_engine *g = context;
    token_list_reset(&g->prompt);
    token_list_reset(&g->written);
    g->prompt_done = g->shown = g->context_begin = 0;
    g->max_tokens = request->max_tokens;
    g->sampler = (struct sampler){.temperature = request->temperature, .top_p = request->top_p};
    rng_init(&g->sampler.rng, request->seed);
    if (!engine_prepare(g, err) || !engine_prompt(g, request->messages, err)) return false;
    *prompt_tokens = g->prompt.n;
    if (g->prompt.n == 0) return error_set(err, ERR_INPUT, "messages: the prompt is empty");
    if (g->prompt.n + 1 > g->slot_tokens)
        return error_set(err, ERR_LIMIT,
                         "messages: the prompt has %lld tokens; prompt and answer fit in %lld",
                         (long long)g->prompt.n, (long long)g->slot_tokens);
    session_truncate(g->session, 0, 0);
    return true;
}

// Text of the tokens not shown yet. A character that spans tokens waits until it is whole (`last`:
// no longer). Decoding starts a little before, as some tokenizers drop the space at the start of a
// text.
static bool engine_show(struct generator_engine *g, struct buf *text, bool last,
                        struct error *err) {
    struct buf before = {0}, all = {0};
    const struct tokenizer *t = g->model->tokenizer;
    const int32_t *ids = g->written.ids + g->context_begin;
    if (g->written.n == g->shown) return true;
    bool ok = tokenizer_decode(t, &before, ids, g->shown - g->context_begin, true, err) &&
              tokenizer_decode(t, &all, ids, g->written.n - g->context_begin, true, err) &&
              ((buf_ok(&before) && buf_ok(&all)) ||
               error_set(err, ERR_NOMEM, "generator: out of memory"));
    static const char partial[] = "\xEF\xBF\xBD"; // U+FFFD
    bool whole = all.n_bytes < 3 || memcmp(all.data + all.n_bytes - 3, partial, 3) != 0;
    if (ok && all.n_bytes >= before.n_bytes && (whole || last)) {
        buf_append(text, all.data + before.n_bytes, all.n_bytes - before.n_bytes);
        g->context_begin = g->shown;
        g->shown = g->written.n;
    }
    buf_release(&before);
    buf_release(&all);
    return ok;
}

static bool is_end(const struct model_config *c, int32_t token) {
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == token) return true;
    return false;
}

// Runs the next part of the prompt, or the last token written.
static bool engine_forward(struct generator_engine *g, int64_t *n, struct error *err) {
    struct session_part part = {.slot = 0, .want_hidden = true};
    if (g->prompt_done < g->prompt.n) {
        part.tokens = g->prompt.ids + g->prompt_done;
        part.n = min_i64(g->prompt.n - g->prompt_done, PROMPT_TOKENS_A_TURN);
        g->prompt_done += part.n;
    } else {
        part.tokens = &g->written.ids[g->written.n - 1];
        part.n = 1;
    }
    *n = part.n;
    return session_forward(g->session, &part, 1, err);
}

static enum generator_step engine_step(void *context, int64_t n_tokens, struct buf *text,
                                       int64_t *n_generated, struct error *err) {
    struct generator_engine *g = context;
    const struct model_config *c = &g->model->config;
    for (int64_t i = 0; i < n_tokens; i++) {
        int64_t n;
        if (!engine_forward(g, &n, err)) return GENERATOR_FAILED;
        if (g->prompt_done < g->prompt.n) return GENERATOR_MORE;
        session_logits(g->session, g->logits, session_hidden(g->session, 0, n - 1));
        int32_t token = sampler_choose(&g->sampler, g->logits, c->V, g->scratch);
        if (is_end(c, token))
            return engine_show(g, text, true, err) ? GENERATOR_STOP : GENERATOR_FAILED;
        token_list_append(&g->written, token, 0, 0);
        if (g->written.failed) {
            error_set(err, ERR_NOMEM, "generator: out of memory");
            return GENERATOR_FAILED;
        }
        ++*n_generated;
        bool full = g->written.n >= g->max_tokens || g->prompt.n + g->written.n >= g->slot_tokens;
        if (!engine_show(g, text, full, err)) return GENERATOR_FAILED;
        if (full) return GENERATOR_LENGTH;
    }
    return GENERATOR_MORE;
}

static void engine_end(void *context) {
    struct generator_engine *g = context;
    token_list_reset(&g->prompt);
    token_list_reset(&g->written);
}

struct generator generator_engine_interface(struct generator_engine *engine) {
    return (struct generator){engine, engine_begin, engine_step, engine_end};
}
