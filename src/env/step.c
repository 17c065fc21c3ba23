// One action, carried out: from a state and a reply to facts. Looking, copying and undoing need no
// sandbox; an edit or a run goes to the run cache first and to the runner when it is new. A score
// comes only from the bytes of a submission, never from what a script prints.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/action.h"
#include "env/flags.h"
#include "env/internal.h"

#define REASON_MAX 200
#define DIFF_MAX 600      // bytes shown of what an editor changed

typedef struct {          // one action under way
    const mla__stage *stage;
    const mla_task *task;
    const mla_state *from;
    mla__files files;     // of the state; an edit changes them here
    char edited[MLA__NAME_MAX + 1];    // the script whose edit Undo takes back
    mla__wish *wish;
    mla_facts *out;
} act;

static int refuse(act *a, mla_outcome outcome, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// An outcome that is the agent's fault, with its message; 0, as the environment goes on.
static int refuse(act *a, mla_outcome outcome, const char *fmt, ...) {
    mla_buf text;
    mla_buf_init(&text, MLA__FEEDBACK_MAX);
    va_list args;
    va_start(args, fmt);
    mla_buf_vprintf(&text, fmt, args);
    va_end(args);
    a->out->outcome = outcome;
    a->out->feedback = mla_utf8_repair(mla_buf_text(&text), text.len, NULL);
    mla_buf_clear(&text);
    return 0;
}

static int done(act *a, char *feedback) {
    a->out->outcome = MLA_OUTCOME_OK;
    a->out->feedback = feedback;
    return 0;
}

// --- states ------------------------------------------------------------------------------------

static bool same_number(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static bool same_state(const mla_state *a, const mla_state *b) {
    return same_number(a->score, b->score) && same_number(a->best, b->best) &&
           !strcmp(a->undo, b->undo);
}

// Commits `state` (undo, score, best) with the files at hand below the state we came from.
static int commit(act *a, mla_state *state, const char *did, mla_err *err) {
    mla__snapshot snapshot = {.state = *state};
    snprintf(snapshot.task, sizeof snapshot.task, "%s", a->task->name);
    snprintf(snapshot.edited, sizeof snapshot.edited, "%s", *state->undo ? a->edited : "");
    snprintf(snapshot.subject, sizeof snapshot.subject, "%.60s: %.130s", a->task->name, did);
    if (mla__snapshots_put(a->stage->snapshots, &snapshot, a->from->commit, &a->files, err) < 0) {
        return -1;
    }
    *state = snapshot.state;
    return 0;
}

// The script of the state that the action names, or NULL with the refusal made.
static const mla__file *named_script(act *a, const char *path) {
    char *name = mla__path_clean(path);
    const mla__file *file = name && *name ? mla__files_get(&a->files, name) : NULL;
    size_t n = name ? strlen(name) : 0;
    if (!name) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "\"%.100s\" is no file of the workspace: use the "
               "plain name of a file in it.", path);
    } else if (!strncmp(name, "data/", 5) || !strcmp(name, "data")) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "\"%.100s\" is data and can only be read.", path);
    } else if (!file) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "There is no file \"%.100s\".", path);
    } else if (n < 4 || strcmp(name + n - 3, ".py")) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "\"%.100s\" is no Python script.", path);
        file = NULL;
    } else if (strlen(file->bytes) != file->len) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "%s is no text file.", file->name);
        file = NULL;
    }
    free(name);
    return file;
}

// --- runs --------------------------------------------------------------------------------------

static char *stream_text(const char *bytes) {
    return bytes ? mla_utf8_repair(bytes, strlen(bytes), NULL) : NULL;
}

// A reason that may quote what a script chose (a class name, an id): one short line of it.
static char *reason_text(const char *why) {
    if (!why) return NULL;
    size_t n = strnlen(why, REASON_MAX);
    char *text = mla_utf8_repair(why, n, NULL);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) *p = ' ';
    return text;
}

