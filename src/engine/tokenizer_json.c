// engine/tokenizer_json.c - reads tokenizer.json into a struct tokenizer. Every component is named
// in its error, and one that is not known is refused.
#include "core/json.h"
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Where we are in the file, for errors.
struct loader {
    struct tokenizer *t;
    const char *name;
    struct error *err;
};

static bool nomem(struct loader *l) {
    return error_set(l->err, ERR_NOMEM, "%s: out of memory", l->name);
}

static bool keep_bytes(struct loader *l, struct bytes *out, const char *s, size_t n) {
    out->s = arena_strndup(&l->t->arena, s, n);
    out->n = n;
    return out->s != NULL || nomem(l);
}

static const char *component_type(struct loader *l, const json_t *c, const char *what) {
    const char *type = NULL;
    if (!json_is_object(c)) {
        error_set(l->err, ERR_INPUT, "%s: %s must be an object, not %s", l->name, what,
                  json_type_name(c));
        return NULL;
    }
    return json_get_string(&type, c, "type", true, l->name, l->err) ? type : NULL;
}

static bool get_flag(struct loader *l, const json_t *c, const char *key, bool fallback, bool *out) {
    *out = fallback;
    return json_get_bool(out, c, key, false, l->name, l->err);
}

// A string that must be there, kept.
static bool get_bytes(struct loader *l, const json_t *c, const char *key, struct bytes *out) {
    const json_t *v = json_object_get(c, key);
    if (!json_is_string(v))
        return error_set(l->err, ERR_INPUT, "%s: \"%s\" must be a string, not %s", l->name, key,
                         json_type_name(v));
    return keep_bytes(l, out, json_string_value(v), json_string_length(v));
}

static bool get_char(struct loader *l, const json_t *c, const char *key, struct bytes *out) {
    if (!get_bytes(l, c, key, out)) return false;
    if (out->n == 0 || utf8_char_bytes(out->s, out->n) != out->n)
        return error_set(l->err, ERR_INPUT, "%s: \"%s\" must be one character, not \"%.20s\"",
                         l->name, key, out->s);
    return true;
}

// {"String": "..."} or {"Regex": "..."}
static bool get_pattern(struct loader *l, const json_t *c, struct regex **out) {
    const json_t *pattern = json_object_get(c, "pattern");
    const json_t *literal = json_object_get(pattern, "String");
    const json_t *v = literal != NULL ? literal : json_object_get(pattern, "Regex");
    if (!json_is_string(v))
        return error_set(l->err, ERR_INPUT,
                         "%s: \"pattern\" must be {\"String\": ...} or {\"Regex\": ...}", l->name);
    if (!regex_open(out, json_string_value(v), json_string_length(v), literal != NULL, l->err))
        return error_wrap(l->err, "%s", l->name);
    return true;
}

static bool open_pattern(struct loader *l, const char *pattern, struct regex **out) {
    return regex_open(out, pattern, strlen(pattern), false, l->err);
}

typedef bool stage_reader(struct loader *l, const json_t *c, const char *type, int depth);

// Runs `reader` over the members of a Sequence.
static bool read_sequence(struct loader *l, const json_t *c, const char *key, stage_reader *reader,
                          int depth) {
    const json_t *list = json_object_get(c, key);
    if (!json_is_array(list))
        return error_set(l->err, ERR_INPUT, "%s: Sequence: \"%s\" must be an array, not %s",
                         l->name, key, json_type_name(list));
    if (depth >= TOKENIZER_DEPTH_LIMIT)
        return error_set(l->err, ERR_LIMIT, "%s: more than %d Sequences inside each other", l->name,
                         TOKENIZER_DEPTH_LIMIT);
    size_t i;
    const json_t *member;
    json_array_foreach(list, i, member) {
        const char *type = component_type(l, member, key);
        if (type == NULL || !reader(l, member, type, depth + 1)) return false;
    }
    return true;
}

static bool stage_room(struct loader *l, int n, const char *what) {
    return n < TOKENIZER_STAGE_LIMIT || error_set(l->err, ERR_LIMIT, "%s: more than %d %s", l->name,
                                                  TOKENIZER_STAGE_LIMIT, what);
}

