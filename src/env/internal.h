// What the files of the environment share. The runner has a header of its own (runner.h).
#ifndef MLA_ENV_INTERNAL_H
#define MLA_ENV_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "env/env.h"
#include "env/runner.h"
#include "task/score.h"

#define MLA__REPLY_MAX ((size_t)64 << 10)     // a longer reply is no action
#define MLA__FILE_MAX ((size_t)256 << 10)     // one file of a state
#define MLA__FILES_MAX 64                     // files of a state
#define MLA__NAME_MAX 100                     // bytes of a file's name
#define MLA__FEEDBACK_MAX ((size_t)1500)      // about 400 tokens
#define MLA__INSPECT_LINES 100
#define MLA__INSPECT_MAX ((size_t)8000)       // bytes of them
#define MLA__UNDERSTAND_MAX ((size_t)4000)    // bytes of a description
#define MLA__STREAM_MAX ((size_t)4096)        // of each of a script's streams, middle elided

// --- action.c, action_input.c: reading replies --------------------------------------------------

// Whether a line opens an entry of a reply ("Thought:", "**Action**:", ...).
bool mla__entry_opens(const char *line);
// Reads the inputs of out->kind from *at on and moves behind them; `*edit` gets the blocks that
// stood inside the JSON (caller frees) or stays as it is. -1 with what is wrong, for the agent.
MLA_MUST_USE int mla__inputs_read(mla_action *out, const char **at, char **edit, mla_err *fault);

// --- edit.c: SEARCH/REPLACE blocks -------------------------------------------------------------

typedef struct mla__slice {
    const char *at;
    size_t len;
} mla__slice;

typedef struct mla__block {
    mla__slice search, replace;               // whole lines, each with its newline
    size_t width;                             // of its marks as written
} mla__block;

// Whether the line at `line` opens a block.
bool mla__block_opens(const char *line);
// Reads the block that opens at *at and moves *at behind it. -1 and a static `fault` when it is cut
// short.
int mla__block_read(const char **at, mla__block *out, const char **fault);
// Appends it with marks seven wide, unless its text has a line that would be taken for one.
void mla__block_write(mla_buf *out, const mla__block *block);
// `text` with all blocks applied in order, or NULL with `why` for the agent; all or nothing. Caller
// frees; `*n_blocks` is their number.
char *mla__edit_apply(const char *name, const char *text, const char *blocks, size_t *n_blocks,
                      mla_buf *why);

// --- diff.c: what an edit changed --------------------------------------------------------------

// The unified diff of two texts with 3 lines of context, cut at `max` bytes at a line's end with a
// note of it. Caller frees.
char *mla__diff_unified(const char *name, const char *before, const char *after, size_t max);
// Blocks that make `before` into `after` (both ended by a newline): one for each hunk, with as much
// round it as makes its SEARCH text stand once. NULL when blocks cannot say it: a line of the text
// looks like a block's mark, or nothing changes. Caller frees.
char *mla__diff_blocks(const char *name, const char *before, const char *after);

// --- files.c: the files of a state -------------------------------------------------------------

typedef struct mla__file {
    char *name;                               // plain name, no folder
    char *bytes;                              // NUL-terminated for convenience
    size_t len;
} mla__file;

typedef struct mla__files {                   // sorted by name
    mla__file items[MLA__FILES_MAX];
    size_t len;
} mla__files;

void mla__files_clear(mla__files *files);
const mla__file *mla__files_get(const mla__files *files, const char *name);
// Adds or replaces. -1 when the name is not a plain one, or the file or their number is too large.
MLA_MUST_USE int mla__files_put(mla__files *files, const char *name, const char *bytes, size_t len,
                                mla_err *err);
void mla__files_remove(mla__files *files, const char *name);       // nothing when it is not there
// Adds the plain files of a folder; hidden ones and __pycache__ are left out.
MLA_MUST_USE int mla__files_load(mla__files *files, const char *dir, mla_err *err);
// Writes them into a folder that is there.
MLA_MUST_USE int mla__files_write(const mla__files *files, const char *dir, mla_err *err);
// An agent's path as a plain name inside the workspace ("./train.py" -> "train.py"), as "data" or
// "data/x.csv" for the data folder, "" for the workspace itself; or NULL when it is absolute, has a
// "..", or leads deeper. Caller frees.
char *mla__path_clean(const char *path);
// Whether an agent may make a file of that name: ASCII letters, digits, '.', '_' and '-' only, so
// that no two names look alike; not "data" and not submission.csv, which a run itself must write.
bool mla__name_is_new(const char *name);

// --- snapshot.c: states in git -----------------------------------------------------------------

typedef struct mla__snapshots mla__snapshots;

typedef struct mla__snapshot {                // what a commit holds
    char task[128];
    char subject[200];                        // first line of its message
    char edited[MLA__NAME_MAX + 1];           // the script that Undo gives back; "" when unknown
    mla_state state;
} mla__snapshot;

mla__snapshots *mla__snapshots_open(const char *path, mla_err *err);
void mla__snapshots_free(mla__snapshots *snapshots);
// Commits files with snapshot->task, subject and state (undo, score, best) below `parent` ("": a
// root), and fills in snapshot->state.commit. Equal inputs give an equal id. Thread-safe.
MLA_MUST_USE int mla__snapshots_put(mla__snapshots *snapshots, mla__snapshot *snapshot,
                                    const char *parent, const mla__files *files, mla_err *err);
// Either of `out` and `files` may be NULL. `files` is initialised here.
MLA_MUST_USE int mla__snapshots_get(mla__snapshots *snapshots, const char *commit,
                                    mla__snapshot *out, mla__files *files, mla_err *err);

// --- cache.c: results of script runs -----------------------------------------------------------