static void judge(mla__result *r, mla_outcome outcome, const char *why) {
    r->outcome = outcome;
    free(r->error_type);
    r->error_type = reason_text(why);
}

// What a scored submission looks like, beside the sample that lies with the data.
static unsigned flags_of(const mla_task *task, const mla_run_result *run) {
    mla_buf sample;
    mla_err ignored;                    // a sample that cannot be read is none
    mla_buf_init(&sample, MLA__SUBMISSION_MAX);
    int fd = mla__data_open(task, "sample_submission.csv");
    bool there = fd >= 0 && mla__data_read(fd, "sample", &sample, &ignored) == 0;
    if (fd >= 0) close(fd);
    unsigned flags = mla__flags_of_submission(task, run->submission, run->submission_len,
                                              there ? mla_buf_text(&sample) : NULL, sample.len);
    mla_buf_clear(&sample);
    return flags;
}

// What the runner saw of one split, with the submission scored. The task's data is the split's.
static void score_run(const mla_answers *answers, const mla_task *task, size_t split,
                      const mla_run_result *run, mla__result *r) {
    *r = (mla__result){.outcome = run->outcome, .score = {NAN, NAN}, .seconds = run->seconds,
                       .peak_mb = run->peak_mb, .error_type = reason_text(run->error_type),
                       .out = stream_text(run->out), .err = stream_text(run->err)};
    if (run->outcome != MLA_OUTCOME_OK) return;
    mla_err why = {{0}};
    if (run->submission_too_big) {
        judge(r, MLA_OUTCOME_BAD_SUBMISSION, "the file is too large");
    } else if (!run->has_submission || !run->submission) {
        judge(r, MLA_OUTCOME_NO_SUBMISSION, NULL);
    } else if (mla_score_submission(answers, split, run->submission, run->submission_len,
                                    &r->score, &why) < 0) {
        judge(r, MLA_OUTCOME_BAD_SUBMISSION, why.text);
        r->score = (mla_halves){NAN, NAN};
    } else {
        r->flags = flags_of(task, run);
    }
}

// One run, in a workspace of its own in which `data` is this split's.
static int run_split(act *a, const char *script, size_t split, mla__result *r, mla_err *err) {
    const char *workspace = mla__runner_workspace(a->stage->runner, err);
    if (!workspace || mla__files_write(&a->files, workspace, err) < 0) return -1;
    mla_task seen = *a->task;
    seen.data_dir = mla_task_split_dir(a->task, split);
    mla_run_request request = {
        .data_dir = seen.data_dir, .wheels = seen.wheels, .script = script,
        .seconds = seen.limits.seconds, .memory_mb = seen.limits.memory_mb,
        .seed = a->stage->seed, .max_output = MLA__STREAM_MAX,
        .cancelled = a->stage->cancelled,
    };
    mla_run_result run;
    int rc = mla__runner_run(a->stage->runner, &request, &run, err);
    if (rc == 0) score_run(a->stage->answers, &seen, split, &run, r);
    const mla_submission_tap *tap = &a->stage->tap;
    if (rc == 0 && tap->take && r->outcome == MLA_OUTCOME_OK) {
        tap->take(tap->self, split, run.submission, run.submission_len);
    }
    mla__run_result_clear(&run);
    free(seen.data_dir);
    return rc;
}

// Adds a further split's run to the result. Of its output nothing is shown: where it failed and the
// first did not, that is said.
static void add_run(const mla_task *task, size_t split, mla__result *more, mla__result *r) {
    r->seconds += more->seconds;
    r->peak_mb = fmax(r->peak_mb, more->peak_mb);
    r->score.public_half += more->score.public_half;
    r->score.private_half += more->score.private_half;
    r->flags |= more->flags;
    if (more->outcome == MLA_OUTCOME_OK) return;
    r->outcome = more->outcome;
    r->error_type = more->error_type;
    more->error_type = NULL;
    char *shown = r->err;
    r->err = mla_format("%s\n(This came of a run with other data, split %zu of %d, whose output is "
                        "not shown.)\n", shown ? shown : "", split + 1, task->splits);
    free(shown);
}

