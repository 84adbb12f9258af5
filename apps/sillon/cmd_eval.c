// apps/sillon/cmd_eval.c - `sillon eval`: a model's verdicts, or any system's, against labelled messages.
#include "command.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/utf8.h"
#include "triage/calibration.h"
#include "triage/metrics.h"
#include "triage/ngram.h"
#include "triage/place.h"
#include "triage/triage.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SYSTEMS = 8, MAX_FILES = 64 };

static const char help[] =
    "usage: sillon eval --data FILE [--data FILE...] [OPTION...]\n"
    "Scores verdicts on labelled messages (records of docs/labels.md, NDJSON).\n\n"
    "  --data FILE       labelled messages; may be given several times\n"
    "  --split NAME      only the ids that SPLIT.tsv (beside each file) gives to NAME: train, dev or ood\n"
    "  --model FOLDER    model to score (default: the shipped models/default, or $SILLON_MODEL)\n"
    "  --verdicts FILE   score these verdicts (NDJSON, same ids) instead of running a model; may be given several\n"
    "                    times: each is printed in a column beside the model\n"
    "  --only-verdicts   do not run the model, only score the files given by --verdicts\n"
    "  --trace MODE      auto, always or never [never]\n"
    "  --out FILE        also write the model's verdicts there\n"
    "  --floor FILE      also train a character n-gram linear classifier (docs/results) on these labelled messages\n"
    "                    and score it beside the model; with --floor-split NAME only that split of them; repeatable\n"
    "  --floor-c C       its regularisation, squared hinge [0.3]\n"
    "  --fit-calibration FILE   fit the temperature of sillon.json on the data and write it there\n"
    "  --fit-bias        with --fit-calibration: the biases too; for data from the feed that will be read\n"
    "  --threads N       threads, 0 = all [0]\n"
    "  --weights TYPE    f32, bf16 or int8 [f32]\n"
    "  --json            print the scores as JSON\n"
    "exit status: 0 scored, 1 failed, 2 wrong usage\n";

struct dataset {
    struct label_record *records;
    int64_t n, capacity;
};

static void dataset_release(struct dataset *d) {
    for (int64_t i = 0; i < d->n; i++) label_record_release(&d->records[i]);
    free(d->records);
    *d = (struct dataset){0};
}

// A set of ids from split.tsv as one string of "\nid\n" marks: a few thousand ids, searched by hashing.
static bool split_read(json_t **out, const char *data_path, const char *split, struct error *err) {
    char folder[4096], path[4200];
    snprintf(folder, sizeof folder, "%s", data_path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) *slash = '\0';
    snprintf(path, sizeof path, "%s/split.tsv", slash != NULL ? folder : ".");
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 0, err)) return false;
    *out = json_object();
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char *tab = strchr(line, '\t');
        if (tab == NULL) continue;
        *tab = '\0';
        if (strncmp(tab + 1, split, strlen(split)) == 0) json_object_set_new(*out, line, json_true());
    }
    free(text);
    return true;
}

static bool dataset_add(struct dataset *d, const char *path, const char *split, struct error *err) {
    char *text;
    size_t n_bytes;
    json_t *ids = NULL;
    if (split != NULL && !split_read(&ids, path, split, err)) return false;
    if (!file_read(&text, &n_bytes, path, 0, err)) {
        json_decref(ids);
        return false;
    }
    bool ok = true;
    int64_t line_i = 0;
    for (size_t i = 0; ok && i < n_bytes;) {
        const char *start = text + i, *end = memchr(start, '\n', n_bytes - i);
        size_t length = end != NULL ? (size_t)(end - start) : n_bytes - i;
        i += length + 1;
        line_i++;
        if (length == 0) continue;
        char name[4200];
        snprintf(name, sizeof name, "%s line %lld", path, (long long)line_i);
        json_t *json;
        ok = json_parse(&json, start, length, name, err);
        if (!ok) break;
        if (ids != NULL && json_object_get(ids, json_string_value(json_object_get(json, "id")) != NULL
                                                    ? json_string_value(json_object_get(json, "id"))
                                                    : "") == NULL) {
            json_decref(json);
            continue;
        }
        if (d->n == d->capacity) {
            int64_t capacity = d->capacity ? 2 * d->capacity : 1024;
            struct label_record *grown = realloc(d->records, (size_t)capacity * sizeof *grown);
            if (grown == NULL) {
                json_decref(json);
                ok = error_set(err, ERR_NOMEM, "out of memory");
                break;
            }
            d->records = grown;
            d->capacity = capacity;
        }
        ok = label_record_take(&d->records[d->n], json, name, err);
        if (ok) d->n++;
    }
    free(text);
    json_decref(ids);
    return ok;
}