typedef struct mla__result {                  // of a run, scored
    mla_outcome outcome;
    char *error_type;                         // owned; may be NULL
    char *out, *err;                          // owned; the script's streams, valid UTF-8
    mla_halves score;                         // NaN when nothing was scored
    unsigned flags;                           // of the submission (env/flags.h)
    double seconds, peak_mb;
} mla__result;

void mla__result_clear(mla__result *result);

typedef struct mla__cache mla__cache;

mla__cache *mla__cache_open(const char *path, mla_err *err);
void mla__cache_free(mla__cache *cache);
// 1 and a result; or 0: there is none, and the caller must carry out the run and then call
// mla__cache_end. Meanwhile others that begin with the same key wait for it. Thread-safe.
MLA_MUST_USE int mla__cache_begin(mla__cache *cache, const char key[65], mla__result *out,
                                  mla_err *err);
// `result` NULL: the run could not be carried out. Results that may differ next time (time-outs,
// our own failures) are not kept.
MLA_MUST_USE int mla__cache_end(mla__cache *cache, const char key[65], const mla__result *result,
                                mla_err *err);
// A cache that does not work costs time, not results: that is said once.
void mla__cache_warn(mla__cache *cache, const mla_err *trouble);
// SHA-256 over everything that a run's result depends on.
void mla__cache_key(char key[65], const mla_task *task, const char *script,
                    const mla__files *files, const char *fingerprint);

// --- feedback.c: what the agent reads ----------------------------------------------------------

// Of a run: what came of it, the score and its change, the streams' ends, quoted. `did` opens it
// ("The edit was applied to train.py (2 blocks)."); `change` is a diff, already bounded, or "".
// Caller frees.
char *mla__feedback_run(const mla_task *task, const char *did, const char *change,
                        const mla__result *result, const mla_state *before,
                        const mla_state *after);
// "0.8123 (accuracy, higher is better)", or "none yet" for NaN. Caller frees.
char *mla__feedback_score(const mla_task *task, double score);
// Cuts at a character's start so that at most `max` bytes are left.
void mla__feedback_cut(mla_buf *text, size_t max);

// --- look.c, understand*.c: List Files, Inspect Script Lines, Understand File ------------------

typedef struct mla__look {
    const mla_task *task;
    const mla__files *files;
    const mla_action *action;
} mla__look;

// The agent's text (caller frees); *ok false: it cannot be carried out and the text says why. NULL:
// a file that is there cannot be read.
char *mla__look_list(const mla__look *look, bool *ok, mla_err *err);
char *mla__look_lines(const mla__look *look, bool *ok, mla_err *err);
char *mla__understand(const mla__look *look, bool *ok, mla_err *err);
// A regular file of the data folder opened for reading, -1 when there is none; no link is followed.
int mla__data_open(const mla_task *task, const char *name);
// Appends what it holds, as far as `out` takes it. `name` is for the error's line.
MLA_MUST_USE int mla__data_read(int fd, const char *name, mla_buf *out, mla_err *err);

// Where the bytes of a file to be understood come from: a descriptor (>= 0), or a text in memory.
typedef struct mla__source {
    const char *name;
    int fd;
    const char *bytes;
    size_t len, at;
    int failed;                               // errno of a read that did not work
} mla__source;

// The next bytes, at most `room`; 0 at the end, or when `failed` is set.
size_t mla__source_read(mla__source *source, char *out, size_t room);

// Words that an agent looks for: runs of letters and digits, case ignored, nothing else is read in
// them.
typedef struct mla__words {
    char *items[16];                          // owned, lower case
    size_t len;
} mla__words;

void mla__words_read(mla__words *words, const char *text);            // NULL: none
void mla__words_clear(mla__words *words);
bool mla__words_match(const mla__words *words, const char *text, size_t len);

// Appends a text as one line: control characters as blanks, whole characters of `max` bytes.
void mla__add_plain(mla_buf *out, const char *text, size_t len, size_t max);

// What a file is, appended to `out` (bounded by its ceiling). csv: -1 when it is not one, for then
// it is shown as text.
MLA_MUST_USE int mla__understand_csv(mla__source *source, const mla__words *words, mla_buf *out);
void mla__understand_python(const char *name, const char *text, size_t len,
                            const mla__words *words, mla_buf *out);
void mla__understand_text(mla__source *source, const mla__words *words, mla_buf *out);

// --- step.c: one action ------------------------------------------------------------------------

typedef struct mla__stage {                   // what carrying out an action needs
    mla__snapshots *snapshots;
    mla__cache *cache;                        // NULL: none
    mla_runner *runner;
    const mla_answers *answers;
    int threads;                              // of a script
    uint64_t seed;                            // of a script's random numbers
    bool private_scores;
    mla_submission_tap tap;                   // .take NULL: none
    mla_action_set offered;
    mla_editor editor;                        // .edit NULL: none
    const atomic_bool *cancelled;             // of the job at hand: its run is to end
} mla__stage;

// An instruction on its way to an editor that works on the thread of whoever waits for the result.
typedef struct mla__wish {
    enum { MLA__WISH_NONE, MLA__WISH_ASKED, MLA__WISH_ANSWERED } status;
    char *name, *script, *instruction;        // owned
    int rc;                                   // the editor's answer
    char *text;                               // owned
    mla_err why;
} mla__wish;

void mla__wish_ask(mla__wish *wish, const mla_editor *editor);        // asked -> answered
void mla__wish_clear(mla__wish *wish);

// Carries out a reply. When it returns with wish->status ASKED nothing has happened yet: have the
// wish answered and call again with the same arguments.
MLA_MUST_USE int mla__step(const mla__stage *stage, const mla_task *task, const mla_state *from,
                           const char *reply, mla__wish *wish, mla_facts *out, mla_err *err);

#endif
