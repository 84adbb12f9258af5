// train/trainer.h - a training run from a recipe: data, steps, evaluation, checkpoints, log, final model folder.
// Resumes by itself from the newest valid checkpoint of the recipe's out folder. SIGTERM, SIGINT and SIGUSR1
// finish the step, save, and stop (the signals are blocked while trainer_run() runs).
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "train/recipe.h"

enum trainer_result {
    TRAINER_DONE,    // out/model is written
    TRAINER_STOPPED, // by a signal, with a checkpoint: run again to go on
    TRAINER_FAILED,
};

enum { TRAINER_EXIT_REQUEUE = 75 }; // EX_TEMPFAIL of sysexits.h: what the command exits with when stopped

struct trainer_options {
    bool quiet;         // no progress on stderr
    int64_t stop_after; // for tests: behave as on SIGTERM after this many steps of this process; 0: never
};

struct trainer_summary {
    int64_t n_parameters, steps, tokens;
    double loss, dev_loss; // NaN when there is none; loss is the mean of the last 50 steps
    double elapsed_s, tokens_per_s, cpu_s, energy_wh;
    char model_folder[1024];
};

enum trainer_result trainer_run(const struct recipe *recipe, const struct trainer_options *options,
                                struct trainer_summary *summary, struct error *err);

#endif
