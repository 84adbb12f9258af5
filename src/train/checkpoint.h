// train/checkpoint.h - the state of a training run in a folder that is also a Hugging Face model
// folder.
//
//   out/step-N/  config.json, generation_config.json, tokenizer files, model.safetensors (the
//   weights to use: the
//                moving average when there is one), optimizer.safetensors (m.*, v.*, and weight.*
//                when model.safetensors holds the average), trainer.json (cursor, counters, hashes
//                of the other two)
//   out/latest   "step-N"
//   out/lock     held (flock) by the run that writes
// A folder is written under a temporary name, synced, then renamed: it exists whole or not at all.
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train/params.h"
#include "train/subword.h"

struct checkpoint_state {
    int64_t step;            // done
    int64_t tokens;          // read so far
    int64_t epoch, position; // the loader's cursor
    int64_t seed;
    double n_steps_planned;
    double elapsed_s, cpu_s, energy_j;
    double loss, dev_loss; // NaN: none yet
    char recipe_sha256[65], data_sha256[65], tokenizer_sha256[65];
};

// What is saved and loaded: flat arrays of params->n_floats, and the moments of the shared n-grams. ema and subword may
// be NULL.
struct checkpoint_arrays {
    float *w, *m, *v, *ema;
    const struct subword *subword;
};

// Files copied beside the weights, from the folder of the tokenizer.
struct checkpoint_files {
    const char *tokenizer; // path of tokenizer.json
    const char *bos_token, *eos_token, *pad_token;
    int64_t T_max;
};

// Takes the lock of `out` (made when missing) and removes leftovers of an interrupted write. *fd is
// closed by the caller at the end. A second run on the same folder is an error.
NODISCARD bool checkpoint_lock(int *fd, const char *out, struct error *err);

// Writes out/step-N, then out/latest, then removes all but the `keep` newest. On failure nothing
// older is touched.
NODISCARD bool checkpoint_save(const char *out, const struct params *params,
                               const struct checkpoint_arrays *arrays,
                               const struct checkpoint_files *files,
                               const struct checkpoint_state *state, int64_t keep,
                               struct error *err);
// Loads the newest valid checkpoint of `out`; damaged ones are logged and passed over. *found is
// false when there is none at all. Only damaged ones is an error.
NODISCARD bool checkpoint_load_latest(const char *out, const struct params *params,
                                      const struct checkpoint_arrays *arrays,
                                      struct checkpoint_state *state, bool *found,
                                      struct error *err);
// The final model folder out/model: no optimiser state; training.json says how it was made.
NODISCARD bool checkpoint_export(const char *out, const struct params *params, const float *w,
                                 const struct checkpoint_files *files,
                                 const struct checkpoint_state *state, const char *training_json,
                                 struct error *err);

#endif
