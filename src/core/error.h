// core/error.h - what went wrong: a code to act on and a sentence for a person.
// The first failure is kept: a later error_set() on the same struct changes nothing.
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

#include "core/base.h"

enum error_code {
    ERR_NONE = 0,
    ERR_USAGE,    // the caller asked for something that cannot be (exit 2)
    ERR_INPUT,    // outside bytes are malformed
    ERR_LIMIT,    // well formed but over a stated limit
    ERR_NOTFOUND, // no such file, id, tensor...
    ERR_IO,       // the system refused: disk full, permission, port in use
    ERR_NOMEM,
    ERR_STATE, // called at the wrong moment, or a stored state is inconsistent
};

struct error {
    enum error_code code;
    char text[480];
};

// Sets *err unless it already holds a failure (or is NULL). Always returns false, so that
// `return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));` reads as one line.
bool error_set(struct error *err, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);
// Puts "context: " before the sentence already held. Returns false.
bool error_wrap(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
void error_reset(struct error *err);
const char *error_code_name(enum error_code code); // "usage", "input", ...

#endif