// Two places are the same when their normalised forms are, or one continues the other ("Villiers-le-Bel" and
// "Villiers-le-Bel - Gonesse - Arnouville").
static bool same_place(const char *a, const char *b) {
    char x[256], y[256];
    size_t n = place_normalise(x, sizeof x, NULL, a, strlen(a)), m = place_normalise(y, sizeof y, NULL, b, strlen(b));
    size_t least = n < m ? n : m;
    return memcmp(x, y, least) == 0 && (n == m || (n > m ? x[m] : y[n]) == ' ');
}

static void prediction_place(struct prediction *p, const struct label_record *r, const char *station,
                             const char *line) {
    p->has_station = station != NULL && station[0] != '\0';
    p->has_line = line != NULL && line[0] != '\0';
    p->station_right = r->station == NULL ? !p->has_station : p->has_station && same_place(station, r->station);
    p->line_right = r->line == NULL ? !p->has_line : p->has_line && same_place(line, r->line);
}

static bool predict_with_model(struct prediction *predictions, const struct dataset *d, const char *model_path,
                               const char *gazetteer, enum trace_mode mode, enum weight_type weights, int n_threads, const char *out_path,
                               double *messages_per_s, struct error *err) {
    struct triage *triage = NULL;
    struct triage_options options = {model_path, gazetteer, n_threads, 32, weights};
    struct message *messages = calloc((size_t)d->n + 1, sizeof *messages);
    struct verdict *verdicts = calloc((size_t)d->n + 1, sizeof *verdicts);
    bool ok = (messages != NULL && verdicts != NULL) || error_set(err, ERR_NOMEM, "out of memory");
    ok = ok && triage_open(&triage, &options, err);
    for (int64_t i = 0; ok && i < d->n; i++) {
        const struct label_record *r = &d->records[i];
        messages[i] = (struct message){.id = r->id, .text = r->text, .text_bytes = r->text_bytes, .channel = r->channel};
    }
    int64_t start = clock_monotonic_ns();
    ok = ok && triage_run(triage, messages, d->n, mode, verdicts, err);
    *messages_per_s = (double)d->n / ((double)(clock_monotonic_ns() - start) * 1e-9);
    struct buf out = {0};
    for (int64_t i = 0; ok && i < d->n; i++) {
        struct verdict *v = &verdicts[i];
        struct prediction *p = &predictions[i];
        *p = (struct prediction){.present = true, .level = v->level, .class_i = v->class_i, .source = v->source};
        memcpy(p->p_level, v->p_level, sizeof p->p_level);
        prediction_place(p, &d->records[i], v->station, v->line);
        p->n_spans = p->n_verbatim = v->n_evidence; // spans are offsets in the text: verbatim by construction
        if (out_path == NULL) continue;
        verdict_append_json(&out, &messages[i], v, triage_model_name(triage), triage_model_sha256(triage));
        buf_append_char(&out, '\n');
    }
    if (ok && out_path != NULL)
        ok = (buf_ok(&out) || error_set(err, ERR_NOMEM, "out of memory")) &&
             file_write_atomic(out_path, out.data != NULL ? out.data : "", out.n_bytes, err);
    for (int64_t i = 0; verdicts != NULL && i < d->n; i++) verdict_release(&verdicts[i]);
    buf_release(&out);
    triage_close(triage);
    free(messages);
    free(verdicts);
    return ok;
}

