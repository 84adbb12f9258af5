// apps/sillon/cmd_forge.c - sillon forge: seeds to training messages, tokenizer, token files,
// exercise.
#include "command.h"

#include "core/buf.h"
#include "core/file.h"
#include "core/log.h"
#include "forge/exercise.h"
#include "forge/teacher.h"
#include "forge/tokens.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "sillon forge - make labelled messages and what training reads\n"
    "\n"
    "  sillon forge messages  [--seeds DIR] [--split train|dev|ood|validation] [--variants N] [--seed S] "
    "[--out FILE]\n"
    "      Labelled records as NDJSON (stdout without --out): each seed, then N variants of it.\n"
    "      --augment LIST       none, light, std (default), recipe, strong, then changes: "
    "std,swap=.6,drop_max=.3\n"
    "                           swap minutes synonym fill sms drop drop_max drop_facts slip "
    "slip_max glue glue_max\n"
    "                           dictation accents lower upper punct: probabilities from 0 to 1 "
    "(docs/forge.md)\n"
    "      --no-originals       leave the seeds themselves out\n"
    "      --keep-personas      keep train messages of authors who also write in dev or ood\n"
    "  sillon forge tokenizer --in FILE... --vocab N --out DIR\n"
    "      Trains a byte-level BPE tokenizer on NDJSON records; writes tokenizer.json and its "
    "configuration.\n"
    "  sillon forge tokens    --in FILE --tokenizer DIR --out FILE.tok [--seed S] [--epoch E]\n"
    "      --bpe-dropout P      probability to skip a merge in message texts (0)\n"
    "      --trace-share X      share of documents with evidence, for and against (1)\n"
    "      --weights LIST       "
    "text=.1,level=4,class=2,source=1,distress=.5,flags=.5,evidence=.3,trace=.3\n"
    "      --max-text-tokens N  longer texts keep their first two thirds and last third (320)\n"
    "      --original-weight W, --variant-weight W   document weights (1, 1)\n"
    "      --no-shuffle         keep the order of the file\n"
    "      --teacher FILE --teacher-share X   levels of a share of the documents drawn from the teacher\n"
    "  sillon forge teacher   --in FILE --out FILE\n"
    "      What an n-gram classifier that never saw a message thinks of its level (five folds).\n"
    "  sillon forge exercise  [--seeds DIR] [--seed S] [--minutes M] [--messages N] [--incidents "
    "K] [--out FILE]\n"
    "      A synthetic exercise day without labels: id, text, channel, author, t (seconds).\n"
    "\n"
    "  --gazetteer FILE, --networks FILE   tables of stations (data/gazetteer.tsv, "
    "data/networks.tsv)\n"
    "  --help\n";

struct args {
    const char *seeds, *split, *out, *augment, *gazetteer, *networks, *tokenizer;
    const char *in[64];
    int n_in;
    uint64_t seed;
    int64_t variants, vocab, messages, incidents;
    double minutes;
    bool originals, keep_personas;
    struct tokens_options tokens;
};

enum {
    OPT_SEEDS = 256,
    OPT_SPLIT,
    OPT_VARIANTS,
    OPT_SEED,
    OPT_OUT,
    OPT_AUGMENT,
    OPT_NO_ORIGINALS,
    OPT_KEEP_PERSONAS,
    OPT_GAZETTEER,
    OPT_NETWORKS,
    OPT_IN,
    OPT_VOCAB,
    OPT_TOKENIZER,
    OPT_EPOCH,
    OPT_DROPOUT,
    OPT_TRACE,
    OPT_WEIGHTS,
    OPT_MAX_TEXT,
    OPT_ORIGINAL_WEIGHT,
    OPT_VARIANT_WEIGHT,
    OPT_NO_SHUFFLE,
    OPT_MINUTES,
    OPT_MESSAGES,
    OPT_INCIDENTS,
    OPT_TEACHER,
    OPT_TEACHER_SHARE
};

