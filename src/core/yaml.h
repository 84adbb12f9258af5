// core/yaml.h - YAML files to structs through a libcyaml schema; errors carry libcyaml's line and path.
#ifndef CORE_YAML_H
#define CORE_YAML_H

#include "core/error.h"

#include <cyaml/cyaml.h>

// *out is allocated after `schema` (a CYAML_POINTER mapping) and released with yaml_release().
// Unknown keys are errors: a misspelt option must not be ignored.
NODISCARD bool yaml_load(void **out, const char *text, size_t n_bytes, const char *name,
                         const struct cyaml_schema_value *schema, struct error *err);
NODISCARD bool yaml_load_file(void **out, const char *path, const struct cyaml_schema_value *schema,
                              struct error *err);
// NULL is fine. (Not "yaml_free": libyaml exports that name and would call ours instead of its own.)
void yaml_release(void *value, const struct cyaml_schema_value *schema);

#endif