static bool prediction_from_json(struct prediction *p, const struct label_record *r, const json_t *v, const char *path,
                                 struct error *err) {
    const json_t *urgency = json_object_get(v, "urgency"), *place = json_object_get(v, "place");
    const char *level = json_string_value(json_object_get(urgency, "level"));
    const char *class_name = json_string_value(json_object_get(json_object_get(v, "class"), "main"));
    const char *source = json_string_value(json_object_get(json_object_get(v, "source"), "label"));
    *p = (struct prediction){.present = level != NULL, .level = -1, .class_i = -1, .source = -1};
    if (level != NULL) p->level = label_find(label_levels, N_LEVELS, level);
    if (p->level < 0) p->present = false;
    if (class_name != NULL) p->class_i = label_find(label_classes, N_CLASSES, class_name);
    if (source != NULL) p->source = label_find(label_sources, N_SOURCES, source);
    const json_t *probabilities = json_object_get(urgency, "p");
    for (int l = 0; l < N_LEVELS; l++) {
        double value = json_number_value(json_object_get(probabilities, label_levels[l]));
        if (!(value >= 0 && value <= 1))
            return error_set(err, ERR_INPUT, "%s: id \"%s\": p of %s is %g, from 0 to 1 was expected", path, r->id,
                             label_levels[l], value);
        p->p_level[l] = (float)value;
    }
    prediction_place(p, r, json_string_value(json_object_get(place, "station")),
                     json_string_value(json_object_get(place, "line")));
    const json_t *evidence = json_object_get(v, "evidence"), *e;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)evidence, i, e) {
        const char *text = json_string_value(json_object_get(e, "text"));
        p->n_spans++;
        p->n_verbatim += text != NULL && strstr(r->text, text) != NULL;
    }
    return true;
}

static bool predict_from_file(struct prediction *predictions, const struct dataset *d, const char *path,
                              struct error *err) {
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 0, err)) return false;
    json_t *by_id = json_object();
    bool ok = true;
    int64_t line_i = 0;
    for (size_t i = 0; ok && i < n_bytes;) {
        const char *start = text + i, *end = memchr(start, '\n', n_bytes - i);
        size_t length = end != NULL ? (size_t)(end - start) : n_bytes - i;
        char name[4200];
        i += length + 1;
        line_i++;
        if (length == 0) continue;
        snprintf(name, sizeof name, "%s line %lld", path, (long long)line_i);
        json_t *v;
        ok = json_parse(&v, start, length, name, err);
        if (!ok) break;
        const char *id = json_string_value(json_object_get(v, "id"));
        if (id == NULL) ok = error_set(err, ERR_INPUT, "%s: \"id\" is missing", name);
        else json_object_set(by_id, id, v);
        json_decref(v);
    }
    free(text);
    for (int64_t i = 0; ok && i < d->n; i++) {
        predictions[i] = (struct prediction){.level = -1, .class_i = -1, .source = -1};
        const json_t *v = json_object_get(by_id, d->records[i].id);
        if (v != NULL) ok = prediction_from_json(&predictions[i], &d->records[i], v, path, err);
    }
    json_decref(by_id);
    return ok;
}

static bool predict_with_floor(struct prediction *predictions, const struct dataset *d, const struct dataset *train,
                               double C, struct error *err) {
    const char **texts = malloc((size_t)(train->n + 1) * sizeof *texts);
    int *levels = malloc((size_t)(train->n + 1) * sizeof *levels);
    struct ngram *ngram = NULL;
    bool ok = (texts != NULL && levels != NULL) || error_set(err, ERR_NOMEM, "out of memory");
    for (int64_t i = 0; ok && i < train->n; i++) {
        texts[i] = train->records[i].text;
        levels[i] = train->records[i].level;
    }
    ok = ok && ngram_train(&ngram, texts, levels, train->n, C, err);
    for (int64_t i = 0; ok && i < d->n; i++) {
        float decision[N_LEVELS], sum = 0;
        ok = ngram_decide(ngram, d->records[i].text, decision, err);
        struct prediction *p = &predictions[i];
        *p = (struct prediction){.present = true, .class_i = -1, .source = -1};
        for (int l = 1; l < N_LEVELS; l++)
            if (decision[l] > decision[p->level]) p->level = l;
        for (int l = 0; l < N_LEVELS; l++) sum += p->p_level[l] = expf(3.0f * (decision[l] - decision[p->level]));
        for (int l = 0; l < N_LEVELS; l++) p->p_level[l] /= sum;
    }
    ngram_close(ngram);
    free(texts);
    free(levels);
    return ok;
}

