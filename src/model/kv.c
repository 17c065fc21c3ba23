// The KV cache: sequences as lists of pages. A page holds 64 positions of every layer; a child
// shares its ancestors' full pages and owns a copy of the one that was partly filled. Pages are
// counted by owners, which are sequences or whoever retained one. Reading and writing keys and
// values is the attention's business.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

_Static_assert(MLA_KV_PAGE == MLA__PAGE, "the public size of a page is the kernels'");

// ---- pages -----------------------------------------------------------------------------------

static size_t head_bytes(const mla_kv *kv) // keys (or values) of one head in one page
{
    return (size_t)mla__padded_head(&kv->model->config) * MLA__PAGE *
           mla__element(kv->model->options.compute);
}

void *mla__kv_keys(const mla_kv *kv, int page, int layer, int head) {
    size_t at = (size_t)layer * (size_t)kv->model->config.kv_heads + (size_t)head;
    return (char *)kv->pages[page] + at * 2 * head_bytes(kv);
}

void *mla__kv_values(const mla_kv *kv, int page, int layer, int head) {
    return (char *)mla__kv_keys(kv, page, layer, head) + head_bytes(kv);
}

static int take_page(mla_kv *kv) {
    size_t at = 0;
    while (at < kv->n_pages && kv->refs[at]) at++;
    if (at == kv->n_pages) {
        MLA_GROW(kv->pages, kv->cap_pages, at + 1);
        MLA_GROW(kv->refs, kv->cap_refs, at + 1);
        kv->pages[at] = mla_alloc_aligned(kv->page_bytes);
        kv->n_pages++;
    } else {
        // Unused slots meet probabilities of zero, which a NaN left there would survive.
        memset(kv->pages[at], 0, kv->page_bytes);
    }
    kv->refs[at] = 1;
    kv->n_used++;
    return (int)at;
}

size_t mla__kv_pages_left(const mla_kv *kv) {
    return kv->max_pages - kv->n_used;
}

size_t mla_kv_pages_total(const mla_kv *kv) {
    return kv->max_pages;
}

size_t mla_kv_pages_used(const mla_kv *kv) {
    return kv->n_used;
}

int mla_kv_owners(const mla_kv *kv, int page) {
    MLA_ASSERT(page >= 0 && (size_t)page < kv->n_pages);
    return kv->refs[page];
}

void mla_kv_retain(mla_kv *kv, int page) {
    MLA_ASSERT(mla_kv_owners(kv, page) > 0);
    kv->refs[page]++;
}

void mla_kv_release(mla_kv *kv, int page) {
    MLA_ASSERT(mla_kv_owners(kv, page) > 0);
    if (--kv->refs[page] == 0) kv->n_used--;
}

size_t mla__kv_pages_missing(const mla_kv *kv, int seq, int n) {
    const mla__seq *s = &kv->seqs[seq];
    return mla__round_up((size_t)(s->length + n), MLA__PAGE) / MLA__PAGE - s->n_pages;
}

int mla__kv_reserve(mla_kv *kv, int seq, int n) {
    mla__seq *s = &kv->seqs[seq];
    size_t missing = mla__kv_pages_missing(kv, seq, n);
    if (missing > mla__kv_pages_left(kv)) return -1;
    MLA_GROW(s->pages, s->cap, s->n_pages + missing);
    while (missing--) s->pages[s->n_pages++] = take_page(kv);
    s->length += n;
    return 0;
}

static void copy_slots(const mla_kv *kv, const char *from, char *to, size_t slots) {
    const size_t element = mla__element(kv->model->options.compute), pair = 4 / element;
    const size_t padded = (size_t)mla__padded_head(&kv->model->config), values = head_bytes(kv);
    for (size_t lane = 0; lane < padded / pair; lane++)
        memcpy(to + lane * MLA__PAGE * 4, from + lane * MLA__PAGE * 4, slots * 4);
    from += values;
    to += values;
    size_t whole = slots / pair * padded * 4;
    memcpy(to, from, whole);
    if (slots % pair)
        for (size_t d = 0; d < padded; d++)
            memcpy(to + whole + d * 4, from + whole + d * 4, element);
}

void mla__kv_copy_tail(mla_kv *kv, const mla__tail *tail, int layer) {
    for (int head = 0; tail->slots && head < kv->model->config.kv_heads; head++)
        copy_slots(kv, mla__kv_keys(kv, tail->from, layer, head),
                   mla__kv_keys(kv, tail->to, layer, head), (size_t)tail->slots);
}

// ---- sequences -------------------------------------------------------------------------------

