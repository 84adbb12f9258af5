// forge/tokens.c - the tokenizer of a model and its training documents.
#include "forge/tokens.h"

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/rng.h"
#include "forge/noise.h"
#include "forge/seeds.h"
#include "forge/teacher.h"
#include "train/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The labels are what the model is for; its text loss is a regulariser.
const struct tokens_options tokens_defaults = {
    .max_text_tokens = 320,
    .trace_share = 1.0f,
    .shuffle = true,
    .original_weight = 1.0f,
    .variant_weight = 1.0f,
    .weights = {.text = 0.1f,
                .slot = {4.0f, 2.0f, 1.0f, 0.5f, 0.5f, 0.5f, 0.5f},
                .evidence = 0.3f,
                .trace = 0.3f},
};

// --- records of a file, one at a time

struct reader {
    char *text, *at, *end;
    const char *path;
    int line_i;
};

static bool reader_open(struct reader *r, const char *path, struct error *err) {
    size_t n_bytes;
    memset(r, 0, sizeof *r);
    r->path = path;
    if (!file_read(&r->text, &n_bytes, path, 0, err)) return false;
    r->at = r->text;
    r->end = r->text + n_bytes;
    return true;
}

// false at the end or on failure (then *failed).
static bool reader_next(struct reader *r, struct label_record *record, bool *failed,
                        struct error *err) {
    while (r->at < r->end) {
        char *line = r->at, *stop = memchr(line, '\n', (size_t)(r->end - line));
        if (stop == NULL) stop = r->end;
        r->at = stop + 1;
        r->line_i++;
        if (stop == line) continue;
        char where[1100];
        json_t *json;
        snprintf(where, sizeof where, "%s:%d", r->path, r->line_i);
        *failed = !json_parse(&json, line, (size_t)(stop - line), where, err) ||
                  !label_record_take(record, json, where, err);
        return !*failed;
    }
    return false;
}

// --- tokenizer

// Only the last message is judged; its content is data. One line, no white space of its own.
static const char chat_template[] =
    "{% for message in messages %}{% if loop.last %}<|message|><|channel:unknown|>{{ "
    "message['content'] | lower }}<|verdict|>"
    "{% endif %}{% endfor %}";