static bool write_calibration(const char *path, const struct prediction *predictions, const struct dataset *d,
                              bool with_bias, struct error *err) {
    float(*p)[N_LEVELS] = calloc((size_t)d->n, sizeof *p);
    int *levels = calloc((size_t)d->n, sizeof *levels);
    bool ok = (p != NULL && levels != NULL) || error_set(err, ERR_NOMEM, "out of memory");
    if (ok) {
        struct calibration c;
        struct buf b = {0};
        for (int64_t i = 0; i < d->n; i++) {
            memcpy(p[i], predictions[i].p_level, sizeof p[i]);
            levels[i] = d->records[i].level;
        }
        calibration_fit(&c, (const float(*)[N_LEVELS])p, levels, d->n, with_bias);
        buf_printf(&b, "{\"temperature\":%.4f,\"bias\":[", (double)c.temperature);
        for (int l = 0; l < N_LEVELS; l++) buf_printf(&b, l ? ",%.4f" : "%.4f", (double)c.bias[l]);
        buf_printf(&b, "],\"trace_doubt\":%.2f,\"messages\":%lld}\n", (double)c.trace_doubt, (long long)d->n);
        ok = buf_ok(&b) ? file_write_atomic(path, b.data, b.n_bytes, err) : error_set(err, ERR_NOMEM, "out of memory");
        buf_release(&b);
    }
    free(p);
    free(levels);
    return ok;
}

// ------------------------------------------------------------------------------------------------- printing
struct system {
    const char *name;
    struct metrics m;
};

static double worst_level(const struct metrics *m, int *which) {
    *which = 0;
    for (int l = 1; l < N_LEVELS; l++)
        if (m->levels[l].n > 0 && m->levels[l].f1 < m->levels[*which].f1) *which = l;
    return m->levels[*which].f1;
}

static double worst_class(const struct metrics *m, int *which) {
    *which = -1;
    for (int c = 0; c < N_CLASSES; c++)
        if (m->classes[c].n > 0 && (*which < 0 || m->classes[c].f1 < m->classes[*which].f1)) *which = c;
    return *which >= 0 ? m->classes[*which].f1 : 0;
}

static void row_start(const char *name) {
    printf("| %-34s |", name);
}

static void cell(double value) {
    if (value < 0) printf(" %-22s |", "-");
    else printf(" %-22.3f |", value);
}

static void print_table(const struct system *systems, int n, const struct dataset *d) {
    printf("%lld messages, %lld twin pairs\n\n", (long long)d->n, (long long)systems[0].m.n_pairs);
    row_start("");
    for (int i = 0; i < n; i++) printf(" %-22.22s |", systems[i].name);
    printf("\n|------------------------------------|");
    for (int i = 0; i < n; i++) printf("------------------------|");
    printf("\n");
#define ROW(title, expression)                                                                                        \
    do {                                                                                                              \
        row_start(title);                                                                                             \
        for (int i = 0; i < n; i++) {                                                                                 \
            const struct metrics *m = &systems[i].m;                                                                  \
            cell(expression);                                                                                         \
        }                                                                                                             \
        printf("\n");                                                                                                 \
    } while (0)
    ROW("accuracy U0-U4", m->accuracy);
    ROW("macro-F1 {U0-U1, U2, U3-U4}", m->macro_f1_3);
    ROW("F1 of U3-U4", m->urgent.f1);
    ROW("  precision", m->urgent.precision);
    ROW("  recall", m->urgent.recall);
    ROW("twin pairs both right", m->n_pairs > 0 ? (double)m->n_pairs_right / (double)m->n_pairs : -1);
    ROW("quadratic kappa", m->kappa);
    ROW("U3-U4 ranking: AUC", m->auc_urgent);
    ROW("  recall at 1 % false alarms", m->recall_at_fpr[0]);
    ROW("  recall at 5 % false alarms", m->recall_at_fpr[1]);
    ROW("calibration error (ECE)", m->ece);
    ROW("negative log-likelihood", m->nll);
    for (int l = 0; l < N_LEVELS; l++) {
        char title[32];
        snprintf(title, sizeof title, "F1 of %s (n=%lld)", label_levels[l], (long long)systems[0].m.levels[l].n);
        ROW(title, m->levels[l].f1);
    }
    ROW("class accuracy", m->class_accuracy > 0 ? m->class_accuracy : -1);
    ROW("source accuracy", m->source_accuracy > 0 ? m->source_accuracy : -1);
    ROW("station right when stated", m->n_station_right > 0 ? (double)m->n_station_right / (double)m->n_station : -1);
    ROW("line right when stated", m->n_line_right > 0 ? (double)m->n_line_right / (double)m->n_line : -1);
    row_start("stations, lines invented");
    for (int i = 0; i < n; i++) {
        char text[40];
        snprintf(text, sizeof text, "%lld, %lld", (long long)systems[i].m.n_station_invented,
                 (long long)systems[i].m.n_line_invented);
        printf(" %-22s |", text);
    }
    printf("\n");
    row_start("worst level, worst class (F1)");
    for (int i = 0; i < n; i++) {
        int l, c;
        char text[64];
        double fl = worst_level(&systems[i].m, &l), fc = worst_class(&systems[i].m, &c);
        snprintf(text, sizeof text, "%s %.2f, %.10s %.2f", label_levels[l], fl, c >= 0 ? label_classes[c] : "-", fc);
        printf(" %-22.22s |", text);
    }
    printf("\n");
#undef ROW
}

