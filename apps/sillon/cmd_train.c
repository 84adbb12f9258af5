// cmd_train.c - sillon train: a model from a YAML recipe.
#include "core/log.h"
#include "train/trainer.h"

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_train(int argc, char **argv);

static void usage(FILE *f) {
    fputs("Usage: sillon train [options] RECIPE.yaml\n"
          "Trains a model on the CPU from a YAML recipe (docs/training.md). Resumes by itself from "
          "the newest\n"
          "checkpoint of the recipe's out folder. SIGTERM, SIGINT or SIGUSR1: finish the step, "
          "save, exit 75.\n"
          "\n"
          "  --out DIR          instead of the recipe's out\n"
          "  --seed N           instead of the recipe's seed\n"
          "  --threads N        instead of the recipe's threads (0: all processors)\n"
          "  --steps N          instead of the recipe's steps or epochs\n"
          "  --max-minutes M    instead of the recipe's max_minutes\n"
          "  --check            read the recipe, say what it means, train nothing\n"
          "  --json             print the summary as JSON\n"
          "  --quiet            no progress on stderr\n"
          "  --help\n"
          "\n"
          "Exit: 0 done, 1 failed, 2 usage, 75 stopped by a signal with a checkpoint (run again to "
          "go on).\n",
          f);
}

struct train_args {
    const char *recipe, *out;
    int64_t seed, threads, steps; // -1: not given
    double max_minutes;     // -1: not given
    bool check, json, quiet;
};

static bool parse_number(double *out, const char *option, const char *text, double low, double high,
                         bool whole) {
    char *end;
    double value = strtod(text, &end);
    if (*text != '\0' && *end == '\0' && value >= low && value <= high &&
        (!whole || value == floor(value))) {
        *out = value;
        return true;
    }
    fprintf(stderr, "sillon train: --%s %s: expected a%s number from %g to %g\n", option, text,
            whole ? " whole" : "", low, high);
    return false;
}

// 0 to go on, or an exit code with 1 added (so that --help exits 0).
static int parse_args(struct train_args *a, int argc, char **argv) {
    enum { OUT = 1000, SEED, THREADS, STEPS, MINUTES, CHECK, JSON, QUIET };
    static const struct option options[] = {
        {"out", required_argument, NULL, OUT},
        {"seed", required_argument, NULL, SEED},
        {"threads", required_argument, NULL, THREADS},
        {"steps", required_argument, NULL, STEPS},
        {"max-minutes", required_argument, NULL, MINUTES},
        {"check", no_argument, NULL, CHECK},
        {"json", no_argument, NULL, JSON},
        {"quiet", no_argument, NULL, QUIET},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *a = (struct train_args){.seed = -1, .threads = -1, .steps = -1, .max_minutes = -1.0};
    optind = 1;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        double n = 0.0;
        bool ok = true;
        switch (o) {
        case OUT:
            a->out = optarg;
            break;
        case SEED:
            ok = parse_number(&n, "seed", optarg, 0.0, 9007199254740992.0, true);
            a->seed = (int64_t)n;
            break;
        case THREADS:
            ok = parse_number(&n, "threads", optarg, 0.0, 1024.0, true);
            a->threads = (int64_t)n;
            break;
        case STEPS:
            ok = parse_number(&n, "steps", optarg, 1.0, 1e9, true);
            a->steps = (int64_t)n;
            break;
        case MINUTES:
            ok = parse_number(&a->max_minutes, "max-minutes", optarg, 1e-3, 1e6, false);
            break;
        case CHECK:
            a->check = true;
            break;
        case JSON:
            a->json = true;
            break;
        case QUIET:
            a->quiet = true;
            break;
        case 'h':
            usage(stdout);
            return 1;
        default:
            usage(stderr);
            return 3;
        }
        if (!ok) return 3;
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "sillon train: one recipe is needed\n");
        usage(stderr);
        return 3;
    }
    a->recipe = argv[optind];
    return 0;
}

static void print_check(const struct recipe *r) {
    const struct model_config *c = &r->config;
    printf("out: %s\n", r->out);
    if (r->init_from != NULL) printf("init_from: %s\n", r->init_from);
    else
        printf("model: hidden %lld, layers %lld, heads %lld/%lld x %lld, intermediate %lld, "
               "vocabulary %lld\n",
               (long long)c->C, (long long)c->L, (long long)c->H, (long long)c->H_kv,
               (long long)c->D, (long long)c->F, (long long)c->V);
    printf("files: %lld train, %lld dev\nsteps %lld, epochs %g, max_minutes %g, batch_tokens %lld, "
           "lr %g\n",
           (long long)r->n_train, (long long)r->n_dev, (long long)r->steps, r->epochs,
           r->max_minutes, (long long)r->batch_tokens, r->schedule.lr);
}

static void print_json_number(const char *key, double value) {
    if (isfinite(value)) printf(",\"%s\":%.9g", key, value);
    else printf(",\"%s\":null", key);
}

static void print_summary(const struct trainer_summary *s, bool done, bool json) {
    if (json) {
        printf("{\"done\":%s,\"parameters\":%" PRId64 ",\"steps\":%" PRId64 ",\"tokens\":%" PRId64,
               done ? "true" : "false", s->n_parameters, s->steps, s->tokens);
        print_json_number("loss", s->loss);
        print_json_number("dev_loss", s->dev_loss);
        print_json_number("elapsed_s", s->elapsed_s);
        print_json_number("tokens_per_s", s->tokens_per_s);
        print_json_number("energy_wh", s->energy_wh);
        printf("}\n");
        return;
    }
    printf("%s after %" PRId64 " steps, %.2f M tokens in %.0f s: loss %.4f",
           done ? "done" : "stopped", s->steps, (double)s->tokens / 1e6, s->elapsed_s, s->loss);
    if (isfinite(s->dev_loss)) printf(", dev %.4f", s->dev_loss);
    printf("; about %.1f Wh\n", s->energy_wh);
    if (done)
        printf("model: %s (%.2f M parameters)\n", s->model_folder, (double)s->n_parameters / 1e6);
}

int cmd_train(int argc, char **argv) {
    struct train_args a;
    int stop = parse_args(&a, argc, argv);
    if (stop != 0) return stop - 1;
    struct error err = {0};
    struct recipe recipe;
    if (!recipe_read(&recipe, a.recipe, &err)) {
        log_error("train", "error=%s text=\"%s\"", error_code_name(err.code), err.text);
        return err.code == ERR_USAGE ? 2 : 1;
    }
    if (a.out != NULL) recipe.out = a.out;
    if (a.seed >= 0) recipe.seed = a.seed;
    if (a.threads >= 0) recipe.threads = a.threads;
    if (a.steps > 0) {
        recipe.steps = a.steps;
        recipe.epochs = 0.0;
    }
    if (a.max_minutes > 0.0) recipe.max_minutes = a.max_minutes;
    int code = 0;
    if (a.check) {
        print_check(&recipe);
    } else {
        struct trainer_options options = {.quiet = a.quiet};
        struct trainer_summary summary;
        enum trainer_result result = trainer_run(&recipe, &options, &summary, &err);
        if (result == TRAINER_FAILED) {
            log_error("train", "error=%s text=\"%s\"", error_code_name(err.code), err.text);
            code = 1;
        } else {
            print_summary(&summary, result == TRAINER_DONE, a.json);
            code = result == TRAINER_DONE ? 0 : TRAINER_EXIT_REQUEUE;
        }
    }
    recipe_release(&recipe);
    return code;
}