// Runs the script once a split, up to the first that fails. The score is the mean.
static int run_anew(act *a, const char *script, mla__result *r, mla_err *err) {
    if (a->stage->cancelled && *a->stage->cancelled) {      // as it waited for another's result
        r->outcome = MLA_OUTCOME_SANDBOX_FAILED;
        return 0;
    }
    const size_t splits = (size_t)a->task->splits;
    int rc = run_split(a, script, 0, r, err);
    for (size_t s = 1; rc == 0 && r->outcome == MLA_OUTCOME_OK && s < splits; s++) {
        mla__result more = {.score = {NAN, NAN}};
        rc = run_split(a, script, s, &more, err);
        if (rc == 0) add_run(a->task, s, &more, r);
        mla__result_clear(&more);
    }
    r->score.public_half /= (double)splits;
    r->score.private_half /= (double)splits;
    return rc;
}

// The result of running `script` on the files at hand, from the cache or anew.
static int run(act *a, const char *script, mla__result *r, mla_err *err) {
    mla__cache *cache = a->stage->tap.take ? NULL : a->stage->cache;
    char key[65];
    mla_err trouble;
    if (cache) {
        // Threads sum in another order: their number may change the last digits of a result.
        char *fingerprint = mla_format("%s seed %" PRIu64 " threads %d",
                                       mla__runner_versions(a->stage->runner), a->stage->seed,
                                       a->stage->threads);
        mla__cache_key(key, a->task, script, &a->files, fingerprint);
        free(fingerprint);
        int hit = mla__cache_begin(cache, key, r, &trouble);
        a->out->cost.cached = hit == 1;
        if (hit == 1) return 0;
        if (hit < 0) {
            mla__cache_warn(cache, &trouble);
            cache = NULL;
        }
    }
    int rc = run_anew(a, script, r, err);
    if (cache && mla__cache_end(cache, key, rc == 0 ? r : NULL, &trouble) < 0) {
        mla__cache_warn(cache, &trouble);
    }
    return rc;
}

static void take_score(const act *a, double score, mla_state *state) {
    state->score = score;
    double ahead = (score - state->best) * a->task->direction;
    if (isnan(state->best) || ahead > 0) state->best = score;
}

// Facts from a result: state, scores, costs, feedback. `did` for the feedback and the commit.
static int conclude(act *a, const mla__result *r, const char *undo, bool changed, const char *did,
                    mla_err *err) {
    mla_facts *out = a->out;
    mla_state after = *a->from;
    snprintf(after.undo, sizeof after.undo, "%s", undo);
    if (r->outcome == MLA_OUTCOME_OK) {
        take_score(a, r->score.public_half, &after);
        out->score_after = r->score.public_half;
        if (a->stage->private_scores) out->score_private = r->score.private_half;
    }
    if (r->outcome == MLA_OUTCOME_SANDBOX_FAILED) {
        after = *a->from;
    } else if (changed || !same_state(&after, a->from)) {
        char *line = mla_format("%s: %s", did, mla_outcome_name(r->outcome));
        int rc = commit(a, &after, line, err);
        free(line);
        if (rc < 0) return -1;
    }
    out->out = mla_strdup(r->out);
    out->err = mla_strdup(r->err);
    out->state_after = after;
    out->ran = r->outcome != MLA_OUTCOME_SANDBOX_FAILED;
    out->outcome = r->outcome;
    out->error_type = mla_strdup(r->error_type);
    out->cost.run_seconds = r->seconds;
    out->cost.peak_mb = r->peak_mb;
    out->flags |= r->flags | mla__flags_of_output(r->out) | mla__flags_of_output(r->err);
    return 0;
}

// --- actions -----------------------------------------------------------------------------------

