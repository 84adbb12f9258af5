// core/json.c - thin over jansson.
#include "core/json.h"

#include "core/file.h"

#include <stdlib.h>

bool json_parse(json_t **out, const char *text, size_t n_bytes, const char *name, struct error *err) {
    json_error_t e;
    *out = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (*out != NULL) return true;
    return error_set(err, ERR_INPUT, "%s: not JSON at line %d column %d: %s", name, e.line, e.column, e.text);
}

bool json_parse_file(json_t **out, const char *path, struct error *err) {
    char *text;
    size_t n_bytes;
    *out = NULL;
    if (!file_read(&text, &n_bytes, path, 0, err)) return false;
    bool ok = json_parse(out, text, n_bytes, path, err);
    free(text);
    return ok;
}

const char *json_type_name(const json_t *value) {
    if (value == NULL) return "absent";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "object";
    case JSON_ARRAY: return "array";
    case JSON_STRING: return "string";
    case JSON_INTEGER: return "integer";
    case JSON_REAL: return "real";
    case JSON_TRUE:
    case JSON_FALSE: return "boolean";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

// Finds object[key]; *value is NULL when absent and allowed to be.
static bool json_get(const json_t **value, const json_t *object, const char *key, bool required,
                     const char *name, struct error *err) {
    *value = json_object_get(object, key);
    if (*value != NULL && json_is_null(*value)) *value = NULL;
    if (*value == NULL && required) return error_set(err, ERR_INPUT, "%s: \"%s\" is missing", name, key);
    return true;
}

static bool json_wrong_type(const json_t *value, const char *key, const char *want, const char *name,
                            struct error *err) {
    return error_set(err, ERR_INPUT, "%s: \"%s\" must be %s, not %s", name, key, want, json_type_name(value));
}

bool json_get_i64(int64_t *out, const json_t *object, const char *key, bool required, const char *name,
                  struct error *err) {
    const json_t *v;
    if (!json_get(&v, object, key, required, name, err)) return false;
    if (v == NULL) return true;
    if (!json_is_integer(v)) return json_wrong_type(v, key, "an integer", name, err);
    *out = json_integer_value(v);
    return true;
}

bool json_get_f64(double *out, const json_t *object, const char *key, bool required, const char *name,
                  struct error *err) {
    const json_t *v;
    if (!json_get(&v, object, key, required, name, err)) return false;
    if (v == NULL) return true;
    if (!json_is_number(v)) return json_wrong_type(v, key, "a number", name, err);
    *out = json_number_value(v);
    return true;
}

bool json_get_bool(bool *out, const json_t *object, const char *key, bool required, const char *name,
                   struct error *err) {
    const json_t *v;
    if (!json_get(&v, object, key, required, name, err)) return false;
    if (v == NULL) return true;
    if (!json_is_boolean(v)) return json_wrong_type(v, key, "true or false", name, err);
    *out = json_is_true(v);
    return true;
}

bool json_get_string(const char **out, const json_t *object, const char *key, bool required, const char *name,
                     struct error *err) {
    const json_t *v;
    if (!json_get(&v, object, key, required, name, err)) return false;
    if (v == NULL) return true;
    if (!json_is_string(v)) return json_wrong_type(v, key, "a string", name, err);
    *out = json_string_value(v);
    return true;
}
