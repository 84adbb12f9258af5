// core/json.h - jansson with our errors: what, where, the value seen.
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "core/error.h"

#include <jansson.h>

// Parses n_bytes of strict JSON (duplicate keys refused, NUL in strings refused). `name` opens the error
// ("config.json", "line 12"). The caller owns *out (json_decref).
NODISCARD bool json_parse(json_t **out, const char *text, size_t n_bytes, const char *name, struct error *err);
NODISCARD bool json_parse_file(json_t **out, const char *path, struct error *err);

// Typed readers of object fields. Absent (or null) keeps *out when `required` is false; a wrong type is an
// error that names `name`, the key and the value's type. Strings are borrowed from `object`.
NODISCARD bool json_get_i64(int64_t *out, const json_t *object, const char *key, bool required, const char *name,
                            struct error *err);
NODISCARD bool json_get_f64(double *out, const json_t *object, const char *key, bool required, const char *name,
                            struct error *err);
NODISCARD bool json_get_bool(bool *out, const json_t *object, const char *key, bool required, const char *name,
                             struct error *err);
NODISCARD bool json_get_string(const char **out, const json_t *object, const char *key, bool required,
                               const char *name, struct error *err);
const char *json_type_name(const json_t *value); // "object", "array", "string", ...

#endif
