// module: engine
// fuzz/fuzz_config.c - any bytes as a config.json: refused with a sentence, or sizes within their
// limits.
#include "engine/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct model_config c;
    if (!model_config_parse(&c, (const char *)data, size, "fuzz", &err)) {
        if (err.code == ERR_NONE || err.text[0] == '\0') abort();
        return 0;
    }
    if (!model_config_check(&c, "fuzz", &err) || model_config_parameters(&c) <= 0) abort();
    if (c.n_eos < 0 || c.n_eos > COUNT_OF(c.eos) || c.bos >= c.V || c.pad >= c.V) abort();
    for (int i = 0; i < c.n_eos; i++)
        if (c.eos[i] < 0 || c.eos[i] >= c.V) abort();
    int64_t T = c.T_max < 3 ? c.T_max : 3;
    float *table = malloc((size_t)(2 * T * c.D / 2) * sizeof *table);
    if (table == NULL) abort();
    rope_table(table, table + T * c.D / 2, &c, T);
    free(table);
    return 0;
}
