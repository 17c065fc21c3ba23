// `mlagent solve TASK --model MODEL`: a model works on a task's script in several attempts; every
// step is kept as it ends, so that a stopped run goes on, and the best script lies ready at any
// time. A score counts when the task's own script made it, and by its public half only.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/trajectories.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/solve.h"
#include "env/action.h"
#include "report/report.h"

#define FORM 1                // of solve.json
#define NUMBER_DIGITS 4       // of an attempt, in a trajectory's name

// --- the output folder ---------------------------------------------------------------------------

// What a call that was killed before it wrote solve.json may have left.
static bool may_be_ours(const char *name) {
    return !strcmp(name, ".lock") || !strcmp(name, "states.git") ||
           !strncmp(name, "exec.sqlite", strlen("exec.sqlite"));
}

// A folder that holds other things than a run of ours is left alone.
static int check_output(const char *dir, mla_err *err) {
    if (!mla_fs_exists(dir)) return 0;
    if (!mla_fs_is_dir(dir)) return mla_err_set(err, "%s: is no folder", dir);
    char **names, *mark = mla_fs_join(dir, "solve.json");
    size_t n = 0;
    bool marked = mla_fs_exists(mark);
    free(mark);
    if (marked) return 0;
    if (mla_fs_list(dir, &names, &n, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (may_be_ours(names[i])) continue;
        rc = mla_err_set(err, "%s: holds other files (%s) and no solve.json; name another folder "
                         "with --output", dir, names[i]);
    }
    mla_fs_names_free(names, n);
    return rc;
}

static json_t *mark_of(const mla_solve *solve) {
    const mla_task *task = solve->session.task;
    return json_pack("{s:i, s:s, s:s, s:s}", "version", FORM, "task", task->name, "data",
                     task->data_version, "start", solve->start.commit);
}

// The folder is of this task, its data and its script as they are now, or new.
static int take_mark(const mla_solve *solve, mla_err *err) {
    char *path = mla_run_path(solve->run, "solve.json");
    json_t *now = mark_of(solve), *then = NULL;
    int rc = 0;
    if (!mla_fs_exists(path)) {
        rc = mla_json_write_file(path, now, err);
    } else if (!(then = mla_json_read_file(path, 1 << 16, err))) {
        rc = -1;
    } else if (!json_equal(now, then)) {
        rc = mla_err_set(err, "%s: is of task %s with another script or other data than now; name "
                         "another folder with --output", solve->dir,
                         mla_json_get_text(then, "task", "?"));
    }
    json_decref(now);
    json_decref(then);
    free(path);
    return rc;
}

// --- the best ------------------------------------------------------------------------------------

// Whether the score is of the task's script: an edit of another file, or a run of it, may have
// scored that one.
static bool is_of_script(const mla_solve *solve, const mla_step *step) {
    mla_action action;
    mla_err ignored;
    if (!isfinite(step->reward.score_after) || step->outcome != MLA_OUTCOME_OK) return false;
    if (mla_action_sort_of(step->kind) < MLA_ACTION_SORT_RUN) return false;
    if (!step->text) return false;
    if (mla_action_parse(&action, step->text, MLA_ACTIONS_ALL, &ignored) < 0) return false;
    const char *saved = step->kind == MLA_ACTION_EDIT_SCRIPT_AI ? action.inputs[2] : NULL;
    const char *name = saved && *saved ? saved : action.inputs[0];
    while (name && !strncmp(name, "./", 2)) name += 2;
    bool same = name && !strcmp(name, solve->session.task->script);
    mla_action_clear(&action);
    return same;
}

typedef enum { NO_BETTER, EARLIER, BETTER } standing;

// Of equal scores that of the first attempt is the best, in whatever order attempts end.
static standing compare(const mla_solve *solve, const mla_step *step, int number) {
    const mla_best *best = &solve->best;
    double gain = solve->session.task->direction * (step->reward.score_after - best->score);
    if (!is_of_script(solve, step)) return NO_BETTER;
    if (gain > 0) return BETTER;
    if (gain < 0 || !best->found || number > best->number) return NO_BETTER;
    return number < best->number || step->index < best->index ? EARLIER : NO_BETTER;
}

// Takes a step into the counts and, when it is one, as the best so far.
static standing count_step(mla_solve *solve, const mla_step *step, int number) {
    solve->steps++;
    solve->edits_run += mla_action_is_edit(step->kind) && isfinite(step->reward.score_after);
    standing stands = compare(solve, step, number);
    if (stands == NO_BETTER) return stands;
    solve->best = (mla_best){.found = true, .state = step->state_after, .number = number,
                             .index = step->index, .score = step->reward.score_after,
                             .score_private = step->score_private};
    return stands;
}

static int write_text(const mla_solve *solve, const char *name, const char *text, mla_err *err) {
    char *path = mla_run_path(solve->run, name);
    int rc = mla_fs_write(path, text, strlen(text), err);
    free(path);
    return rc;
}

static int write_best(const mla_solve *solve, mla_err *err) {
    mla_env *env = solve->session.env;
    const mla_state *state = solve->best.found ? &solve->best.state : &solve->start;
    char *script = mla_env_script(env, solve->session.task, state, err);
    char *diff = script ? mla_env_diff(env, &solve->start, state, err) : NULL;
    int rc = diff ? write_text(solve, "best.py", script, err) : -1;
    if (rc == 0) rc = write_text(solve, "best.diff", diff, err);
    free(script);
    free(diff);
    return rc;
}

// --- attempts ------------------------------------------------------------------------------------

static char *name_of(const mla_solve *solve, int number) {
    return mla_format("solve-%s-%0*d", solve->session.task->name, NUMBER_DIGITS, number);
}

static int number_of(const char *trajectory) {
    const char *dash = strrchr(trajectory, '-');
    return dash ? (int)strtol(dash + 1, NULL, 10) : 0;
}

// Puts an earlier call's steps of an attempt where it goes on from.
static int take_earlier(mla_episode *e, const mla_trajectories *have, mla_err *err) {
    for (size_t i = 0; i < have->steps.len; i++) {
        const mla_step *step = &have->steps.items[i];
        if (strcmp(step->trajectory, e->trajectory)) continue;
        if (step->index != (int)e->steps.len) {
            return mla_err_set(err, "steps.jsonl: attempt %s has no step %zu", e->trajectory,
                               e->steps.len);
        }
        mla_step copy;
        mla_step_copy(&copy, step);
        mla_steps_push_take(&e->steps, &copy);
        e->done = step->final || step->index + 1 >= e->max_steps;
    }
    return 0;
}

// The attempts that are not at their end: [*n], owned.
static mla_episode *open_attempts(const mla_solve *solve, const mla_trajectories *have, size_t *n,
                                  mla_err *err) {
    const mla_options *o = solve->options;
    const mla_task *task = solve->session.task;
    mla_episode *all = MLA_NEW_ARRAY(mla_episode, (size_t)o->trajectories);
    *n = 0;
    for (int i = 0; i < o->trajectories; i++) {
        mla_episode *e = &all[*n];
        *e = (mla_episode){.task = task, .trajectory = name_of(solve, i), .max_steps = o->steps,
                           .seed = mla_rng_derive(o->seed, mla_rng_hash(task->name), (uint64_t)i,
                                                  0)};
        if (take_earlier(e, have, err) < 0) {
            for (size_t k = 0; k <= *n; k++) mla_episode_clear(&all[k]);
            free(all);
            return NULL;
        }
        if (e->done) mla_episode_clear(e);
        else ++*n;
    }
    return all;
}

static int write_steps(const char *path, const mla_steps *steps, mla_err *err) {
    char *aside = mla_format("%s.new", path);
    remove(aside);
    mla_lines *lines = mla_lines_open(aside, err);
    int rc = lines ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < steps->len; i++) {
        rc = mla_store_append(lines, &steps->items[i], err);
    }
    mla_lines_close(lines);
    if (rc == 0 && rename(aside, path) < 0) {
        rc = mla_err_set(err, "%s: cannot be replaced: %s", path, strerror(errno));
    }
    free(aside);
    return rc;
}