static bool read_normalizer(struct loader *l, const json_t *c, const char *type, int depth) {
    static const struct {
        const char *type;
        enum normalizer_kind kind;
    } kinds[] = {{"NFC", NORMALIZER_NFC},
                 {"NFD", NORMALIZER_NFD},
                 {"NFKC", NORMALIZER_NFKC},
                 {"NFKD", NORMALIZER_NFKD},
                 {"Lowercase", NORMALIZER_LOWERCASE},
                 {"Prepend", NORMALIZER_PREPEND},
                 {"Replace", NORMALIZER_REPLACE},
                 {"Strip", NORMALIZER_STRIP},
                 {"StripAccents", NORMALIZER_STRIP_ACCENTS},
                 {"Nmt", NORMALIZER_NMT},
                 {"ByteLevel", NORMALIZER_BYTE_LEVEL}};
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(l, c, "normalizers", read_normalizer, depth);
    if (!stage_room(l, l->t->n_normalizers, "normalizers")) return false;
    for (int64_t i = 0; i < COUNT_OF(kinds); i++) {
        if (strcmp(type, kinds[i].type) != 0) continue;
        struct normalizer *z = &l->t->normalizers[l->t->n_normalizers++];
        z->kind = kinds[i].kind;
        if (z->kind == NORMALIZER_PREPEND) return get_bytes(l, c, "prepend", &z->content);
        if (z->kind == NORMALIZER_STRIP)
            return get_flag(l, c, "strip_left", true, &z->left) &&
                   get_flag(l, c, "strip_right", true, &z->right);
        if (z->kind == NORMALIZER_REPLACE)
            return get_bytes(l, c, "content", &z->content) && get_pattern(l, c, &z->regex);
        return true;
    }
    return error_set(l->err, ERR_INPUT, "%s: normalizer \"%.60s\" is not supported", l->name, type);
}

static bool get_behavior(struct loader *l, const json_t *c, bool required,
                         enum split_behavior *out) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = "Isolated";
    if (!json_get_string(&name, c, "behavior", required, l->name, l->err)) return false;
    for (int i = 0; i < 5; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum split_behavior)i;
            return true;
        }
    }
    return error_set(l->err, ERR_INPUT, "%s: split behavior \"%.40s\" is not known", l->name, name);
}

// "prepend_scheme", and "add_prefix_space" of older files.
static bool get_prepend(struct loader *l, const json_t *c, enum metaspace_prepend *out) {
    const char *scheme = "always";
    bool prefix;
    if (!json_get_string(&scheme, c, "prepend_scheme", false, l->name, l->err) ||
        !get_flag(l, c, "add_prefix_space", true, &prefix))
        return false;
    if (strcmp(scheme, "always") == 0) {
        *out = PREPEND_ALWAYS;
    } else if (strcmp(scheme, "first") == 0) {
        *out = PREPEND_FIRST;
    } else if (strcmp(scheme, "never") == 0) {
        *out = PREPEND_NEVER;
    } else {
        return error_set(l->err, ERR_INPUT, "%s: prepend_scheme \"%.40s\" is not known", l->name,
                         scheme);
    }
    if (!prefix && *out != PREPEND_NEVER) {
        if (json_object_get(c, "prepend_scheme") != NULL)
            return error_set(l->err, ERR_INPUT,
                             "%s: add_prefix_space does not match prepend_scheme \"%s\"", l->name,
                             scheme);
        *out = PREPEND_NEVER;
    }
    return true;
}

