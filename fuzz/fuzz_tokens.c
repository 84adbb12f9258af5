// module: train
// Any bytes as a token file: refused with a sentence, or every document can be read.
#include "train/data.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct data_file file;
    struct error err = {0};
    if (!data_file_parse(&file, data, size, "fuzz", &err)) {
        assert(err.code != ERR_NONE && err.text[0] != '\0');
        return 0;
    }
    int32_t *tokens = malloc((size_t)file.longest * sizeof *tokens);
    float *weights = malloc((size_t)file.longest * sizeof *weights);
    assert(tokens != NULL && weights != NULL);
    for (int64_t d = 0; d < file.n_docs; d++) {
        int64_t n = data_file_doc_tokens(&file, d);
        data_file_doc_read(&file, d, tokens, weights, n);
        for (int64_t i = 0; i < n; i++)
            assert(tokens[i] >= 0 && tokens[i] < file.vocab && weights[i] >= 0.0f);
    }
    free(tokens);
    free(weights);
    return 0;
}
