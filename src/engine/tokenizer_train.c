// engine/tokenizer_train.c - trains a byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909,
// algorithm 1) and writes it as tokenizer.json. Words are counted once; each merge then touches
// only the words that hold its pair. The most frequent pair wins, ties by the smaller ids, so the
// result is reproducible.
#include "core/file.h"
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

struct word {
    int64_t begin; // of its symbols in trainer.symbols
    int64_t count;
    int32_t n;       // symbols left
    uint64_t hash;   // of its bytes, while counting
    int32_t n_bytes; // its bytes are its first symbols
};

struct pair {
    int32_t a, b;
    int64_t count, count_before; // before the merge in hand
    int32_t *where;              // words that may hold it
    int64_t n_where, where_capacity;
    bool touched;
};

struct queued {
    int64_t count;
    int32_t a, b, pair_i;
};

struct trainer {
    const struct tokenizer_training *training;
    struct error *err;
    struct encode_scratch scratch;
    struct regex *regex;
    struct trie specials;
    int64_t n_specials;

    struct word *words;
    int64_t n_words, words_capacity;
    int64_t *word_slots; // open addressing, -1 free
    size_t n_word_slots;
    int32_t *symbols; // token ids, byte values while counting
    int64_t n_symbols, symbols_capacity;

    struct pair *pairs;
    int64_t n_pairs, pairs_capacity;
    int32_t *pair_slots;
    size_t n_pair_slots;
    struct queued *queue; // a heap
    int64_t n_queue, queue_capacity;
    int32_t *touched;
    int64_t n_touched, touched_capacity;

    struct arena arena;   // bytes of the tokens
    struct bytes *tokens; // by id
    int64_t n_tokens;
    struct string_map ids; // token bytes -> id
    int32_t (*merges)[2];
    int64_t n_merges, merges_capacity;
};

// Room for one more element of a growing array.
static bool grow(void **v, int64_t n, int64_t *capacity, size_t size) {
    if (n < *capacity) return true;
    int64_t wanted = *capacity ? *capacity * 2 : 256;
    void *grown = realloc(*v, (size_t)wanted * size);
    if (grown == NULL) return false;
    *v = grown;
    *capacity = wanted;
    return true;
}

static bool nomem(struct trainer *t) {
    return error_set(t->err, ERR_NOMEM, "tokenizer training: out of memory");
}

// --- counting words

static bool words_rehash(struct trainer *t) {
    size_t n_slots = t->n_word_slots ? t->n_word_slots * 2 : 1 << 14;
    int64_t *slots = malloc(n_slots * sizeof *slots);
    if (slots == NULL) return false;
    memset(slots, 0xFF, n_slots * sizeof *slots);
    for (int64_t i = 0; i < t->n_words; i++) {
        size_t k = t->words[i].hash & (n_slots - 1);
        while (slots[k] >= 0) k = (k + 1) & (n_slots - 1);
        slots[k] = i;
    }
    free(t->word_slots);
    t->word_slots = slots;
    t->n_word_slots = n_slots;
    return true;
}

static bool word_equals(const struct trainer *t, const struct word *w, const char *s, int32_t n) {
    if (w->n_bytes != n) return false;
    for (int32_t i = 0; i < n; i++) {
        if (t->symbols[w->begin + i] != (uint8_t)s[i]) return false;
    }
    return true;
}

static bool word_count(struct trainer *t, const char *s, int32_t n) {
    if ((size_t)t->n_words * 2 >= t->n_word_slots && !words_rehash(t)) return false;
    uint64_t hash = 0xcbf29ce484222325u;
    for (int32_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)s[i]) * 0x100000001b3u;
    hash ^= hash >> 29;
    size_t k = hash & (t->n_word_slots - 1);
    for (; t->word_slots[k] >= 0; k = (k + 1) & (t->n_word_slots - 1)) {
        struct word *w = &t->words[t->word_slots[k]];
        if (w->hash == hash && word_equals(t, w, s, n)) {
            w->count++;
            return true;
        }
    }
    if (!grow((void **)&t->words, t->n_words, &t->words_capacity, sizeof *t->words)) return false;
    t->word_slots[k] = t->n_words;
    t->words[t->n_words++] =
        (struct word){.begin = t->n_symbols, .count = 1, .n = n, .hash = hash, .n_bytes = n};
    for (int32_t i = 0; i < n; i++) {
        if (!grow((void **)&t->symbols, t->n_symbols, &t->symbols_capacity, sizeof *t->symbols))
            return false;
        t->symbols[t->n_symbols++] = (uint8_t)s[i];
    }
    return true;
}