static bool read_pretokenizer(struct loader *l, const json_t *c, const char *type, int depth) {
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(l, c, "pretokenizers", read_pretokenizer, depth);
    if (!stage_room(l, l->t->n_pretokenizers, "pre-tokenizers")) return false;
    struct pretokenizer *p = &l->t->pretokenizers[l->t->n_pretokenizers];
    bool flag;
    *p = (struct pretokenizer){.behavior = SPLIT_ISOLATED};
    l->t->n_pretokenizers++;
    if (strcmp(type, "ByteLevel") == 0) {
        p->kind = PRETOKENIZER_BYTE_LEVEL;
        return get_flag(l, c, "add_prefix_space", true, &p->prefix_space) &&
               get_flag(l, c, "use_regex", true, &flag) &&
               (!flag || open_pattern(l, tokenizer_gpt2_pattern, &p->regex));
    }
    if (strcmp(type, "Split") == 0) {
        p->kind = PRETOKENIZER_REGEX;
        return get_behavior(l, c, true, &p->behavior) &&
               get_flag(l, c, "invert", false, &p->invert) && get_pattern(l, c, &p->regex);
    }
    if (strcmp(type, "Metaspace") == 0) {
        p->kind = PRETOKENIZER_METASPACE;
        p->behavior = SPLIT_MERGED_WITH_NEXT;
        return get_char(l, c, "replacement", &p->content) && get_prepend(l, c, &p->prepend) &&
               get_flag(l, c, "split", true, &p->split);
    }
    if (strcmp(type, "Digits") == 0) {
        p->kind = PRETOKENIZER_DIGITS;
        if (!get_flag(l, c, "individual_digits", false, &flag)) return false;
        p->behavior = flag ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
        return true;
    }
    if (strcmp(type, "Punctuation") == 0) {
        p->kind = PRETOKENIZER_PUNCTUATION;
        return get_behavior(l, c, false, &p->behavior);
    }
    if (strcmp(type, "Whitespace") == 0 || strcmp(type, "WhitespaceSplit") == 0) {
        p->kind = type[10] == '\0' ? PRETOKENIZER_WHITESPACE : PRETOKENIZER_WHITESPACE_SPLIT;
        p->invert = p->kind == PRETOKENIZER_WHITESPACE; // its pattern matches what is kept
        p->behavior = SPLIT_REMOVED;
        return true;
    }
    if (strcmp(type, "CharDelimiterSplit") == 0) {
        p->kind = PRETOKENIZER_DELIMITER;
        p->behavior = SPLIT_REMOVED;
        return get_char(l, c, "delimiter", &p->content);
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        p->kind = PRETOKENIZER_BERT;
        return true;
    }
    return error_set(l->err, ERR_INPUT, "%s: pre-tokenizer \"%.60s\" is not supported", l->name,
                     type);
}

static bool read_decoder(struct loader *l, const json_t *c, const char *type, int depth) {
    if (strcmp(type, "Sequence") == 0) return read_sequence(l, c, "decoders", read_decoder, depth);
    if (!stage_room(l, l->t->n_decoders, "decoders")) return false;
    struct decoder *d = &l->t->decoders[l->t->n_decoders];
    *d = (struct decoder){0};
    l->t->n_decoders++;
    if (strcmp(type, "ByteLevel") == 0) {
        d->kind = DECODER_BYTE_LEVEL;
        return true;
    }
    if (strcmp(type, "ByteFallback") == 0) {
        d->kind = DECODER_BYTE_FALLBACK;
        return true;
    }
    if (strcmp(type, "Fuse") == 0) {
        d->kind = DECODER_FUSE;
        return true;
    }
    if (strcmp(type, "Replace") == 0) {
        d->kind = DECODER_REPLACE;
        return get_bytes(l, c, "content", &d->content) && get_pattern(l, c, &d->regex);
    }
    if (strcmp(type, "Strip") == 0) {
        d->kind = DECODER_STRIP;
        if (!get_char(l, c, "content", &d->content) ||
            !json_get_i64(&d->start, c, "start", true, l->name, l->err) ||
            !json_get_i64(&d->stop, c, "stop", true, l->name, l->err))
            return false;
        return (d->start >= 0 && d->stop >= 0) ||
               error_set(l->err, ERR_INPUT, "%s: decoder Strip: negative start or stop", l->name);
    }
    if (strcmp(type, "Metaspace") == 0) {
        enum metaspace_prepend prepend;
        d->kind = DECODER_METASPACE;
        if (!get_char(l, c, "replacement", &d->content) || !get_prepend(l, c, &prepend))
            return false;
        d->drop_first = prepend != PREPEND_NEVER;
        return true;
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        d->kind = DECODER_BPE;
        return get_bytes(l, c, "suffix", &d->content) &&
               regex_open(&d->regex, d->content.s, d->content.n, true, l->err);
    }
    return error_set(l->err, ERR_INPUT, "%s: decoder \"%.60s\" is not supported", l->name, type);
}

static bool check_id(struct loader *l, const json_t *v, const char *token, int64_t *id) {
    if (!json_is_integer(v))
        return error_set(l->err, ERR_INPUT,
                         "%s: token \"%.60s\": the id must be an integer, not %s", l->name, token,
                         json_type_name(v));
    *id = json_integer_value(v);
    if (*id < 0 || *id >= TOKENIZER_ID_LIMIT)
        return error_set(l->err, ERR_LIMIT, "%s: token \"%.60s\": id %lld is outside [0, %d)",
                         l->name, token, (long long)*id, TOKENIZER_ID_LIMIT);
    return true;
}

