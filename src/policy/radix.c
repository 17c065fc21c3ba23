// The prefix cache: a radix tree over the KV cache's pages. A digit is a whole page of token ids,
// so a node is one page of keys and values, and the way to it from the root is all that came
// before. The tree owns its pages beside the sequences that use them; those that it alone owns can
// be forgotten, leaves first, least recently used first.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/internal.h"

enum { NONE = -1, PAGE = MLA_KV_PAGE };

typedef struct node {
    int32_t ids[PAGE];
    int page;                 // NONE: the node is free
    int parent, child, next;  // indices; `next` is a sibling, or the next free node
    uint64_t used;            // when it was last wanted
    uint64_t pinned;          // the count that found it in use, or above a node in use
} node;

struct mla__radix {
    mla_kv *kv;
    node *nodes;              // [n]
    size_t n, cap;
    int roots, free;          // heads of lists
    uint64_t clock, counts;
    size_t pages;
};

mla__radix *mla__radix_create(mla_kv *kv) {
    mla__radix *tree = MLA_NEW(mla__radix);
    tree->kv = kv;
    tree->roots = tree->free = NONE;
    return tree;
}

void mla__radix_free(mla__radix *tree) {
    if (!tree) return;
    free(tree->nodes);
    free(tree);
}

static int *children_of(mla__radix *tree, int parent) {
    return parent == NONE ? &tree->roots : &tree->nodes[parent].child;
}

static int find_child(mla__radix *tree, int parent, const int32_t *ids) {
    int at = *children_of(tree, parent);
    while (at != NONE && memcmp(tree->nodes[at].ids, ids, PAGE * sizeof *ids))
        at = tree->nodes[at].next;
    return at;
}

size_t mla__radix_find(mla__radix *tree, const int32_t *ids, size_t n, int *pages) {
    size_t found = 0;
    tree->clock++;
    for (int at = NONE; (found + 1) * PAGE <= n; found++) {
        at = find_child(tree, at, ids + found * PAGE);
        if (at == NONE) break;
        tree->nodes[at].used = tree->clock;
        pages[found] = tree->nodes[at].page;
    }
    return found;
}

static int add_child(mla__radix *tree, int parent, const int32_t *ids, int page) {
    int at = tree->free;
    if (at == NONE) {
        MLA_GROW(tree->nodes, tree->cap, tree->n + 1);
        at = (int)tree->n++;
    } else {
        tree->free = tree->nodes[at].next;
    }
    node *new = &tree->nodes[at];
    *new = (node){.page = page, .parent = parent, .child = NONE};
    memcpy(new->ids, ids, sizeof new->ids);
    int *list = children_of(tree, parent);
    new->next = *list;
    *list = at;
    mla_kv_retain(tree->kv, page);
    tree->pages++;
    return at;
}

void mla__radix_insert(mla__radix *tree, const int32_t *ids, size_t n, int seq) {
    tree->clock++;
    int at = NONE;
    for (size_t i = 0; (i + 1) * PAGE <= n; i++) {
        int child = find_child(tree, at, ids + i * PAGE);
        if (child == NONE)
            child = add_child(tree, at, ids + i * PAGE, mla_kv_page(tree->kv, seq, i));
        at = child;
        tree->nodes[at].used = tree->clock;
    }
}

static void remove_leaf(mla__radix *tree, int at) {
    int *link = children_of(tree, tree->nodes[at].parent);
    while (*link != at) link = &tree->nodes[*link].next;
    *link = tree->nodes[at].next;
    mla_kv_release(tree->kv, tree->nodes[at].page);
    tree->nodes[at].page = NONE;
    tree->nodes[at].next = tree->free;
    tree->free = at;
    tree->pages--;
}

static bool is_shared(const mla__radix *tree, const node *x) {
    return mla_kv_owners(tree->kv, x->page) > 1;
}

size_t mla__radix_evictable(mla__radix *tree) {
    const uint64_t mark = ++tree->counts;
    size_t pinned = 0;
    for (size_t i = 0; i < tree->n; i++) {
        if (tree->nodes[i].page == NONE || !is_shared(tree, &tree->nodes[i])) continue;
        for (int at = (int)i; at != NONE && tree->nodes[at].pinned != mark; pinned++) {
            tree->nodes[at].pinned = mark;
            at = tree->nodes[at].parent;
        }
    }
    return tree->pages - pinned;
}

bool mla__radix_evict(mla__radix *tree) {
    int oldest = NONE;
    for (size_t i = 0; i < tree->n; i++) {
        const node *x = &tree->nodes[i];
        if (x->page == NONE || x->child != NONE || is_shared(tree, x)) continue;
        if (oldest == NONE || x->used < tree->nodes[oldest].used) oldest = (int)i;
    }
    if (oldest == NONE) return false;
    remove_leaf(tree, oldest);
    return true;
}

void mla__radix_forget(mla__radix *tree) {
    for (size_t i = 0; i < tree->n; i++)
        if (tree->nodes[i].page != NONE) mla_kv_release(tree->kv, tree->nodes[i].page);
    tree->n = tree->pages = 0;
    tree->roots = tree->free = NONE;
}
