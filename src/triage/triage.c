// triage/triage.c - batches of messages through one model.
// A message occupies one slot of the session from its prompt to its last trace token:
//   prompt (one pass gives the level) -> six label tokens -> if someone will read it: evidence -> for -> against.
// All messages of a batch advance together, one token a pass; a finished one leaves the pass.
#include "triage/triage.h"

#include "core/arena.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "triage/calibration.h"
#include "triage/layout.h"
#include "triage/place.h"
#include "triage/reason.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PASS_TOKENS = 1024,      // prompt tokens of one pass
    SLOT_TOKENS = 640,       // text and trace of one message
    EVIDENCE_TOKENS = 24,    // of one span
    EVIDENCE_LEAST = 3,      // shorter quotes say nothing ("il")
    EVIDENCE_SPANS = 2,
    WHY_TOKENS = 56,         // of "for" or of "against"
    TRACE_TOKENS = EVIDENCE_SPANS * (EVIDENCE_TOKENS + 1) + 2 * (WHY_TOKENS + 1) + 2,
};

enum phase { PHASE_LABELS, PHASE_EVIDENCE, PHASE_FOR, PHASE_AGAINST, PHASE_DONE };

// One message under way.
struct work {
    const struct message *message;
    struct verdict *verdict;
    int64_t slot;
    struct token_list prompt;
    int64_t text_begin, text_end; // token range of the text in prompt
    enum phase phase;
    int slot_i;                  // label being read
    int32_t labels[N_SLOTS];
    int32_t next;                // token to feed in the coming pass
    bool want_trace;
    bool *copying;               // [text tokens]: the span under way may end just before this token
    int64_t n_span;              // tokens of the span under way
    int n_spans;                 // spans begun, those that gave no evidence included
    struct token_list why;       // tokens of the sentence under way
};

struct triage {
    struct model *model;
    struct pool *pool;
    struct session *session;
    struct gazetteer *gazetteer;
    struct layout layout;
    struct calibration calibration;
    int64_t n_batch, slot_tokens, max_text_tokens;
    struct work *work;           // [n_batch]
    struct session_part *parts;  // [n_batch]
    int64_t *part_work;          // [n_batch]
    float *logits;               // [V]
    int32_t *legal;              // [V]
    bool *plain;                 // [V]: tokens a sentence may hold (no special token)
};

bool trace_mode_parse(enum trace_mode *out, const char *word) {
    static const char *const words[] = {"auto", "always", "never"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(words[i], word) != 0) continue;
        *out = (enum trace_mode)i;
        return true;
    }
    return false;
}

