// train/checkpoint.c - folders written aside and renamed, so that a run killed at any moment
// resumes.
#include "train/checkpoint.h"

#include "core/buf.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHECKPOINT_FORMAT = 1, PATH_BYTES = 4096 };

// ---- folders

// Removes a folder of plain files (ours have no sub-folders). Missing is fine.
static void folder_remove(const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(path);
}

static bool folder_sync(const char *path, struct error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok) error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return ok;
}

static bool folder_new(const char *path, struct error *err) {
    folder_remove(path);
    return mkdir(path, 0755) == 0 ||
           error_set(err, ERR_IO, "%s: cannot make the folder: %s", path, strerror(errno));
}

static bool copy_file(const char *to, const char *from, struct error *err) {
    char *data;
    size_t n_bytes;
    if (!file_read(&data, &n_bytes, from, 0, err)) return false;
    bool ok = file_write_atomic(to, data, n_bytes, err);
    free(data);
    return ok;
}

// "step-123" -> 123; -1 for anything else.
static int64_t step_of(const char *name) {
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
    char *end;
    errno = 0;
    long long step = strtoll(name + 5, &end, 10);
    return *end == '\0' && errno == 0 ? step : -1;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// Steps of the checkpoints in `out`, newest first; the caller frees *steps.
static bool list_steps(const char *out, int64_t **steps, int64_t *n, struct error *err) {
    struct buf list = {0};
    *n = 0;
    *steps = NULL;
    DIR *dir = opendir(out);
    if (dir == NULL) return error_set(err, ERR_IO, "%s: %s", out, strerror(errno));
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        int64_t step = step_of(e->d_name);
        if (step >= 0) buf_append(&list, &step, sizeof step);
    }
    closedir(dir);
    if (!buf_ok(&list)) {
        buf_release(&list);
        return error_set(err, ERR_NOMEM, "%s: out of memory", out);
    }
    *n = (int64_t)(list.n_bytes / sizeof(int64_t));
    *steps = (int64_t *)(void *)buf_take(&list);
    if (*n > 0) qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    return true;
}

bool checkpoint_lock(int *fd, const char *out, struct error *err) {
    char path[PATH_BYTES];
    *fd = -1;
    if (!file_make_folders(out, err) || !file_join(path, sizeof path, out, "lock", err))
        return false;
    int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f < 0) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (flock(f, LOCK_EX | LOCK_NB) != 0) {
        bool busy = errno == EWOULDBLOCK;
        char pid[32] = "";
        ssize_t n = busy ? pread(f, pid, sizeof pid - 1, 0) : 0;
        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        if (busy)
            error_set(err, ERR_STATE, "%s: another training run (process %s) writes in %s", path,
                      pid, out);
        else error_set(err, ERR_IO, "%s: cannot lock: %s", path, strerror(errno));
        close(f);
        return false;
    }
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(f, 0) != 0 ||
        pwrite(f, pid, (size_t)n, 0) != n) { // only a courtesy to whoever reads it
        log_warn("train", "lock=%s error=\"%s\"", path, strerror(errno));
    }
    DIR *dir = opendir(out);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, "tmp-", 4) != 0) continue;
        if (file_join(path, sizeof path, out, e->d_name, NULL)) folder_remove(path);
    }
    if (dir != NULL) closedir(dir);
    *fd = f;
    return true;
}

// ---- writing

static void json_number(struct buf *b, const char *key, double value) {
    if (isfinite(value)) buf_printf(b, "  \"%s\": %.17g,\n", key, value);
    else buf_printf(b, "  \"%s\": null,\n", key);
}

