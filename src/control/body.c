// control/body.c - three shapes of a body, one list of messages.
#include "control/body.h"

#include "core/json.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool body_add(struct body *body, struct arena *arena, int64_t line, const char *bytes,
                     size_t n_bytes, struct error *err) {
    if (body->n >= BODY_LIMIT_MESSAGES)
        return error_set(err, ERR_LIMIT, "body: more than %d messages", BODY_LIMIT_MESSAGES);
    if (body->n == body->capacity) {
        int64_t capacity = body->capacity > 0 ? body->capacity * 2 : 16;
        struct body_item *items = realloc(body->items, (size_t)capacity * sizeof *items);
        if (items == NULL) return error_set(err, ERR_NOMEM, "body: out of memory");
        body->items = items;
        body->capacity = capacity;
    }
    struct body_item *item = &body->items[body->n++];
    uint8_t random[10];
    char name[32], id[2 * sizeof random + 3] = "m-";
    *item = (struct body_item){.line = line};
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(id + 2, sizeof id - 2, random, sizeof random);
    item->ok = message_parse(&item->message, arena, bytes, n_bytes, id, &item->err);
    if (item->ok) return true;
    if (!arena_ok(arena)) return error_set(err, ERR_NOMEM, "body: out of memory");
    // The parser names what it reads by the id; a sender who gave none knows only the line.
    snprintf(name, sizeof name, "line %lld", (long long)line);
    size_t id_bytes = strlen(id);
    if (strncmp(item->err.text, id, id_bytes) == 0) {
        char rest[sizeof item->err.text];
        snprintf(rest, sizeof rest, "%s", item->err.text + id_bytes);
        snprintf(item->err.text, sizeof item->err.text, "%s%.440s", name, rest);
    }
    return true;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool body_parse_lines(struct body *body, struct arena *arena, const char *bytes,
                             size_t n_bytes, struct error *err) {
    int64_t line = 1;
    for (size_t begin = 0; begin < n_bytes; line++) {
        const char *newline = memchr(bytes + begin, '\n', n_bytes - begin);
        size_t end = newline != NULL ? (size_t)(newline - bytes) : n_bytes, next = end + 1;
        while (begin < end && is_space(bytes[begin])) begin++;
        while (end > begin && is_space(bytes[end - 1])) end--;
        if (end > begin && !body_add(body, arena, line, bytes + begin, end - begin, err))
            return false;
        begin = next;
    }
    return true;
}

static bool body_parse_array(struct body *body, struct arena *arena, const char *bytes,
                             size_t n_bytes, struct error *err) {
    json_t *array;
    if (!json_parse(&array, bytes, n_bytes, "body", err)) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(array); i++) {
        char *text = json_dumps(json_array_get(array, i), JSON_ENCODE_ANY | JSON_COMPACT);
        ok = text != NULL ? body_add(body, arena, (int64_t)i + 1, text, strlen(text), err)
                          : error_set(err, ERR_NOMEM, "body: out of memory");
        free(text);
    }
    json_decref(array);
    return ok;
}

// true when the bytes are one JSON value alone, over however many lines.
static bool body_is_one(const char *bytes, size_t n_bytes) {
    json_error_t e;
    if (memchr(bytes, '\n', n_bytes) == NULL || n_bytes > MESSAGE_LINE_LIMIT_BYTES) return false;
    json_t *value = json_loadb(bytes, n_bytes, 0, &e); // fails at a second value
    json_decref(value);
    return value != NULL;
}

bool body_parse(struct body *body, struct arena *arena, const char *bytes, size_t n_bytes,
                bool ndjson, struct error *err) {
    size_t begin = 0;
    while (begin < n_bytes && is_space(bytes[begin])) begin++;
    if (begin == n_bytes) return error_set(err, ERR_INPUT, "body: empty, a message was expected");
    if (sodium_init() < 0) return error_set(err, ERR_STATE, "libsodium does not start");
    if (!ndjson && bytes[begin] == '[')
        return body_parse_array(body, arena, bytes + begin, n_bytes - begin, err) &&
               (body->n > 0 ||
                error_set(err, ERR_INPUT, "body: an empty array, a message was expected"));
    if (!ndjson && body_is_one(bytes + begin, n_bytes - begin))
        return body_add(body, arena, 1, bytes + begin, n_bytes - begin, err);
    return body_parse_lines(body, arena, bytes, n_bytes, err);
}

void body_release(struct body *body) {
    free(body->items);
    *body = (struct body){0};
}