bool triage_open(struct triage **out, const struct triage_options *options, struct error *err) {
    *out = NULL;
    struct triage *t = calloc(1, sizeof *t);
    if (t == NULL) return error_set(err, ERR_NOMEM, "triage: out of memory");
    t->n_batch = options->n_batch > 0 ? min_i64(options->n_batch, 256) : 16;
    if (!model_open(&t->model, options->model_folder, &(struct model_options){options->weights}, err)) goto fail;
    if (!layout_init(&t->layout, t->model->tokenizer, err)) {
        error_wrap(err, "%s: this model was not trained for triage", options->model_folder);
        goto fail;
    }
    if (!calibration_read(&t->calibration, options->model_folder, err)) goto fail;
    if (!pool_open(&t->pool, options->n_threads, err)) goto fail;
    t->slot_tokens = min_i64(SLOT_TOKENS, t->model->config.T_max);
    t->max_text_tokens = t->slot_tokens - 3 - N_SLOTS - TRACE_TOKENS;
    if (t->max_text_tokens < 64) {
        error_set(err, ERR_LIMIT, "%s: a window of %lld tokens is too short for a message and its trace",
                  options->model_folder, (long long)t->model->config.T_max);
        goto fail;
    }
    struct session_options so = {.n_slots = t->n_batch,
                                 .slot_tokens = t->slot_tokens,
                                 .batch_tokens = max_i64(PASS_TOKENS, max_i64(t->slot_tokens, t->n_batch))};
    if (!session_open(&t->session, t->model, t->pool, &so, err)) goto fail;
    const char *gazetteer_path = options->gazetteer_path;
    char beside[4096];
    if (gazetteer_path == NULL) {
        if (!file_join(beside, sizeof beside, options->model_folder, "gazetteer.tsv", err)) goto fail;
        if (file_exists(beside)) gazetteer_path = beside;
    }
    if (gazetteer_path != NULL && !gazetteer_open(&t->gazetteer, gazetteer_path, err)) goto fail;
    int64_t V = t->model->config.V;
    t->work = calloc((size_t)t->n_batch, sizeof *t->work);
    t->parts = calloc((size_t)t->n_batch, sizeof *t->parts);
    t->part_work = calloc((size_t)t->n_batch, sizeof *t->part_work);
    t->logits = calloc((size_t)V, sizeof *t->logits);
    t->legal = calloc((size_t)V, sizeof *t->legal);
    t->plain = calloc((size_t)V, sizeof *t->plain);
    if (t->work == NULL || t->parts == NULL || t->part_work == NULL || t->logits == NULL || t->legal == NULL ||
        t->plain == NULL) {
        error_set(err, ERR_NOMEM, "triage: out of memory");
        goto fail;
    }
    for (int64_t i = 0; i < t->n_batch; i++) {
        t->work[i].slot = i;
        t->work[i].copying = calloc((size_t)t->slot_tokens + 1, sizeof *t->work[i].copying);
        if (t->work[i].copying == NULL) {
            error_set(err, ERR_NOMEM, "triage: out of memory");
            goto fail;
        }
    }
    for (int64_t i = 0; i < tokenizer_vocab(t->model->tokenizer); i++)
        t->plain[i] = !tokenizer_is_special(t->model->tokenizer, (int32_t)i);
    *out = t;
    return true;
fail:
    triage_close(t);
    return false;
}

void triage_close(struct triage *t) {
    if (t == NULL) return;
    for (int64_t i = 0; t->work != NULL && i < t->n_batch; i++) {
        token_list_release(&t->work[i].prompt);
        token_list_release(&t->work[i].why);
        free(t->work[i].copying);
    }
    free(t->work);
    free(t->parts);
    free(t->part_work);
    free(t->logits);
    free(t->legal);
    free(t->plain);
    gazetteer_close(t->gazetteer);
    session_close(t->session);
    pool_close(t->pool);
    model_close(t->model);
    free(t);
}

const char *triage_model_name(const struct triage *t) {
    return t->model->name;
}
const char *triage_model_sha256(const struct triage *t) {
    return t->model->sha256;
}
const struct model *triage_model(const struct triage *t) {
    return t->model;
}
struct session *triage_session(struct triage *t) {
    return t->session;
}
int64_t triage_batch(const struct triage *t) {
    return t->n_batch;
}

// The greatest logit among legal tokens (the first among equals) and its share of exp over them.
static int32_t choose(const float *logits, const int32_t *ids, int64_t n, float *p) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += expf(logits[i] - logits[best]);
    if (p != NULL) *p = 1.0f / sum;
    return ids[best];
}

static int index_of(const int32_t *ids, int n, int32_t id) {
    for (int i = 0; i < n; i++)
        if (ids[i] == id) return i;
    return -1;
}

// ------------------------------------------------------------------------------------------------- labels
static void read_level(struct triage *t, struct work *w, const float *hidden, enum trace_mode mode) {
    struct verdict *v = w->verdict;
    float logits[N_LEVELS];
    session_logits_of(t->session, logits, hidden, t->layout.levels, N_LEVELS);
    calibration_apply(&t->calibration, v->p_level, logits);
    v->level = 0;
    for (int i = 1; i < N_LEVELS; i++)
        if (v->p_level[i] > v->p_level[v->level]) v->level = i;
    w->labels[SLOT_LEVEL] = t->layout.levels[v->level];
    bool worth = v->level >= 2 || v->p_level[3] + v->p_level[4] >= t->calibration.trace_doubt;
    w->want_trace = mode == TRACE_ALWAYS || (mode == TRACE_AUTO && worth);
}

