// apps/sillon/cmd_model.c - `sillon model inspect|verify FOLDER`.
#include "command.h"

#include "engine/model.h"
#include "engine/safetensors.h"
#include "engine/stack.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: sillon model inspect [FOLDER]     shape, tokens, tensors, and the kernels this machine would use\n"
    "       sillon model verify [FOLDER]      opens everything and reads every weight: finite, right shapes\n"
    "       sillon model stack OUT FOLDER...     several small decoders as one: the mean of their logits in one pass\n"
    "FOLDER defaults to the shipped models/default.   --json for inspect as JSON.\n"
    "exit status: 0 good, 1 failed, 2 wrong usage\n";

static bool verify(const char *folder, struct error *err) {
    struct tensor_set *set = NULL;
    struct model *model = NULL;
    int64_t n_values = 0;
    if (!model_open(&model, folder, NULL, err)) return false;
    bool ok = tensor_set_open(&set, folder, err);
    for (int64_t i = 0; ok && i < tensor_set_count(set); i++) {
        const struct tensor *t = tensor_set_at(set, i);
        float *values = malloc((size_t)(t->count > 0 ? t->count : 1) * sizeof *values);
        ok = values != NULL || error_set(err, ERR_NOMEM, "out of memory");
        ok = ok && tensor_read_f32(values, t, err);
        for (int64_t j = 0; ok && j < t->count; j++)
            if (!isfinite(values[j]))
                ok = error_set(err, ERR_INPUT, "%s: tensor \"%s\" holds %g at %lld", folder, t->name, (double)values[j],
                               (long long)j);
        n_values += t->count;
        free(values);
    }
    if (ok)
        printf("%s: good, %lld tensors, %lld values, sha256 %s\n", folder, (long long)tensor_set_count(set),
               (long long)n_values, model->sha256);
    tensor_set_close(set);
    model_close(model);
    return ok;
}

static bool inspect(const char *folder, bool json, struct error *err) {
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    struct model *m = NULL;
    if (!model_open(&m, folder, NULL, err)) return false;
    const struct model_config *c = &m->config;
    if (json) {
        printf("{\"name\":\"%s\",\"family\":\"%s\",\"parameters\":%lld,\"layers\":%lld,\"hidden\":%lld,\"heads\":%lld,"
               "\"kv_heads\":%lld,\"head_dim\":%lld,\"ffn\":%lld,\"vocab\":%lld,\"window\":%lld,\"tied\":%s,"
               "\"sha256\":\"%s\",\"weight_bytes\":%lld,\"kernels\":\"%s\"}\n",
               m->name, families[c->family], (long long)model_config_parameters(c), (long long)c->L, (long long)c->C,
               (long long)c->H, (long long)c->H_kv, (long long)c->D, (long long)c->F, (long long)c->V,
               (long long)c->T_max, c->tied_head ? "true" : "false", m->sha256, (long long)m->weight_bytes,
               kernels_best()->name);
    } else {
        printf("name        %s\nfamily      %s\nparameters  %lld\n", m->name, families[c->family],
               (long long)model_config_parameters(c));
        printf("shape       %lld layers, hidden %lld, %lld heads (%lld kv) x %lld, ffn %lld, vocab %lld%s\n",
               (long long)c->L, (long long)c->C, (long long)c->H, (long long)c->H_kv, (long long)c->D, (long long)c->F,
               (long long)c->V, c->tied_head ? ", tied head" : "");
        printf("window      %lld tokens\ntokenizer   %lld tokens\nsha256      %s\n", (long long)c->T_max,
               (long long)tokenizer_vocab(m->tokenizer), m->sha256);
        printf("memory      %.1f MB of weights (f32)\nkernels     %s\n", (double)m->weight_bytes * 1e-6,
               kernels_best()->name);
    }
    model_close(m);
    return true;
}

int cmd_model(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'J'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool json = false;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'J') json = true;
        else if (c == 'h') {
            fputs(help, stdout);
            return EXIT_DONE;
        } else return EXIT_USAGE;
    }
    const char *verb = optind < argc ? argv[optind++] : "", *given = optind < argc ? argv[optind] : NULL;
    struct error err = {0};
    char folder[4096];
    if (strcmp(verb, "stack") == 0) {
        const char *const *members = (const char *const *)argv + optind;
        if (given == NULL || optind + 1 >= argc) {
            fputs(help, stderr);
            return EXIT_USAGE;
        }
        return model_stack(given, members + 1, argc - optind - 1, &err) ? EXIT_DONE : command_fail("model", &err);
    }
    bool is_inspect = strcmp(verb, "inspect") == 0;
    if (!is_inspect && strcmp(verb, "verify") != 0) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    bool ok = command_model(folder, sizeof folder, given, &err) &&
              (is_inspect ? inspect(folder, json, &err) : verify(folder, &err));
    return ok ? EXIT_DONE : command_fail("model", &err);
}
