// triage/message.c - one JSON line in, one JSON line out.
#include "triage/message.h"

#include "core/json.h"
#include "core/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The line's "id", whatever else is wrong with it, so that the error can be told to its sender. Integer ids are
// common in feeds and become their decimal string.
static bool read_id(struct message *out, struct arena *arena, const json_t *root, const char *fallback_id,
                    struct error *err) {
    const json_t *id = json_object_get(root, "id");
    char number[32];
    const char *s = NULL;
    if (json_is_string(id)) s = json_string_value(id);
    if (json_is_integer(id)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(id));
        s = number;
    }
    if (s != NULL && s[0] != '\0' && strlen(s) <= MESSAGE_ID_LIMIT_BYTES) {
        char *given = arena_strndup(arena, s, strlen(s));
        if (given == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", fallback_id);
        out->id = given;
        out->id_given = true;
        return true;
    }
    if (id == NULL || json_is_null(id)) return true;
    if (s != NULL && s[0] != '\0')
        return error_set(err, ERR_LIMIT, "%s: \"id\" of %zu bytes, the limit is %d", fallback_id, strlen(s),
                         MESSAGE_ID_LIMIT_BYTES);
    return error_set(err, ERR_INPUT, "%s: \"id\" must be a string that is not empty, not %s", fallback_id,
                     s != NULL ? "\"\"" : json_type_name(id));
}

static bool read_optional(const char **out, struct arena *arena, const json_t *root, const char *key,
                          const char *name, struct error *err) {
    const char *s = NULL;
    if (!json_get_string(&s, root, key, false, name, err)) return false;
    if (s == NULL) return true;
    *out = arena_strndup(arena, s, strlen(s));
    return *out != NULL || error_set(err, ERR_NOMEM, "%s: out of memory", name);
}