// Counts what earlier calls did, in the order of attempts.
static int take_stock(mla_solve *solve, mla_trajectories *have, mla_err *err) {
    const mla_task *task = solve->session.task;
    char *path = mla_run_path(solve->run, "steps.jsonl");
    int rc = mla_trajectories_read(have, path, &task, 1, err);
    if (rc == 0 && mla_trajectories_drop_lost(have, solve->session.env, &task, 1)) {
        rc = write_steps(path, &have->steps, err);
    }
    for (size_t i = 0; rc == 0 && i < have->steps.len; i++) {
        const mla_step *step = &have->steps.items[i];
        count_step(solve, step, number_of(step->trajectory));
    }
    if (rc == 0) solve->lines = mla_lines_open(path, err);
    free(path);
    return rc < 0 || !solve->lines ? -1 : write_best(solve, err);
}

// Each step as it ends.
static int on_step(void *ctx, mla_episode *episode, mla_err *err) {
    mla_solve *solve = ctx;
    const mla_step *step = &episode->steps.items[episode->steps.len - 1];
    int number = number_of(episode->trajectory);
    if (mla_store_append(solve->lines, step, err) < 0) return -1;
    standing stands = count_step(solve, step, number);
    if (stands != NO_BETTER && write_best(solve, err) < 0) return -1;
    mla_solve_show_step(solve, step, number, stands == BETTER);
    if (mla_clock() < solve->deadline) return 0;
    solve->out_of_time = true;
    return mla_err_set(err, "time is up");
}

