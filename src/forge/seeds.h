// forge/seeds.h - the seed corpus of one split: records, and the groups (twins, incidents) that
// stay together. Owns: the records. Thread: read-only once open.
#ifndef FORGE_SEEDS_H
#define FORGE_SEEDS_H

#include "triage/labels.h"

struct seed {
    struct label_record record;
    char file[16];    // "a01": where the record stands
    int64_t group;    // index of the first record of its group
    int64_t next;     // next record of the same group, -1 at the end
    uint64_t id_hash; // of the record's id
};

struct seeds {
    struct seed *items; // in order of file name, then of line
    int64_t n, capacity;
    int64_t
        n_persona_dropped; // train records left out because their author also writes in dev or ood
};

uint64_t forge_hash(const char *s, uint64_t basis); // FNV-1a 64; basis 0 starts afresh

// Reads FOLDER/split.tsv and the records of `split` ("train", "dev", "ood") from FOLDER/*.jsonl. An
// id without a split, and a twin or incident that crosses splits, are errors. A persona that
// crosses is dropped from train unless keep_personas. split NULL reads every record (then nothing
// can cross).
NODISCARD bool seeds_open(struct seeds *seeds, const char *folder, const char *split,
                          bool keep_personas, struct error *err);
void seeds_close(struct seeds *seeds);                         // zeroed storage is fine
int64_t seeds_find(const struct seeds *seeds, const char *id); // index, or -1

#endif