static bool read_fields(struct message *out, struct arena *arena, const json_t *root, struct error *err) {
    const char *text = NULL, *channel = NULL;
    if (!json_get_string(&text, root, "text", true, out->id, err)) return false;
    out->text_bytes = strlen(text);
    if (out->text_bytes > MESSAGE_TEXT_LIMIT_BYTES)
        return error_set(err, ERR_LIMIT, "%s: \"text\" of %zu bytes, the limit is %d", out->id, out->text_bytes,
                         MESSAGE_TEXT_LIMIT_BYTES);
    if (text[strspn(text, " \t\r\n")] == '\0')
        return error_set(err, ERR_INPUT, "%s: \"text\" is empty", out->id);
    out->text = arena_strndup(arena, text, out->text_bytes);
    if (out->text == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", out->id);
    if (!json_get_string(&channel, root, "channel", false, out->id, err)) return false;
    if (channel != NULL) out->channel = label_find(label_channels, N_CHANNELS, channel);
    return read_optional(&out->received_at, arena, root, "received_at", out->id, err) &&
           read_optional(&out->author, arena, root, "author", out->id, err);
}

bool message_parse(struct message *out, struct arena *arena, const char *line, size_t n_bytes,
                   const char *fallback_id, struct error *err) {
    *out = (struct message){.id = arena_strndup(arena, fallback_id, strlen(fallback_id)), .channel = -1};
    if (out->id == NULL) {
        out->id = "";
        return error_set(err, ERR_NOMEM, "%s: out of memory", fallback_id);
    }
    if (n_bytes > MESSAGE_LINE_LIMIT_BYTES)
        return error_set(err, ERR_LIMIT, "%s: line of %zu bytes, the limit is %d", fallback_id, n_bytes,
                         MESSAGE_LINE_LIMIT_BYTES);
    size_t bad;
    if (!utf8_valid(line, n_bytes, &bad))
        return error_set(err, ERR_INPUT, "%s: invalid UTF-8 at byte %zu (0x%02x)", fallback_id, bad,
                         (unsigned char)line[bad]);
    json_t *root;
    if (!json_parse(&root, line, n_bytes, fallback_id, err)) return false;
    bool ok = json_is_object(root) ||
              error_set(err, ERR_INPUT, "%s: a JSON object was expected, not %s", fallback_id, json_type_name(root));
    ok = ok && read_id(out, arena, root, fallback_id, err) && read_fields(out, arena, root, err);
    json_decref(root);
    return ok;
}

void verdict_release(struct verdict *v) {
    free(v->why_for);
    free(v->why_against);
    v->why_for = v->why_against = NULL;
}

static void append_string_field(struct buf *out, const char *key, const char *value) {
    buf_printf(out, "\"%s\":", key);
    if (value == NULL) buf_append_str(out, "null");
    else buf_append_json_string(out, value, strlen(value));
}

static void append_labels(struct buf *out, const struct verdict *v) {
    buf_printf(out, "\"urgency\":{\"level\":\"%s\",\"p\":{", label_levels[v->level]);
    for (int i = 0; i < N_LEVELS; i++)
        buf_printf(out, "%s\"%s\":%.4f", i ? "," : "", label_levels[i], (double)v->p_level[i]);
    buf_printf(out, "}},\"class\":{\"main\":\"%s\",\"p\":%.4f},\"distress\":{", label_classes[v->class_i],
               (double)v->p_class);
    const char *comma = "";
    for (int i = 0; i < N_DISTRESS; i++) {
        if (v->distress[i] == 0) continue;
        buf_printf(out, "%s\"%s\":%d", comma, label_distress[i], v->distress[i]);
        comma = ",";
    }
    buf_printf(out, "},\"source\":{\"label\":\"%s\",\"p\":%.4f},\"flags\":[", label_sources[v->source],
               (double)v->p_source);
    comma = "";
    for (int i = 0; i < N_FLAGS; i++) {
        if (!v->flags[i]) continue;
        buf_printf(out, "%s\"%s\"", comma, label_flags[i]);
        comma = ",";
    }
    buf_append_str(out, "],");
}

void verdict_append_json(struct buf *out, const struct message *m, const struct verdict *v, const char *model_name,
                         const char *model_sha256) {
    buf_append_char(out, '{');
    append_string_field(out, "id", m->id);
    buf_append_char(out, ',');
    append_labels(out, v);
    buf_append_str(out, "\"place\":{");
    append_string_field(out, "station", v->station[0] ? v->station : NULL);
    buf_append_char(out, ',');
    append_string_field(out, "line", v->line[0] ? v->line : NULL);
    buf_append_str(out, "},\"evidence\":[");
    for (int i = 0; i < v->n_evidence; i++) {
        const struct span *e = &v->evidence[i];
        buf_printf(out, "%s{\"start\":%lld,\"end\":%lld,\"text\":", i ? "," : "", (long long)e->begin,
                   (long long)e->end);
        buf_append_json_string(out, m->text + e->begin, (size_t)(e->end - e->begin));
        buf_append_char(out, '}');
    }
    buf_append_str(out, "],");
    append_string_field(out, "for", v->why_for);
    buf_append_char(out, ',');
    append_string_field(out, "against", v->why_against);
    buf_append_char(out, ',');
    if (v->why_for != NULL && v->why_against != NULL) {
        struct buf trace = {0};
        buf_printf(&trace, "Pour : %s\nContre : %s", v->why_for, v->why_against);
        append_string_field(out, "trace", buf_ok(&trace) ? trace.data : "");
        buf_release(&trace);
    } else {
        append_string_field(out, "trace", NULL);
    }
    buf_printf(out, ",\"trace_writer\":\"%s\",\"truncated\":%s,\"model\":{", v->written_by_model ? "model" : "rules",
               v->truncated ? "true" : "false");
    append_string_field(out, "name", model_name);
    buf_append_char(out, ',');
    append_string_field(out, "sha256", model_sha256);
    buf_printf(out, "},\"timing_ms\":{\"queue\":%.2f,\"level\":%.2f,\"trace\":%.2f}}", (double)v->queue_ms,
               (double)v->level_ms, (double)v->trace_ms);
}

void verdict_append_error_json(struct buf *out, const char *id, const struct error *err) {
    buf_append_char(out, '{');
    append_string_field(out, "id", id);
    buf_printf(out, ",\"error\":{\"code\":\"%s\",", error_code_name(err->code));
    append_string_field(out, "message", err->text);
    buf_append_str(out, "}}");
}
