// apps/sillon/command.h - one function a command: reads its options, opens modules, runs, closes.
// Each returns the exit code: 0 done, 1 failed, 2 wrong usage; train also 75 ("requeue me").
#ifndef SILLON_COMMAND_H
#define SILLON_COMMAND_H

#include "core/error.h"
#include "kernels/gemm.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_forge(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_triage(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_bench(int argc, char **argv);

// Prints "sillon WHAT: sentence" to stderr and returns the exit code the error deserves.
int command_fail(const char *what, const struct error *err);
// Finds a file of the checkout or installation: as given from the working directory, else beside the program
// (build/sillon -> ../), else under ../share/sillon. out gets the path; false when there is none.
bool command_find(char *out, size_t out_bytes, const char *relative);
// The model to use: `given`, else $SILLON_MODEL, else the shipped models/default. A clear error when there is none.
NODISCARD bool command_model(char *out, size_t out_bytes, const char *given, struct error *err);
// f32, bf16 or int8.
NODISCARD bool command_weights(enum weight_type *out, const char *value, struct error *err);
// A whole number within [least, most]; the error names the option and the value.
NODISCARD bool command_number(int64_t *out, const char *option, const char *value, int64_t least, int64_t most,
                              struct error *err);

#endif
