// What the files of the collect room share: the tasks' ideas, the expert's words and its mistakes.
#ifndef MLA_COLLECT_INTERNAL_H
#define MLA_COLLECT_INTERNAL_H

#include "agent/endpoint.h"
#include "agent/trajectories.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/rng.h"
#include "collect/collect.h"

#define MLA__THOUGHT_WORDS 28     // of a thought: a small model has to learn them

// --- book.c: the ideas of all tasks, and which of them were chosen ------------------------------

// The ideas of a task, or of the variants of one together: each once.
typedef struct mla__pool {
    const mla_idea **ideas;        // [len], owned array
    size_t len;
    size_t first, tasks;           // its first task, and how many there are
    float *map;                    // [len, 2], owned
    double mapped;                 // share of the variance that the map shows
} mla__pool;

typedef struct mla__book {
    const mla_task *const *tasks;
    size_t n_tasks;
    mla_ideas *ideas;              // [n_tasks], owned
    mla_expert_ideas *chosen;      // [n_tasks]; their arrays are owned
    mla_diversity *diversity;      // [n_tasks]
    size_t *pool_of;               // [n_tasks]: of the variants of one it is the same
    mla__pool *pools;              // [n_pools]
    size_t n_pools;
} mla__book;

// Where vectors come from: the endpoint, or the policy where there is none.
typedef struct mla__embedder {
    mla_policy *policy;
    const mla_endpoint *endpoint;
} mla__embedder;

// Empty, for mla__book_fill of each task.
void mla__book_init(mla__book *book, const mla_task *const *tasks, size_t n_tasks);
void mla__book_clear(mla__book *book);
// The ideas of all tasks from their ideas.yaml.
MLA_MUST_USE int mla__book_load(mla__book *book, mla_err *err);
// Chooses of each pool and writes expert/ideas.json; the choice that is there is kept when it is of
// the same ideas by the same settings. Stops early, and writes nothing, when mla_stop_wanted().
MLA_MUST_USE int mla__book_choose(mla__book *book, mla_run *run, const mla__embedder *by,
                                  const mla_collect_options *options, mla_err *err);

// --- embed.c -------------------------------------------------------------------------------------

// Vectors of unit length: *out [n, *dim], caller frees. `bar` may be NULL; it counts texts. -1 also
// when mla_stop_wanted().
MLA_MUST_USE int mla__embed(const mla__embedder *by, const char *const *texts, size_t n,
                            float **out, size_t *dim, mla_progress *bar, mla_err *err);
// Takes the mean of unit vectors off them and makes them unit vectors again.
void mla__embed_centre(float *vectors, size_t n, size_t dim);

// --- asked.c, answers.c: ideas of a language model ----------------------------------------------

// Asks for the ideas of all tasks of the book, options->ideas_asked of each at least; `edits`: only
// such with an edit that fits the starter script count. Writes expert/asked.jsonl. Fewer that are
// enough to choose from are gone on with, too few are an error. 0 early when mla_stop_wanted().
MLA_MUST_USE int mla__ideas_ask(mla__book *book, mla_run *run, const mla_endpoint *endpoint,
                                const mla__embedder *by, mla_agent *agent,
                                const mla_collect_options *options, bool edits, mla_err *err);

// The ideas in a model's answer, whatever its form: JSON objects or a list. Texts are on one line;
// `why` and `blocks` may be "". Ids and families are not set. Adds to `out`.
void mla__answer_read(mla_ideas *out, const char *answer);
// Letters and digits in small, words with one space between and without fillers ("use", "the"):
// equal for texts that say the same in the same words. Caller frees.
char *mla__answer_normalise(const char *text);

// --- hints.c, replay.c: the other two experts --------------------------------------------------

mla_endpoint_hint mla__hints_make(mla__book *book);              // borrows
mla_actor mla__replay_actor(const mla_trajectories *all);        // borrows

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