static const struct option options[] = {
    {"seeds", required_argument, NULL, OPT_SEEDS},
    {"split", required_argument, NULL, OPT_SPLIT},
    {"variants", required_argument, NULL, OPT_VARIANTS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"out", required_argument, NULL, OPT_OUT},
    {"augment", required_argument, NULL, OPT_AUGMENT},
    {"no-originals", no_argument, NULL, OPT_NO_ORIGINALS},
    {"keep-personas", no_argument, NULL, OPT_KEEP_PERSONAS},
    {"gazetteer", required_argument, NULL, OPT_GAZETTEER},
    {"networks", required_argument, NULL, OPT_NETWORKS},
    {"in", required_argument, NULL, OPT_IN},
    {"vocab", required_argument, NULL, OPT_VOCAB},
    {"tokenizer", required_argument, NULL, OPT_TOKENIZER},
    {"epoch", required_argument, NULL, OPT_EPOCH},
    {"bpe-dropout", required_argument, NULL, OPT_DROPOUT},
    {"trace-share", required_argument, NULL, OPT_TRACE},
    {"weights", required_argument, NULL, OPT_WEIGHTS},
    {"max-text-tokens", required_argument, NULL, OPT_MAX_TEXT},
    {"original-weight", required_argument, NULL, OPT_ORIGINAL_WEIGHT},
    {"variant-weight", required_argument, NULL, OPT_VARIANT_WEIGHT},
    {"no-shuffle", no_argument, NULL, OPT_NO_SHUFFLE},
    {"minutes", required_argument, NULL, OPT_MINUTES},
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"incidents", required_argument, NULL, OPT_INCIDENTS},
    {"teacher", required_argument, NULL, OPT_TEACHER},
    {"teacher-share", required_argument, NULL, OPT_TEACHER_SHARE},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool integer(int64_t *out, const char *name, const char *word, int64_t least, int64_t most,
                    struct error *err) {
    char *end;
    errno = 0;
    long long value = strtoll(word, &end, 10);
    if (end == word || *end != '\0' || errno != 0 || value < least || value > most)
        return error_set(err, ERR_USAGE, "--%s: \"%s\" is not a whole number from %lld to %lld",
                         name, word, (long long)least, (long long)most);
    *out = value;
    return true;
}

static bool number(double *out, const char *name, const char *word, double most,
                   struct error *err) {
    char *end;
    double value = strtod(word, &end);
    if (end == word || *end != '\0' || !(value >= 0 && value <= most))
        return error_set(err, ERR_USAGE, "--%s: \"%s\" is not a number from 0 to %g", name, word,
                         most);
    *out = value;
    return true;
}

static bool fraction(float *out, const char *name, const char *word, double most,
                     struct error *err) {
    double value = 0;
    if (!number(&value, name, word, most, err)) return false;
    *out = (float)value;
    return true;
}