static void read_label(struct triage *t, struct work *w, const float *hidden) {
    struct verdict *v = w->verdict;
    const struct layout *l = &t->layout;
    int32_t ids[64];
    float logits[64], p;
    int64_t n = layout_legal(l, (enum layout_slot)w->slot_i, w->labels, ids);
    session_logits_of(t->session, logits, hidden, ids, n);
    int32_t id = choose(logits, ids, n, &p);
    w->labels[w->slot_i] = id;
    switch (w->slot_i) {
    case SLOT_CLASS:
        v->class_i = index_of(l->classes, N_CLASSES, id);
        v->p_class = p;
        break;
    case SLOT_SOURCE:
        v->source = index_of(l->sources, N_SOURCES, id);
        v->p_source = p;
        break;
    case SLOT_D1:
    case SLOT_D2:
        for (int kind = 0; kind < N_DISTRESS; kind++) {
            int intensity = index_of(l->distress[kind], 3, id);
            if (intensity >= 0) v->distress[kind] = intensity + 1;
        }
        break;
    default: {
        int flag = index_of(l->flags, N_FLAGS, id);
        if (flag >= 0) v->flags[flag] = true;
    }
    }
}

// ------------------------------------------------------------------------------------------------- evidence
// Marks where the next evidence token may stand: anywhere, when a span begins.
static void span_begin(struct work *w) {
    int64_t n = w->text_end - w->text_begin;
    for (int64_t i = 0; i <= n; i++) w->copying[i] = true;
    w->n_span = 0;
    w->n_spans++;
}

