// core/file.h - whole files and maps, with errors that name the path.
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include "core/error.h"

// A read-only map of a whole file. Borrowed pointers into `data` live until file_unmap().
struct file_map {
    const uint8_t *data; // NULL when the file is empty
    size_t n_bytes;
};

// A directory, a missing or an unreadable file is an error that says so.
NODISCARD bool file_map(struct file_map *map, const char *path, struct error *err);
void file_unmap(struct file_map *map); // zeroed storage is fine

// Reads a whole file of at most limit_bytes (0: 1 GiB); *out is NUL-terminated and the caller's to free().
NODISCARD bool file_read(char **out, size_t *n_bytes, const char *path, size_t limit_bytes, struct error *err);
// Writes path.tmp, fsyncs, renames over path, fsyncs the folder: readers see the old or the new file, whole.
NODISCARD bool file_write_atomic(const char *path, const void *data, size_t n_bytes, struct error *err);
NODISCARD bool file_make_folders(const char *path, struct error *err); // mkdir -p
bool file_exists(const char *path);
bool file_is_folder(const char *path);
// "a/b"; false and ERR_LIMIT when it does not fit.
NODISCARD bool file_join(char *out, size_t out_bytes, const char *folder, const char *name, struct error *err);

#endif