// Grows the table of tokens to hold `id`.
static bool token_room(struct loader *l, int64_t id) {
    struct tokenizer *t = l->t;
    if (id < t->n_tokens) return true;
    struct token *tokens = realloc(t->tokens, (size_t)(id + 1) * sizeof *tokens);
    if (tokens == NULL) return nomem(l);
    memset(tokens + t->n_tokens, 0, (size_t)(id + 1 - t->n_tokens) * sizeof *tokens);
    t->tokens = tokens;
    t->n_tokens = id + 1;
    return true;
}

static bool read_vocab(struct loader *l, const json_t *vocab) {
    struct tokenizer *t = l->t;
    if (!json_is_object(vocab))
        return error_set(l->err, ERR_INPUT, "%s: model: \"vocab\" must be an object, not %s",
                         l->name, json_type_name(vocab));
    size_t n_bytes = 0;
    int64_t id, id_max = -1;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab, key, value) {
        if (!check_id(l, value, key, &id)) return false;
        id_max = max_i64(id_max, id);
        n_bytes += strlen(key) + 1;
    }
    char *strings = arena_alloc(&t->arena, n_bytes);
    if (strings == NULL || !string_map_init(&t->vocab, json_object_size(vocab))) return nomem(l);
    if (!token_room(l, id_max)) return false;
    json_object_foreach((json_t *)vocab, key, value) {
        struct bytes text = {strings, strlen(key)};
        memcpy(strings, key, text.n + 1);
        strings += text.n + 1;
        id = json_integer_value(value);
        if (t->tokens[id].text.s != NULL)
            return error_set(l->err, ERR_INPUT, "%s: id %lld is given to \"%.60s\" and \"%.60s\"",
                             l->name, (long long)id, t->tokens[id].text.s, text.s);
        t->tokens[id].text = text;
        (void)string_map_add(&t->vocab, text, (int32_t)id);
    }
    return true;
}

static bool merge_unknown(struct loader *l, size_t rank, const char *s, size_t n) {
    return error_set(l->err, ERR_INPUT, "%s: merge %zu: token \"%.*s\" is not in the vocabulary",
                     l->name, rank, (int)(n < 60 ? n : 60), s);
}

static bool read_merge(struct loader *l, const json_t *v, size_t rank) {
    struct tokenizer *t = l->t;
    struct bytes a, b;
    if (json_is_string(v)) {
        const char *s = json_string_value(v);
        size_t n = json_string_length(v);
        const char *space = memchr(s, ' ', n);
        a = (struct bytes){s, space == NULL ? n : (size_t)(space - s)};
        b = space == NULL ? (struct bytes){NULL, 0} : (struct bytes){space + 1, n - a.n - 1};
        if (space == NULL || memchr(b.s, ' ', b.n) != NULL)
            return error_set(l->err, ERR_INPUT,
                             "%s: merge %zu: \"%.60s\" is not two tokens and a space", l->name,
                             rank, s);
    } else if (json_is_array(v) && json_array_size(v) == 2 &&
               json_is_string(json_array_get(v, 0)) && json_is_string(json_array_get(v, 1))) {
        const json_t *x = json_array_get(v, 0), *y = json_array_get(v, 1);
        a = (struct bytes){json_string_value(x), json_string_length(x)};
        b = (struct bytes){json_string_value(y), json_string_length(y)};
    } else {
        return error_set(l->err, ERR_INPUT,
                         "%s: merge %zu must be \"a b\" or [\"a\", \"b\"], not %s", l->name, rank,
                         json_type_name(v));
    }
    int32_t left = string_map_find(&t->vocab, a.s, a.n);
    int32_t right = string_map_find(&t->vocab, b.s, b.n);
    if (left < 0) return merge_unknown(l, rank, a.s, a.n);
    if (right < 0) return merge_unknown(l, rank, b.s, b.n);
    if (b.n < t->prefix.n)
        return error_set(l->err, ERR_INPUT, "%s: merge %zu: \"%.*s\" lacks the prefix \"%s\"",
                         l->name, rank, (int)b.n, b.s, t->prefix.s);
    char joined[4096];
    size_t n_b = b.n - t->prefix.n;
    if (a.n > sizeof joined || n_b > sizeof joined - a.n)
        return error_set(l->err, ERR_LIMIT, "%s: merge %zu: token longer than %zu bytes", l->name,
                         rank, sizeof joined);
    // A merge makes a longer token than either part: one that does not would be a cycle.
    if (a.n == 0 || n_b == 0)
        return error_set(
            l->err, ERR_INPUT,
            "%s: merge %zu: a cycle: \"%.60s\" and \"%.60s\" give one of the two again", l->name,
            rank, t->tokens[left].text.s, t->tokens[right].text.s);
    memcpy(joined, a.s, a.n);
    memcpy(joined + a.n, b.s + t->prefix.n, n_b);
    int32_t id = string_map_find(&t->vocab, joined, a.n + n_b);
    if (id < 0) return merge_unknown(l, rank, joined, a.n + n_b);
    merge_map_set(&t->merges, left, right, (uint32_t)rank, id);
    return true;
}

