// The environment: takes an action, touches a sandboxed workspace, returns facts. It never judges
// (reward) and never speaks (policy).
#ifndef MLA_ENV_ENV_H
#define MLA_ENV_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "record/step.h"
#include "task/task.h"

// ---- the editor of Edit Script (AI) -----------------------------------------------------------

typedef struct mla_edit_request {
    const char *name, *script;     // the script's file name and its text
    const char *instruction;       // what to do to it, in the agent's words
} mla_edit_request;

// Given by whoever may use a network or a policy; the environment knows neither. `edit` makes the
// whole new text (caller frees) and returns 0; 1: its answer is of no use, `why` says so to the
// agent, whose fault it is; -1: it could not answer, which is nobody's fault.
typedef struct mla_editor {
    int (*edit)(void *self, const mla_edit_request *request, char **text, mla_err *why);
    void *self;
    bool any_thread;               // it may be called on the workers' threads, several at once;
                                   // else only on threads that collect or step, one at a time
} mla_editor;
// The text in an editor's answer that is SEARCH/REPLACE blocks, or a whole script in a fence. As
// mla_editor.edit returns: 0 or 1.
int mla_editor_read(const mla_edit_request *request, const char *answer, char **text,
                    mla_err *why);

// Gets each scored submission as it is, on a worker's thread; the bytes are borrowed. With it the
// run cache is not asked, for it keeps no submissions.
typedef struct mla_submission_tap {
    void (*take)(void *self, size_t split, const char *csv, size_t len);
    void *self;
} mla_submission_tap;

typedef struct mla_env_options {
    int workers;               // scripts at once, each with its own warm Python; a script's threads
                               // (OpenMP, joblib) are this process's cores over the workers
    const char *python;        // interpreter of the task venv; NULL: <home>/venv/bin/python
    const char *home;          // home folder: data/ is mounted, answers/ is not
    const char *states_path;   // states.git, created when absent
    const char *cache_path;    // exec.sqlite, created when absent; NULL: no cache
    bool private_scores;       // evaluation only: facts carry the private half too
    mla_submission_tap tap;    // .take is NULL but where tasks are measured
    bool allow_weaker_sandbox; // run scripts with fewer protections than env/protections.h requires
    mla_action_set actions;    // what agents are offered; any other action is an invalid one
    mla_editor editor;         // .edit NULL: Edit Script (AI) is an edit that fails
} mla_env_options;

mla_env_options mla_env_options_default(void);

// What happened. The caller clears it.
typedef struct mla_facts {
    mla_action action;         // as parsed; kind NONE when the reply could not be read. An Edit
                               // Script (AI) gets the blocks that it came to
    mla_outcome outcome;
    char *error_type;          // "ValueError", "missing ids", ...; NULL when none
    char *feedback;            // for the agent: bounded, middle elided
    char *out, *err;           // a run's streams whatever came of it, middle elided; else NULL
    bool ran;                  // a script ran (or its cached result stands in)
    double score_before;       // public half, see mla_state.score
    double score_after;        // public half; NaN when nothing was scored
    double score_private;      // NaN unless options.private_scores
    mla_state state_after;
    mla_cost cost;             // run_seconds, peak_mb, cached
    unsigned flags;            // of mla_flag: what looks like cheating, by rule (docs/reward.md)
    bool final;                // the agent gave its Final Answer
} mla_facts;

void mla_facts_clear(mla_facts *facts);
// One line of why a run did not end well, NULL when it did. Caller frees.
char *mla_facts_fault(const mla_facts *facts);

typedef struct mla_env mla_env;

// Starts the workers; fails when the interpreter is not there or bubblewrap may not make
// namespaces, saying what to do. The tasks passed to it must outlive it.
mla_env *mla_env_create(const mla_env_options *options, mla_err *err);
void mla_env_free(mla_env *env);        // nothing of any run is alive afterwards

// The task's starting state: its env/ folder as a commit. Idempotent.
MLA_MUST_USE int mla_env_begin(mla_env *env, const mla_task *task, mla_state *out, mla_err *err);

// The seed of the global generators (random, numpy.random) of runs that begin later; 0 at first.
// Not while replies are outstanding.
void mla_env_seed(mla_env *env, uint64_t seed);

// Whether a state can be gone on from: a power cut takes those of the last second.
bool mla_env_has(mla_env *env, const mla_state *state);

// A state's script (task->script) as text; caller frees. NULL on error.
char *mla_env_script(mla_env *env, const mla_task *task, const mla_state *state, mla_err *err);

// Runs the task's script from the starting state. The caller clears `out`, set in any case.
MLA_MUST_USE int mla_env_try(mla_env *env, const mla_task *task, mla_facts *out, mla_err *err);
// The same, for whoever only wants to know that it scores: -1 and why when it does not.
MLA_MUST_USE int mla_env_check_starter(mla_env *env, const mla_task *task, mla_err *err);

// What changed from one state to another: a unified diff of all files, as `patch -p1` takes it; ""
// when nothing did. Caller frees. NULL on error.
char *mla_env_diff(mla_env *env, const mla_state *from, const mla_state *to, mla_err *err);

// Carries out one reply of an agent from a state. The agent's failures are outcomes; -1 only when
// our own machinery cannot go on at all (states.git unwritable, ...).
MLA_MUST_USE int mla_env_step(mla_env *env, const mla_task *task, const mla_state *from,
                              const char *reply, mla_facts *out, mla_err *err);

#define MLA_ENV_QUEUE 1024     // replies that wait for a worker

// The same, asynchronously; results come back one by one as they end. While MLA_ENV_QUEUE replies
// wait for a worker submit waits too; what is done waits to be collected. `tag` is returned with
// its result. Collect blocks until one is ready (or wait_seconds pass):
// 1 and a result, 0 when none came in time or none is outstanding, -1 as above. An editor that is
// not for any thread works inside collect (and step), beyond wait_seconds if it must.
MLA_MUST_USE int mla_env_submit(mla_env *env, const mla_task *task, const mla_state *from,
                                const char *reply, size_t tag, mla_err *err);
MLA_MUST_USE int mla_env_collect(mla_env *env, double wait_seconds, size_t *tag, mla_facts *out,
                                 mla_err *err);
size_t mla_env_outstanding(const mla_env *env);
// Drops what was submitted under `tag`, or everything (NULL): what waits is not begun, a run under
// way is ended with all its processes, results that were not collected are gone, and no tag of them
// comes back. Nothing of their runs is alive when it returns. A call of an editor under way is not
// broken off; its answer is dropped. Returns how many were dropped. mla_env_step's are left alone.
size_t mla_env_cancel(mla_env *env, const size_t *tag);

// Counters since creation.
typedef struct mla_env_stats {
    size_t steps, runs, cache_hits, workers_replaced;
    double run_seconds, saved_seconds;
} mla_env_stats;
mla_env_stats mla_env_stats_get(const mla_env *env);

#endif