static bool count_stretch(struct trainer *t, struct text text) {
    static const struct normalizer nfc = {.kind = NORMALIZER_NFC};
    if (t->training->nfc && !normalizer_run(&nfc, &t->scratch, &text, t->err)) return false;
    struct span_list *spans = &t->scratch.spans;
    if (!regex_split(t->regex, t->scratch.regex, text.s, text.n, spans, t->err)) return false;
    for (int64_t i = 0; i < spans->n; i++) {
        int32_t n = spans->v[i].end - spans->v[i].begin;
        if (n > 0 && !word_count(t, text.s + spans->v[i].begin, n)) return nomem(t);
    }
    return true;
}

// A special token written in the text is a boundary, and no part of it is learnt.
static bool count_text(struct trainer *t, const char *s, size_t n) {
    if (n > TOKENIZER_TEXT_LIMIT)
        return error_set(t->err, ERR_LIMIT, "tokenizer training: text of %zu bytes, over %d", n,
                         TOKENIZER_TEXT_LIMIT);
    struct text text;
    if (!text_open(&t->scratch, &text, s, n, t->err)) return false;
    int32_t from = 0;
    for (int32_t i = 0; i < text.n;) {
        size_t matched = 0;
        if (t->specials.n == 0 ||
            trie_match(&t->specials, text.s + i, (size_t)(text.n - i), &matched) < 0) {
            i++;
            continue;
        }
        if (from < i && !count_stretch(t, text_slice(&text, from, i))) return false;
        i += (int32_t)matched;
        from = i;
    }
    bool ok = from == text.n || count_stretch(t, text_slice(&text, from, text.n));
    arena_release(&t->scratch.arena);
    return ok;
}

// --- pairs

static size_t pair_hash(int32_t a, int32_t b) {
    return (((uint64_t)(uint32_t)a << 32 | (uint32_t)b) * 0x9e3779b97f4a7c15u) >> 24;
}

// The pair's place, made when absent; -1 when out of memory.
static int64_t pair_find(struct trainer *t, int32_t a, int32_t b) {
    if ((size_t)t->n_pairs * 2 >= t->n_pair_slots) {
        size_t n_slots = t->n_pair_slots ? t->n_pair_slots * 2 : 1 << 14;
        int32_t *slots = malloc(n_slots * sizeof *slots);
        if (slots == NULL) return -1;
        memset(slots, 0xFF, n_slots * sizeof *slots);
        for (int64_t i = 0; i < t->n_pairs; i++) {
            size_t k = pair_hash(t->pairs[i].a, t->pairs[i].b) & (n_slots - 1);
            while (slots[k] >= 0) k = (k + 1) & (n_slots - 1);
            slots[k] = (int32_t)i;
        }
        free(t->pair_slots);
        t->pair_slots = slots;
        t->n_pair_slots = n_slots;
    }
    size_t k = pair_hash(a, b) & (t->n_pair_slots - 1);
    for (; t->pair_slots[k] >= 0; k = (k + 1) & (t->n_pair_slots - 1)) {
        const struct pair *p = &t->pairs[t->pair_slots[k]];
        if (p->a == a && p->b == b) return t->pair_slots[k];
    }
    if (t->n_pairs == INT32_MAX ||
        !grow((void **)&t->pairs, t->n_pairs, &t->pairs_capacity, sizeof *t->pairs))
        return -1;
    t->pair_slots[k] = (int32_t)t->n_pairs;
    t->pairs[t->n_pairs] = (struct pair){.a = a, .b = b};
    return t->n_pairs++;
}

static bool queued_before(const struct queued *x, const struct queued *y) {
    if (x->count != y->count) return x->count > y->count;
    return x->a != y->a ? x->a < y->a : x->b < y->b;
}