// What an edit runs: the task's script, unless it changed another one that writes a submission.
static const char *script_to_run(const act *a, const mla__file *file) {
    bool writes = memmem(file->bytes, file->len, "submission.csv", strlen("submission.csv"));
    return writes ? file->name : a->task->script;
}

// Saves the new text, runs, judges. `did` says what was done, `change` is a diff or "".
static int save_and_run(act *a, const char *name, const char *text, const char *did,
                        const char *change, mla_err *err) {
    mla__result r = {.score = {NAN, NAN}};
    if (mla__files_put(&a->files, name, text, strlen(text), err) < 0) return -1;
    snprintf(a->edited, sizeof a->edited, "%s", name);
    const char *script = script_to_run(a, mla__files_get(&a->files, name));
    char *line = mla_format("edit %s", name);
    bool other = strcmp(script, a->task->script) != 0;
    char *all = mla_format("%s%s%s%s", did, other ? " This is a run of " : "",
                           other ? script : "", other ? "." : "");
    a->out->flags |= mla__flags_of_files(&a->files, script, name);
    int rc = run(a, script, &r, err);
    if (rc == 0) rc = conclude(a, &r, a->from->commit, true, line, err);
    if (rc == 0) a->out->feedback = mla__feedback_run(a->task, all, change, &r, a->from,
                                                      &a->out->state_after);
    mla__result_clear(&r);
    free(all);
    free(line);
    return rc;
}

static int edit_script(act *a, const mla_action *action, mla_err *err) {
    const mla__file *file = named_script(a, action->inputs[0]);
    if (!file) return 0;
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t n = 0;
    char *text = mla__edit_apply(file->name, file->bytes, action->blocks, &n, &why);
    if (!text) {
        refuse(a, MLA_OUTCOME_EDIT_FAILED, "The edit was not applied. %s", mla_buf_text(&why));
        mla_buf_clear(&why);
        return 0;
    }
    char *did = mla_format("The edit of %s was applied (%zu block%s).", file->name, n,
                           n == 1 ? "" : "s");
    int rc = save_and_run(a, file->name, text, did, "", err);
    free(did);
    free(text);
    return rc;
}

// --- Edit Script (AI) --------------------------------------------------------------------------

void mla__wish_clear(mla__wish *wish) {
    free(wish->name);
    free(wish->script);
    free(wish->instruction);
    free(wish->text);
    *wish = (mla__wish){.status = MLA__WISH_NONE};
}

void mla__wish_ask(mla__wish *wish, const mla_editor *editor) {
    const mla_edit_request request = {.name = wish->name, .script = wish->script,
                                      .instruction = wish->instruction};
    MLA_ASSERT(wish->status == MLA__WISH_ASKED);
    wish->rc = editor->edit(editor->self, &request, &wish->text, &wish->why);
    wish->status = MLA__WISH_ANSWERED;
}

// Where the edited script goes: a plain name, the script's own by default. NULL: refused.
static char *save_name(act *a, const mla__file *file, const char *given) {
    if (!given || !*given) return mla_strdup(file->name);
    char *name = mla__path_clean(given);
    size_t n = name ? strlen(name) : 0;
    bool good = n > 3 && !strcmp(name + n - 3, ".py") && strncmp(name, "data/", 5) &&
                (mla__files_get(&a->files, name) || mla__name_is_new(name));
    if (good) return name;
    refuse(a, MLA_OUTCOME_ACTION_FAILED, "The edited script cannot be saved as \"%.100s\": use a "
           "plain name that ends in .py, of letters, digits, '.', '_' and '-'.", given);
    free(name);
    return NULL;
}

