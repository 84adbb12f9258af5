// module: engine
// fuzz/fuzz_tokenizer.c - a tokenizer.json, a NUL, and a text to encode with it. Whatever loads
// must encode and decode without a fault, with offsets inside the text.
#include "core/rng.h"
#include "engine/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
    size_t n_json = nul == NULL ? size : (size_t)(nul - data);
    const char *text = nul == NULL ? "Le <s> métro\t12 aa" : (const char *)nul + 1;
    size_t n_text = nul == NULL ? strlen(text) : size - n_json - 1;
    if (n_text > 256) n_text = 256;
    struct error err = {0};
    struct tokenizer *t = NULL;
    if (!tokenizer_parse(&t, (const char *)data, n_json, "fuzz", &err)) {
        if (err.code == ERR_NONE || err.text[0] == '\0') abort();
        return 0;
    }
    struct token_list list = {0};
    struct buf out = {0};
    struct rng rng;
    rng_init(&rng, 1);
    bool ok = tokenizer_encode(t, &list, text, n_text,
                               TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL, &err) &&
              tokenizer_encode(t, &list, text, n_text, 0, &err) &&
              tokenizer_encode_dropout(t, &list, text, n_text, 0, 0.5f, &rng, &err);
    for (int64_t i = 0; i < list.n; i++) {
        size_t n_token;
        if (list.begin[i] < 0 || list.end[i] < list.begin[i] || (size_t)list.end[i] > n_text)
            abort();
        if (list.ids[i] < 0 || list.ids[i] >= tokenizer_vocab(t)) abort();
        if (tokenizer_token_bytes(t, list.ids[i], &n_token) == NULL) abort();
    }
    ok = ok && tokenizer_decode(t, &out, list.ids, list.n, true, &err) &&
         tokenizer_decode(t, &out, list.ids, list.n, false, &err);
    if (!ok && err.code == ERR_NONE) abort();
    buf_release(&out);
    token_list_release(&list);
    tokenizer_close(t);
    return 0;
}
