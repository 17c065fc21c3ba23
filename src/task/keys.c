// A hash table that numbers distinct texts and numbers: ids and class labels. Only keys of trusted
// answers are ever added, so a submission can be looked up in it but cannot fill it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "task/internal.h"

void mla__keys_clear(mla__keys *keys) {
    free(keys->items);
    free(keys->slots);
    *keys = (mla__keys){0};
}

mla__key mla__key_text(const char *text) {
    return (mla__key){.text = text};
}

mla__key mla__key_label(const char *text) {
    mla__key key = {.text = text};
    key.numeric = mla__number_parse(text, &key.number) && isfinite(key.number);
    if (key.number == 0) key.number = 0;        // -0 is 0, in its bits too
    return key;
}

static uint64_t hash(mla__key key) {
    if (!key.numeric) return mla_rng_hash(key.text);
    uint64_t bits;
    memcpy(&bits, &key.number, sizeof bits);
    return mla_rng_derive(bits, 0, 0, 0);
}

bool mla__key_equal(mla__key a, mla__key b) {
    if (a.numeric != b.numeric) return false;
    return a.numeric ? a.number == b.number : strcmp(a.text, b.text) == 0;
}

// The slot that holds the key, or the free one where it belongs. A slot's tag, other bits of the
// hash, spares a look at most of the keys that are not the one.
static mla__slot *slot_of(const mla__keys *keys, mla__key key, uint32_t *tag) {
    uint64_t h = hash(key);
    size_t mask = keys->slot_count - 1, at = (size_t)(h ^ h >> 29) & mask;
    *tag = (uint32_t)(h >> 32);
    for (;; at = (at + 1) & mask) {
        mla__slot *slot = &keys->slots[at];
        if (slot->number == 0) return slot;
        if (slot->tag == *tag && mla__key_equal(keys->items[slot->number - 1], key)) return slot;
    }
}

size_t mla__keys_find(const mla__keys *keys, mla__key key) {
    if (keys->len == 0) return MLA__KEY_NONE;
    uint32_t tag, number = slot_of(keys, key, &tag)->number;
    return number == 0 ? MLA__KEY_NONE : number - 1;
}

// Keeps the table at most half full.
static void make_room(mla__keys *keys) {
    MLA_GROW(keys->items, keys->cap, keys->len + 1);
    if (keys->len * 2 < keys->slot_count) return;
    keys->slot_count = keys->slot_count == 0 ? 64 : keys->slot_count * 2;
    free(keys->slots);
    keys->slots = MLA_NEW_ARRAY(mla__slot, keys->slot_count);
    for (size_t i = 0; i < keys->len; i++) {
        uint32_t tag;
        mla__slot *slot = slot_of(keys, keys->items[i], &tag);
        *slot = (mla__slot){.number = (uint32_t)i + 1, .tag = tag};
    }
}

size_t mla__keys_add(mla__keys *keys, mla__key key, bool *added) {
    MLA_ASSERT(keys->len < UINT32_MAX);
    make_room(keys);
    uint32_t tag;
    mla__slot *slot = slot_of(keys, key, &tag);
    *added = slot->number == 0;
    if (*added) {
        keys->items[keys->len++] = key;
        *slot = (mla__slot){.number = (uint32_t)keys->len, .tag = tag};
    }
    return slot->number - 1;
}