// The editor's answer as blocks in the action, where the record finds them. False: it has yet to
// be asked, or the refusal is made.
static bool take_answer(act *a, const mla__file *file, mla_action *action) {
    const mla__wish *w = a->wish;
    if (w->rc < 0) {
        refuse(a, MLA_OUTCOME_EDITOR_FAILED, "The editor gave no answer (%s). This is not your "
               "fault, and nothing changed.", w->why.text);
    } else if (w->rc > 0) {
        refuse(a, MLA_OUTCOME_EDIT_FAILED, "The editor did not carry it out: %s.", w->why.text);
    } else if (!(action->blocks = mla__diff_blocks(file->name, file->bytes, w->text))) {
        refuse(a, MLA_OUTCOME_EDIT_FAILED, "The editor changed nothing that counts.");
    } else if (strlen(action->blocks) > MLA__REPLY_MAX / 2) {
        refuse(a, MLA_OUTCOME_EDIT_FAILED, "The editor changed too much at once: more than %zu "
               "bytes.", MLA__REPLY_MAX / 2);
    } else {
        return true;
    }
    return false;
}

static bool ask_editor(act *a, const mla__file *file, mla_action *action) {
    const mla_editor *editor = &a->stage->editor;
    if (!editor->edit) {
        refuse(a, MLA_OUTCOME_EDIT_FAILED, "No editor is configured, so Edit Script (AI) cannot be "
               "carried out. Use Edit Script with SEARCH/REPLACE blocks.");
        return false;
    }
    if (a->wish->status == MLA__WISH_NONE) {
        *a->wish = (mla__wish){.status = MLA__WISH_ASKED, .name = mla_strdup(file->name),
                               .script = mla_strdup(file->bytes),
                               .instruction = mla_strdup(action->inputs[1])};
        if (editor->any_thread) mla__wish_ask(a->wish, editor);
    }
    return a->wish->status == MLA__WISH_ANSWERED && take_answer(a, file, action);
}

static int edit_script_ai(act *a, mla_action *action, mla_err *err) {
    const mla__file *file = named_script(a, action->inputs[0]);
    char *name = file ? save_name(a, file, action->inputs[2]) : NULL;
    if (!name || (!action->blocks && !ask_editor(a, file, action))) {
        free(name);
        return 0;
    }
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t n;
    int rc = 0;
    char *text = mla__edit_apply(file->name, file->bytes, action->blocks, &n, &why);
    if (!text) {
        refuse(a, MLA_OUTCOME_EDIT_FAILED, "The edit was not applied. %s", mla_buf_text(&why));
    } else if (!mla__files_get(&a->files, name) && a->files.len == MLA__FILES_MAX) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "There are %d files already; save under the name of "
               "one of them.", MLA__FILES_MAX);
    } else {
        char *did = mla_format("The editor changed %s, saved as %s.", file->name, name);
        char *change = mla__diff_unified(name, file->bytes, text, DIFF_MAX);
        rc = save_and_run(a, name, text, did, change, err);
        free(change);
        free(did);
    }
    free(text);
    free(name);
    mla_buf_clear(&why);
    return rc;
}

// --- runs and files ----------------------------------------------------------------------------

static int execute_script(act *a, const mla_action *action, mla_err *err) {
    const mla__file *file = named_script(a, action->inputs[0]);
    if (!file) return 0;
    char *line = mla_format("execute %s", file->name);
    mla__result r = {.score = {NAN, NAN}};
    a->out->flags |= mla__flags_of_files(&a->files, file->name, NULL);
    int rc = run(a, file->name, &r, err);
    if (rc == 0) rc = conclude(a, &r, a->from->undo, false, line, err);
    if (rc == 0) a->out->feedback = mla__feedback_run(a->task, "", "", &r, a->from,
                                                      &a->out->state_after);
    mla__result_clear(&r);
    free(line);
    return rc;
}

