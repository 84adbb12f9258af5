// triage/layout.c - the one place that knows where label tokens stand (see the picture in
// layout.h).
#include "triage/layout.h"

#include "core/rng.h"
#include "core/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

// Order is id order: a published model depends on it, so new marks go at the end.
static const char *const specials[] = {"<|endoftext|>",
                                       "<|message|>",
                                       "<|verdict|>",
                                       "<|evidence|>",
                                       "<|for|>",
                                       "<|against|>",
                                       "<|channel:post|>",
                                       "<|channel:chat|>",
                                       "<|channel:mail|>",
                                       "<|channel:sms|>",
                                       "<|channel:app|>",
                                       "<|channel:unknown|>",
                                       "<|U0|>",
                                       "<|U1|>",
                                       "<|U2|>",
                                       "<|U3|>",
                                       "<|U4|>",
                                       "<|class:person_on_tracks|>",
                                       "<|class:suicide_distress|>",
                                       "<|class:medical|>",
                                       "<|class:fire_smoke|>",
                                       "<|class:assault|>",
                                       "<|class:sexual_harassment|>",
                                       "<|class:weapon_threat|>",
                                       "<|class:crowd|>",
                                       "<|class:stuck_train|>",
                                       "<|class:heat_air|>",
                                       "<|class:suspicious_item|>",
                                       "<|class:lost_vulnerable|>",
                                       "<|class:fall_accident|>",
                                       "<|class:accessibility|>",
                                       "<|class:traffic|>",
                                       "<|class:service|>",
                                       "<|class:off_topic|>",
                                       "<|source:witness|>",
                                       "<|source:victim|>",
                                       "<|source:relative|>",
                                       "<|source:official_relay|>",
                                       "<|source:media_relay|>",
                                       "<|source:rumour|>",
                                       "<|source:commentary|>",
                                       "<|fear:1|>",
                                       "<|fear:2|>",
                                       "<|fear:3|>",
                                       "<|confinement:1|>",
                                       "<|confinement:2|>",
                                       "<|confinement:3|>",
                                       "<|suffocation_pain:1|>",
                                       "<|suffocation_pain:2|>",
                                       "<|suffocation_pain:3|>",
                                       "<|despair:1|>",
                                       "<|despair:2|>",
                                       "<|despair:3|>",
                                       "<|separation:1|>",
                                       "<|separation:2|>",
                                       "<|separation:3|>",
                                       "<|abandonment:1|>",
                                       "<|abandonment:2|>",
                                       "<|abandonment:3|>",
                                       "<|shock:1|>",
                                       "<|shock:2|>",
                                       "<|shock:3|>",
                                       "<|anger:1|>",
                                       "<|anger:2|>",
                                       "<|anger:3|>",
                                       "<|no_distress|>",
                                       "<|flag:hyperbole|>",
                                       "<|flag:irony|>",
                                       "<|flag:lyrics|>",
                                       "<|flag:past|>",
                                       "<|flag:official_relay|>",
                                       "<|flag:media|>",
                                       "<|flag:spam|>",
                                       "<|flag:fiction_drill|>",
                                       "<|flag:suicide_contempt|>",
                                       "<|flag:homonym|>",
                                       "<|flag:injection|>",
                                       "<|flag:resolved|>",
                                       "<|no_flag|>",
                                       NULL};

const char *const *layout_specials(void) {
    return specials;
}

static bool find(int32_t *id, const struct tokenizer *t, const char *prefix, const char *name,
                 int intensity, struct error *err) {
    char word[64];
    if (intensity > 0) snprintf(word, sizeof word, "<|%s%s:%d|>", prefix, name, intensity);
    else snprintf(word, sizeof word, "<|%s%s|>", prefix, name);
    *id = tokenizer_find(t, word);
    if (*id >= 0) return true;
    return error_set(err, ERR_INPUT,
                     "tokenizer: no token %s: this is not a folder of a triage model", word);
}

