// apps/sillon/cmd_model.c - `sillon model inspect|verify|convert|stack`.
#include "command.h"

#include "engine/convert.h"
#include "engine/model.h"
#include "engine/source.h"
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
    "       sillon model convert IN OUT [--type f32|f16|bf16|q8_0|q4_0]     folder <-> GGUF: OUT ends in .gguf, or is\n"
    "                                                a folder; without --type weights keep theirs (quantised ones: f32)\n"
    "FOLDER may be a .gguf file (not for stack); it defaults to the shipped models/default.   --json for inspect as JSON.\n"
    "exit status: 0 good, 1 failed, 2 wrong usage\n";

static bool verify(const char *folder, struct error *err) {
    struct source *source = NULL;
    struct model *model = NULL;
    int64_t n_values = 0;
    if (!model_open(&model, folder, NULL, err)) return false;
    bool ok = source_open(&source, folder, err);
    for (int64_t i = 0; ok && i < source_count(source); i++) {
        const struct source_tensor *t = source_at(source, i);
        float *values = malloc((size_t)(t->count > 0 ? t->count : 1) * sizeof *values);
        ok = values != NULL || error_set(err, ERR_NOMEM, "out of memory");
        ok = ok && source_read(values, t, err);
        for (int64_t j = 0; ok && j < t->count; j++)
            if (!isfinite(values[j]))
                ok = error_set(err, ERR_INPUT, "%s: tensor \"%s\" holds %g at %lld", folder, t->name, (double)values[j],
                               (long long)j);
        n_values += t->count;
        free(values);
    }
    if (ok)
        printf("%s: good, %lld tensors, %lld values, sha256 %s\n", folder, (long long)source_count(source),
               (long long)n_values, model->sha256);
    source_close(source);
    model_close(model);
    return ok;
}

static bool convert(const char *in, const char *out, const char *type, struct error *err) {
    struct convert_report report;
    if (!model_convert(out, in, type, &report, err)) return false;
    printf("%s: %lld tensors", out, (long long)report.n_tensors);
    if (report.n_kept_f16 > 0)
        printf(", %lld of them f16 (their rows are not whole blocks of %s)", (long long)report.n_kept_f16, type);
    printf("\n");
    return true;
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
    static const struct option options[] = {{"json", no_argument, NULL, 'J'}, {"type", required_argument, NULL, 'T'},
                                            {"help", no_argument, NULL, 'h'}, {0}};
    bool json = false;
    const char *type = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'J') json = true;
        else if (c == 'T') type = optarg;
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
    if (strcmp(verb, "convert") == 0) {
        if (given == NULL || argc - optind != 2) {
            fputs(help, stderr);
            return EXIT_USAGE;
        }
        return convert(given, argv[optind + 1], type, &err) ? EXIT_DONE : command_fail("model", &err);
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