static bool write_state(const char *folder, const struct checkpoint_state *s,
                        const char *model_sha256, const char *optimizer_sha256, struct error *err) {
    char path[PATH_BYTES];
    struct buf b = {0};
    buf_printf(&b, "{\n  \"format\": %d,\n  \"step\": %" PRId64 ",\n  \"tokens\": %" PRId64 ",\n",
               CHECKPOINT_FORMAT, s->step, s->tokens);
    buf_printf(
        &b, "  \"epoch\": %" PRId64 ",\n  \"position\": %" PRId64 ",\n  \"seed\": %" PRId64 ",\n",
        s->epoch, s->position, s->seed);
    json_number(&b, "n_steps_planned", s->n_steps_planned);
    json_number(&b, "elapsed_s", s->elapsed_s);
    json_number(&b, "cpu_s", s->cpu_s);
    json_number(&b, "energy_j", s->energy_j);
    json_number(&b, "loss", s->loss);
    json_number(&b, "dev_loss", s->dev_loss);
    buf_printf(&b,
               "  \"recipe_sha256\": \"%s\",\n  \"data_sha256\": \"%s\",\n  \"tokenizer_sha256\": "
               "\"%s\",\n",
               s->recipe_sha256, s->data_sha256, s->tokenizer_sha256);
    buf_printf(&b, "  \"model.safetensors\": \"%s\",\n  \"optimizer.safetensors\": \"%s\"\n}\n",
               model_sha256, optimizer_sha256);
    bool ok = (buf_ok(&b) || error_set(err, ERR_NOMEM, "trainer.json: out of memory")) &&
              file_join(path, sizeof path, folder, "trainer.json", err) &&
              file_write_atomic(path, b.data, b.n_bytes, err);
    buf_release(&b);
    return ok;
}