// --- the model -----------------------------------------------------------------------------------

typedef struct telling {
    mla_solve *solve;
    mla_actor actor;
} telling;

static int act(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err) {
    telling *t = self;
    mla_solve_show_wait(t->solve);
    return t->actor.act(t->actor.self, views, n, sink, ctx, err);
}

static int poll(void *self, double seconds, mla_reply_sink sink, void *ctx, mla_err *err) {
    telling *t = self;
    return t->actor.poll(t->actor.self, seconds, sink, ctx, err);
}

static int run_rounds(mla_solve *solve, const mla_actor *who, mla_episode *episodes, size_t n,
                      mla_err *err) {
    const mla_options *o = solve->options;
    telling t = {.solve = solve, .actor = *who};
    mla_actor actor = {.name = who->name, .act = act, .poll = who->poll ? poll : NULL,
                       .self = &t, .batched = who->batched};
    size_t round = o->from_best ? (size_t)o->at_once : n;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0 && !mla_stop_wanted(); i += round) {
        size_t count = n - i < round ? n - i : round;
        mla_state from = solve->best.state;
        for (size_t k = i; o->from_best && solve->best.found && k < i + count; k++) {
            episodes[k].from = &from;
        }
        rc = mla_agent_run(solve->session.agent, &actor, episodes + i, count, (size_t)o->at_once,
                           on_step, solve, err);
    }
    return rc < 0 && solve->out_of_time ? 0 : rc;
}

static int run_by_endpoint(mla_solve *solve, mla_episode *episodes, size_t n, mla_err *err) {
    const mla_options *o = solve->options;
    mla_endpoint_actor_options options = mla_endpoint_actor_options_default();
    options.url = o->endpoint;
    options.model = o->model;
    options.temperature = o->temperature;
    options.max_new = o->max_new;
    options.at_once = o->at_once;
    options.prompt.actions = solve->session.actions;
    mla_endpoint_actor *self = mla_endpoint_actor_create(&options, err);
    if (!self) return -1;
    mla_actor actor = mla_endpoint_actor_make(self);
    int rc = run_rounds(solve, &actor, episodes, n, err);
    mla_endpoint_actor_free(self);
    return rc;
}

static int run_attempts(mla_solve *solve, mla_episode *episodes, size_t n, mla_err *err) {
    const mla_options *o = solve->options;
    if (o->endpoint) return run_by_endpoint(solve, episodes, n, err);
    mla_policy_actor policy = {.policy = solve->session.policy, .max_new = o->max_new,
                               .temperature = (float)o->temperature,
                               .prompt = mla_prompt_options_default()};
    policy.prompt.actions = solve->session.actions;
    const mla_actor actor = mla_policy_actor_make(&policy);
    return run_rounds(solve, &actor, episodes, n, err);
}