// The bytes of a file that can be copied: 1, 0 with the refusal made, or -1.
static int read_original(act *a, const char *given, const char *name, mla_buf *out,
                         mla_err *err) {
    const mla__file *file = name && *name ? mla__files_get(&a->files, name) : NULL;
    mla_buf_init(out, MLA__FILE_MAX + 1);
    if (file) {
        mla_buf_append(out, file->bytes, file->len);
        return 1;
    }
    int fd = name && !strncmp(name, "data/", 5) ? mla__data_open(a->task, name + 5) : -1;
    if (fd < 0) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "There is no file \"%.100s\" that could be copied.",
               given);
        return 0;
    }
    int rc = mla__data_read(fd, name, out, err);
    close(fd);
    if (rc < 0 || out->len <= MLA__FILE_MAX) return rc < 0 ? -1 : 1;
    return refuse(a, MLA_OUTCOME_ACTION_FAILED, "%s is longer than %zu bytes, too long for the "
                  "workspace: read it where it is.", name, MLA__FILE_MAX);
}

// Where a copy goes: "." keeps the name. NULL: refused.
static char *copy_name(act *a, const char *source, const char *given) {
    char *name = mla__path_clean(given);
    if (name && !*name) {
        const char *slash = strchr(source, '/');
        free(name);
        name = mla_strdup(slash ? slash + 1 : source);
    }
    bool data = name && (!strcmp(name, "data") || !strncmp(name, "data/", 5));
    bool there = name && mla__files_get(&a->files, name);
    if (data) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "\"%.100s\" is data and can only be read.", given);
    } else if (!name || (!there && !mla__name_is_new(name))) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "\"%.100s\" is no name for a new file: use a plain "
               "name of letters, digits, '.', '_' and '-'; submission.csv is for a run to write.",
               given);
    } else if (!strcmp(name, source)) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "Source and destination are the same file.");
    } else if (!there && a->files.len == MLA__FILES_MAX) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "There are %d files already.", MLA__FILES_MAX);
    } else {
        return name;
    }
    free(name);
    return NULL;
}

// The state stays what it is, but for the file: score, best and the edits to take back.
static int put_copy(act *a, const char *source, const char *name, const mla_buf *bytes,
                    mla_err *err) {
    bool there = mla__files_get(&a->files, name);
    mla_state after = *a->from;
    char *line = mla_format("copy %s to %s", source, name);
    int rc = mla__files_put(&a->files, name, mla_buf_text(bytes), bytes->len, err);
    if (rc == 0) rc = commit(a, &after, line, err);
    free(line);
    if (rc < 0) return -1;
    a->out->state_after = after;
    return done(a, mla_format("%s was copied to %s (%zu bytes)%s.", source, name, bytes->len,
                              there ? ", in place of the file that was there" : ""));
}

static int copy_file(act *a, const mla_action *action, mla_err *err) {
    char *source = mla__path_clean(action->inputs[0]);
    mla_buf bytes;
    int rc = read_original(a, action->inputs[0], source, &bytes, err);
    if (rc == 1) {
        char *name = copy_name(a, source, action->inputs[1]);
        rc = name ? put_copy(a, source, name, &bytes, err) : 0;
        free(name);
    }
    mla_buf_clear(&bytes);
    free(source);
    return rc;
}

// --- undoing -----------------------------------------------------------------------------------