static bool write_tokenizer_config(const char *folder, const struct checkpoint_files *f,
                                   struct error *err) {
    char path[PATH_BYTES];
    struct buf b = {0};
    const char *const keys[] = {"bos_token", "eos_token", "pad_token"};
    const char *const values[] = {f->bos_token, f->eos_token, f->pad_token};
    buf_append_str(&b, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n");
    for (int i = 0; i < 3; i++) {
        if (values[i] == NULL) continue;
        buf_printf(&b, "  \"%s\": ", keys[i]);
        buf_append_json_string(&b, values[i], strlen(values[i]));
        buf_append_str(&b, ",\n");
    }
    buf_printf(
        &b, "  \"clean_up_tokenization_spaces\": false,\n  \"model_max_length\": %" PRId64 "\n}\n",
        f->T_max);
    bool ok = (buf_ok(&b) || error_set(err, ERR_NOMEM, "tokenizer_config.json: out of memory")) &&
              file_join(path, sizeof path, folder, "tokenizer_config.json", err) &&
              file_write_atomic(path, b.data, b.n_bytes, err);
    buf_release(&b);
    return ok;
}

static bool write_tokenizer_files(const char *folder, const struct checkpoint_files *f,
                                  struct error *err) {
    static const char *const beside[] = {"tokenizer_config.json", "special_tokens_map.json",
                                         "chat_template.jinja", "sillon.json"};
    char from_folder[PATH_BYTES], from[PATH_BYTES], to[PATH_BYTES];
    snprintf(from_folder, sizeof from_folder, "%s", f->tokenizer);
    char *slash = strrchr(from_folder, '/');
    if (slash != NULL) *slash = '\0';
    else snprintf(from_folder, sizeof from_folder, ".");
    if (!file_join(to, sizeof to, folder, "tokenizer.json", err) ||
        !copy_file(to, f->tokenizer, err) || !write_tokenizer_config(folder, f, err))
        return false;
    for (int64_t i = 0; i < COUNT_OF(beside); i++) {
        if (!file_join(from, sizeof from, from_folder, beside[i], err) ||
            !file_join(to, sizeof to, folder, beside[i], err))
            return false;
        if (file_exists(from) && !copy_file(to, from, err)) return false;
    }
    return true;
}

static const char *const subword_tensors[] = {"m.subwords", "v.subwords"}; // [n_grams, C]

static bool write_weights(const char *path, const struct params *params, const float *const *arrays,
                          const char *const *prefixes, int n_arrays, const struct subword *subword, struct error *err) {
    struct arena arena;
    arena_init(&arena, 0);
    int64_t n = params->n_tensors;
    struct tensor_source *sources =
        arena_alloc_array(&arena, (size_t)(n * n_arrays + 2), sizeof *sources);
    bool ok = sources != NULL || error_set(err, ERR_NOMEM, "%s: out of memory", path);
    for (int i = 0; ok && i < n_arrays; i++)
        ok = params_sources(params, sources + i * n, arrays[i], prefixes[i], &arena, err);
    int64_t n_sources = n * n_arrays;
    for (int i = 0; ok && subword != NULL && i < 2; i++)
        sources[n_sources++] = (struct tensor_source){.name = subword_tensors[i],
                                                      .dtype = TENSOR_F32,
                                                      .n_dims = 2,
                                                      .shape = {subword->n_grams, subword->C},
                                                      .data = i == 0 ? subword->m : subword->v};
    ok = ok && tensor_file_write(path, sources, n_sources, NULL, err);
    arena_release(&arena);
    return ok;
}

static bool write_model(const char *folder, const struct params *params, const float *w,
                        const struct checkpoint_files *files, char sha256[HASH_HEX_BYTES],
                        struct error *err) {
    char path[PATH_BYTES];
    const char *const prefix[] = {""};
    const float *const arrays[] = {w};
    return model_config_write(&params->config, folder, err) &&
           write_tokenizer_files(folder, files, err) &&
           file_join(path, sizeof path, folder, "model.safetensors", err) &&
           write_weights(path, params, arrays, prefix, 1, NULL, err) &&
           hash_file_sha256_hex(sha256, path, err);
}

static bool write_checkpoint(const char *folder, const struct params *params,
                             const struct checkpoint_arrays *a,
                             const struct checkpoint_files *files,
                             const struct checkpoint_state *state, struct error *err) {
    char path[PATH_BYTES], model_sha256[HASH_HEX_BYTES], optimizer_sha256[HASH_HEX_BYTES];
    const char *const prefixes[] = {"m.", "v.", "weight."};
    const float *const arrays[] = {a->m, a->v, a->w};
    return folder_new(folder, err) &&
           write_model(folder, params, a->ema != NULL ? a->ema : a->w, files, model_sha256, err) &&
           file_join(path, sizeof path, folder, "optimizer.safetensors", err) &&
           write_weights(path, params, arrays, prefixes, a->ema != NULL ? 3 : 2, a->subword, err) &&
           hash_file_sha256_hex(optimizer_sha256, path, err) &&
           write_state(folder, state, model_sha256, optimizer_sha256, err) &&
           folder_sync(folder, err);
}

static void prune(const char *out, int64_t keep) {
    int64_t *steps, n;
    char name[64], path[PATH_BYTES];
    if (!list_steps(out, &steps, &n, NULL)) return;
    for (int64_t i = keep; i < n; i++) {
        snprintf(name, sizeof name, "step-%" PRId64, steps[i]);
        if (file_join(path, sizeof path, out, name, NULL)) folder_remove(path);
    }
    free(steps);
}

bool checkpoint_save(const char *out, const struct params *params,
                     const struct checkpoint_arrays *arrays, const struct checkpoint_files *files,
                     const struct checkpoint_state *state, int64_t keep, struct error *err) {
    char tmp[PATH_BYTES], path[PATH_BYTES], latest[PATH_BYTES], name[64], tmp_name[64];
    snprintf(name, sizeof name, "step-%" PRId64, state->step);
    snprintf(tmp_name, sizeof tmp_name, "tmp-step-%" PRId64, state->step);
    if (!file_join(tmp, sizeof tmp, out, tmp_name, err) ||
        !file_join(path, sizeof path, out, name, err) ||
        !file_join(latest, sizeof latest, out, "latest", err))
        return false;
    if (!write_checkpoint(tmp, params, arrays, files, state, err)) {
        folder_remove(tmp);
        return error_wrap(err,
                          "checkpoint of step %" PRId64 " not written, the one before is intact",
                          state->step);
    }
    folder_remove(path); // a damaged one of the same step, passed over when the run resumed
    if (rename(tmp, path) != 0) {
        error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        folder_remove(tmp);
        return false;
    }
    strcat(name, "\n");
    if (!folder_sync(out, err) || !file_write_atomic(latest, name, strlen(name), err)) return false;
    prune(out, keep);
    return true;
}

bool checkpoint_export(const char *out, const struct params *params, const float *w,
                       const struct checkpoint_files *files, const struct checkpoint_state *state,
                       const char *training_json, struct error *err) {
    char tmp[PATH_BYTES], path[PATH_BYTES], old[PATH_BYTES], json_path[PATH_BYTES],
        sha256[HASH_HEX_BYTES];
    (void)state;
    if (!file_join(tmp, sizeof tmp, out, "tmp-model", err) ||
        !file_join(path, sizeof path, out, "model", err) ||
        !file_join(old, sizeof old, out, "tmp-model-old", err) ||
        !file_join(json_path, sizeof json_path, tmp, "training.json", err))
        return false;
    if (!folder_new(tmp, err) || !write_model(tmp, params, w, files, sha256, err) ||
        !file_write_atomic(json_path, training_json, strlen(training_json), err) ||
        !folder_sync(tmp, err)) {
        folder_remove(tmp);
        return error_wrap(err, "final model not written, the last checkpoint is intact");
    }
    folder_remove(old);
    if (file_exists(path) && rename(path, old) != 0)
        return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (rename(tmp, path) != 0) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    folder_remove(old);
    return folder_sync(out, err);
}

// ---- loading

static bool get_sha256(char out[65], const json_t *root, const char *key, const char *where,
                       struct error *err) {
    const char *text = NULL;
    if (!json_get_string(&text, root, key, true, where, err)) return false;
    if (strlen(text) != 64) return error_set(err, ERR_INPUT, "%s: %s is not a SHA-256", where, key);
    memcpy(out, text, 65);
    return true;
}

static bool parse_state(struct checkpoint_state *s, const json_t *root, const char *where,
                        struct error *err) {
    int64_t format = 0;
    s->loss = s->dev_loss = (double)NAN;
    if (!json_get_i64(&format, root, "format", true, where, err)) return false;
    if (format != CHECKPOINT_FORMAT)
        return error_set(err, ERR_INPUT, "%s: format %" PRId64 ", expected %d", where, format,
                         CHECKPOINT_FORMAT);
    bool ok = json_get_i64(&s->step, root, "step", true, where, err) &&
              json_get_i64(&s->tokens, root, "tokens", true, where, err) &&
              json_get_i64(&s->epoch, root, "epoch", true, where, err) &&
              json_get_i64(&s->position, root, "position", true, where, err) &&
              json_get_i64(&s->seed, root, "seed", true, where, err) &&
              json_get_f64(&s->n_steps_planned, root, "n_steps_planned", false, where, err) &&
              json_get_f64(&s->elapsed_s, root, "elapsed_s", true, where, err) &&
              json_get_f64(&s->cpu_s, root, "cpu_s", true, where, err) &&
              json_get_f64(&s->energy_j, root, "energy_j", true, where, err) &&
              json_get_f64(&s->loss, root, "loss", false, where, err) &&
              json_get_f64(&s->dev_loss, root, "dev_loss", false, where, err) &&
              get_sha256(s->recipe_sha256, root, "recipe_sha256", where, err) &&
              get_sha256(s->data_sha256, root, "data_sha256", where, err) &&
              get_sha256(s->tokenizer_sha256, root, "tokenizer_sha256", where, err);
    if (!ok) return false;
    if (s->step < 0 || s->tokens < 0 || s->epoch < 0 || s->position < 0)
        return error_set(err, ERR_INPUT, "%s: a counter is negative", where);
    return true;
}

static bool check_sha256(const char *path, const json_t *root, const char *key, const char *where,
                         struct error *err) {
    char want[65], got[HASH_HEX_BYTES];
    if (!get_sha256(want, root, key, where, err) || !hash_file_sha256_hex(got, path, err))
        return false;
    return strcmp(want, got) == 0 ||
           error_set(err, ERR_INPUT, "%s: SHA-256 %.12s..., trainer.json says %.12s...", path, got,
                     want);
}

static bool read_subword(const struct subword *s, const struct tensor_set *set, const char *where, struct error *err) {
    for (int i = 0; i < 2; i++) {
        const struct tensor *t = tensor_set_find(set, subword_tensors[i]);
        if (t == NULL || t->n_dims != 2 || t->shape[0] != s->n_grams || t->shape[1] != s->C)
            return error_set(err, ERR_INPUT, "%s: tensor %s is missing or not [%lld, %lld]: were subwords changed in the recipe?",
                             where, subword_tensors[i], (long long)s->n_grams, (long long)s->C);
        if (!tensor_read_f32(i == 0 ? s->m : s->v, t, err)) return error_wrap(err, "%s", where);
    }
    return true;
}

// model.safetensors holds the moving average when optimizer.safetensors holds the weights
// themselves. The recipe may have switched the average on or off since.
static bool read_weights(const char *model, const char *optimizer, const struct params *params,
                         const struct checkpoint_arrays *a, struct error *err) {
    struct tensor_set *set = NULL, *moments = NULL;
    bool ok = tensor_set_open(&set, model, err) && tensor_set_open(&moments, optimizer, err);
    bool averaged = ok && tensor_set_find(moments, "weight.model.norm.weight") != NULL;
    ok = ok && params_read(params, a->m, moments, "m.", optimizer, err) &&
         params_read(params, a->v, moments, "v.", optimizer, err) &&
         (averaged ? params_read(params, a->w, moments, "weight.", optimizer, err)
                   : params_read(params, a->w, set, "", model, err)) &&
         (a->ema == NULL || params_read(params, a->ema, set, "", model, err)) &&
         (a->subword == NULL || read_subword(a->subword, moments, optimizer, err));
    tensor_set_close(set);
    tensor_set_close(moments);
    return ok;
}

static bool load_one(const char *folder, const struct params *params,
                     const struct checkpoint_arrays *a, struct checkpoint_state *state,
                     struct error *err) {
    char path[PATH_BYTES], model[PATH_BYTES], optimizer[PATH_BYTES];
    json_t *root;
    if (!file_join(path, sizeof path, folder, "trainer.json", err) ||
        !file_join(model, sizeof model, folder, "model.safetensors", err) ||
        !file_join(optimizer, sizeof optimizer, folder, "optimizer.safetensors", err) ||
        !json_parse_file(&root, path, err))
        return false;
    *state = (struct checkpoint_state){0};
    bool ok = parse_state(state, root, path, err) &&
              check_sha256(model, root, "model.safetensors", path, err) &&
              check_sha256(optimizer, root, "optimizer.safetensors", path, err);
    json_decref(root);
    return ok && read_weights(model, optimizer, params, a, err);
}

bool checkpoint_load_latest(const char *out, const struct params *params,
                            const struct checkpoint_arrays *arrays, struct checkpoint_state *state,
                            bool *found, struct error *err) {
    int64_t *steps, n;
    char name[64], folder[PATH_BYTES];
    struct error first = {0};
    *found = false;
    if (!list_steps(out, &steps, &n, err)) return false;
    for (int64_t i = 0; i < n && !*found; i++) {
        struct error why = {0};
        snprintf(name, sizeof name, "step-%" PRId64, steps[i]);
        *found = file_join(folder, sizeof folder, out, name, &why) &&
                 load_one(folder, params, arrays, state, &why);
        if (*found) break;
        log_warn("train", "checkpoint=%s skipped=\"%s\"", folder, why.text);
        if (i == 0) first = why;
    }
    free(steps);
    if (*found || n == 0) return true;
    return error_set(err, first.code, "no usable checkpoint among %" PRId64 " in %s: %.300s", n,
                     out, first.text);
}
