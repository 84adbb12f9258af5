// apps/sillon/main.c - `sillon COMMAND ...`: finds the command and hands over.
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"forge", cmd_forge, "make synthetic messages with labels and reasoning (NDJSON), tokenizer, token files"},
    {"train", cmd_train, "train from a YAML recipe; resumes by itself"},
    {"eval", cmd_eval, "score a model, or another system's verdicts, on labelled messages"},
    {"triage", cmd_triage, "messages on stdin -> verdicts on stdout"},
    {"serve", cmd_serve, "API and control room (http://127.0.0.1:8080)"},
    {"model", cmd_model, "inspect or verify a model folder"},
    {"bench", cmd_bench, "speed of the engine on this machine"},
};

static void print_help(FILE *out) {
    fprintf(out, "usage: sillon COMMAND [OPTION...]     (sillon COMMAND --help for its options)\n\n");
    for (int i = 0; i < COUNT_OF(commands); i++) fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
    fprintf(out, "\nexit status: 0 done, 1 failed, 2 wrong usage\n");
}

// What a command printed must have reached stdout: a full disk or a closed pipe is a failure, told once.
static int finish(const char *command, int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "sillon %s: stdout: %s\n", command, strerror(errno));
    return status == EXIT_DONE ? EXIT_FAILED : status;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); // a reader that leaves is a write error with a sentence, not a silent death
    if (sodium_init() < 0) {
        fprintf(stderr, "sillon: libsodium cannot start (no source of randomness)\n");
        return EXIT_FAILED;
    }
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return finish("help", EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("sillon 0.1\n");
        return EXIT_DONE;
    }
    for (int i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0) return finish(argv[1], commands[i].run(argc - 1, argv + 1));
    fprintf(stderr, "sillon: no command \"%s\"\n", argv[1]);
    print_help(stderr);
    return EXIT_USAGE;
}
