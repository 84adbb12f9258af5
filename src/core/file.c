// core/file.c - POSIX calls, each failure told with the path and errno's words.
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool file_open_regular(int *fd, size_t *n_bytes, const char *path, struct error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return error_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(*fd, &st) != 0) {
        error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        error_set(err, ERR_INPUT, "%s: is a folder, a file was expected", path);
    } else {
        *n_bytes = (size_t)st.st_size;
        return true;
    }
    close(*fd);
    *fd = -1;
    return false;
}

bool file_map(struct file_map *map, const char *path, struct error *err) {
    *map = (struct file_map){0};
    int fd;
    size_t n_bytes;
    if (!file_open_regular(&fd, &n_bytes, path, err)) return false;
    void *data = n_bytes ? mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (data == MAP_FAILED) {
        error_set(err, ERR_IO, "%s: cannot map %zu bytes: %s", path, n_bytes, strerror(errno));
        close(fd);
        return false;
    }
    close(fd);
    map->data = data;
    map->n_bytes = n_bytes;
    return true;
}

void file_unmap(struct file_map *map) {
    if (map->data != NULL) munmap((void *)(uintptr_t)map->data, map->n_bytes);
    *map = (struct file_map){0};
}

bool file_read(char **out, size_t *n_bytes, const char *path, size_t limit_bytes, struct error *err) {
    if (limit_bytes == 0) limit_bytes = (size_t)1 << 30;
    *out = NULL;
    int fd;
    size_t size_hint;
    if (!file_open_regular(&fd, &size_hint, path, err)) return false;
    size_t capacity = size_hint + 1, used = 0; // pipes and /proc say 0: grow as it comes
    char *data = NULL;
    if (size_hint > limit_bytes) {
        error_set(err, ERR_LIMIT, "%s: %zu bytes, the limit is %zu", path, size_hint, limit_bytes);
        goto fail;
    }
    if ((data = malloc(capacity + 1)) == NULL) {
        error_set(err, ERR_NOMEM, "%s: out of memory for %zu bytes", path, capacity);
        goto fail;
    }
    for (;;) {
        ssize_t n = read(fd, data + used, capacity - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
            goto fail;
        }
        if (n == 0) break;
        used += (size_t)n;
        if (used > limit_bytes) {
            error_set(err, ERR_LIMIT, "%s: more than the limit of %zu bytes", path, limit_bytes);
            goto fail;
        }
        if (used == capacity) {
            char *grown = realloc(data, (capacity *= 2) + 1);
            if (grown == NULL) {
                error_set(err, ERR_NOMEM, "%s: out of memory for %zu bytes", path, capacity);
                goto fail;
            }
            data = grown;
        }
    }
    close(fd);
    data[used] = '\0';
    *out = data;
    if (n_bytes != NULL) *n_bytes = used;
    return true;
fail:
    free(data);
    close(fd);
    return false;
}

static bool folder_sync(const char *path_inside) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path_inside);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

bool file_write_atomic(const char *path, const void *data, size_t n_bytes, struct error *err) {
    char tmp[4096];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return error_set(err, ERR_LIMIT, "%s: path too long", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return error_set(err, ERR_IO, "%s: %s", tmp, strerror(errno));
    const char *p = data;
    size_t left = n_bytes;
    while (left > 0) {
        ssize_t n = write(fd, p, left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            error_set(err, ERR_IO, "%s: wrote %zu of %zu bytes: %s", tmp, n_bytes - left, n_bytes,
                      strerror(errno));
            close(fd);
            unlink(tmp);
            return false;
        }
        p += n;
        left -= (size_t)n;
    }
    bool ok = fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(tmp, path) != 0 || !folder_sync(path)) {
        error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        unlink(tmp);
        return false;
    }
    return true;
}

bool file_make_folders(const char *path, struct error *err) {
    char partial[4096];
    if ((size_t)snprintf(partial, sizeof partial, "%s", path) >= sizeof partial)
        return error_set(err, ERR_LIMIT, "%s: path too long", path);
    for (char *p = partial + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char c = *p;
        *p = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            return error_set(err, ERR_IO, "%s: %s", partial, strerror(errno));
        *p = c;
        if (c == '\0') break;
    }
    return file_is_folder(path) || error_set(err, ERR_IO, "%s: exists and is not a folder", path);
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

bool file_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_join(char *out, size_t out_bytes, const char *folder, const char *name, struct error *err) {
    if ((size_t)snprintf(out, out_bytes, "%s/%s", folder, name) >= out_bytes)
        return error_set(err, ERR_LIMIT, "%s/%s: path too long", folder, name);
    return true;
}