static bool queue_push(struct trainer *t, int64_t pair_i) {
    if (!grow((void **)&t->queue, t->n_queue, &t->queue_capacity, sizeof *t->queue)) return false;
    const struct pair *p = &t->pairs[pair_i];
    struct queued q = {.count = p->count, .a = p->a, .b = p->b, .pair_i = (int32_t)pair_i};
    int64_t i = t->n_queue++;
    while (i > 0 && queued_before(&q, &t->queue[(i - 1) / 2])) {
        t->queue[i] = t->queue[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->queue[i] = q;
    return true;
}

static struct queued queue_pop(struct trainer *t) {
    struct queued top = t->queue[0], last = t->queue[--t->n_queue];
    int64_t i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= t->n_queue) break;
        if (child + 1 < t->n_queue && queued_before(&t->queue[child + 1], &t->queue[child]))
            child++;
        if (!queued_before(&t->queue[child], &last)) break;
        t->queue[i] = t->queue[child];
        i = child;
    }
    t->queue[i] = last;
    return top;
}

// Adds `times` word counts for every pair of the word; remembers where pairs with `fresh` are (-1:
// all).
static bool word_pairs(struct trainer *t, int64_t word_i, int64_t times, int32_t fresh) {
    const struct word *w = &t->words[word_i];
    const int32_t *s = t->symbols + w->begin;
    for (int32_t i = 0; i + 1 < w->n; i++) {
        int64_t pair_i = pair_find(t, s[i], s[i + 1]);
        if (pair_i < 0) return false;
        struct pair *p = &t->pairs[pair_i];
        if (!p->touched) {
            if (!grow((void **)&t->touched, t->n_touched, &t->touched_capacity, sizeof *t->touched))
                return false;
            t->touched[t->n_touched++] = (int32_t)pair_i;
            p->touched = true;
            p->count_before = p->count;
        }
        p->count += times * w->count;
        bool remember = times > 0 && (fresh < 0 || p->a == fresh || p->b == fresh) &&
                        (p->n_where == 0 || p->where[p->n_where - 1] != word_i);
        if (!remember) continue;
        if (!grow((void **)&p->where, p->n_where, &p->where_capacity, sizeof *p->where))
            return false;
        p->where[p->n_where++] = (int32_t)word_i;
    }
    return true;
}

// Queues the pairs that gained; those that lost are found stale when they come up.
static bool touched_queue(struct trainer *t) {
    for (int64_t i = 0; i < t->n_touched; i++) {
        struct pair *p = &t->pairs[t->touched[i]];
        p->touched = false;
        if (p->count > p->count_before && !queue_push(t, t->touched[i])) return false;
    }
    t->n_touched = 0;
    return true;
}

static bool word_holds(const struct trainer *t, const struct word *w, int32_t a, int32_t b) {
    const int32_t *s = t->symbols + w->begin;
    for (int32_t i = 0; i + 1 < w->n; i++) {
        if (s[i] == a && s[i + 1] == b) return true;
    }
    return false;
}

static bool pair_merge(struct trainer *t, int32_t pair_i, int32_t id) {
    int32_t a = t->pairs[pair_i].a, b = t->pairs[pair_i].b;
    int32_t *where = t->pairs[pair_i].where;
    int64_t n_where = t->pairs[pair_i].n_where;
    t->pairs[pair_i].where = NULL; // ours now: the pairs' table may move, and this pair is used up
    t->pairs[pair_i].n_where = t->pairs[pair_i].where_capacity = 0;
    bool ok = true;
    for (int64_t k = 0; k < n_where && ok; k++) {
        struct word *w = &t->words[where[k]];
        if (!word_holds(t, w, a, b)) continue;
        ok = word_pairs(t, where[k], -1, -1);
        int32_t *s = t->symbols + w->begin, n = 0;
        for (int32_t i = 0; i < w->n; i++) {
            bool here = i + 1 < w->n && s[i] == a && s[i + 1] == b;
            s[n++] = here ? id : s[i];
            if (here) i++;
        }
        w->n = n;
        ok = ok && word_pairs(t, where[k], 1, id);
    }
    free(where);
    return ok && touched_queue(t);
}

static bool token_add(struct trainer *t, const char *s, size_t n) {
    char *copy = arena_strndup(&t->arena, s, n);
    if (copy == NULL) return false;
    t->tokens[t->n_tokens] = (struct bytes){copy, n};
    (void)string_map_add(&t->ids, t->tokens[t->n_tokens], (int32_t)t->n_tokens);
    t->n_tokens++;
    return true;
}

