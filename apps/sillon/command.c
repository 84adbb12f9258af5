// apps/sillon/command.c - what the commands share.
#include "command.h"

#include "core/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int command_fail(const char *what, const struct error *err) {
    fprintf(stderr, "sillon %s: %s\n", what, err->text);
    return err->code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

bool command_find(char *out, size_t out_bytes, const char *relative) {
    if (snprintf(out, out_bytes, "%s", relative) < (int)out_bytes && file_exists(out)) return true;
    char program[3072];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return false;
    // .../build/sillon or .../build/release/sillon -> the checkout; .../bin/sillon -> share/sillon
    static const char *const up[] = {"/../", "/../../", "/../../../", "/../share/sillon/"};
    program[n] = '\0';
    *strrchr(program, '/') = '\0';
    for (int i = 0; i < COUNT_OF(up); i++)
        if (snprintf(out, out_bytes, "%s%s%s", program, up[i], relative) < (int)out_bytes && file_exists(out))
            return true;
    return false;
}

bool command_model(char *out, size_t out_bytes, const char *given, struct error *err) {
    if (given == NULL) given = getenv("SILLON_MODEL");
    if (given != NULL) {
        if (snprintf(out, out_bytes, "%s", given) >= (int)out_bytes)
            return error_set(err, ERR_LIMIT, "%s: path too long", given);
        return true;
    }
    if (command_find(out, out_bytes, "models/default")) return true;
    return error_set(err, ERR_NOTFOUND, "no model: models/default was not found beside the program; give --model FOLDER "
                                        "or make one with `make model`");
}

bool command_number(int64_t *out, const char *option, const char *value, int64_t least, int64_t most,
                    struct error *err) {
    char *end;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || v < least || v > most)
        return error_set(err, ERR_USAGE, "%s %s: a whole number from %lld to %lld was expected", option, value,
                         (long long)least, (long long)most);
    *out = v;
    return true;
}

bool command_weights(enum weight_type *out, const char *value, struct error *err) {
    for (int i = 0; i < N_WEIGHT_TYPES; i++) {
        if (strcmp(value, weight_type_names[i]) != 0) continue;
        *out = (enum weight_type)i;
        return true;
    }
    return error_set(err, ERR_USAGE, "--weights %s: f32, bf16 or int8 was expected", value);
}