static bool read_merges(struct loader *l, const json_t *merges) {
    if (!json_is_array(merges))
        return error_set(l->err, ERR_INPUT, "%s: model: \"merges\" must be an array, not %s",
                         l->name, json_type_name(merges));
    if (json_array_size(merges) > TOKENIZER_ID_LIMIT)
        return error_set(l->err, ERR_LIMIT, "%s: %zu merges, over %d", l->name,
                         json_array_size(merges), TOKENIZER_ID_LIMIT);
    if (!merge_map_init(&l->t->merges, json_array_size(merges))) return nomem(l);
    size_t i, rank = 0;
    const json_t *v;
    json_array_foreach(merges, i, v) {
        if (json_is_string(v) && strncmp(json_string_value(v), "#version", 8) == 0) continue;
        if (!read_merge(l, v, rank++)) return false;
    }
    return true;
}

static bool read_model(struct loader *l, const json_t *model) {
    struct tokenizer *t = l->t;
    const char *type = "BPE", *unk = NULL, *prefix = NULL, *suffix = NULL;
    if (!json_is_object(model))
        return error_set(l->err, ERR_INPUT, "%s: \"model\" must be an object, not %s", l->name,
                         json_type_name(model));
    if (!json_get_string(&type, model, "type", false, l->name, l->err)) return false;
    if (strcmp(type, "BPE") != 0)
        return error_set(l->err, ERR_INPUT, "%s: model \"%.60s\" is not supported, only BPE",
                         l->name, type);
    if (!json_get_string(&unk, model, "unk_token", false, l->name, l->err) ||
        !json_get_string(&prefix, model, "continuing_subword_prefix", false, l->name, l->err) ||
        !json_get_string(&suffix, model, "end_of_word_suffix", false, l->name, l->err) ||
        !get_flag(l, model, "fuse_unk", false, &t->fuse_unk) ||
        !get_flag(l, model, "byte_fallback", false, &t->byte_fallback) ||
        !get_flag(l, model, "ignore_merges", false, &t->ignore_merges))
        return false;
    if (prefix != NULL && prefix[0] != '\0' && !keep_bytes(l, &t->prefix, prefix, strlen(prefix)))
        return false;
    if (suffix != NULL && suffix[0] != '\0' && !keep_bytes(l, &t->suffix, suffix, strlen(suffix)))
        return false;
    if (!read_vocab(l, json_object_get(model, "vocab"))) return false;
    if (!read_merges(l, json_object_get(model, "merges"))) return false;
    if (unk != NULL) {
        int32_t id = string_map_find(&t->vocab, unk, strlen(unk));
        t->unk = id >= 0 ? id : UNK_UNKNOWN;
    }
    bool all = t->prefix.s == NULL && t->suffix.s == NULL;
    for (int i = 0; i < 256; i++) {
        char s[8];
        snprintf(s, sizeof s, "<0x%02X>", (unsigned)i);
        t->byte_ids[i] = string_map_find(&t->vocab, s, 6);
        t->stand_in_ids[i] =
            string_map_find(&t->vocab, s, utf8_encode(byte_to_char((uint8_t)i), s));
        if (t->stand_in_ids[i] < 0) all = false;
    }
    t->bytes_direct = all;
    return true;
}

