// What the files of the collect room share: the expert's words and its mistakes.
#ifndef MLA_COLLECT_INTERNAL_H
#define MLA_COLLECT_INTERNAL_H

#include "base/buf.h"
#include "base/rng.h"
#include "collect/collect.h"

#define MLA__THOUGHT_WORDS 28     // of a thought: a small model has to learn them

// --- words.c: what the expert thinks, in varied wording -----------------------------------------

// What became of the expert's last edit.
typedef enum {
    MLA__HELPED,     // the score got better
    MLA__SAME,       // the score is what it was
    MLA__HURT,       // the score got worse
    MLA__BROKE,      // the run failed
    MLA__SLOW,       // our clock or memory watch ended it
    MLA__GONE,       // the blocks do not fit the script as it is now
    MLA__LOST,       // nothing is known: our own machinery failed
} mla__verdict;

typedef struct mla__result {
    mla__verdict verdict;
    mla_outcome outcome;
    const char *error;           // exception's type or the submission's fault; may be NULL
    double before, after;        // scores; `after` only where one was given
} mla__result;

// Each puts sentences of a thought at the end of `out`.
void mla__say_look(mla_buf *out, mla_rng *rng, mla_action_kind kind, const mla_task *task);
void mla__say_kept(mla_buf *out, mla_rng *rng, const mla_task *task, const mla__result *result);
void mla__say_given_up(mla_buf *out, mla_rng *rng, bool gone);
void mla__say_undo(mla_buf *out, mla_rng *rng, const mla_task *task, const mla__result *result);
void mla__say_undo_more(mla_buf *out, mla_rng *rng);
void mla__say_repair(mla_buf *out, mla_rng *rng, const char *wrong, const char *right,
                     const mla__result *result);
void mla__say_idea(mla_buf *out, mla_rng *rng, const mla_idea *idea);
void mla__say_final(mla_buf *out, mla_rng *rng, bool tired);
// The text of the final answer.
void mla__say_answer(mla_buf *out, const mla_task *task, double best);

// --- mistake.c: a misspelt name, and what puts it right -----------------------------------------

typedef struct mla__mistake {
    char *blocks;                // the edit with the mistake in it, owned
    char *wrong_line, *right_line;   // owned
    char *wrong, *right;         // the name, owned
} mla__mistake;

// Misspells a name that the blocks bring in, chosen by `rng`; false when they have none that fits.
bool mla__mistake_make(mla__mistake *out, mla_rng *rng, const char *blocks);
// The edit that repairs it in `script`; NULL when the line is not there exactly once.
char *mla__mistake_repair(const mla__mistake *mistake, const char *script);
void mla__mistake_clear(mla__mistake *mistake);

#endif
