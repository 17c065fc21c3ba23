// Samples on their way to a file: in training order, whole or not at all.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "collect/dataset.h"
#include "record/store.h"

// ---- a set of hashes ---------------------------------------------------------------------------

static size_t slot_of(const mla__seen *seen, uint64_t hash) {
    size_t at = (size_t)hash & (seen->cap - 1);
    while (seen->slots[at] && seen->slots[at] != hash) at = (at + 1) & (seen->cap - 1);
    return at;
}

static uint64_t not_zero(uint64_t hash) {
    return hash ? hash : 1;
}

bool mla__seen_has(const mla__seen *seen, uint64_t hash) {
    return seen->cap && seen->slots[slot_of(seen, not_zero(hash))];
}

static void grow(mla__seen *seen) {
    mla__seen more = {.cap = seen->cap ? 2 * seen->cap : 64};
    more.slots = MLA_NEW_ARRAY(uint64_t, more.cap);
    for (size_t i = 0; i < seen->cap; i++) {
        if (seen->slots[i]) mla__seen_add(&more, seen->slots[i]);
    }
    free(seen->slots);
    *seen = more;
}

bool mla__seen_add(mla__seen *seen, uint64_t hash) {
    if (2 * (seen->len + 1) > seen->cap) grow(seen);
    size_t at = slot_of(seen, not_zero(hash));
    if (seen->slots[at]) return false;
    seen->slots[at] = not_zero(hash);
    seen->len++;
    return true;
}

void mla__seen_clear(mla__seen *seen) {
    free(seen->slots);
    *seen = (mla__seen){0};
}

uint64_t mla__ids_hash(const int32_t *ids, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) hash = mla_rng_derive(hash, (uint64_t)ids[i], i, 0);
    return hash;
}

// ---- training order ----------------------------------------------------------------------------

typedef struct {
    uint64_t prompt;     // its hash
    size_t lot;          // place by lot
    size_t first;        // the least place by lot of those with this prompt
    size_t at;           // index of the sample
} ordered;

static int by_prompt(const void *a, const void *b) {
    const ordered *p = a, *q = b;
    if (p->prompt != q->prompt) return p->prompt < q->prompt ? -1 : 1;
    return (p->lot > q->lot) - (p->lot < q->lot);
}

static int by_first(const void *a, const void *b) {
    const ordered *p = a, *q = b;
    if (p->first != q->first) return p->first < q->first ? -1 : 1;
    return (p->lot > q->lot) - (p->lot < q->lot);
}

// [samples->len]; caller frees.
static ordered *training_order(const mla_steps *samples, uint64_t seed) {
    size_t n = samples->len;
    ordered *order = MLA_NEW_ARRAY(ordered, n);
    size_t *lot = MLA_NEW_ARRAY(size_t, n);
    mla_rng rng;
    mla_rng_init(&rng, seed);
    for (size_t i = 0; i < n; i++) lot[i] = i;
    mla_rng_shuffle(&rng, lot, n);
    for (size_t i = 0; i < n; i++) {
        const mla_step *s = &samples->items[lot[i]];
        order[i] = (ordered){mla__ids_hash(s->prompt_ids, s->n_prompt), i, i, lot[i]};
    }
    qsort(order, n, sizeof *order, by_prompt);
    for (size_t i = 1; i < n; i++) {
        if (order[i].prompt == order[i - 1].prompt) order[i].first = order[i - 1].first;
    }
    qsort(order, n, sizeof *order, by_first);
    free(lot);
    return order;
}

int mla__samples_write(const mla_steps *samples, const char *path, uint64_t seed, mla_err *err) {
    if (!samples->len) return mla_fs_remove_tree(path, err);
    ordered *order = training_order(samples, seed);
    char *aside = mla_format("%s.new", path);
    remove(aside);
    mla_lines *lines = mla_lines_open(aside, err);
    int rc = lines ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < samples->len; i++) {
        rc = mla_store_append(lines, &samples->items[order[i].at], err);
    }
    mla_lines_close(lines);
    if (rc == 0 && rename(aside, path) < 0) {
        rc = mla_err_set(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    free(aside);
    free(order);
    return rc;
}