// The text an added token is matched by, when that is its normalised form.
static bool added_normalized(struct loader *l, struct bytes *text) {
    struct encode_scratch scratch;
    bool ok = encode_scratch_init(&scratch, l->err);
    struct text t = {.s = text->s, .n = (int32_t)text->n};
    for (int i = 0; i < l->t->n_normalizers && ok; i++)
        ok = normalizer_run(&l->t->normalizers[i], &scratch, &t, l->err);
    if (ok) ok = keep_bytes(l, text, t.s, (size_t)t.n);
    encode_scratch_release(&scratch);
    return ok;
}

// Gives ids as Hugging Face does: the model's when it knows the token, else the next free one.
static bool read_added_token(struct loader *l, const json_t *v, int64_t *next_id) {
    struct tokenizer *t = l->t;
    struct added_token a = {0};
    struct bytes text;
    bool normalized;
    int64_t id = 0;
    if (!json_is_object(v))
        return error_set(l->err, ERR_INPUT, "%s: an added token must be an object, not %s", l->name,
                         json_type_name(v));
    if (!get_bytes(l, v, "content", &text) || !check_id(l, json_object_get(v, "id"), text.s, &id) ||
        !get_flag(l, v, "single_word", false, &a.single_word) ||
        !get_flag(l, v, "lstrip", false, &a.lstrip) ||
        !get_flag(l, v, "rstrip", false, &a.rstrip) ||
        !get_flag(l, v, "special", false, &a.special) ||
        !get_flag(l, v, "normalized", !a.special, &normalized))
        return false;
    if (text.n == 0) return true;
    if (text.n > 4096)
        return error_set(l->err, ERR_LIMIT, "%s: added token of %zu bytes", l->name, text.n);
    if (string_map_find(&t->added_vocab, text.s, text.n) >= 0)
        return error_set(l->err, ERR_INPUT, "%s: added token \"%.60s\" is there twice", l->name,
                         text.s);
    int32_t known = string_map_find(&t->vocab, text.s, text.n);
    a.id = known >= 0 ? known : (int32_t)(*next_id)++;
    if (a.id != id)
        return error_set(l->err, ERR_INPUT, "%s: added token \"%.60s\" has id %lld where %s",
                         l->name, text.s, (long long)id,
                         known >= 0 ? "the vocabulary gives another" : "the next free id was due");
    if (!token_room(l, a.id)) return false;
    struct token *token = &t->tokens[a.id];
    if (token->text.s != NULL && known < 0)
        return error_set(l->err, ERR_INPUT, "%s: id %lld is given to \"%.60s\" and \"%.60s\"",
                         l->name, (long long)id, token->text.s, text.s);
    token->text = text;
    token->added = true;
    token->special = a.special;
    struct bytes match = text;
    if (normalized && !added_normalized(l, &match)) return false;
    token->decoded = match;
    bool duplicate;
    if (!trie_add(normalized ? &t->added_normalized : &t->added_raw, match, (int32_t)t->n_added,
                  &duplicate))
        return nomem(l);
    if (duplicate)
        return error_set(l->err, ERR_INPUT, "%s: two added tokens are written \"%.60s\"", l->name,
                         match.s);
    (void)string_map_add(&t->added_vocab, text, a.id);
    t->added[t->n_added++] = a;
    return true;
}

static bool read_added_tokens(struct loader *l, const json_t *list) {
    struct tokenizer *t = l->t;
    if (list == NULL || json_is_null(list)) return true;
    if (!json_is_array(list))
        return error_set(l->err, ERR_INPUT, "%s: \"added_tokens\" must be an array, not %s",
                         l->name, json_type_name(list));
    size_t n = json_array_size(list), i;
    if (n > TOKENIZER_ID_LIMIT)
        return error_set(l->err, ERR_LIMIT, "%s: %zu added tokens", l->name, n);
    t->added = arena_alloc_array(&t->arena, n, sizeof *t->added);
    if (t->added == NULL || !string_map_init(&t->added_vocab, n)) return nomem(l);
    int64_t next_id = (int64_t)t->vocab.n;
    const json_t *v;
    json_array_foreach(list, i, v) {
        if (!read_added_token(l, v, &next_id)) return false;
    }
    return true;
}

