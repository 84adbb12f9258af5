// tests/core/test_error.c - the first failure is kept, a context goes in front, nothing overflows.
#include "check.h"
#include "core/error.h"

#include <string.h>

int main(void) {
    struct error err = {0};
    CHECK(!error_set(&err, ERR_INPUT, "line %d: bad", 7), "error_set gave true");
    CHECK(err.code == ERR_INPUT && strcmp(err.text, "line 7: bad") == 0, "%s", err.text);
    CHECK(!error_set(&err, ERR_IO, "a second failure"), "error_set gave true");
    CHECK(err.code == ERR_INPUT && strcmp(err.text, "line 7: bad") == 0, "the first was lost: %s",
          err.text);
    CHECK(!error_wrap(&err, "file %s", "a.json"), "error_wrap gave true");
    CHECK(strcmp(err.text, "file a.json: line 7: bad") == 0, "%s", err.text);
    error_reset(&err);
    CHECK(err.code == ERR_NONE && err.text[0] == '\0', "not reset: %s", err.text);
    error_wrap(&err, "nothing to wrap");
    CHECK(err.code == ERR_NONE && err.text[0] == '\0', "wrapped nothing: %s", err.text);
    error_set(&err, ERR_LIMIT, "%s", "x");
    for (int i = 0; i < 1000; i++) error_wrap(&err, "context %d", i);
    CHECK(strlen(err.text) == sizeof err.text - 1, "length %zu", strlen(err.text));
    CHECK(strncmp(err.text, "context 999: context 998: ", 26) == 0, "%.40s", err.text);
    CHECK(!error_set(NULL, ERR_IO, "no struct") && !error_wrap(NULL, "no struct"),
          "NULL gave true");
    for (int code = ERR_NONE; code <= ERR_STATE; code++)
        CHECK(strcmp(error_code_name((enum error_code)code), "unknown") != 0, "code %d has no name",
              code);
    return n_failed > 0;
}
