// core/yaml.c - libcyaml's log lines become the sentence of our error.
#include "core/yaml.h"

#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct yaml_log {
    char text[360];
    size_t n;
};

// libcyaml first logs what failed, then a backtrace of where: both go in one sentence.
__attribute__((format(printf, 3, 0))) static void yaml_log_line(cyaml_log_t level, void *context, const char *format, va_list args) {
    struct yaml_log *log = context;
    if (level < CYAML_LOG_ERROR || log->n + 2 >= sizeof log->text) return;
    if (log->n > 0) log->text[log->n++] = ' ';
    int n = vsnprintf(log->text + log->n, sizeof log->text - log->n, format, args);
    if (n > 0) log->n += (size_t)n;
    if (log->n >= sizeof log->text) log->n = sizeof log->text - 1;
    while (log->n > 0 && (log->text[log->n - 1] == '\n' || log->text[log->n - 1] == ' ')) log->n--;
    log->text[log->n] = '\0';
}

static struct cyaml_config yaml_config(struct yaml_log *log) {
    return (struct cyaml_config){
        .log_fn = yaml_log_line,
        .log_ctx = log,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_DEFAULT,
    };
}

bool yaml_load(void **out, const char *text, size_t n_bytes, const char *name,
               const struct cyaml_schema_value *schema, struct error *err) {
    struct yaml_log log = {0};
    struct cyaml_config config = yaml_config(&log);
    *out = NULL;
    cyaml_err_t e = cyaml_load_data((const uint8_t *)text, n_bytes, &config, schema, (cyaml_data_t **)out, NULL);
    if (e == CYAML_OK && *out != NULL) return true;
    if (e == CYAML_OK) return error_set(err, ERR_INPUT, "%s: empty YAML document", name);
    return error_set(err, ERR_INPUT, "%s: %s: %s", name, cyaml_strerror(e), log.text);
}

bool yaml_load_file(void **out, const char *path, const struct cyaml_schema_value *schema, struct error *err) {
    char *text;
    size_t n_bytes;
    *out = NULL;
    if (!file_read(&text, &n_bytes, path, 16u << 20, err)) return false;
    bool ok = yaml_load(out, text, n_bytes, path, schema, err);
    free(text);
    return ok;
}

void yaml_release(void *value, const struct cyaml_schema_value *schema) {
    struct yaml_log log = {0};
    struct cyaml_config config = yaml_config(&log);
    if (value != NULL) cyaml_free(&config, schema, value, 0);
}