static bool find_all(int32_t *ids, const struct tokenizer *t, const char *prefix,
                     const char *const *names, int n, struct error *err) {
    for (int i = 0; i < n; i++)
        if (!find(&ids[i], t, prefix, names[i], 0, err)) return false;
    return true;
}

bool layout_init(struct layout *l, const struct tokenizer *t, struct error *err) {
    memset(l, 0, sizeof *l);
    l->tokenizer = t;
    if (!find(&l->end, t, "", "endoftext", 0, err) ||
        !find(&l->message, t, "", "message", 0, err) ||
        !find(&l->verdict, t, "", "verdict", 0, err) ||
        !find(&l->evidence, t, "", "evidence", 0, err) ||
        !find(&l->why_for, t, "", "for", 0, err) ||
        !find(&l->why_against, t, "", "against", 0, err) ||
        !find_all(l->channels, t, "channel:", label_channels, N_CHANNELS, err) ||
        !find(&l->channels[N_CHANNELS], t, "channel:", "unknown", 0, err) ||
        !find_all(l->levels, t, "", label_levels, N_LEVELS, err) ||
        !find_all(l->classes, t, "class:", label_classes, N_CLASSES, err) ||
        !find_all(l->sources, t, "source:", label_sources, N_SOURCES, err) ||
        !find(&l->no_distress, t, "", "no_distress", 0, err) ||
        !find_all(l->flags, t, "flag:", label_flags, N_FLAGS, err) ||
        !find(&l->no_flag, t, "", "no_flag", 0, err))
        return false;
    for (int kind = 0; kind < N_DISTRESS; kind++)
        for (int i = 0; i < 3; i++)
            if (!find(&l->distress[kind][i], t, "", label_distress[kind], i + 1, err)) return false;
    return true;
}

// Appends tokens [from, to) of `in`, shifted nowhere: offsets stay those of the text.
static void append_range(struct token_list *list, const struct token_list *in, int64_t from,
                         int64_t to) {
    for (int64_t i = from; i < to; i++)
        token_list_append(list, in->ids[i], in->begin[i], in->end[i]);
}

static bool encode(const struct layout *l, struct token_list *list, const char *text,
                   size_t n_bytes, float dropout, struct rng *rng, struct error *err) {
    if (dropout > 0 && rng != NULL)
        return tokenizer_encode_dropout(l->tokenizer, list, text, n_bytes, 0, dropout, rng, err);
    return tokenizer_encode(l->tokenizer, list, text, n_bytes, 0, err);
}

// Lower case, character by character, where it keeps the number of bytes, so that offsets stay
// those of the text (U+0130 and a few others stay as they are). Capitals never change a level
// (label guide, rule 6).
static char *lower_case(const char *text, size_t n_bytes) {
    char *out = malloc(n_bytes + 1);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        char bytes[4];
        size_t n = utf8_decode(text + i, n_bytes - i, &c);
        if (n == 0) {
            out[i] = text[i];
            i++;
            continue;
        }
        bool same = utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), bytes) == n;
        memcpy(out + i, same ? bytes : text + i, n);
        i += n;
    }
    out[n_bytes] = '\0';
    return out;
}

bool layout_prompt(const struct layout *l, struct token_list *list, const char *text,
                   size_t n_bytes, int channel, int64_t max_text_tokens, float dropout,
                   struct rng *rng, int64_t *text_begin, int64_t *text_end, bool *truncated,
                   struct error *err) {
    assert(channel >= -1 && channel < N_CHANNELS && max_text_tokens > 0);
    struct token_list text_tokens = {0};
    char *lower = lower_case(text, n_bytes);
    bool ok = lower != NULL || error_set(err, ERR_NOMEM, "layout: out of memory");
    ok = ok && encode(l, &text_tokens, lower, n_bytes, dropout, rng, err);
    free(lower);
    if (!ok) {
        token_list_release(&text_tokens);
        return false;
    }
    token_list_append(list, l->message, 0, 0);
    token_list_append(list, l->channels[channel < 0 ? N_CHANNELS : channel], 0, 0);
    if (text_begin != NULL) *text_begin = list->n;
    bool cut = text_tokens.n > max_text_tokens;
    if (cut) { // people say where and what first, and what they need last
        int64_t tail = max_text_tokens / 3, head = max_text_tokens - tail;
        append_range(list, &text_tokens, 0, head);
        append_range(list, &text_tokens, text_tokens.n - tail, text_tokens.n);
    } else {
        append_range(list, &text_tokens, 0, text_tokens.n);
    }
    if (text_end != NULL) *text_end = list->n;
    if (truncated != NULL) *truncated = cut;
    int32_t end = n_bytes > INT32_MAX ? INT32_MAX : (int32_t)n_bytes;
    token_list_append(list, l->verdict, end, end);
    token_list_release(&text_tokens);
    if (list->failed || text_tokens.failed)
        return error_set(err, ERR_NOMEM, "layout: out of memory");
    return true;
}