static bool learn_merges(struct trainer *t) {
    struct buf joined = {0};
    bool ok = true;
    for (int64_t i = 0; i < t->n_words && ok; i++) ok = word_pairs(t, i, 1, -1);
    ok = ok && touched_queue(t);
    while (ok && t->n_queue > 0 && t->n_tokens < t->training->vocab) {
        struct queued top = queue_pop(t);
        struct pair *p = &t->pairs[top.pair_i];
        if (p->count != top.count) {
            if (p->count > 0 && p->count < top.count) ok = queue_push(t, top.pair_i);
            continue;
        }
        if (p->count < max_i64(1, t->training->min_frequency)) break;
        buf_reset(&joined);
        buf_append(&joined, t->tokens[p->a].s, t->tokens[p->a].n);
        buf_append(&joined, t->tokens[p->b].s, t->tokens[p->b].n);
        if (!buf_ok(&joined)) ok = false;
        if (!ok) break;
        if (joined.n_bytes > 1024) continue; // one endless run: not a word worth a token
        int32_t id = string_map_find(&t->ids, joined.data, joined.n_bytes);
        if (id >= 0 && id < t->n_specials) continue; // never spell a special token
        if (id < 0) {
            id = (int32_t)t->n_tokens;
            ok = token_add(t, joined.data, joined.n_bytes);
        }
        ok = ok && grow((void **)&t->merges, t->n_merges, &t->merges_capacity, sizeof *t->merges);
        if (!ok) break;
        t->merges[t->n_merges][0] = p->a;
        t->merges[t->n_merges++][1] = p->b;
        ok = pair_merge(t, top.pair_i, id);
    }
    buf_release(&joined);
    return ok || nomem(t);
}

// --- writing

static void write_stand_ins(struct buf *out, struct bytes token) {
    struct buf s = {0};
    byte_level_append(&s, token.s, token.n);
    buf_append_json_string(out, s.data == NULL ? "" : s.data, s.n_bytes);
    if (!buf_ok(&s)) out->failed = true;
    buf_release(&s);
}

// A merge as "a b", which every version of the library reads.
static void write_merge(struct buf *out, struct bytes a, struct bytes b) {
    struct buf s = {0};
    byte_level_append(&s, a.s, a.n);
    buf_append_char(&s, ' ');
    byte_level_append(&s, b.s, b.n);
    buf_append_json_string(out, s.data == NULL ? "" : s.data, s.n_bytes);
    if (!buf_ok(&s)) out->failed = true;
    buf_release(&s);
}