static void print_json(const struct system *systems, int n, const struct dataset *d) {
    struct buf b = {0};
    buf_printf(&b, "{\"messages\":%lld,\"systems\":[", (long long)d->n);
    for (int i = 0; i < n; i++) {
        const struct metrics *m = &systems[i].m;
        buf_append_str(&b, i ? ",{\"name\":" : "{\"name\":");
        buf_append_json_string(&b, systems[i].name, strlen(systems[i].name));
        buf_printf(&b, ",\"accuracy\":%.5f,\"macro_f1_3\":%.5f,\"urgent_f1\":%.5f,\"twin_pairs\":%lld,"
                       "\"twin_pairs_right\":%lld,\"kappa\":%.5f,\"ece\":%.5f,\"nll\":%.5f,\"auc_urgent\":%.5f,"
                       "\"class_accuracy\":%.5f,\"missing\":%lld,\"levels\":{",
                   m->accuracy, m->macro_f1_3, m->urgent.f1, (long long)m->n_pairs, (long long)m->n_pairs_right,
                   m->kappa, m->ece, m->nll, m->auc_urgent, m->class_accuracy, (long long)m->n_missing);
        for (int l = 0; l < N_LEVELS; l++)
            buf_printf(&b, "%s\"%s\":{\"f1\":%.5f,\"n\":%lld}", l ? "," : "", label_levels[l], m->levels[l].f1,
                       (long long)m->levels[l].n);
        buf_append_str(&b, "},\"classes\":{");
        for (int c = 0; c < N_CLASSES; c++)
            buf_printf(&b, "%s\"%s\":{\"f1\":%.5f,\"n\":%lld}", c ? "," : "", label_classes[c], m->classes[c].f1,
                       (long long)m->classes[c].n);
        buf_append_str(&b, "}}");
    }
    buf_append_str(&b, "]}\n");
    if (buf_ok(&b)) fputs(b.data, stdout);
    buf_release(&b);
}