void layout_labels(const struct layout *l, const struct label_record *r, int32_t out[N_SLOTS]) {
    assert(r->level >= 0 && r->level < N_LEVELS && r->class_i >= 0 && r->class_i < N_CLASSES);
    out[SLOT_LEVEL] = l->levels[r->level];
    out[SLOT_CLASS] = l->classes[r->class_i];
    out[SLOT_SOURCE] = l->sources[r->source];
    out[SLOT_D1] = out[SLOT_D2] = l->no_distress;
    out[SLOT_F1] = out[SLOT_F2] = l->no_flag;
    enum layout_slot slot = SLOT_D1;
    for (int intensity = 3; intensity >= 1; intensity--)
        for (int kind = 0; kind < N_DISTRESS && slot <= SLOT_D2; kind++)
            if (r->distress[kind] == intensity) out[slot++] = l->distress[kind][intensity - 1];
    slot = SLOT_F1;
    for (int i = 0; i < N_FLAGS && slot <= SLOT_F2; i++)
        if (r->flags[i]) out[slot++] = l->flags[i];
}

static int64_t copy_ids(int32_t *out, const int32_t *ids, int64_t n) {
    memcpy(out, ids, (size_t)n * sizeof *ids);
    return n;
}

int64_t layout_legal(const struct layout *l, enum layout_slot slot, const int32_t *before,
                     int32_t out[64]) {
    int64_t n = 0;
    switch (slot) {
    case SLOT_LEVEL:
        return copy_ids(out, l->levels, N_LEVELS);
    case SLOT_CLASS:
        return copy_ids(out, l->classes, N_CLASSES);
    case SLOT_SOURCE:
        return copy_ids(out, l->sources, N_SOURCES);
    case SLOT_D1:
    case SLOT_D2: {
        out[n++] = l->no_distress;
        int kind1 = -1, intensity1 = 3;
        if (slot == SLOT_D2) {
            for (int kind = 0; kind < N_DISTRESS; kind++)
                for (int i = 0; i < 3; i++)
                    if (before[SLOT_D1] == l->distress[kind][i]) {
                        kind1 = kind;
                        intensity1 = i + 1;
                    }
            if (kind1 < 0) return n;
        }
        for (int kind = 0; kind < N_DISTRESS; kind++)
            for (int i = 1; i <= 3; i++)
                if (i < intensity1 ? kind != kind1 : i == intensity1 && kind > kind1)
                    out[n++] = l->distress[kind][i - 1];
        return n;
    }
    case SLOT_F1:
    case SLOT_F2: {
        out[n++] = l->no_flag;
        int first = 0;
        if (slot == SLOT_F2) {
            while (first < N_FLAGS && before[SLOT_F1] != l->flags[first]) first++;
            first++; // after F1; past the end when F1 is <|no_flag|>
        }
        for (int i = first; i < N_FLAGS; i++) out[n++] = l->flags[i];
        return n;
    }
    case N_SLOTS:
        break;
    }
    assert(false);
    return 0;
}

