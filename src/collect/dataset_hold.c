// What is held back for the validation loss: whole trajectories, and of these only what starts from
// scripts that no trained trajectory shows. All trajectories of a task begin in the same state and
// many go on through the same ones, so that trajectories drawn by lot would have next to nothing of
// their own (of 60 that follow ten ideas, a twentieth: 40 steps, of which 5 and no edit). So those
// are taken that go where no other goes.
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "collect/dataset.h"

// A script of the task, and who starts steps from it.
typedef struct {
    uint64_t hash;
    size_t trained;                // trajectories that are not held back
    size_t edits, others;          // candidates of those that are
} script;

typedef struct {
    mla__candidate *items;         // [n], of one task
    size_t n;
    size_t edits, others;          // from scripts that would be its own, were it held back
    uint64_t lot;
    bool held_back;
} holder;

typedef struct {
    holder *holders;               // [n_holders], the task's trajectories, owned
    size_t n_holders;
    script *scripts;               // [n_scripts], by hash, owned
    size_t n_scripts;
} choosing;

static int by_hash(const void *a, const void *b) {
    const script *p = a, *q = b;
    return (p->hash > q->hash) - (p->hash < q->hash);
}

static script *find_script(const choosing *c, const mla__candidate *from) {
    const script wanted = {.hash = from->script};
    return bsearch(&wanted, c->scripts, c->n_scripts, sizeof wanted, by_hash);
}

static bool is_edit(const mla__candidate *c) {
    return mla_action_is_edit(c->step.trajectory->steps[c->step.at].kind);
}

// Whether it is the first of its trajectory from that script.
static bool is_first(const holder *h, size_t at) {
    size_t i = 0;
    while (h->items[i].script != h->items[at].script) i++;
    return i == at;
}

static void list_scripts(choosing *c, const mla__candidate *items, size_t n) {
    c->scripts = MLA_NEW_ARRAY(script, n);
    for (size_t i = 0; i < n; i++) c->scripts[i].hash = items[i].script;
    qsort(c->scripts, n, sizeof *c->scripts, by_hash);
    for (size_t i = 0; i < n; i++) {
        if (!i || c->scripts[i].hash != c->scripts[c->n_scripts - 1].hash) {
            c->scripts[c->n_scripts++] = c->scripts[i];
        }
    }
    for (size_t h = 0; h < c->n_holders; h++) {
        for (size_t i = 0; i < c->holders[h].n; i++) {
            const mla__candidate *from = &c->holders[h].items[i];
            if (is_first(&c->holders[h], i)) find_script(c, from)->trained++;
        }
    }
}

// One task's candidates [n], trajectory by trajectory.
static void choosing_init(choosing *c, mla__candidate *items, size_t n, uint64_t seed) {
    *c = (choosing){.holders = MLA_NEW_ARRAY(holder, n)};
    for (size_t i = 0; i < n; i++) {
        const mla_trajectory *t = items[i].step.trajectory;
        if (!i || t != items[i - 1].step.trajectory) {
            uint64_t lot = mla_rng_derive(seed, mla_rng_hash(t->steps->trajectory), 0, 5);
            c->holders[c->n_holders++] = (holder){.items = &items[i], .lot = lot};
        }
        c->holders[c->n_holders - 1].n++;
    }
    list_scripts(c, items, n);
}

static void weigh(const choosing *c, holder *h) {
    h->edits = h->others = 0;
    for (size_t i = 0; i < h->n; i++) {
        const script *s = find_script(c, &h->items[i]);
        if (s->trained != 1) continue;
        h->edits += is_edit(&h->items[i]) + (is_first(h, i) ? s->edits : 0);
        h->others += !is_edit(&h->items[i]) + (is_first(h, i) ? s->others : 0);
    }
}

static bool is_better(const holder *a, const holder *b) {
    if (a->edits != b->edits) return a->edits > b->edits;
    if (a->others != b->others) return a->others > b->others;
    return a->lot < b->lot;
}

// The one that brings most; NULL when none brings anything.
static holder *choose(const choosing *c) {
    holder *best = NULL;
    for (size_t i = 0; i < c->n_holders; i++) {
        holder *h = &c->holders[i];
        if (h->held_back) continue;
        weigh(c, h);
        if (h->edits + h->others && (!best || is_better(h, best))) best = h;
    }
    return best;
}

static void hold(const choosing *c, holder *h) {
    h->held_back = true;
    for (size_t i = 0; i < h->n; i++) {
        script *s = find_script(c, &h->items[i]);
        h->items[i].held_back = true;
        s->edits += is_edit(&h->items[i]);
        s->others += !is_edit(&h->items[i]);
        s->trained -= is_first(h, i);
    }
}

// A task that has but one trajectory trains on it; one with more may hold back one at least.
static size_t how_many(size_t n, double share) {
    size_t wanted = (size_t)llround(share * (double)n);
    if (wanted == 0) wanted = 1;
    return wanted < n ? wanted : n - 1;
}

static void mark(mla__candidate *items, size_t n, double share, uint64_t seed) {
    choosing c;
    choosing_init(&c, items, n, seed);
    holder *best;
    for (size_t left = how_many(c.n_holders, share); left && (best = choose(&c)); left--) {
        hold(&c, best);
    }
    free(c.holders);
    free(c.scripts);
}

static void mark_all(mla__candidates *all, double share, uint64_t seed) {
    for (size_t from = 0, to; from < all->len; from = to) {
        for (to = from + 1; to < all->len && all->items[to].task == all->items[from].task;) to++;
        mark(all->items + from, to - from, share, seed);
    }
}

static uint64_t script_of(const mla__candidate *c) {
    return mla_rng_derive(c->script, c->task, 0, 0);
}

size_t mla__hold_back(mla__candidates *all, double share, uint64_t seed) {
    mla__seen trained = {0};
    size_t kept = 0;
    if (share > 0) mark_all(all, share, seed);
    for (size_t i = 0; i < all->len; i++) {
        if (!all->items[i].held_back) mla__seen_add(&trained, script_of(&all->items[i]));
    }
    for (size_t i = 0; i < all->len; i++) {
        mla__candidate *c = &all->items[i];
        if (c->held_back && mla__seen_has(&trained, script_of(c))) free(c->key);
        else all->items[kept++] = *c;
    }
    size_t dropped = all->len - kept;
    all->len = kept;
    mla__seen_clear(&trained);
    return dropped;
}