static bool json_write(const char *folder, const char *name, json_t *json, struct error *err) {
    char path[1024];
    char *text = json == NULL ? NULL : json_dumps(json, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(json);
    if (text == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", name);
    bool ok = file_join(path, sizeof path, folder, name, err) &&
              file_write_atomic(path, text, strlen(text), err);
    free(text);
    return ok;
}

static bool config_write(const char *folder, struct error *err) {
    json_t *added = json_object(), *names = json_array();
    const char *const *specials = layout_specials();
    for (int i = 0; specials[i] != NULL; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        json_object_set_new(added, id,
                            json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", specials[i],
                                      "lstrip", 0, "normalized", 0, "rstrip", 0, "single_word", 0,
                                      "special", 1));
        if (i > 0) json_array_append_new(names, json_string(specials[i]));
    }
    json_t *config =
        json_pack("{s:o, s:O, s:s, s:b, s:s, s:n, s:s, s:s, s:i, s:s}", "added_tokens_decoder",
                  added, "additional_special_tokens", names, "chat_template", chat_template,
                  "clean_up_tokenization_spaces", 0, "eos_token", "<|endoftext|>", "bos_token",
                  "pad_token", "<|endoftext|>", "unk_token", "<|endoftext|>", "model_max_length",
                  1024, "tokenizer_class", "PreTrainedTokenizerFast");
    json_t *map = json_pack("{s:O, s:s, s:s}", "additional_special_tokens", names, "eos_token",
                            "<|endoftext|>", "pad_token", "<|endoftext|>");
    json_decref(names);
    bool ok = json_write(folder, "tokenizer_config.json", config, err);
    if (!ok) {
        json_decref(map);
        return false;
    }
    return json_write(folder, "special_tokens_map.json", map, err);
}

struct texts {
    char **items;
    size_t *n_bytes;
    int64_t n, capacity;
};

static bool texts_add(struct texts *t, const char *text, bool lowercase, struct error *err) {
    if (text == NULL || text[0] == '\0') return true;
    if (t->n == t->capacity) {
        int64_t wanted = t->capacity == 0 ? 4096 : 2 * t->capacity;
        char **items = realloc(t->items, (size_t)wanted * sizeof *items);
        if (items != NULL) t->items = items;
        size_t *n_bytes =
            items == NULL ? NULL : realloc(t->n_bytes, (size_t)wanted * sizeof *n_bytes);
        if (n_bytes == NULL) return error_set(err, ERR_NOMEM, "forge tokenizer: out of memory");
        t->n_bytes = n_bytes;
        t->capacity = wanted;
    }
    struct edit lowered = {0};
    if (lowercase) {
        edit_reset(&lowered, text, strlen(text));
        noise_lower(&lowered);
        text = edit_text(&lowered);
    }
    t->items[t->n] = strdup(text);
    if (t->items[t->n] == NULL) return error_set(err, ERR_NOMEM, "forge tokenizer: out of memory");
    t->n_bytes[t->n++] = strlen(text);
    edit_release(&lowered);
    return true;
}

bool tokens_tokenizer(const char *folder, int64_t vocab, const char *const *paths, int n_paths,
                      struct error *err) {
    struct texts texts = {0};
    bool ok = true, failed = false;
    for (int i = 0; ok && i < n_paths; i++) {
        struct reader reader;
        struct label_record record;
        if (!reader_open(&reader, paths[i], err)) {
            ok = false;
            break;
        }
        while (ok && reader_next(&reader, &record, &failed, err)) {
            ok = texts_add(&texts, record.text, true, err) &&
                 texts_add(&texts, record.why_for, false, err) &&
                 texts_add(&texts, record.why_against, false, err);
            label_record_release(&record);
        }
        ok = ok && !failed;
        free(reader.text);
    }
    char path[1024];
    struct tokenizer_training training = {
        .vocab = vocab, .specials = layout_specials(), .min_frequency = 2, .nfc = false};
    ok = ok &&
         (texts.n > 0 || error_set(err, ERR_INPUT, "forge tokenizer: no text in the input")) &&
         file_make_folders(folder, err) &&
         file_join(path, sizeof path, folder, "tokenizer.json", err) &&
         tokenizer_train(path, &training, (const char *const *)texts.items, texts.n_bytes, texts.n,
                         err) &&
         config_write(folder, err);
    for (int64_t i = 0; i < texts.n; i++) free(texts.items[i]);
    free(texts.items);
    free(texts.n_bytes);
    return ok;
}

// --- token file

bool tokens_weights_parse(struct layout_weights *w, const char *words, struct error *err) {
    for (const char *at = words; *at != '\0';) {
        const char *stop = strchrnul(at, ',');
        char word[64];
        size_t n = (size_t)(stop - at);
        if (n >= sizeof word)
            return error_set(err, ERR_USAGE, "weight \"%.40s...\" is not known", at);
        memcpy(word, at, n);
        word[n] = '\0';
        char *equals = strchr(word, '='), *end = NULL;
        if (equals == NULL)
            return error_set(err, ERR_USAGE, "weight \"%s\" needs name=value", word);
        *equals = '\0';
        float value = strtof(equals + 1, &end);
        if (end == equals + 1 || *end != '\0' || !(value >= 0 && value <= 1000))
            return error_set(err, ERR_USAGE, "weight %s: \"%s\" is not a number from 0 to 1000",
                             word, equals + 1);
        if (strcmp(word, "text") == 0) w->text = value;
        else if (strcmp(word, "level") == 0) w->slot[SLOT_LEVEL] = value;
        else if (strcmp(word, "class") == 0) w->slot[SLOT_CLASS] = value;
        else if (strcmp(word, "source") == 0) w->slot[SLOT_SOURCE] = value;
        else if (strcmp(word, "distress") == 0) w->slot[SLOT_D1] = w->slot[SLOT_D2] = value;
        else if (strcmp(word, "flags") == 0) w->slot[SLOT_F1] = w->slot[SLOT_F2] = value;
        else if (strcmp(word, "evidence") == 0) w->evidence = value;
        else if (strcmp(word, "trace") == 0) w->trace = value;
        else
            return error_set(err, ERR_USAGE,
                             "weight \"%s\" is not known (text, level, class, source, distress, "
                             "flags, evidence, trace)",
                             word);
        at = *stop == ',' ? stop + 1 : stop;
    }
    return true;
}

struct records {
    struct label_record *items;
    int64_t n, capacity;
};

static bool records_read(struct records *records, const char *path, struct error *err) {
    struct reader reader;
    if (!reader_open(&reader, path, err)) return false;
    bool failed = false;
    struct label_record record;
    while (!failed && reader_next(&reader, &record, &failed, err)) {
        if (records->n == records->capacity) {
            int64_t wanted = records->capacity == 0 ? 4096 : 2 * records->capacity;
            struct label_record *grown = realloc(records->items, (size_t)wanted * sizeof *grown);
            if (grown == NULL) {
                label_record_release(&record);
                failed = true;
                error_set(err, ERR_NOMEM, "%s: out of memory", path);
                break;
            }
            records->items = grown;
            records->capacity = wanted;
        }
        records->items[records->n++] = record;
    }
    free(reader.text);
    return !failed;
}

// With probability `share` the level is drawn from what the teacher thinks, so that over many epochs the target is the
// mixture; the other labels and the trace stay.
static void soften(struct label_record *r, const struct teacher *teacher, float share, struct rng *rng) {
    const float *p = teacher != NULL ? teacher_find(teacher, r->id) : NULL;
    if (p == NULL || !rng_chance(rng, (double)share)) return;
    double u = rng_f64(rng);
    for (int level = 0; level < N_LEVELS; level++) {
        u -= (double)p[level];
        if (u >= 0) continue;
        r->level = level;
        return;
    }
}

static bool documents_write(struct data_writer *writer, const struct layout *layout, const struct teacher *teacher,
                            const struct tokens_options *o, const struct records *records,
                            int64_t *n_tokens, struct error *err) {
    int64_t *order = malloc((size_t)(records->n + 1) * sizeof *order);
    struct token_list list = {0};
    float *weights = NULL;
    int64_t capacity = 0;
    bool ok = order != NULL || error_set(err, ERR_NOMEM, "forge tokens: out of memory");
    struct rng rng;
    rng_init_stream(&rng, o->seed, (uint64_t)o->epoch);
    for (int64_t i = 0; ok && i < records->n; i++) order[i] = i;
    for (int64_t i = records->n - 1; ok && o->shuffle && i > 0; i--) { // Fisher and Yates
        int64_t j = (int64_t)rng_below(&rng, (uint64_t)i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (int64_t i = 0; ok && i < records->n; i++) {
        struct label_record *r = &records->items[order[i]];
        struct rng own; // by id, not by place in the file
        rng_init_stream(&own, o->seed + (uint64_t)o->epoch * 0x9e3779b97f4a7c15u,
                        forge_hash(r->id, 0));
        bool trace = rng_chance(&own, (double)o->trace_share);
        if (!trace) soften(r, teacher, o->teacher_share, &own); // a trace argues for the true level
        token_list_reset(&list);
        ok = layout_document(layout, &list, &weights, &capacity, r, &o->weights, o->max_text_tokens,
                             trace, o->bpe_dropout, &own, err);
        if (!ok) break;
        bool variant = strchr(r->id, '~') != NULL;
        struct data_doc doc = {.tokens = list.ids,
                               .weights = weights,
                               .n = list.n,
                               .weight = variant ? o->variant_weight : o->original_weight};
        ok = data_writer_append(writer, &doc, err);
        *n_tokens += list.n;
    }
    token_list_release(&list);
    free(weights);
    free(order);
    return ok;
}

bool tokens_write(const struct tokens_options *o, int64_t *n_docs, int64_t *n_tokens,
                  struct error *err) {
    struct tokenizer *tokenizer = NULL;
    struct data_writer *writer = NULL;
    struct records records = {0};
    struct teacher *teacher = NULL;
    struct layout layout;
    char path[1024], sha256[HASH_HEX_BYTES];
    int64_t tokens = 0;
    bool ok;
    if (file_is_folder(o->tokenizer))
        ok = file_join(path, sizeof path, o->tokenizer, "tokenizer.json", err);
    else
        ok = snprintf(path, sizeof path, "%s", o->tokenizer) < (int)sizeof path ||
             error_set(err, ERR_LIMIT, "path too long");
    ok = ok && tokenizer_open(&tokenizer, path, err) && layout_init(&layout, tokenizer, err) &&
         hash_file_sha256_hex(sha256, path, err) && records_read(&records, o->in, err) &&
         data_writer_open(&writer, o->out, tokenizer_vocab(tokenizer), sha256, err);
    if (ok && o->teacher != NULL) ok = teacher_open(&teacher, o->teacher, err);
    if (ok) {
        ok = documents_write(writer, &layout, teacher, o, &records, &tokens, err);
        if (ok) ok = data_writer_close(writer, err);
        else data_writer_abandon(writer);
    }
    if (n_docs != NULL) *n_docs = records.n;
    if (n_tokens != NULL) *n_tokens = tokens;
    for (int64_t i = 0; i < records.n; i++) label_record_release(&records.items[i]);
    free(records.items);
    teacher_close(teacher);
    tokenizer_close(tokenizer);
    return ok;
}