static bool template_add(struct loader *l, int32_t **list, int64_t *n, int64_t id, bool front) {
    if (id < 0 || id >= l->t->n_tokens)
        return error_set(l->err, ERR_INPUT, "%s: post-processor: token id %lld does not exist",
                         l->name, (long long)id);
    if (*n >= 64)
        return error_set(l->err, ERR_LIMIT, "%s: post-processor: over 64 tokens", l->name);
    int32_t *grown = arena_alloc_array(&l->t->arena, (size_t)*n + 1, sizeof *grown);
    if (grown == NULL) return nomem(l);
    if (*n > 0) memcpy(grown + (front ? 1 : 0), *list, (size_t)*n * sizeof *grown);
    grown[front ? 0 : *n] = (int32_t)id;
    *list = grown;
    ++*n;
    return true;
}

// One special token of a template: its ids come from "special_tokens".
static bool template_token(struct loader *l, const json_t *c, const json_t *piece, bool before,
                           int64_t *at_front) {
    const char *name = NULL;
    if (!json_get_string(&name, piece, "id", true, l->name, l->err)) return false;
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(c, "special_tokens"), name), "ids");
    if (!json_is_array(ids))
        return error_set(l->err, ERR_INPUT, "%s: TemplateProcessing: no special token \"%.60s\"",
                         l->name, name);
    size_t i;
    const json_t *id;
    json_array_foreach(ids, i, id) {
        if (!json_is_integer(id))
            return error_set(l->err, ERR_INPUT, "%s: TemplateProcessing: \"%.60s\": bad id",
                             l->name, name);
        if (before) {
            // Outer templates wrap inner ones: their tokens go in front of those already there.
            if (!template_add(l, &l->t->before, &l->t->n_before, json_integer_value(id), true))
                return false;
            ++*at_front;
        } else if (!template_add(l, &l->t->after, &l->t->n_after, json_integer_value(id), false)) {
            return false;
        }
    }
    return true;
}

static bool read_template(struct loader *l, const json_t *c) {
    const json_t *single = json_object_get(c, "single"), *piece;
    if (!json_is_array(single))
        return error_set(l->err, ERR_INPUT, "%s: TemplateProcessing: \"single\" must be an array",
                         l->name);
    size_t i;
    int n_sequences = 0;
    int64_t n_front = 0;
    json_array_foreach(single, i, piece) {
        const json_t *special = json_object_get(piece, "SpecialToken");
        const json_t *sequence = json_object_get(piece, "Sequence");
        const char *id = NULL;
        if (special != NULL) {
            if (!template_token(l, c, special, n_sequences == 0, &n_front)) return false;
        } else if (sequence != NULL &&
                   json_get_string(&id, sequence, "id", true, l->name, l->err) &&
                   strcmp(id, "A") == 0 && n_sequences == 0) {
            n_sequences++;
        } else {
            return error_set(l->err, ERR_INPUT,
                             "%s: TemplateProcessing: \"single\" must hold sequence A once and "
                             "special tokens",
                             l->name);
        }
    }
    for (int64_t k = 0; k < n_front / 2; k++) { // they were put in one by one, so in reverse
        int32_t t = l->t->before[k];
        l->t->before[k] = l->t->before[n_front - 1 - k];
        l->t->before[n_front - 1 - k] = t;
    }
    if (n_sequences != 1)
        return error_set(l->err, ERR_INPUT, "%s: TemplateProcessing: no sequence A", l->name);
    return true;
}

static bool read_postprocessor(struct loader *l, const json_t *c, const char *type, int depth) {
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(l, c, "processors", read_postprocessor, depth);
    if (strcmp(type, "ByteLevel") == 0) return true; // trims offsets only; ours cover every byte
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(l, c);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        const json_t *cls = json_array_get(json_object_get(c, "cls"), 1);
        const json_t *sep = json_array_get(json_object_get(c, "sep"), 1);
        if (!json_is_integer(cls) || !json_is_integer(sep))
            return error_set(l->err, ERR_INPUT, "%s: %s: \"cls\" and \"sep\" must be [token, id]",
                             l->name, type);
        return template_add(l, &l->t->before, &l->t->n_before, json_integer_value(cls), true) &&
               template_add(l, &l->t->after, &l->t->n_after, json_integer_value(sep), false);
    }
    return error_set(l->err, ERR_INPUT, "%s: post-processor \"%.60s\" is not supported", l->name,
                     type);
}

