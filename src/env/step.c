// One action, carried out: from a state and a reply to facts. Looking and undoing need no sandbox;
// an edit or a run goes to the run cache first and to the runner when it is new. A score comes only
// from the bytes of a submission, never from what a script prints.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/action.h"
#include "env/internal.h"

#define REASON_MAX 200
#define RUN_SEED 0        // of the script's own random numbers: the same for every run

typedef struct {          // one action under way
    const mla__stage *stage;
    const mla_task *task;
    const mla_state *from;
    mla__files files;     // of the state; an edit changes them here
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
    snprintf(snapshot.subject, sizeof snapshot.subject, "%.60s: %.130s", a->task->name, did);
    if (mla__snapshots_put(a->stage->snapshots, &snapshot, a->from->commit, &a->files, err) < 0) {
        return -1;
    }
    *state = snapshot.state;
    return 0;
}

// A file of the state that the action names, or NULL with the refusal made. Scripts only, where
// `script`.
static const mla__file *named_file(act *a, const char *path, bool script) {
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
    } else if (script && (n < 4 || strcmp(name + n - 3, ".py"))) {
        refuse(a, MLA_OUTCOME_ACTION_FAILED, "\"%.100s\" is no Python script.", path);
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

// What the runner saw, with the submission scored.
static void score_run(const mla_answers *answers, const mla_run_result *run, mla__result *r) {
    *r = (mla__result){.outcome = run->outcome, .score = {NAN, NAN}, .seconds = run->seconds,
                       .peak_mb = run->peak_mb, .error_type = reason_text(run->error_type),
                       .out = stream_text(run->out), .err = stream_text(run->err)};
    if (run->outcome != MLA_OUTCOME_OK) return;
    mla_err why = {{0}};
    if (run->submission_too_big) {
        judge(r, MLA_OUTCOME_BAD_SUBMISSION, "the file is too large");
    } else if (!run->has_submission || !run->submission) {
        judge(r, MLA_OUTCOME_NO_SUBMISSION, NULL);
    } else if (mla_score_submission(answers, run->submission, run->submission_len, &r->score,
                                    &why) < 0) {
        judge(r, MLA_OUTCOME_BAD_SUBMISSION, why.text);
        r->score = (mla_halves){NAN, NAN};
    }
}

static int run_anew(act *a, const char *script, mla__result *r, mla_err *err) {
    const char *workspace = mla__runner_workspace(a->stage->runner, err);
    if (!workspace || mla__files_write(&a->files, workspace, err) < 0) return -1;
    mla_run_request request = {
        .data_dir = a->task->data_dir, .script = script, .seconds = a->task->limits.seconds,
        .memory_mb = a->task->limits.memory_mb, .seed = RUN_SEED, .max_output = MLA__STREAM_MAX,
    };
    mla_run_result run;
    int rc = mla__runner_run(a->stage->runner, &request, &run, err);
    if (rc == 0) score_run(a->stage->answers, &run, r);
    mla__run_result_clear(&run);
    return rc;
}

// The result of running `script` on the files at hand, from the cache or anew.
static int run(act *a, const char *script, mla__result *r, mla_err *err) {
    mla__cache *cache = a->stage->cache;
    char key[65];
    mla_err trouble;
    if (cache) {
        char *fingerprint = mla_format("%s seed %d", mla__runner_versions(a->stage->runner),
                                       RUN_SEED);
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
    out->state_after = after;
    out->ran = r->outcome != MLA_OUTCOME_SANDBOX_FAILED;
    out->outcome = r->outcome;
    out->error_type = mla_strdup(r->error_type);
    out->cost.run_seconds = r->seconds;
    out->cost.peak_mb = r->peak_mb;
    return 0;
}

// --- actions -----------------------------------------------------------------------------------

static int edit_script(act *a, const mla_action *action, mla_err *err) {
    const mla__file *file = named_file(a, action->inputs[0], true);
    if (!file) return 0;
    if (strlen(file->bytes) != file->len) {
        return refuse(a, MLA_OUTCOME_ACTION_FAILED, "%s is no text file.", file->name);
    }
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
    char *line = mla_format("edit %s", file->name);
    mla__result r = {.score = {NAN, NAN}};
    int rc = mla__files_put(&a->files, file->name, text, strlen(text), err);
    if (rc == 0) rc = run(a, a->task->script, &r, err);
    if (rc == 0) rc = conclude(a, &r, a->from->commit, true, line, err);
    if (rc == 0) a->out->feedback = mla__feedback_run(a->task, did, &r, a->from,
                                                      &a->out->state_after);
    mla__result_clear(&r);
    free(line);
    free(did);
    free(text);
    return rc;
}

static int execute_script(act *a, const mla_action *action, mla_err *err) {
    const mla__file *file = named_file(a, action->inputs[0], true);
    if (!file) return 0;
    char *line = mla_format("execute %s", file->name);
    mla__result r = {.score = {NAN, NAN}};
    int rc = run(a, file->name, &r, err);
    if (rc == 0) rc = conclude(a, &r, a->from->undo, false, line, err);
    if (rc == 0) a->out->feedback = mla__feedback_run(a->task, "", &r, a->from,
                                                      &a->out->state_after);
    mla__result_clear(&r);
    free(line);
    return rc;
}

static bool same_file(const mla__file *a, const mla__file *b) {
    return a && b && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

// Goes back to the state before the last edit: its files, score and undo. The best stays.
static int undo_edit(act *a, const mla_action *action, mla_err *err) {
    const mla__file *file = named_file(a, action->inputs[0], true);
    if (!file) return 0;
    if (!*a->from->undo) {
        return refuse(a, MLA_OUTCOME_ACTION_FAILED, "There is no edit to take back.");
    }
    mla__snapshot before;
    mla__files files;
    if (mla__snapshots_get(a->stage->snapshots, a->from->undo, &before, &files, err) < 0) return -1;
    if (same_file(file, mla__files_get(&files, file->name))) {
        mla__files_clear(&files);
        return refuse(a, MLA_OUTCOME_ACTION_FAILED, "The last edit was not of %s.", file->name);
    }
    char *line = mla_format("undo edit of %s", file->name);
    mla__files_clear(&a->files);
    a->files = files;
    before.state.best = a->from->best;
    int rc = commit(a, &before.state, line, err);
    free(line);
    if (rc < 0) return -1;
    a->out->state_after = before.state;
    char *score = mla__feedback_score(a->task, before.state.score);
    done(a, mla_format("The last edit was taken back. Score of this state: %s.", score));
    free(score);
    return 0;
}

static int final_answer(act *a) {
    a->out->final = true;
    return done(a, mla_strdup("The work has ended."));
}

static int carry_out(act *a, const mla_action *action, mla_err *err) {
    mla__look look = {a->task, &a->files, action};
    switch (action->kind) {
    case MLA_ACTION_LIST_FILES:
    case MLA_ACTION_INSPECT_LINES: {
        bool ok = false;
        char *text = action->kind == MLA_ACTION_LIST_FILES ? mla__look_list(&look, &ok)
                                                           : mla__look_lines(&look, &ok);
        done(a, text);
        if (!ok) a->out->outcome = MLA_OUTCOME_ACTION_FAILED;
        return 0;
    }
    case MLA_ACTION_EDIT_SCRIPT: return edit_script(a, action, err);
    case MLA_ACTION_EXECUTE_SCRIPT: return execute_script(a, action, err);
    case MLA_ACTION_UNDO_EDIT: return undo_edit(a, action, err);
    case MLA_ACTION_FINAL_ANSWER: return final_answer(a);
    default: MLA_ASSERT(!"an action without its code"); return -1;
    }
}

int mla__step(const mla__stage *stage, const mla_task *task, const mla_state *from,
              const char *reply, mla_facts *out, mla_err *err) {
    *out = (mla_facts){.action.kind = MLA_ACTION_NONE, .score_before = from->score,
                       .score_after = NAN, .score_private = NAN, .state_after = *from};
    act a = {.stage = stage, .task = task, .from = from, .out = out};
    mla_err why = {{0}};
    if (mla_action_parse(&out->action, reply, &why) < 0) {
        return refuse(&a, MLA_OUTCOME_INVALID_ACTION, "%s", why.text);
    }
    if (mla__snapshots_get(stage->snapshots, from->commit, NULL, &a.files, err) < 0) return -1;
    int rc = carry_out(&a, &out->action, err);
    mla__files_clear(&a.files);
    return rc;
}