// Gives tokens [weighted, list->n) the weight w.
static bool weigh(struct token_list *list, float **weights, int64_t *capacity, int64_t *weighted,
                  float w) {
    if (list->failed) return false;
    if (list->n > *capacity) {
        int64_t wanted = max_i64(list->n, *capacity * 2);
        float *grown = realloc(*weights, (size_t)wanted * sizeof *grown);
        if (grown == NULL) return false;
        *weights = grown;
        *capacity = wanted;
    }
    while (*weighted < list->n) (*weights)[(*weighted)++] = w;
    return true;
}

// The text's tokens that overlap bytes [begin, end). false when the middle that a truncation
// removed is part of it.
static bool span_tokens(const struct token_list *list, int64_t text_begin, int64_t text_end,
                        int32_t begin, int32_t end, int64_t *from, int64_t *to) {
    int64_t i = text_begin;
    while (i < text_end && list->end[i] <= begin) i++;
    *from = i;
    while (i < text_end && list->begin[i] < end) i++;
    *to = i;
    if (*from == *to || list->begin[*from] > begin || list->end[*to - 1] < end) return false;
    for (i = *from + 1; i < *to; i++)
        if (list->begin[i] > list->end[i - 1]) return false;
    return true;
}

bool layout_document(const struct layout *l, struct token_list *list, float **weights,
                     int64_t *capacity, const struct label_record *r,
                     const struct layout_weights *w, int64_t max_text_tokens, bool with_trace,
                     float dropout, struct rng *rng, struct error *err) {
    int64_t weighted = list->n, text_begin, text_end;
    assert(*capacity >= weighted); // earlier documents of the list already have their weights
    bool truncated;
    if (!layout_prompt(l, list, r->text, r->text_bytes, r->channel, max_text_tokens, dropout, rng,
                       &text_begin, &text_end, &truncated, err))
        return false;
    int64_t n_prompt = list->n;
    bool ok = weigh(list, weights, capacity, &weighted, w->text);
    if (ok) { // marks and channel are given, never predicted
        (*weights)[text_begin - 2] = (*weights)[text_begin - 1] = (*weights)[n_prompt - 1] = 0;
    }
    int32_t labels[N_SLOTS];
    layout_labels(l, r, labels);
    for (int slot = 0; ok && slot < N_SLOTS; slot++) {
        token_list_append(list, labels[slot], 0, 0);
        ok = weigh(list, weights, capacity, &weighted, w->slot[slot]);
    }
    if (!ok) return error_set(err, ERR_NOMEM, "layout: out of memory");
    if (!with_trace || r->n_evidence == 0) return true;

    for (int i = 0; i < r->n_evidence; i++) {
        size_t at = (size_t)(strstr(r->text, r->evidence[i]) - r->text);
        size_t n = strlen(r->evidence[i]);
        if (at + n > INT32_MAX) continue;
        int64_t from, to;
        if (!span_tokens(list, text_begin, text_end, (int32_t)at, (int32_t)(at + n), &from, &to))
            continue;
        token_list_append(list, l->evidence, 0, 0);
        for (int64_t k = from; k < to && !list->failed; k++)
            token_list_append(list, list->ids[k], 0, 0);
    }
    if (!weigh(list, weights, capacity, &weighted, w->evidence))
        return error_set(err, ERR_NOMEM, "layout: out of memory");
    if (w->trace == 0 || (r->why_for == NULL && r->why_against == NULL)) { // nothing to learn from the sentences: end where the evidence ends
        token_list_append(list, l->why_for, 0, 0);
        return weigh(list, weights, capacity, &weighted, w->evidence) ||
               error_set(err, ERR_NOMEM, "layout: out of memory");
    }
    const char *why[2] = {r->why_for, r->why_against};
    const int32_t marks[2] = {l->why_for, l->why_against};
    for (int i = 0; i < 2; i++) {
        if (why[i] == NULL) continue;
        token_list_append(list, marks[i], 0, 0);
        if (!encode(l, list, why[i], strlen(why[i]), 0, NULL, err)) return false;
    }
    token_list_append(list, l->end, 0, 0);
    if (!weigh(list, weights, capacity, &weighted, w->trace))
        return error_set(err, ERR_NOMEM, "layout: out of memory");
    return true;
}