static bool read_component(struct loader *l, const json_t *root, const char *key,
                           stage_reader *reader) {
    const json_t *c = json_object_get(root, key);
    if (c == NULL || json_is_null(c)) return true;
    const char *type = component_type(l, c, key);
    return type != NULL && reader(l, c, type, 0);
}

// What decode and token_bytes give for each id, worked out once.
static bool finish_tokens(struct loader *l) {
    struct tokenizer *t = l->t;
    struct buf raw = {0};
    bool byte_level = false, spaces = false;
    struct bytes space = {0};
    for (int i = 0; i < t->n_decoders; i++) {
        const struct decoder *d = &t->decoders[i];
        if (d->kind == DECODER_BYTE_LEVEL) byte_level = true;
        if (d->kind == DECODER_METASPACE) {
            spaces = true;
            space = d->content;
        }
        if (d->kind == DECODER_REPLACE && d->content.n == 1 && d->content.s[0] == ' ') {
            spaces = true;
            space = (struct bytes){"\xE2\x96\x81", 3};
        }
    }
    for (int64_t id = 0; id < t->n_tokens; id++) {
        struct token *token = &t->tokens[id];
        if (token->text.s == NULL) continue;
        if (token->decoded.s == NULL) token->decoded = token->text;
        // As HF: it is the written form that is looked up among the special ones.
        int32_t same = string_map_find(&t->added_vocab, token->decoded.s, token->decoded.n);
        token->skipped = same >= 0 && t->tokens[same].special;
        token->raw = token->text;
        if (token->added) continue;
        const char *s = token->text.s;
        size_t n = token->text.n;
        buf_reset(&raw);
        if (byte_level) {
            for (size_t i = 0; i < n;) {
                uint32_t c = 0;
                i += utf8_decode(s + i, n - i, &c);
                int byte = byte_from_char(c);
                if (byte < 0) {
                    buf_reset(&raw);
                    buf_append(&raw, s, n);
                    break;
                }
                buf_append_char(&raw, (char)byte);
            }
        } else if (t->byte_fallback && n == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>') {
            unsigned byte = 0;
            if (sscanf(s, "<0x%2X>", &byte) != 1) continue;
            buf_append_char(&raw, (char)byte);
        } else if (spaces && memmem(s, n, space.s, space.n) != NULL) {
            for (size_t i = 0; i < n;) {
                bool is_space = n - i >= space.n && memcmp(s + i, space.s, space.n) == 0;
                buf_append_char(&raw, is_space ? ' ' : s[i]);
                i += is_space ? space.n : 1;
            }
        } else {
            continue;
        }
        if (!buf_ok(&raw) || raw.n_bytes > n) {
            buf_release(&raw);
            return nomem(l);
        }
        if (raw.n_bytes == n && memcmp(raw.data, s, n) == 0) continue;
        // Never longer than the written form, which lies in one block: a copy of its own.
        if (!keep_bytes(l, &token->raw, raw.data, raw.n_bytes)) {
            buf_release(&raw);
            return false;
        }
    }
    buf_release(&raw);
    return true;
}

bool tokenizer_load(struct tokenizer *t, const json_t *root, const char *name, struct error *err) {
    struct loader l = {.t = t, .name = name, .err = err};
    const char *version = "1.0";
    t->unk = UNK_NONE;
    if (!json_is_object(root))
        return error_set(err, ERR_INPUT, "%s: must be an object, not %s", name,
                         json_type_name(root));
    if (!json_get_string(&version, root, "version", false, name, err)) return false;
    if (strcmp(version, "1.0") != 0)
        return error_set(err, ERR_INPUT, "%s: tokenizer version \"%.20s\" is not known", name,
                         version);
    const json_t *decoder = json_object_get(root, "decoder");
    t->has_decoder = decoder != NULL && !json_is_null(decoder);
    // "truncation" and "padding" are a caller's business, as in transformers.
    return read_model(&l, json_object_get(root, "model")) &&
           read_component(&l, root, "normalizer", read_normalizer) &&
           read_component(&l, root, "pre_tokenizer", read_pretokenizer) &&
           read_component(&l, root, "decoder", read_decoder) &&
           read_added_tokens(&l, json_object_get(root, "added_tokens")) &&
           read_component(&l, root, "post_processor", read_postprocessor) && finish_tokens(&l);
}
