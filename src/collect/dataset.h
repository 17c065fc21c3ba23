// What the files of the data set share: which steps are worth learning, in which order they are
// taken, and how samples are written.
#ifndef MLA_COLLECT_DATASET_H
#define MLA_COLLECT_DATASET_H

#include "agent/trajectories.h"
#include "base/rng.h"
#include "collect/data.h"

// ---- dataset_pick.c: the choice ----------------------------------------------------------------

// Why a step is not learned from.  X(id, name)
#define MLA__REASONS(X)             \
    X(UNREAD, "no action")          \
    X(UNJUDGED, "not judged")       \
    X(FLAGGED, "flagged")           \
    X(FAILED, "not done")           \
    X(HURT, "gain too small")

typedef enum mla__reason {
#define X(id, name) MLA__##id,
    MLA__REASONS(X)
#undef X
    MLA__REASON_COUNT,
    MLA__LEARN = MLA__REASON_COUNT     // it is
} mla__reason;
const char *mla__reason_name(mla__reason reason);
// The first reason that holds.
mla__reason mla__step_reason(const mla_step *step, const mla_dataset_options *options);

// Editing is what earns reward and what is hard to learn; the other actions are a few fixed lines.
typedef enum mla__sort { MLA__EDITS, MLA__UNDOS, MLA__FINALS, MLA__LOOKS, MLA__SORTS } mla__sort;
mla__sort mla__sort_of(mla_action_kind kind);
const char *mla__sort_name(mla__sort sort);
// What a step does, without the wording of its thought: an edit is its blocks, all else is its
// kind. Caller frees.
char *mla__step_key(const mla_step *step);

typedef struct mla__place {
    const mla_trajectory *trajectory;
    size_t at;                     // step of the trajectory
} mla__place;

// A step that is worth learning. Trajectories that meet in a state came there by ways that differ
// in words: all actions from it are learned in one of these ways, so that they share its tokens.
typedef struct mla__candidate {
    mla__place step;
    mla__place way;                // the step before which its state is shown
    size_t task;                   // index; of a variant that of the first of its family
    uint64_t state;                // hash of the state and of the last feedback
    uint64_t script;               // hash of the script that it starts from
    bool held_back;                // its trajectory is for validation
    char *key;                     // mla__step_key, owned
    size_t rank;                   // how many equal ones from this state come before it
    size_t crowd;                  // how many different ones start from its state
    uint64_t draw;                 // its own place by lot
} mla__candidate;

typedef struct mla__candidates {
    mla__candidate *items;         // [len], owned
    size_t len, cap;
} mla__candidates;
void mla__candidates_clear(mla__candidates *all);

// Steps of one task, or family of variants, and sort, the different ones first.
typedef struct mla__shelf {
    const mla__candidate **items;  // [len], owned array of borrowed candidates
    size_t len, cap;
    size_t next, taken;
} mla__shelf;

typedef struct mla__task_shelf {
    mla__shelf sorts[MLA__SORTS];
} mla__task_shelf;

// The candidates that are held back, or those that are not, on shelves [n_tasks]; caller frees.
// Gives each candidate its rank, crowd and way.
mla__task_shelf *mla__shelves_create(mla__candidates *all, size_t n_tasks, bool held_back);
void mla__shelves_free(mla__task_shelf *shelves, size_t n_tasks);
// The next of what is farthest behind its share of this task's samples. All else follows the edits:
// when these are used up the task is, so that a data set of any size keeps the mix. NULL when it is
// used up; the caller counts what it kept in `taken`.
mla__shelf *mla__shelves_pick(mla__task_shelf *shelf, const mla_mix *mix);

// ---- dataset_hold.c: what is held back ---------------------------------------------------------

// Chooses trajectories of each task and marks their candidates (which stand task by task,
// trajectory by trajectory); drops those of them that start from a script that a trained one starts
// from too. How many were dropped.
size_t mla__hold_back(mla__candidates *all, double share, uint64_t seed);

// ---- dataset_write.c: samples ------------------------------------------------------------------

// A set of 64-bit hashes.
typedef struct mla__seen {
    uint64_t *slots;               // [cap], owned; 0: free
    size_t cap, len;
} mla__seen;
bool mla__seen_has(const mla__seen *seen, uint64_t hash);
bool mla__seen_add(mla__seen *seen, uint64_t hash);      // false: it was there
void mla__seen_clear(mla__seen *seen);
uint64_t mla__ids_hash(const int32_t *ids, size_t n);

// Writes samples in training order: states by lot, so that a batch has several tasks and kinds, and
// the samples of one state together, so that they can share its tokens. The file is there whole or
// as it was; without samples it is removed.
MLA_MUST_USE int mla__samples_write(const mla_steps *samples, const char *path, uint64_t seed,
                                    mla_err *err);

#endif