int cmd_eval(int argc, char **argv) {
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'},     {"split", required_argument, NULL, 's'},
        {"model", required_argument, NULL, 'm'},    {"verdicts", required_argument, NULL, 'v'},
        {"only-verdicts", no_argument, NULL, 'V'},  {"trace", required_argument, NULL, 't'},
        {"out", required_argument, NULL, 'o'},      {"threads", required_argument, NULL, 'j'},
        {"weights", required_argument, NULL, 'w'},
        {"floor", required_argument, NULL, 'f'},    {"floor-split", required_argument, NULL, 'F'},
        {"floor-c", required_argument, NULL, 'C'},  {"fit-calibration", required_argument, NULL, 'c'},
        {"fit-bias", no_argument, NULL, 'B'},
        {"json", no_argument, NULL, 'J'},           {"help", no_argument, NULL, 'h'}, {0}};
    const char *floor_files[MAX_FILES], *floor_split = NULL, *fit_path = NULL;
    bool fit_bias = false;
    int n_floor = 0;
    double floor_c = 0.3;
    const char *data[MAX_FILES], *verdict_files[MAX_SYSTEMS], *model = NULL, *split = NULL, *out_path = NULL;
    int n_data = 0, n_verdict_files = 0, c;
    bool json = false, run_model = true, ok = true;
    enum trace_mode mode = TRACE_NEVER;
    enum weight_type weights = WEIGHT_F32;
    int64_t n_threads = 0;
    struct error err = {0};
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'd':
            if (n_data == MAX_FILES) ok = error_set(&err, ERR_USAGE, "more than %d --data files", MAX_FILES);
            else data[n_data++] = optarg;
            break;
        case 'v':
            if (n_verdict_files == MAX_SYSTEMS - 2) ok = error_set(&err, ERR_USAGE, "more than %d --verdicts files", MAX_SYSTEMS - 2);
            else verdict_files[n_verdict_files++] = optarg;
            break;
        case 's': split = optarg; break;
        case 'f':
            if (n_floor == MAX_FILES) ok = error_set(&err, ERR_USAGE, "more than %d --floor files", MAX_FILES);
            else floor_files[n_floor++] = optarg;
            break;
        case 'F': floor_split = optarg; break;
        case 'c': fit_path = optarg; break;
        case 'B': fit_bias = true; break;
        case 'C':
            floor_c = atof(optarg);
            ok = floor_c > 0 || error_set(&err, ERR_USAGE, "--floor-c %s: a number above 0 was expected", optarg);
            break;
        case 'm': model = optarg; break;
        case 'V': run_model = false; break;
        case 't':
            ok = trace_mode_parse(&mode, optarg) ||
                 error_set(&err, ERR_USAGE, "--trace %s: auto, always or never was expected", optarg);
            break;
        case 'o': out_path = optarg; break;
        case 'j': ok = command_number(&n_threads, "--threads", optarg, 0, 1024, &err); break;
        case 'w': ok = command_weights(&weights, optarg, &err); break;
        case 'J': json = true; break;
        case 'h': fputs(help, stdout); return EXIT_DONE;
        default: return EXIT_USAGE;
        }
        if (!ok) return command_fail("eval", &err);
    }
    for (; optind < argc && n_data < MAX_FILES; optind++) data[n_data++] = argv[optind];
    if (n_data == 0) {
        error_set(&err, ERR_USAGE, "no --data FILE given");
        return command_fail("eval", &err);
    }
    struct dataset d = {0};
    struct system systems[MAX_SYSTEMS];
    struct prediction *predictions = NULL;
    int n_systems = 0;
    char model_path[4096], gazetteer[4096];
    double messages_per_s = 0;
    for (int i = 0; ok && i < n_data; i++) ok = dataset_add(&d, data[i], split, &err);
    if (ok && d.n == 0) ok = error_set(&err, ERR_INPUT, "%s: no labelled message in it", data[0]);
    if (ok) predictions = calloc((size_t)d.n, sizeof *predictions);
    if (ok && predictions == NULL) ok = error_set(&err, ERR_NOMEM, "out of memory");
    if (ok && run_model) {
        bool found = command_find(gazetteer, sizeof gazetteer, "data/gazetteer.tsv");
        ok = command_model(model_path, sizeof model_path, model, &err) &&
             predict_with_model(predictions, &d, model_path, found ? gazetteer : NULL, mode, weights, (int)n_threads, out_path,
                                &messages_per_s, &err);
        systems[n_systems].name = model_path;
        ok = ok && (fit_path == NULL || write_calibration(fit_path, predictions, &d, fit_bias, &err)) &&
             metrics_compute(&systems[n_systems++].m, d.records, predictions, d.n, &err);
    }
    struct dataset floor_data = {0};
    for (int i = 0; ok && i < n_floor; i++) ok = dataset_add(&floor_data, floor_files[i], floor_split, &err);
    if (ok && n_floor > 0) {
        systems[n_systems].name = "character n-grams";
        ok = predict_with_floor(predictions, &d, &floor_data, floor_c, &err) &&
             metrics_compute(&systems[n_systems++].m, d.records, predictions, d.n, &err);
    }
    dataset_release(&floor_data);
    for (int i = 0; ok && i < n_verdict_files; i++) {
        systems[n_systems].name = verdict_files[i];
        ok = predict_from_file(predictions, &d, verdict_files[i], &err) &&
             metrics_compute(&systems[n_systems++].m, d.records, predictions, d.n, &err);
    }
    if (ok && n_systems == 0) ok = error_set(&err, ERR_USAGE, "--only-verdicts without a --verdicts FILE");
    if (ok && json) print_json(systems, n_systems, &d);
    if (ok && !json) print_table(systems, n_systems, &d);
    if (ok && !json && run_model) printf("\nmodel speed: %.1f messages/s\n", messages_per_s);
    free(predictions);
    dataset_release(&d);
    return ok ? EXIT_DONE : command_fail("eval", &err);
}
