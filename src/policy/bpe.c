// Byte-pair encoding of one word: its bytes are symbols in a linked list, and a heap gives the
// best-ranked, then leftmost pair, so that n bytes take n log n steps. Also the vocabulary's
// tables. Leaves out: what a word is (pretok.c).
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/tokenizer_internal.h"

// ---- GPT-2's printable alphabet --------------------------------------------------------------

// Bytes that print stand for themselves; the other 68, in order, for U+0100 and on.
static bool prints(unsigned byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static void build_alphabet(uint16_t point_of[256]) {
    uint16_t next = 256;
    for (unsigned b = 0; b < 256; b++) point_of[b] = prints(b) ? (uint16_t)b : next++;
}

void mla__bpe_print(const char *bytes, size_t len, char *out) {
    uint16_t point_of[256];
    build_alphabet(point_of);
    for (size_t i = 0; i < len; i++) {
        unsigned point = point_of[(uint8_t)bytes[i]];
        if (point >= 128) {
            *out++ = (char)(0xc0 | point >> 6);
            point = 0x80 | (point & 63);
        }
        *out++ = (char)point;
    }
    *out = 0;
}

// The bytes that `text` [len] stands for, into out; -1 when it is not in the alphabet.
static long unprint(const int16_t byte_of[512], const char *text, size_t len, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned point = (uint8_t)text[i];
        if (point >= 0xc2 && point <= 0xc7 && i + 1 < len && ((uint8_t)text[i + 1] & 0xc0) == 0x80)
            point = (point & 31) << 6 | ((uint8_t)text[++i] & 63);
        else if (point >= 128) return -1;
        if (byte_of[point] < 0) return -1;
        out[n++] = (char)byte_of[point];
    }
    return (long)n;
}

static void build_inverse(int16_t byte_of[512]) {
    uint16_t point_of[256];
    build_alphabet(point_of);
    for (int i = 0; i < 512; i++) byte_of[i] = -1;
    for (int b = 0; b < 256; b++) byte_of[point_of[b]] = (int16_t)b;
}

// ---- tables ----------------------------------------------------------------------------------

static size_t slots_for(size_t n) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    return slots;
}

static uint64_t load(const char *bytes, size_t size) {
    uint64_t word = 0;
    memcpy(&word, bytes, size);
    return word;
}

