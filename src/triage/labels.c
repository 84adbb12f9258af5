// triage/labels.c - the label codes and the strict reading of one labelled record.
#include "triage/labels.h"

#include "core/json.h"

#include <string.h>

const char *const label_levels[N_LEVELS] = {"U0", "U1", "U2", "U3", "U4"};
const char *const label_classes[N_CLASSES] = {
    "person_on_tracks",  "suicide_distress", "medical",       "fire_smoke",    "assault",
    "sexual_harassment", "weapon_threat",    "crowd",         "stuck_train",   "heat_air",
    "suspicious_item",   "lost_vulnerable",  "fall_accident", "accessibility", "traffic",
    "service",           "off_topic"};
const char *const label_sources[N_SOURCES] = {
    "witness", "victim", "relative", "official_relay", "media_relay", "rumour", "commentary"};
const char *const label_distress[N_DISTRESS] = {"fear",    "confinement", "suffocation_pain",
                                                "despair", "separation",  "abandonment",
                                                "shock",   "anger"};
const char *const label_flags[N_FLAGS] = {
    "hyperbole", "irony",         "lyrics",           "past",    "official_relay", "media",
    "spam",      "fiction_drill", "suicide_contempt", "homonym", "injection",      "resolved"};
const char *const label_channels[N_CHANNELS] = {"post", "chat", "mail", "sms", "app"};

int label_find(const char *const *table, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(table[i], name) == 0) return i;
    return -1;
}

static bool code_get(int *out, const json_t *json, const char *key, const char *const *table, int n,
                     const char *name, struct error *err) {
    const char *word = NULL;
    if (!json_get_string(&word, json, key, true, name, err)) return false;
    *out = label_find(table, n, word);
    if (*out >= 0) return true;
    return error_set(err, ERR_INPUT, "%s: \"%s\" is \"%.60s\": no such code in the label guide",
                     name, key, word);
}

static bool distress_get(struct label_record *r, const char *name, struct error *err) {
    json_t *value = json_object_get(r->json, "distress");
    if (value == NULL || json_is_null(value)) return true;
    if (!json_is_object(value))
        return error_set(err, ERR_INPUT, "%s: \"distress\" is of type %s, an object is needed",
                         name, json_type_name(value));
    const char *kind;
    json_t *intensity;
    json_object_foreach(value, kind, intensity) {
        int i = label_find(label_distress, N_DISTRESS, kind);
        if (i < 0)
            return error_set(err, ERR_INPUT,
                             "%s: distress kind \"%.60s\" is not in the label guide", name, kind);
        if (!json_is_integer(intensity) || json_integer_value(intensity) < 1 ||
            json_integer_value(intensity) > 3)
            return error_set(err, ERR_INPUT, "%s: distress \"%s\" needs an intensity of 1, 2 or 3",
                             name, kind);
        r->distress[i] = (int)json_integer_value(intensity);
    }
    return true;
}

static bool flags_get(struct label_record *r, const char *name, struct error *err) {
    json_t *value = json_object_get(r->json, "flags");
    if (value == NULL || json_is_null(value)) return true;
    if (!json_is_array(value))
        return error_set(err, ERR_INPUT, "%s: \"flags\" is of type %s, an array is needed", name,
                         json_type_name(value));
    size_t i;
    json_t *flag;
    json_array_foreach(value, i, flag) {
        const char *word = json_string_value(flag);
        int flag_i = word == NULL ? -1 : label_find(label_flags, N_FLAGS, word);
        if (flag_i < 0)
            return error_set(err, ERR_INPUT, "%s: flag %zu is \"%.60s\": not in the label guide",
                             name, i, word == NULL ? json_type_name(flag) : word);
        r->flags[flag_i] = true;
    }
    return true;
}

static bool place_get(struct label_record *r, const char *name, struct error *err) {
    json_t *value = json_object_get(r->json, "place");
    if (value == NULL || json_is_null(value)) return true;
    if (!json_is_object(value))
        return error_set(err, ERR_INPUT, "%s: \"place\" is of type %s, an object is needed", name,
                         json_type_name(value));
    return json_get_string(&r->station, value, "station", false, name, err) &&
           json_get_string(&r->line, value, "line", false, name, err) &&
           json_get_string(&r->direction, value, "direction", false, name, err) &&
           json_get_string(&r->vehicle, value, "vehicle", false, name, err);
}

static bool evidence_get(struct label_record *r, const char *name, struct error *err) {
    json_t *value = json_object_get(r->json, "evidence");
    if (value == NULL || json_is_null(value)) return true;
    if (!json_is_array(value))
        return error_set(err, ERR_INPUT, "%s: \"evidence\" is of type %s, an array is needed", name,
                         json_type_name(value));
    if (json_array_size(value) > MAX_EVIDENCE)
        return error_set(err, ERR_LIMIT, "%s: %zu evidence spans, at most %d are read", name,
                         json_array_size(value), MAX_EVIDENCE);
    size_t i;
    json_t *span;
    json_array_foreach(value, i, span) {
        const char *s = json_string_value(span);
        if (s == NULL || s[0] == '\0')
            return error_set(err, ERR_INPUT, "%s: evidence %zu is %s, a non-empty string is needed",
                             name, i, s == NULL ? json_type_name(span) : "empty");
        if (strstr(r->text, s) == NULL)
            return error_set(err, ERR_INPUT,
                             "%s: evidence \"%.60s\" is not a substring of the text", name, s);
        r->evidence[r->n_evidence++] = s;
    }
    return true;
}

static bool record_read(struct label_record *r, const char *name, struct error *err) {
    const json_t *json = r->json;
    if (!json_is_object(json))
        return error_set(err, ERR_INPUT, "%s: a record is an object, not %s", name,
                         json_type_name(json));
    if (!json_get_string(&r->id, json, "id", true, name, err) ||
        !json_get_string(&r->text, json, "text", true, name, err) ||
        !json_get_string(&r->lang, json, "lang", false, name, err) ||
        !json_get_string(&r->twin, json, "twin", false, name, err) ||
        !json_get_string(&r->incident, json, "incident", false, name, err) ||
        !json_get_string(&r->persona, json, "persona", false, name, err) ||
        !json_get_string(&r->why_for, json, "for", false, name, err) ||
        !json_get_string(&r->why_against, json, "against", false, name, err))
        return false;
    r->text_bytes = strlen(r->text); // json_parse refuses NUL in strings
    const char *channel = NULL;
    if (!json_get_string(&channel, json, "channel", false, name, err)) return false;
    r->channel = channel == NULL ? -1 : label_find(label_channels, N_CHANNELS, channel);
    if (channel != NULL && r->channel < 0)
        return error_set(err, ERR_INPUT,
                         "%s: \"channel\" is \"%.60s\": no such code in the label guide", name,
                         channel);
    return code_get(&r->level, json, "urgency", label_levels, N_LEVELS, name, err) &&
           code_get(&r->class_i, json, "class", label_classes, N_CLASSES, name, err) &&
           code_get(&r->source, json, "source", label_sources, N_SOURCES, name, err) &&
           distress_get(r, name, err) && flags_get(r, name, err) && place_get(r, name, err) &&
           evidence_get(r, name, err);
}

bool label_record_take(struct label_record *out, json_t *json, const char *name,
                       struct error *err) {
    memset(out, 0, sizeof *out);
    out->json = json;
    if (record_read(out, name, err)) return true;
    label_record_release(out);
    return false;
}

void label_record_release(struct label_record *record) {
    json_decref(record->json);
    memset(record, 0, sizeof *record);
}
