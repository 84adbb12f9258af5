// module: train
// Any bytes as a training recipe: refused with a sentence, or accepted with values inside their
// limits.
#include "train/recipe.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 1 << 16) return 0;
    struct recipe recipe;
    struct error err = {0};
    if (recipe_parse(&recipe, (const char *)data, size, "fuzz", &err)) {
        assert(recipe.n_train > 0 && recipe.tokenizer != NULL && recipe.out != NULL &&
               recipe.schedule.lr >= 0.0);
        assert(recipe.steps > 0 || recipe.epochs > 0.0 || recipe.max_minutes > 0.0);
        assert(recipe.init_from != NULL || recipe.config.H % recipe.config.H_kv == 0);
    } else {
        assert(err.code != ERR_NONE && err.text[0] != '\0');
    }
    recipe_release(&recipe);
    return 0;
}
