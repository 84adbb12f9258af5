// core/error.c - keeping the first failure.
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *err, enum error_code code, const char *format, ...) {
    if (err == NULL || err->code != ERR_NONE) return false;
    err->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

bool error_wrap(struct error *err, const char *format, ...) {
    if (err == NULL || err->code == ERR_NONE) return false;
    char context[sizeof err->text];
    char whole[2 * sizeof err->text + 3];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    snprintf(whole, sizeof whole, "%s: %s", context, err->text);
    whole[sizeof err->text - 1] = '\0';
    memcpy(err->text, whole, strlen(whole) + 1);
    return false;
}

void error_reset(struct error *err) {
    err->code = ERR_NONE;
    err->text[0] = '\0';
}

const char *error_code_name(enum error_code code) {
    switch (code) {
    case ERR_NONE: return "none";
    case ERR_USAGE: return "usage";
    case ERR_INPUT: return "input";
    case ERR_LIMIT: return "limit";
    case ERR_NOTFOUND: return "not_found";
    case ERR_IO: return "io";
    case ERR_NOMEM: return "no_memory";
    case ERR_STATE: return "state";
    }
    return "unknown";
}