// 0 read on, 1 help was asked, -1 failed.
static int args_read(struct args *a, int argc, char **argv, struct error *err) {
    *a = (struct args){.seeds = "data/seeds",
                       .split = "train",
                       .augment = "std",
                       .gazetteer = "data/gazetteer.tsv",
                       .networks = "data/networks.tsv",
                       .seed = 1,
                       .variants = 1,
                       .minutes = 20,
                       .incidents = 3,
                       .originals = true,
                       .tokens = tokens_defaults};
    int64_t value;
    bool ok = true;
    optind = 1;
    opterr = 0;
    for (int c; ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case OPT_SEEDS:
            a->seeds = optarg;
            break;
        case OPT_SPLIT:
            a->split = optarg;
            break;
        case OPT_OUT:
            a->out = optarg;
            break;
        case OPT_AUGMENT:
            a->augment = optarg;
            break;
        case OPT_NO_ORIGINALS:
            a->originals = false;
            break;
        case OPT_KEEP_PERSONAS:
            a->keep_personas = true;
            break;
        case OPT_GAZETTEER:
            a->gazetteer = optarg;
            break;
        case OPT_NETWORKS:
            a->networks = optarg;
            break;
        case OPT_TOKENIZER:
            a->tokenizer = optarg;
            break;
        case OPT_NO_SHUFFLE:
            a->tokens.shuffle = false;
            break;
        case OPT_WEIGHTS:
            ok = tokens_weights_parse(&a->tokens.weights, optarg, err);
            break;
        case OPT_VARIANTS:
            ok = integer(&a->variants, "variants", optarg, 0, 10000, err);
            break;
        case OPT_VOCAB:
            ok = integer(&a->vocab, "vocab", optarg, 400, 1000000, err);
            break;
        case OPT_EPOCH:
            ok = integer(&a->tokens.epoch, "epoch", optarg, 0, 1000000, err);
            break;
        case OPT_MAX_TEXT:
            ok = integer(&a->tokens.max_text_tokens, "max-text-tokens", optarg, 3, 100000, err);
            break;
        case OPT_MESSAGES:
            ok = integer(&a->messages, "messages", optarg, 0, 100000, err);
            break;
        case OPT_INCIDENTS:
            ok = integer(&a->incidents, "incidents", optarg, 0, 16, err);
            break;
        case OPT_MINUTES:
            ok = number(&a->minutes, "minutes", optarg, 1440, err);
            break;
        case OPT_DROPOUT:
            ok = fraction(&a->tokens.bpe_dropout, "bpe-dropout", optarg, 1, err);
            break;
        case OPT_TRACE:
            ok = fraction(&a->tokens.trace_share, "trace-share", optarg, 1, err);
            break;
        case OPT_ORIGINAL_WEIGHT:
            ok = fraction(&a->tokens.original_weight, "original-weight", optarg, 1000, err);
            break;
        case OPT_VARIANT_WEIGHT:
            ok = fraction(&a->tokens.variant_weight, "variant-weight", optarg, 1000, err);
            break;
        case OPT_SEED:
            ok = integer(&value, "seed", optarg, 0, INT64_MAX, err);
            if (ok) a->seed = (uint64_t)value;
            break;
        case OPT_IN:
            if (a->n_in == COUNT_OF(a->in))
                ok = error_set(err, ERR_USAGE, "--in: at most 64 files");
            else a->in[a->n_in++] = optarg;
            break;
        case OPT_TEACHER:
            a->tokens.teacher = optarg;
            break;
        case OPT_TEACHER_SHARE:
            ok = fraction(&a->tokens.teacher_share, "teacher-share", optarg, 1, err);
            break;
        case 'h':
            return 1;
        default:
            ok = error_set(err, ERR_USAGE, "option %s is unknown or lacks its value",
                           argv[optind - 1]);
        }
    }
    for (; ok && optind < argc && a->n_in > 0 && a->n_in < COUNT_OF(a->in); optind++)
        a->in[a->n_in++] = argv[optind];
    if (ok && optind < argc)
        ok = error_set(err, ERR_USAGE, "argument \"%s\" is not expected", argv[optind]);
    return ok ? 0 : -1;
}

// Loads what variants need. Buses and night buses have no stations in the gazetteer: the seeds name
// them.
static bool forge_load(struct forge *f, struct seeds *seeds, struct places **places,
                       const struct args *a, const char *split, struct error *err) {
    const char *networks = file_exists(a->networks) ? a->networks : NULL;
    if (!forge_options_parse(&f->options, a->augment, err)) return false;
    if (!places_open(places, a->gazetteer, networks, err)) return false;
    if (!seeds_open(seeds, a->seeds, split, a->keep_personas, err)) return false;
    for (int64_t i = 0; i < seeds->n; i++) {
        char code[LINE_CODE_BYTES];
        const char *line = seeds->items[i].record.line;
        enum line_kind kind = line == NULL ? LINE_OTHER : line_parse(line, code);
        if ((kind == LINE_BUS || kind == LINE_NOCTILIEN) && !places_add_line(*places, line, err))
            return false;
    }
    f->seeds = seeds;
    f->places = *places;
    f->number = a->seed;
    if (seeds->n_persona_dropped > 0)
        log_info("forge",
                 "persona_dropped=%lld reason=\"author also writes in dev or ood\" "
                 "option=--keep-personas",
                 (long long)seeds->n_persona_dropped);
    return true;
}

static bool out_write(const struct args *a, const struct buf *out, struct error *err) {
    if (!buf_ok(out)) return error_set(err, ERR_NOMEM, "forge: more output than memory allows");
    if (a->out != NULL) return file_write_atomic(a->out, out->data, out->n_bytes, err);
    if (fwrite(out->data, 1, out->n_bytes, stdout) != out->n_bytes || fflush(stdout) != 0)
        return error_set(err, ERR_IO, "forge: cannot write to stdout: %s", strerror(errno));
    return true;
}

