// apps/sillon/cmd_serve.c - `sillon serve`: the API and the control room on one port.
#include "command.h"

#include "control/control.h"
#include "control/replay.h"
#include "core/log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Made by tools/embed.cmake from web/assets.txt.
extern const struct asset web_assets[];
extern const int64_t web_n_assets;

static const char help[] =
    "usage: sillon serve [OPTION...]\n"
    "The API (docs/api.md) and the control room's screen. Prints its address on stdout once it "
    "answers.\n\n"
    "  --host ADDRESS      listen here; other than loopback has no password: put a proxy in front "
    "[127.0.0.1]\n"
    "  --port N            0 takes a free one                                      [8080]\n"
    "  --data FOLDER       sillon.db and author.key live here                      [runs/serve]\n"
    "  --model FOLDER      model folder (default: the shipped models/default, or $SILLON_MODEL)\n"
    "  --gazetteer FILE    stations, TSV                                           "
    "[data/gazetteer.tsv]\n"
    "  --trace MODE        auto (U2 and above, or in doubt), always, never         [auto]\n"
    "  --threads N         threads of the model, 0 = all processors                [0]\n"
    "  --batch N           messages judged together, 1..256                        [16]\n"
    "  --weights TYPE      f32, bf16 or int8                                       [f32]\n"
    "  --exercise          mark every message EXERCICE\n"
    "  --replay FILE       play an exercise: NDJSON messages with \"t\" in seconds, marked "
    "EXERCICE\n"
    "  --replay-speed X    2 plays twice as fast                                   [1]\n"
    "  --allow-host NAME   a further Host name to answer to while on loopback (a proxy's)\n"
    "SIGTERM or SIGINT: stops accepting, finishes the batch, closes the database.\n"
    "exit status: 0 stopped by a signal, 1 failed, 2 wrong usage\n";

struct serve_options {
    const char *host, *data, *model, *gazetteer, *replay, *allow_host;
    int64_t port, n_threads, n_batch;
    enum trace_mode trace;
    enum weight_type weights;
    double replay_speed;
    bool exercise, help;
};

static bool speed_parse(double *out, const char *value, struct error *err) {
    char *end;
    *out = strtod(value, &end);
    return (end != value && *end == '\0' && *out > 0 && *out <= 1e6) ||
           error_set(err, ERR_USAGE, "--replay-speed %s: a number above 0 was expected", value);
}

static bool options_parse(struct serve_options *o, int argc, char **argv, struct error *err) {
    static const struct option longs[] = {{"host", required_argument, NULL, 'H'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"data", required_argument, NULL, 'd'},
                                          {"model", required_argument, NULL, 'm'},
                                          {"gazetteer", required_argument, NULL, 'g'},
                                          {"trace", required_argument, NULL, 't'},
                                          {"threads", required_argument, NULL, 'j'},
                                          {"batch", required_argument, NULL, 'b'},
                                          {"weights", required_argument, NULL, 'w'},
                                          {"exercise", no_argument, NULL, 'e'},
                                          {"replay", required_argument, NULL, 'r'},
                                          {"replay-speed", required_argument, NULL, 's'},
                                          {"allow-host", required_argument, NULL, 'a'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    bool ok = true;
    for (int c; ok && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case 'H':
            o->host = optarg;
            break;
        case 'p':
            ok = command_number(&o->port, "--port", optarg, 0, 65535, err);
            break;
        case 'd':
            o->data = optarg;
            break;
        case 'm':
            o->model = optarg;
            break;
        case 'g':
            o->gazetteer = optarg;
            break;
        case 't':
            ok =
                trace_mode_parse(&o->trace, optarg) ||
                error_set(err, ERR_USAGE, "--trace %s: auto, always or never was expected", optarg);
            break;
        case 'j':
            ok = command_number(&o->n_threads, "--threads", optarg, 0, 1024, err);
            break;
        case 'b':
            ok = command_number(&o->n_batch, "--batch", optarg, 1, 256, err);
            break;
        case 'w':
            ok = command_weights(&o->weights, optarg, err);
            break;
        case 'e':
            o->exercise = true;
            break;
        case 'r':
            o->replay = optarg;
            break;
        case 's':
            ok = speed_parse(&o->replay_speed, optarg, err);
            break;
        case 'a':
            o->allow_host = optarg;
            break;
        case 'h':
            o->help = true;
            break;
        default:
            ok = error_set(err, ERR_USAGE, "unknown option, or one without its value; see --help");
        }
    }
    if (ok && optind < argc)
        return error_set(err, ERR_USAGE, "\"%s\" was not expected", argv[optind]);
    return ok;
}

// What runs, in the order of opening; released in the other one.
struct serve {
    struct triage *triage;
    struct generator_engine *generator;
    struct store *store;
    struct door door;
    struct control *control;
    struct replay *replay;
};

static bool serve_open(struct serve *s, const struct serve_options *o, struct error *err) {
    char model[4096];
    struct triage_options triage = {.model_folder = model,
                                    .gazetteer_path = o->gazetteer,
                                    .n_threads = (int)o->n_threads,
                                    .n_batch = o->n_batch,
                                    .weights = o->weights};
    struct store_options store = {.folder = o->data};
    // The store before the model: a folder in use is told at once, not after the weights are read.
    if (!store_open(&s->store, &store, err) || !door_init(&s->door, o->data, err) ||
        !command_model(model, sizeof model, o->model, err) ||
        !triage_open(&s->triage, &triage, err) ||
        !generator_engine_open(&s->generator, triage_model(s->triage), model, (int)o->n_threads,
                               err))
        return false;
    struct control_options control = {
        .host = o->host,
        .port = (int)o->port,
        .allow_host = o->allow_host,
        .store = s->store,
        .door = &s->door,
        .judge = judge_triage(s->triage),
        .generator = generator_engine_interface(s->generator),
        .trace = o->trace,
        .exercise = o->exercise,
        .assets = web_assets,
        .n_assets = web_n_assets,
    };
    return control_open(&s->control, &control, err) &&
           (o->replay == NULL ||
            replay_open(&s->replay, s->control, o->replay, o->replay_speed, err));
}

static void serve_close(struct serve *s) {
    replay_close(s->replay);
    control_close(s->control);
    generator_engine_close(s->generator);
    triage_close(s->triage);
    store_close(s->store);
}

int cmd_serve(int argc, char **argv) {
    struct serve_options o = {.data = "runs/serve", .port = 8080, .n_batch = 16, .replay_speed = 1};
    struct error err = {0};
    if (!options_parse(&o, argc, argv, &err)) return command_fail("serve", &err);
    if (o.help) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    // Blocked before any thread starts, so that only sigwait() below sees them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file limit is an error of the store, not the end
    struct serve serve = {0};
    bool ok = serve_open(&serve, &o, &err);
    if (ok) {
        struct store_counts counts;
        store_counts(serve.store, &counts);
        printf("http://%s:%d\n", o.host != NULL ? o.host : "127.0.0.1",
               control_port(serve.control));
        fflush(stdout);
        log_info("serve", "data=%s model=%s messages=%lld unjudged=%lld", o.data,
                 triage_model_name(serve.triage), (long long)counts.messages,
                 (long long)counts.received);
        int which = 0;
        while (sigwait(&signals, &which) != 0) {
        }
        log_info("serve", "signal=%s stopping", strsignal(which));
    }
    serve_close(&serve);
    return ok ? EXIT_DONE : command_fail("serve", &err);
}
