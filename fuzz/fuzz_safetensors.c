// module: engine
// fuzz/fuzz_safetensors.c - any bytes as a safetensors file: refused with a sentence, or tensors
// that tile the data.
#include "engine/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct tensor_set *set;
    if (!tensor_set_open_memory(&set, data, size, "fuzz", &err)) {
        if (set != NULL || err.code == ERR_NONE || err.text[0] == '\0') abort();
        return 0;
    }
    size_t total = 0;
    for (int64_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *t = tensor_set_at(set, i);
        if (t->data < data || t->n_bytes > size || (size_t)(t->data - data) > size - t->n_bytes)
            abort();
        if (t->n_bytes != (size_t)t->count * tensor_dtype_bytes(t->dtype)) abort();
        if (tensor_set_find(set, t->name) != t) abort();
        total += t->n_bytes;
        float *out = malloc((size_t)t->count * sizeof *out + 1);
        struct error ignored = {0};
        if (out == NULL) abort();
        if (!tensor_read_f32(out, t, &ignored) && ignored.code != ERR_INPUT) abort();
        free(out);
    }
    if (total > size) abort();
    tensor_set_metadata(set, "format");
    tensor_set_close(set);
    return 0;
}