mla_kv *mla__kv_create(const mla_model *model, size_t max_pages) {
    mla_kv *kv = MLA_NEW(mla_kv);
    kv->model = model;
    kv->version = model->version;
    kv->page_bytes =
        head_bytes(kv) * 2 * (size_t)model->config.kv_heads * (size_t)model->config.layers;
    kv->max_pages = max_pages;
    kv->work = mla__work_create();
    return kv;
}

mla_kv *mla_kv_create(const mla_model *model, size_t max_bytes) {
    mla_kv *kv = mla__kv_create(model, 0);
    kv->max_pages = max_bytes / kv->page_bytes;
    return kv;
}

void mla_kv_free(mla_kv *kv) {
    if (!kv) return;
    for (size_t i = 0; i < kv->n_pages; i++) free(kv->pages[i]);
    for (size_t i = 0; i < kv->n_seqs; i++) free(kv->seqs[i].pages);
    free(kv->pages);
    free(kv->refs);
    free(kv->seqs);
    mla__work_free(kv->work);
    free(kv);
}

void mla_kv_reset(mla_kv *kv) {
    for (size_t i = 0; i < kv->n_pages; i++) kv->refs[i] = 0;
    kv->n_used = 0;
    for (size_t i = 0; i < kv->n_seqs; i++) {
        kv->seqs[i].open = false;
        kv->seqs[i].n_pages = 0;
        kv->seqs[i].length = 0;
    }
    kv->version = kv->model->version;
}

static int free_seq(mla_kv *kv) {
    size_t at = 0;
    while (at < kv->n_seqs && kv->seqs[at].open) at++;
    if (at == kv->n_seqs) {
        MLA_GROW(kv->seqs, kv->cap_seqs, at + 1);
        kv->seqs[at] = (mla__seq){0};
        kv->n_seqs++;
    }
    return (int)at;
}

static bool is_open(const mla_kv *kv, int seq) {
    return seq >= 0 && (size_t)seq < kv->n_seqs && kv->seqs[seq].open;
}

int mla_kv_open_pages(mla_kv *kv, const int *pages, size_t n) {
    int at = free_seq(kv);
    mla__seq *s = &kv->seqs[at];
    MLA_GROW(s->pages, s->cap, n + 1);
    for (size_t i = 0; i < n; i++) {
        s->pages[i] = pages[i];
        mla_kv_retain(kv, pages[i]);
    }
    s->open = true;
    s->n_pages = n;
    s->length = (int)n * MLA__PAGE;
    return at;
}

int mla__kv_fork(mla_kv *kv, int parent, mla__tail *tail) {
    *tail = (mla__tail){0};
    if (parent < 0) return mla_kv_open_pages(kv, NULL, 0);
    MLA_ASSERT(is_open(kv, parent));
    const int length = kv->seqs[parent].length, *pages = kv->seqs[parent].pages;
    const size_t shared = (size_t)length / MLA__PAGE;
    const int slots = length % MLA__PAGE;
    if (slots && !mla__kv_pages_left(kv)) return -1;
    int at = mla_kv_open_pages(kv, pages, shared);
    mla__seq *s = &kv->seqs[at];
    if (slots) {
        s->pages[s->n_pages++] = take_page(kv);
        s->length = length;
        *tail = (mla__tail){pages[shared], s->pages[shared], slots};
    }
    return at;
}

int mla_kv_open(mla_kv *kv, int parent) {
    mla__tail tail;
    int seq = mla__kv_fork(kv, parent, &tail);
    if (seq < 0) return -1;
    for (int layer = 0; layer < kv->model->config.layers; layer++)
        mla__kv_copy_tail(kv, &tail, layer);
    return seq;
}

void mla_kv_close(mla_kv *kv, int seq) {
    MLA_ASSERT(is_open(kv, seq));
    mla__seq *s = &kv->seqs[seq];
    for (size_t i = 0; i < s->n_pages; i++) mla_kv_release(kv, s->pages[i]);
    s->open = false;
    s->n_pages = 0;
    s->length = 0;
}

int mla_kv_length(const mla_kv *kv, int seq) {
    MLA_ASSERT(is_open(kv, seq));
    return kv->seqs[seq].length;
}

int mla_kv_page(const mla_kv *kv, int seq, size_t at) {
    MLA_ASSERT(is_open(kv, seq) && at < kv->seqs[seq].n_pages);
    return kv->seqs[seq].pages[at];
}

size_t mla_kv_pages_wanted(const mla_kv *kv, int seq, int n) {
    MLA_ASSERT(is_open(kv, seq));
    return mla__kv_pages_missing(kv, seq, n);
}
