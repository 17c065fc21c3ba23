// Which of the expert's steps are learned from, and in which order they are taken.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "collect/dataset.h"
#include "env/action.h"

static const char *const keep_names[] = {
#define X(id, name, meaning) name,
    MLA_KEEP_MAP(X)
#undef X
};

const char *mla_keep_name(mla_keep keep) {
    MLA_ASSERT((size_t)keep < MLA_COUNT(keep_names));
    return keep_names[keep];
}

int mla_keep_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(keep_names); i++) {
        if (strcmp(name, keep_names[i]) == 0) return (int)i;
    }
    return -1;
}

const char *mla__reason_name(mla__reason reason) {
    static const char *const names[] = {
#define X(id, name) name,
        MLA__REASONS(X)
#undef X
    };
    MLA_ASSERT((size_t)reason < MLA_COUNT(names));
    return names[reason];
}

static bool gains_enough(const mla_step *step, const mla_dataset_options *options) {
    switch (options->keep) {
    case MLA_KEEP_NOT_HURT: return step->reward.gain >= -options->margin;
    case MLA_KEEP_IMPROVED: return step->reward.gain > options->margin;
    default: return true;
    }
}

mla__reason mla__step_reason(const mla_step *step, const mla_dataset_options *options) {
    if (step->kind == MLA_ACTION_NONE || !step->text) return MLA__UNREAD;
    if (isnan(step->reward.reward)) return MLA__UNJUDGED;
    if (step->flags) return MLA__FLAGGED;
    if (mla_outcome_class_of(step->outcome) != MLA_CLASS_DONE) return MLA__FAILED;
    if (mla_action_is_edit(step->kind) && !gains_enough(step, options)) return MLA__HURT;
    return MLA__LEARN;
}

mla__sort mla__sort_of(mla_action_kind kind) {
    if (mla_action_is_edit(kind)) return MLA__EDITS;
    if (kind == MLA_ACTION_UNDO_EDIT) return MLA__UNDOS;
    return kind == MLA_ACTION_FINAL_ANSWER ? MLA__FINALS : MLA__LOOKS;
}

const char *mla__sort_name(mla__sort sort) {
    static const char *const names[MLA__SORTS] = {
        [MLA__EDITS] = "edits", [MLA__UNDOS] = "undos", [MLA__FINALS] = "final answers",
        [MLA__LOOKS] = "looks"};
    return names[sort];
}

static double share_of(const mla_mix *mix, mla__sort sort) {
    const double shares[MLA__SORTS] = {
        [MLA__EDITS] = mix->edits, [MLA__UNDOS] = mix->undos, [MLA__FINALS] = mix->finals,
        [MLA__LOOKS] = mix->looks};
    return shares[sort] / (mix->edits + mix->undos + mix->finals + mix->looks);
}

char *mla__step_key(const mla_step *step) {
    mla_action action;
    mla_err why;
    if (step->edit) return mla_strdup(step->edit);
    if (!mla_action_is_edit(step->kind) || !step->text ||
        mla_action_parse(&action, step->text, MLA_ACTIONS_ALL, &why) < 0) {
        return mla_strdup(mla_action_name(step->kind));
    }
    char *key = mla_strdup(action.blocks ? action.blocks : "");
    mla_action_clear(&action);
    return key;
}

void mla__candidates_clear(mla__candidates *all) {
    for (size_t i = 0; i < all->len; i++) free(all->items[i].key);
    free(all->items);
    *all = (mla__candidates){0};
}

// ---- shelves -----------------------------------------------------------------------------------

static int by_state(const void *a, const void *b) {
    const mla__candidate *p = *(mla__candidate *const *)a, *q = *(mla__candidate *const *)b;
    if (p->state != q->state) return p->state < q->state ? -1 : 1;
    int order = strcmp(p->key, q->key);
    return order ? order : (p->draw > q->draw) - (p->draw < q->draw);
}

// The different actions first; among these, the states that have most of them, for a state costs
// its tokens only once.
static int by_rank(const void *a, const void *b) {
    const mla__candidate *p = *(const mla__candidate *const *)a,
                         *q = *(const mla__candidate *const *)b;
    if (p->rank != q->rank) return p->rank < q->rank ? -1 : 1;
    if (p->crowd != q->crowd) return p->crowd > q->crowd ? -1 : 1;
    if (p->state != q->state) return p->state < q->state ? -1 : 1;
    return (p->draw > q->draw) - (p->draw < q->draw);
}

// Candidates [n] of one state, equal ones side by side.
static void meet(mla__candidate **all, size_t n) {
    size_t different = 0;
    for (size_t i = 0; i < n; i++) {
        bool again = i && !strcmp(all[i]->key, all[i - 1]->key);
        all[i]->rank = again ? all[i - 1]->rank + 1 : 0;
        different += !again;
    }
    for (size_t i = 0; i < n; i++) {
        all[i]->crowd = different;
        all[i]->way = all[0]->step;
    }
}

static void meet_all(mla__candidate **all, size_t n) {
    size_t from = 0;
    if (n) qsort(all, n, sizeof *all, by_state);
    for (size_t i = 1; i <= n; i++) {
        if (i < n && all[i]->state == all[from]->state) continue;
        meet(all + from, i - from);
        from = i;
    }
}

mla__task_shelf *mla__shelves_create(mla__candidates *all, size_t n_tasks, bool held_back) {
    mla__candidate **here = MLA_NEW_ARRAY(mla__candidate *, all->len + 1);
    mla__task_shelf *shelves = MLA_NEW_ARRAY(mla__task_shelf, n_tasks);
    size_t n = 0;
    for (size_t i = 0; i < all->len; i++) {
        if (all->items[i].held_back == held_back) here[n++] = &all->items[i];
    }
    meet_all(here, n);
    for (size_t i = 0; i < n; i++) {
        mla__sort sort = mla__sort_of(here[i]->step.trajectory->steps[here[i]->step.at].kind);
        mla__shelf *s = &shelves[here[i]->task].sorts[sort];
        MLA_GROW(s->items, s->cap, s->len + 1);
        s->items[s->len++] = here[i];
    }
    for (size_t i = 0; i < n_tasks * MLA__SORTS; i++) {
        mla__shelf *s = &shelves[i / MLA__SORTS].sorts[i % MLA__SORTS];
        if (s->len) qsort(s->items, s->len, sizeof *s->items, by_rank);
    }
    free(here);
    return shelves;
}

void mla__shelves_free(mla__task_shelf *shelves, size_t n_tasks) {
    for (size_t i = 0; shelves && i < n_tasks * MLA__SORTS; i++) {
        free(shelves[i / MLA__SORTS].sorts[i % MLA__SORTS].items);
    }
    free(shelves);
}

mla__shelf *mla__shelves_pick(mla__task_shelf *t, const mla_mix *mix) {
    size_t total = 1;
    for (int s = 0; s < MLA__SORTS; s++) total += t->sorts[s].taken;
    if (t->sorts[MLA__EDITS].next == t->sorts[MLA__EDITS].len) return NULL;
    mla__shelf *best = &t->sorts[MLA__EDITS];
    double most = share_of(mix, MLA__EDITS) * (double)total - (double)best->taken;
    for (int s = MLA__UNDOS; s < MLA__SORTS; s++) {
        mla__shelf *one = &t->sorts[s];
        double behind = share_of(mix, (mla__sort)s) * (double)total - (double)one->taken;
        if (one->next < one->len && behind > most) {
            most = behind;
            best = one;
        }
    }
    return best;
}