static bool same_file(const mla__file *a, const mla__file *b) {
    return a && b && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

// Puts back the one script that the last edit changed; what was copied since then stays.
static int give_back(act *a, const char *name, const mla__files *before, mla_err *err) {
    const mla__file *old = mla__files_get(before, name);
    if (old) return mla__files_put(&a->files, name, old->bytes, old->len, err);
    mla__files_remove(&a->files, name);
    return 0;
}

// The state before the last edit: its score and its undo; the best stays.
static int return_to(act *a, const char *name, const mla__snapshot *before,
                     const mla__files *files, mla_err *err) {
    mla_state state = before->state;
    state.best = a->from->best;
    bool stays = mla__files_get(files, name);
    char *line = mla_format("undo edit of %s", name);
    int rc = give_back(a, name, files, err);
    snprintf(a->edited, sizeof a->edited, "%s", before->edited);
    if (rc == 0) rc = commit(a, &state, line, err);
    free(line);
    if (rc < 0) return -1;
    a->out->state_after = state;
    char *score = mla__feedback_score(a->task, state.score);
    done(a, mla_format("The last edit was taken back: %s %s. Score of this state: %s.", name,
                       stays ? "is as before it" : "did not exist before it and is gone", score));
    free(score);
    return 0;
}

static int undo_edit(act *a, const mla_action *action, mla_err *err) {
    const mla__file *file = named_script(a, action->inputs[0]);
    if (!file) return 0;
    if (!*a->from->undo) {
        return refuse(a, MLA_OUTCOME_ACTION_FAILED, "There is no edit to take back.");
    }
    mla__snapshot before;
    mla__files files;
    if (mla__snapshots_get(a->stage->snapshots, a->from->undo, &before, &files, err) < 0) return -1;
    // States of old do not say which script was edited: the one that differs.
    bool known = *a->edited;
    bool its = known ? !strcmp(a->edited, file->name)
                     : !same_file(file, mla__files_get(&files, file->name));
    int rc = 0;
    if (its) {
        char *name = mla_strdup(file->name);
        rc = return_to(a, name, &before, &files, err);
        free(name);
    } else {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "The last edit was not of %s%s%s.", file->name,
               known ? ", but of " : "", a->edited);
    }
    mla__files_clear(&files);
    return rc;
}

static int final_answer(act *a) {
    a->out->final = true;
    return done(a, mla_strdup("The work has ended."));
}

static int look(act *a, const mla_action *action, mla_err *err) {
    const mla__look at = {a->task, &a->files, action};
    bool ok = false;
    char *text = action->kind == MLA_ACTION_LIST_FILES      ? mla__look_list(&at, &ok, err)
                 : action->kind == MLA_ACTION_INSPECT_LINES ? mla__look_lines(&at, &ok, err)
                                                            : mla__understand(&at, &ok, err);
    if (!text) return -1;
    done(a, text);
    if (!ok) a->out->outcome = MLA_OUTCOME_ACTION_FAILED;
    return 0;
}

static int carry_out(act *a, mla_action *action, mla_err *err) {
    switch (action->kind) {
    case MLA_ACTION_LIST_FILES:
    case MLA_ACTION_INSPECT_LINES:
    case MLA_ACTION_UNDERSTAND_FILE: return look(a, action, err);
    case MLA_ACTION_COPY_FILE: return copy_file(a, action, err);
    case MLA_ACTION_EDIT_SCRIPT: return edit_script(a, action, err);
    case MLA_ACTION_EDIT_SCRIPT_AI: return edit_script_ai(a, action, err);
    case MLA_ACTION_EXECUTE_SCRIPT: return execute_script(a, action, err);
    case MLA_ACTION_UNDO_EDIT: return undo_edit(a, action, err);
    case MLA_ACTION_FINAL_ANSWER: return final_answer(a);
    default: MLA_ASSERT(!"an action without its code"); return -1;
    }
}

int mla__step(const mla__stage *stage, const mla_task *task, const mla_state *from,
              const char *reply, mla__wish *wish, mla_facts *out, mla_err *err) {
    *out = (mla_facts){.action.kind = MLA_ACTION_NONE, .score_before = from->score,
                       .score_after = NAN, .score_private = NAN, .state_after = *from};
    act a = {.stage = stage, .task = task, .from = from, .wish = wish, .out = out};
    mla_err why = {{0}};
    mla__snapshot here;
    if (mla_action_parse(&out->action, reply, stage->offered, &why) < 0) {
        return refuse(&a, MLA_OUTCOME_INVALID_ACTION, "%s", why.text);
    }
    if (mla__snapshots_get(stage->snapshots, from->commit, &here, &a.files, err) < 0) return -1;
    snprintf(a.edited, sizeof a.edited, "%s", here.edited);
    out->flags = mla__flags_of_action(&out->action, &a.files);
    int rc = carry_out(&a, &out->action, err);
    mla__files_clear(&a.files);
    return rc;
}