// --- the end -------------------------------------------------------------------------------------

// Attempts side by side leave their steps mixed: in the end they lie one attempt after the other.
static int sort_steps(mla_solve *solve, mla_err *err) {
    const mla_task *task = solve->session.task;
    char *path = mla_run_path(solve->run, "steps.jsonl");
    mla_trajectories all;
    mla_lines_close(solve->lines);
    solve->lines = NULL;
    int rc = mla_trajectories_read(&all, path, &task, 1, err);
    if (rc == 0) rc = write_steps(path, &all.steps, err);
    mla_trajectories_clear(&all);
    free(path);
    return rc;
}

static int finish(mla_solve *solve, mla_err *err) {
    char *page = mla_run_path(solve->run, "report.html");
    int rc = sort_steps(solve, err);
    if (rc == 0) rc = mla_report_write(solve->dir, page, err);
    free(page);
    return rc;
}

// 1 all attempts are at their end or time is up, 0 stopped, -1.
static int work(mla_solve *solve, mla_err *err) {
    mla_trajectories have = {.len = 0};
    size_t n = 0;
    int rc = mla_env_check_starter(mla_agent_env(solve->session.agent), solve->session.task, err);
    if (rc == 0) rc = take_stock(solve, &have, err);
    mla_episode *episodes = rc == 0 ? open_attempts(solve, &have, &n, err) : NULL;
    if (!episodes) rc = -1;
    mla_trajectories_clear(&have);
    if (rc == 0) {
        mla_solve_show_start(solve);
        rc = run_attempts(solve, episodes, n, err);
    }
    bool stopped = mla_stop_wanted();
    if (rc == 0) rc = finish(solve, err);
    if (rc == 0) mla_solve_show_end(solve, stopped);
    for (size_t i = 0; i < n; i++) mla_episode_clear(&episodes[i]);
    free(episodes);
    return rc < 0 ? -1 : !stopped;
}

static int solve_in(mla_solve *solve, mla_err *err) {
    const mla_options *o = solve->options;
    if (check_output(solve->dir, err) < 0) return -1;
    if (mla_session_open(&solve->session, o, solve->dir, MLA_ACTIONS_DEFAULT, o->at_once, true,
                         err) < 0) {
        return -1;
    }
    const mla_task *task = solve->session.task;
    solve->best = (mla_best){.score = task->init.public_half,
                             .score_private = task->init.private_half};
    solve->run = mla_run_open(solve->dir, err);
    int rc = solve->run ? mla_env_begin(solve->session.env, task, &solve->start, err) : -1;
    if (rc == 0) rc = take_mark(solve, err);
    if (rc == 0) rc = work(solve, err);
    mla_lines_close(solve->lines);
    mla_run_close(solve->run);
    mla_session_close(&solve->session);
    return rc;
}

static char *default_output(const char *task) {
    char *real = realpath(task, NULL);
    const char *slash = strrchr(real ? real : task, '/');
    char *dir = mla_format("runs/solve-%s", slash ? slash + 1 : task);
    free(real);
    return dir;
}

int mla_cmd_solve(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1 || !o.model) {
        fputs("mlagent: usage: mlagent solve TASK|DIR --model MODEL; try `mlagent solve --help`\n",
              stderr);
        return MLA_EXIT_USAGE;
    }
    char *dir = o.output ? mla_strdup(o.output) : default_output(o.rest[0]);
    double seconds = o.hours * 3600 + o.minutes * 60;
    mla_solve solve = {.options = &o, .dir = dir, .began_at = mla_clock(),
                       .has_bar = isatty(STDERR_FILENO) && !o.quiet};
    solve.deadline = seconds > 0 ? solve.began_at + seconds : INFINITY;
    mla_err err = {0};
    int rc = solve_in(&solve, &err);
    free(dir);
    return rc < 0 ? mla_fail(&err) : rc == 0 ? MLA_EXIT_STOPPED : MLA_EXIT_OK;
}