// Different for different texts of one length up to 8; beyond, a hash.
static uint64_t key_of(const char *bytes, size_t len) {
    if (len < 4) {
        if (!len) return 0;
        const uint8_t *p = (const uint8_t *)bytes;
        return p[0] | (uint64_t)p[len / 2] << 8 | (uint64_t)p[len - 1] << 16;
    }
    if (len <= 8) return load(bytes, 4) | load(bytes + len - 4, 4) << 32;
    uint64_t h = load(bytes + len - 8, 8);
    for (size_t i = 0; i + 8 < len; i += 8) {
        h = (h ^ load(bytes + i, 8)) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static size_t spread(uint64_t key, size_t len) {
    key = (key ^ len << 56) * 0x9e3779b97f4a7c15u;
    return (size_t)((key ^ key >> 32) * 0xc4ceb9fe1a85ec53u >> 20);
}

static size_t hash_pair(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (size_t)((h ^ h >> 29) * 0xbf58476d1ce4e5b9u >> 24);
}

static int32_t find_key(const mla__bpe *bpe, uint64_t key, const char *bytes, size_t len) {
    size_t mask = bpe->text_slots - 1;
    for (size_t at = spread(key, len) & mask;; at = (at + 1) & mask) {
        const mla__text_slot *slot = &bpe->by_text[at];
        if (slot->id < 0) return -1;
        if (slot->key != key || slot->len != len) continue;
        if (len <= 8 || !memcmp(bpe->raw[slot->id].data, bytes, len)) return slot->id;
    }
}

int32_t mla__bpe_find(const mla__bpe *bpe, const char *bytes, size_t len) {
    return find_key(bpe, key_of(bytes, len), bytes, len);
}

static const mla__merge *find_merge(const mla__bpe *bpe, int32_t left, int32_t right) {
    size_t mask = bpe->pair_slots - 1;
    for (size_t slot = hash_pair(left, right) & mask;; slot = (slot + 1) & mask) {
        const mla__merge *merge = &bpe->by_pair[slot];
        if (merge->rank < 0) return NULL;
        if (merge->left == left && merge->right == right) return merge;
    }
}

static void read_tokens(mla__bpe *bpe, const mla_vocab *vocab, const int16_t byte_of[512]) {
    size_t total = 0;
    for (size_t i = 0; i < vocab->n; i++) total += strlen(vocab->tokens[i]) + 1;
    char *at = bpe->raw_block = mla_alloc(total + 1, 1);
    for (size_t i = 0; i < vocab->n; i++) {
        size_t len = strlen(vocab->tokens[i]);
        long n = vocab->special[i] ? -1 : unprint(byte_of, vocab->tokens[i], len, at);
        if (n < 0) memcpy(at, vocab->tokens[i], len);
        bpe->raw[i] = (mla__bytes){at, n < 0 ? len : (size_t)n};
        at += bpe->raw[i].len + 1;
    }
}

static void index_tokens(mla__bpe *bpe, const mla_vocab *vocab) {
    size_t mask = bpe->text_slots - 1;
    for (size_t i = 0; i < bpe->text_slots; i++) bpe->by_text[i].id = -1;
    for (size_t id = 0; id < bpe->n; id++) {
        const mla__bytes *raw = &bpe->raw[id];
        if (vocab->special[id] == 2 || !raw->len || raw->len > UINT32_MAX) continue;
        uint64_t key = key_of(raw->data, raw->len);
        if (find_key(bpe, key, raw->data, raw->len) >= 0) continue;
        size_t at = spread(key, raw->len) & mask;
        while (bpe->by_text[at].id >= 0) at = (at + 1) & mask;
        bpe->by_text[at] = (mla__text_slot){key, (uint32_t)raw->len, (int32_t)id};
    }
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        bpe->byte_id[b] = mla__bpe_find(bpe, &byte, 1);
    }
}

static int merge_error(const char *merge, size_t rank, mla_err *err) {
    return mla_err_set(err, "vocabulary: merge %zu ('%.40s') joins or makes something that is no "
                       "token; the model's file is damaged", rank, merge);
}

// Both sides of "left right" and what they make must be tokens.
static int read_merge(const mla__bpe *bpe, const char *text, const int16_t byte_of[512],
                      mla__merge *out) {
    const char *space = strchr(text, ' ');
    size_t len = strlen(text);
    if (!space || len > 65536) return -1;
    char *raw = mla_alloc(len + 1, 1);
    long left = unprint(byte_of, text, (size_t)(space - text), raw);
    long right = left < 0 ? -1 : unprint(byte_of, space + 1, strlen(space + 1), raw + left);
    if (right > 0 && left > 0) {
        out->left = mla__bpe_find(bpe, raw, (size_t)left);
        out->right = mla__bpe_find(bpe, raw + left, (size_t)right);
        out->merged = mla__bpe_find(bpe, raw, (size_t)(left + right));
    } else {
        out->left = out->right = out->merged = -1;
    }
    free(raw);
    return out->left < 0 || out->right < 0 || out->merged < 0 ? -1 : 0;
}

static int read_merges(mla__bpe *bpe, const mla_vocab *vocab, const int16_t byte_of[512],
                       mla_err *err) {
    size_t mask = bpe->pair_slots - 1;
    for (size_t i = 0; i < bpe->pair_slots; i++) bpe->by_pair[i].rank = -1;
    for (size_t rank = 0; rank < vocab->n_merges; rank++) {
        mla__merge merge = {.rank = (int32_t)rank};
        if (read_merge(bpe, vocab->merges[rank], byte_of, &merge) < 0)
            return merge_error(vocab->merges[rank], rank, err);
        if (find_merge(bpe, merge.left, merge.right)) continue;
        size_t slot = hash_pair(merge.left, merge.right) & mask;
        while (bpe->by_pair[slot].rank >= 0) slot = (slot + 1) & mask;
        bpe->by_pair[slot] = merge;
    }
    return 0;
}

int mla__bpe_init(mla__bpe *bpe, const mla_vocab *vocab, mla_err *err) {
    int16_t byte_of[512];
    build_inverse(byte_of);
    bpe->n = vocab->n;
    bpe->raw = MLA_NEW_ARRAY(mla__bytes, vocab->n);
    bpe->whole = mla_alloc(vocab->n, sizeof *bpe->whole);
    bpe->text_slots = slots_for(vocab->n);
    bpe->by_text = MLA_NEW_ARRAY(mla__text_slot, bpe->text_slots);
    bpe->pair_slots = slots_for(vocab->n_merges);
    bpe->by_pair = MLA_NEW_ARRAY(mla__merge, bpe->pair_slots);
    read_tokens(bpe, vocab, byte_of);
    index_tokens(bpe, vocab);
    return read_merges(bpe, vocab, byte_of, err);
}

void mla__bpe_clear(mla__bpe *bpe) {
    free(bpe->raw);
    free(bpe->raw_block);
    free(bpe->by_text);
    free(bpe->by_pair);
    free((void *)bpe->whole);
    *bpe = (mla__bpe){0};
}

// ---- merging ---------------------------------------------------------------------------------

typedef struct mla__symbol {
    int32_t id;                    // -1: swallowed by its left neighbour
    int32_t prev, next;            // -1: none
} mla__symbol;

// A pair that could be merged: the symbol at `at` with its next.
typedef struct mla__candidate {
    int32_t rank, at, merged;
} mla__candidate;

static bool before(mla__candidate a, mla__candidate b) {
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void heap_push(mla__candidate *heap, size_t *n, mla__candidate item) {
    size_t at = (*n)++;
    for (; at && before(item, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = item;
}

static mla__candidate heap_pop(mla__candidate *heap, size_t *n) {
    mla__candidate top = heap[0], last = heap[--*n];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < *n; at = child) {
        if (child + 1 < *n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return top;
}

// Queues the pair of `at` and its next symbol, if they merge.
static void consider(const mla__bpe *bpe, mla__bpe_scratch *s, size_t *n_heap, int32_t at) {
    if (at < 0 || s->symbols[at].next < 0) return;
    const mla__merge *merge = find_merge(bpe, s->symbols[at].id,
                                         s->symbols[s->symbols[at].next].id);
    if (merge) heap_push(s->heap, n_heap, (mla__candidate){merge->rank, at, merge->merged});
}

// Whether the queued pair is still there: its symbols may have been merged otherwise since.
static bool stands(const mla__bpe *bpe, const mla__symbol *symbols, mla__candidate top) {
    const mla__symbol *left = &symbols[top.at];
    if (left->id < 0 || left->next < 0) return false;
    const mla__merge *merge = find_merge(bpe, left->id, symbols[left->next].id);
    return merge && merge->merged == top.merged;
}

static void join(mla__symbol *symbols, mla__candidate top) {
    mla__symbol *left = &symbols[top.at], *right = &symbols[left->next];
    left->id = top.merged;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0) symbols[left->next].prev = top.at;
}

// Bytes that the vocabulary lacks are dropped, as the tokenizers drop them.
static int32_t make_symbols(const mla__bpe *bpe, mla__symbol *symbols, const char *word,
                            size_t len) {
    int32_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t id = bpe->byte_id[(uint8_t)word[i]];
        if (id < 0) continue;
        symbols[n] = (mla__symbol){id, n - 1, n + 1};
        n++;
    }
    if (n) symbols[n - 1].next = -1;
    return n;
}

static void merge_word(const mla__bpe *bpe, mla__bpe_scratch *s, const char *word, size_t len,
                       mla_ids *out) {
    MLA_ASSERT(len < INT32_MAX / 4);
    MLA_GROW(s->symbols, s->cap_symbols, len);
    MLA_GROW(s->heap, s->cap_heap, 3 * len);       // each merge queues two pairs at most
    int32_t n = make_symbols(bpe, s->symbols, word, len);
    size_t n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++) consider(bpe, s, &n_heap, i);
    while (n_heap) {
        mla__candidate top = heap_pop(s->heap, &n_heap);
        if (!stands(bpe, s->symbols, top)) continue;
        join(s->symbols, top);
        consider(bpe, s, &n_heap, s->symbols[top.at].prev);
        consider(bpe, s, &n_heap, top.at);
    }
    for (int32_t i = n ? 0 : -1; i >= 0; i = s->symbols[i].next)
        mla_ids_push(out, s->symbols[i].id);
}

// Most words are one token. Whether a token's bytes really merge into it is found out once.
static bool is_whole(const mla__bpe *bpe, mla__bpe_scratch *s, int32_t id) {
    enum { UNKNOWN, NO, YES };
    uint8_t known = atomic_load_explicit(&bpe->whole[id], memory_order_relaxed);
    if (known == UNKNOWN) {
        mla_ids ids = {0};
        merge_word(bpe, s, bpe->raw[id].data, bpe->raw[id].len, &ids);
        known = ids.len == 1 && ids.data[0] == id ? YES : NO;
        mla_ids_clear(&ids);
        atomic_store_explicit(&bpe->whole[id], known, memory_order_relaxed);
    }
    return known == YES;
}

// ---- words of one text -----------------------------------------------------------------------

// A word that came before, and where its ids are in the output.
typedef struct mla__seen {
    uint64_t key;
    const char *word;
    uint32_t len, n;
    size_t at;                     // ids [at, at + n)
} mla__seen;

void mla__bpe_scratch_init(mla__bpe_scratch *scratch, size_t text_len) {
    enum { LEAST = 16, MOST = 8192, BYTES_A_SLOT = 32 };
    *scratch = (mla__bpe_scratch){.seen_slots = LEAST};
    while (scratch->seen_slots < MOST && scratch->seen_slots * BYTES_A_SLOT < text_len)
        scratch->seen_slots *= 2;
    scratch->seen = MLA_NEW_ARRAY(mla__seen, scratch->seen_slots);
}

void mla__bpe_scratch_clear(mla__bpe_scratch *scratch) {
    free(scratch->symbols);
    free(scratch->heap);
    free(scratch->seen);
    *scratch = (mla__bpe_scratch){0};
}

static bool is_same(const mla__seen *seen, uint64_t key, const char *word, size_t len) {
    return seen->key == key && seen->len == len && (len <= 8 || !memcmp(seen->word, word, len));
}

static void copy_ids(mla_ids *out, const mla__seen *seen) {
    if (out->len + seen->n > out->cap) MLA_GROW(out->data, out->cap, out->len + seen->n);
    for (size_t i = 0; i < seen->n; i++) out->data[out->len++] = out->data[seen->at + i];
}

// Text repeats itself, and the tables are larger than the caches: a word's ids are copied from
// where they were written before, if its slot still knows.
void mla__bpe_word(const mla__bpe *bpe, mla__bpe_scratch *scratch, const char *word, size_t len,
                   mla_ids *out) {
    uint64_t key = key_of(word, len);
    mla__seen *seen = &scratch->seen[spread(key, len) & (scratch->seen_slots - 1)];
    if (is_same(seen, key, word, len)) {
        copy_ids(out, seen);
        return;
    }
    size_t at = out->len;
    int32_t id = find_key(bpe, key, word, len);
    if (id >= 0 && is_whole(bpe, scratch, id)) mla_ids_push(out, id);
    else merge_word(bpe, scratch, word, len, out);
    *seen = (mla__seen){key, word, (uint32_t)len, (uint32_t)(out->len - at), at};
}