static bool write_json(struct trainer *t, const char *path, const char *pattern) {
    struct buf out = {0};
    buf_append_str(&out,
                   "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                   "  \"added_tokens\": [");
    for (int64_t i = 0; i < t->n_specials; i++) {
        buf_printf(&out, "%s\n    {\"id\": %lld, \"content\": ", i > 0 ? "," : "", (long long)i);
        buf_append_json_string(&out, t->tokens[i].s, t->tokens[i].n);
        buf_append_str(&out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                             "\"normalized\": false, \"special\": true}");
    }
    buf_printf(&out, "\n  ],\n  \"normalizer\": %s,\n",
               t->training->nfc ? "{\"type\": \"NFC\"}" : "null");
    buf_append_str(&out, "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
                         "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    buf_append_json_string(&out, pattern, strlen(pattern));
    buf_append_str(&out,
                   "}, \"behavior\": \"Isolated\", \"invert\": false},\n"
                   "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                   "\"trim_offsets\": false, \"use_regex\": false}\n  ]},\n"
                   "  \"post_processor\": null,\n"
                   "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                   "\"trim_offsets\": false, \"use_regex\": false},\n"
                   "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                   "\"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null, "
                   "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n"
                   "    \"vocab\": {");
    for (int64_t i = 0; i < t->n_tokens; i++) {
        buf_append_str(&out, i > 0 ? ",\n      " : "\n      ");
        if (i < t->n_specials) {
            buf_append_json_string(&out, t->tokens[i].s, t->tokens[i].n);
        } else {
            write_stand_ins(&out, t->tokens[i]);
        }
        buf_printf(&out, ": %lld", (long long)i);
    }
    buf_append_str(&out, "\n    },\n    \"merges\": [");
    for (int64_t i = 0; i < t->n_merges; i++) {
        buf_append_str(&out, i > 0 ? ",\n      " : "\n      ");
        write_merge(&out, t->tokens[t->merges[i][0]], t->tokens[t->merges[i][1]]);
    }
    buf_append_str(&out, "\n    ]\n  }\n}\n");
    bool ok = buf_ok(&out) ? file_write_atomic(path, out.data, out.n_bytes, t->err) : nomem(t);
    buf_release(&out);
    return ok;
}

static bool add_specials(struct trainer *t) {
    const char *const *specials = t->training->specials;
    for (int64_t i = 0; specials != NULL && specials[i] != NULL; i++) {
        bool duplicate;
        struct bytes s = {specials[i], strlen(specials[i])};
        if (s.n == 0 || !utf8_valid(s.s, s.n, NULL))
            return error_set(t->err, ERR_USAGE, "tokenizer training: special token %lld is %s",
                             (long long)i, s.n == 0 ? "empty" : "not UTF-8");
        if (i + 256 >= t->training->vocab)
            return error_set(t->err, ERR_USAGE, "tokenizer training: no room for special \"%s\"",
                             s.s);
        if (!trie_add(&t->specials, s, (int32_t)i, &duplicate)) return nomem(t);
        // One byte-level character would be mistaken for the byte it stands for.
        uint32_t c = 0;
        if (utf8_decode(s.s, s.n, &c) == s.n && byte_from_char(c) >= 0)
            return error_set(t->err, ERR_USAGE,
                             "tokenizer training: special token \"%s\" is a single byte", s.s);
        if (duplicate)
            return error_set(t->err, ERR_USAGE, "tokenizer training: special \"%s\" is there twice",
                             s.s);
        if (!token_add(t, s.s, s.n)) return nomem(t);
        t->n_specials++;
    }
    return true;
}

static bool train(struct trainer *t, const char *json_path, const char *const *texts,
                  const size_t *n_bytes, int64_t n_texts) {
    const char *pattern = t->training->split_regex;
    if (pattern == NULL) pattern = tokenizer_qwen_pattern;
    if (t->training->vocab < 256 || t->training->vocab > TOKENIZER_ID_LIMIT)
        return error_set(t->err, ERR_USAGE,
                         "tokenizer training: vocab %lld is outside [256 + specials, %d]",
                         (long long)t->training->vocab, TOKENIZER_ID_LIMIT);
    t->tokens = calloc((size_t)t->training->vocab, sizeof *t->tokens);
    if (t->tokens == NULL || !string_map_init(&t->ids, (size_t)t->training->vocab)) return nomem(t);
    if (!encode_scratch_init(&t->scratch, t->err) || !add_specials(t) ||
        !regex_open(&t->regex, pattern, strlen(pattern), false, t->err))
        return false;
    for (int64_t i = 0; i < n_texts; i++) {
        if (!count_text(t, texts[i], n_bytes[i])) return false;
    }
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        if (!token_add(t, &byte, 1)) return nomem(t);
    }
    for (int64_t i = 0; i < t->n_symbols; i++) t->symbols[i] += (int32_t)t->n_specials;
    return learn_merges(t) && write_json(t, json_path, pattern);
}

bool tokenizer_train(const char *json_path, const struct tokenizer_training *training,
                     const char *const *texts, const size_t *n_bytes, int64_t n_texts,
                     struct error *err) {
    struct trainer t = {.training = training, .err = err};
    bool ok = train(&t, json_path, texts, n_bytes, n_texts);
    encode_scratch_release(&t.scratch);
    regex_close(t.regex);
    trie_release(&t.specials);
    free(t.words);
    free(t.word_slots);
    free(t.symbols);
    for (int64_t i = 0; i < t.n_pairs; i++) free(t.pairs[i].where);
    free(t.pairs);
    free(t.pair_slots);
    free(t.queue);
    free(t.touched);
    free(t.tokens);
    free(t.merges);
    string_map_release(&t.ids);
    arena_release(&t.arena);
    return ok;
}