static bool word_byte(unsigned char c) {
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The span under way ends: its first place in the text becomes evidence, grown to whole words, spaces trimmed.
static void span_end(struct work *w) {
    struct verdict *v = w->verdict;
    int64_t n = w->text_end - w->text_begin, end = 0;
    if (w->n_span == 0 || v->n_evidence == MAX_EVIDENCE) return;
    while (end <= n && !w->copying[end]) end++; // copying[end]: a span of n_span tokens ends before token `end`
    if (end > n) return;
    const char *text = w->message->text;
    int64_t last = w->text_begin + end - 1, first = last - w->n_span + 1;
    int64_t a = w->prompt.begin[first], b = w->prompt.end[last], bytes = (int64_t)w->message->text_bytes;
    while (a > 0 && word_byte((unsigned char)text[a]) && word_byte((unsigned char)text[a - 1])) a--;
    while (b < bytes && b > 0 && word_byte((unsigned char)text[b]) && word_byte((unsigned char)text[b - 1])) b++;
    while (a < b && strchr(" \t\r\n,.;:!?", text[a]) != NULL) a++;
    while (b > a && strchr(" \t\r\n,;:", text[b - 1]) != NULL) b--;
    for (int i = 0; i < v->n_evidence; i++)
        if (a < v->evidence[i].end && v->evidence[i].begin < b) return; // said already
    if (a < b) v->evidence[v->n_evidence++] = (struct span){a, b};
}

// True when text token i is the first after the cut of a long text: no span goes across.
static bool after_cut(const struct work *w, int64_t i) {
    int64_t token = w->text_begin + i;
    return w->verdict->truncated && i > 0 && w->prompt.begin[token] > w->prompt.end[token - 1];
}

// Chooses the next token of the evidence phase: a copy of the message's own tokens, or the mark that ends the span.
static void read_evidence(struct triage *t, struct work *w, const float *hidden) {
    const struct layout *l = &t->layout;
    int64_t n_text = w->text_end - w->text_begin, n = 0;
    // copying[i] true: token i of the text may come next. The set of distinct next tokens is the legal list.
    for (int64_t i = 0; i < n_text && w->n_span < EVIDENCE_TOKENS; i++) {
        if (!w->copying[i] || (w->n_span > 0 && after_cut(w, i))) continue;
        int32_t id = w->prompt.ids[w->text_begin + i];
        int64_t j = 0;
        while (j < n && t->legal[j] != id) j++;
        if (j == n) t->legal[n++] = id;
    }
    if (w->n_span >= EVIDENCE_LEAST || (w->n_span > 0 && n == 0)) {
        if (w->n_spans < EVIDENCE_SPANS) t->legal[n++] = l->evidence;
        t->legal[n++] = l->why_for;
    }
    session_logits_of(t->session, t->logits, hidden, t->legal, n);
    int32_t id = choose(t->logits, t->legal, n, NULL);
    w->next = id;
    if (id == l->evidence || id == l->why_for) {
        span_end(w);
        if (id == l->evidence) {
            span_begin(w);
        } else if (t->calibration.model_writes) {
            w->phase = PHASE_FOR;
            token_list_reset(&w->why);
        } else {
            w->phase = PHASE_DONE; // run_batch() composes the sentences
        }
        return;
    }
    for (int64_t i = n_text; i > 0; i--)
        w->copying[i] = w->copying[i - 1] && w->prompt.ids[w->text_begin + i - 1] == id &&
                        (w->n_span == 0 || !after_cut(w, i - 1));
    w->copying[0] = false;
    w->n_span++;
}

// ------------------------------------------------------------------------------------------------- for, against
static char *why_text(const struct triage *t, const struct work *w) {
    struct buf b = {0};
    struct error ignored = {0};
    if (!tokenizer_decode(t->model->tokenizer, &b, w->why.ids, w->why.n, true, &ignored)) {
        buf_release(&b);
        return NULL;
    }
    char *s = buf_take(&b);
    if (s == NULL) return NULL;
    size_t skip = strspn(s, " "), n = strlen(s);
    while (n > skip && s[n - 1] == ' ') s[--n] = '\0';
    memmove(s, s + skip, n - skip + 1);
    return s;
}

static void read_why(struct triage *t, struct work *w, const float *hidden) {
    const struct layout *l = &t->layout;
    // Any plain token, or the mark that ends the sentence once it has begun; at the limit only the mark.
    int32_t stop = w->phase == PHASE_FOR ? l->why_against : l->end, id = stop;
    if (w->why.n < WHY_TOKENS) {
        session_logits(t->session, t->logits, hidden);
        float best = w->why.n > 0 ? t->logits[stop] : -INFINITY;
        for (int64_t i = 0; i < t->model->config.V; i++) {
            if (!t->plain[i] || !(t->logits[i] > best)) continue;
            best = t->logits[i];
            id = (int32_t)i;
        }
    }
    w->next = id;
    if (id != stop) {
        token_list_append(&w->why, id, 0, 0);
        return;
    }
    if (w->phase == PHASE_FOR) {
        w->verdict->why_for = why_text(t, w);
        token_list_reset(&w->why);
        w->phase = PHASE_AGAINST;
    } else {
        w->verdict->why_against = why_text(t, w);
        w->verdict->written_by_model = true;
        w->phase = PHASE_DONE;
    }
}

// ------------------------------------------------------------------------------------------------- the batch
// Reads what the last pass says for one message and sets the token it feeds next.
static void advance(struct triage *t, struct work *w, const float *hidden, enum trace_mode mode) {
    switch (w->phase) {
    case PHASE_LABELS:
        if (w->slot_i == SLOT_LEVEL) read_level(t, w, hidden, mode);
        else read_label(t, w, hidden);
        w->next = w->labels[w->slot_i++];
        if (w->slot_i < N_SLOTS) return;
        w->phase = w->want_trace ? PHASE_EVIDENCE : PHASE_DONE;
        span_begin(w);
        return;
    case PHASE_EVIDENCE: read_evidence(t, w, hidden); return;
    case PHASE_FOR:
    case PHASE_AGAINST: read_why(t, w, hidden); return;
    case PHASE_DONE: return;
    }
}

static bool prompt_all(struct triage *t, int64_t n, enum trace_mode mode, struct error *err) {
    for (int64_t i = 0; i < n;) {
        int64_t n_parts = 0, n_tokens = 0, first = i;
        for (; i < n && n_tokens + t->work[i].prompt.n <= max_i64(PASS_TOKENS, t->slot_tokens); i++) {
            struct work *w = &t->work[i];
            session_truncate(t->session, w->slot, 0);
            t->parts[n_parts++] = (struct session_part){.slot = w->slot, .tokens = w->prompt.ids, .n = w->prompt.n, .want_hidden = true};
            n_tokens += w->prompt.n;
        }
        if (!session_forward(t->session, t->parts, n_parts, err)) return false;
        for (int64_t j = 0; j < n_parts; j++)
            advance(t, &t->work[first + j], session_hidden(t->session, j, t->parts[j].n - 1), mode);
    }
    return true;
}

// One token for every message still under way; false in *any when none is.
static bool step_all(struct triage *t, int64_t n, enum trace_mode mode, bool *any, struct error *err) {
    int64_t n_parts = 0;
    for (int64_t i = 0; i < n; i++) {
        struct work *w = &t->work[i];
        if (w->phase == PHASE_DONE) continue;
        t->part_work[n_parts] = i;
        t->parts[n_parts++] = (struct session_part){.slot = w->slot, .tokens = &w->next, .n = 1, .want_hidden = true};
    }
    *any = n_parts > 0;
    if (n_parts == 0) return true;
    if (!session_forward(t->session, t->parts, n_parts, err)) return false;
    for (int64_t j = 0; j < n_parts; j++)
        advance(t, &t->work[t->part_work[j]], session_hidden(t->session, j, 0), mode);
    return true;
}

static bool run_batch(struct triage *t, const struct message *messages, int64_t n, enum trace_mode mode,
                      struct verdict *verdicts, struct error *err) {
    int64_t start = clock_monotonic_ns();
    for (int64_t i = 0; i < n; i++) {
        struct work *w = &t->work[i];
        w->message = &messages[i];
        w->verdict = &verdicts[i];
        w->phase = PHASE_LABELS;
        w->slot_i = SLOT_LEVEL;
        w->want_trace = false;
        w->n_spans = 0;
        token_list_reset(&w->prompt);
        token_list_reset(&w->why);
        const struct message *m = &messages[i];
        struct verdict *v = &verdicts[i];
        if (!layout_prompt(&t->layout, &w->prompt, m->text, m->text_bytes, m->channel, t->max_text_tokens, 0, NULL,
                           &w->text_begin, &w->text_end, &v->truncated, err))
            return false;
        place_find(t->gazetteer, m->text, m->text_bytes, v->station, sizeof v->station, v->line, sizeof v->line);
    }
    if (!prompt_all(t, n, mode, err)) return false;
    int64_t labels_start = clock_monotonic_ns();
    float level_ms = (float)(labels_start - start) * 1e-6f;
    bool any = true;
    while (any)
        if (!step_all(t, n, mode, &any, err)) return false;
    float trace_ms = (float)(clock_monotonic_ns() - labels_start) * 1e-6f;
    for (int64_t i = 0; i < n; i++) {
        if (t->work[i].want_trace && !t->calibration.model_writes && !reason_compose(&verdicts[i], &messages[i]))
            return error_set(err, ERR_NOMEM, "triage: out of memory");
        verdicts[i].level_ms = level_ms;
        verdicts[i].trace_ms = trace_ms;
    }
    return true;
}

bool triage_run(struct triage *t, const struct message *messages, int64_t n, enum trace_mode mode,
                struct verdict *verdicts, struct error *err) {
    memset(verdicts, 0, (size_t)n * sizeof *verdicts);
    for (int64_t i = 0; i < n; i += t->n_batch)
        if (!run_batch(t, messages + i, min_i64(t->n_batch, n - i), mode, verdicts + i, err)) return false;
    return true;
}