static bool run_messages(const struct args *a, struct error *err) {
    struct forge f = {0};
    struct seeds seeds = {0};
    struct places *places = NULL;
    struct buf out;
    buf_init(&out, (size_t)4 << 30);
    int64_t n = 0;
    bool ok = forge_load(&f, &seeds, &places, a, a->split, err);
    for (int64_t i = 0; ok && i < seeds.n; i++)
        for (int v = a->originals ? 0 : 1; ok && v <= a->variants; v++) {
            json_t *json;
            ok = forge_variant(&f, i, v, &json, err);
            if (!ok) break;
            char *line = json_dumps(json, JSON_COMPACT);
            json_decref(json);
            ok = line != NULL || error_set(err, ERR_NOMEM, "forge: out of memory");
            if (ok) buf_append_str(&out, line);
            buf_append_char(&out, '\n');
            free(line);
            n++;
        }
    ok = ok && out_write(a, &out, err);
    if (ok)
        log_info("forge", "split=%s seeds=%lld records=%lld seed=%llu", a->split,
                 (long long)seeds.n, (long long)n, (unsigned long long)a->seed);
    buf_release(&out);
    seeds_close(&seeds);
    places_close(places);
    return ok;
}

static bool run_exercise(const struct args *a, struct error *err) {
    struct forge f = {0};
    struct seeds seeds = {0};
    struct places *places = NULL;
    struct buf out = {0};
    int64_t n = 0;
    struct exercise_options o = {
        .minutes = a->minutes, .n_messages = a->messages, .n_incidents = (int)a->incidents};
    bool ok = forge_load(&f, &seeds, &places, a, "train", err) &&
              exercise_write(&f, &o, &out, &n, err) && out_write(a, &out, err);
    if (ok) log_info("forge", "exercise messages=%lld minutes=%g", (long long)n, a->minutes);
    buf_release(&out);
    seeds_close(&seeds);
    places_close(places);
    return ok;
}

static bool run_tokenizer(const struct args *a, struct error *err) {
    if (a->n_in == 0 || a->vocab == 0 || a->out == NULL)
        return error_set(err, ERR_USAGE, "forge tokenizer needs --in, --vocab and --out");
    return tokens_tokenizer(a->out, a->vocab, a->in, a->n_in, err);
}

static bool run_tokens(const struct args *a, struct error *err) {
    if (a->n_in != 1 || a->tokenizer == NULL || a->out == NULL)
        return error_set(err, ERR_USAGE, "forge tokens needs one --in, --tokenizer and --out");
    struct tokens_options o = a->tokens;
    o.in = a->in[0];
    o.tokenizer = a->tokenizer;
    o.out = a->out;
    o.seed = a->seed;
    int64_t n_docs, n_tokens;
    if (!tokens_write(&o, &n_docs, &n_tokens, err)) return false;
    log_info("forge", "docs=%lld tokens=%lld epoch=%lld out=%s", (long long)n_docs,
             (long long)n_tokens, (long long)o.epoch, o.out);
    return true;
}

static bool run_teacher(const struct args *a, struct error *err) {
    if (a->n_in != 1 || a->out == NULL) return error_set(err, ERR_USAGE, "forge teacher needs one --in and --out");
    int64_t n;
    if (!teacher_write(a->in[0], a->out, &n, err)) return false;
    log_info("forge", "teacher records=%lld out=%s", (long long)n, a->out);
    return true;
}

int cmd_forge(int argc, char **argv) {
    static const struct {
        const char *name;
        bool (*run)(const struct args *, struct error *);
    } verbs[] = {{"messages", run_messages},
                 {"tokenizer", run_tokenizer},
                 {"tokens", run_tokens},
                 {"teacher", run_teacher},
                 {"exercise", run_exercise}};
    struct error err = {0};
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    for (int64_t i = 0; argc >= 2 && i < COUNT_OF(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        struct args args;
        int asked = args_read(&args, argc - 1, argv + 1, &err);
        if (asked == 1) {
            fputs(usage, stdout);
            return 0;
        }
        if (asked == 0 && verbs[i].run(&args, &err)) return 0;
        log_error("forge", "%s", err.text);
        return err.code == ERR_USAGE ? 2 : 1;
    }
    fprintf(stderr,
            "sillon forge: messages, tokenizer, teacher, tokens or exercise? (sillon forge --help)\n");
    return 2;
}
