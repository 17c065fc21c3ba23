// The data set for fine-tuning: which of the expert's steps are learned from, in what proportion,
// and as which tokens. It leaves out the loss (train) and the prompt's wording (agent/prompt.c).
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "agent/trajectories.h"
#include "collect/collect.h"
#include "env/action.h"
#include "record/store.h"

// An edit is learned from unless it clearly hurt: one that is a little worse is as likely noise as
// a mistake. By its gain, which every form of the reward leaves as it is.
#define EDIT_GAIN_MIN (-0.05)

typedef enum { EDIT, UNDO, FINAL, LOOK, SORTS } sort;

// The mix that is aimed at. Editing is what earns reward and what is hard to learn; the other
// actions are a few fixed lines, which a few samples teach, but without them the model could not do
// them. Undos stand in states of their own, so they cost most tokens.
static const struct {
    const char *name;
    double share;
} mix[SORTS] = {
    [EDIT] = {"edits", 0.80},
    [UNDO] = {"undos", 0.06},
    [FINAL] = {"final answers", 0.07},
    [LOOK] = {"looks", 0.07},
};

mla_dataset_options mla_dataset_options_default(void) {
    return (mla_dataset_options){
        .max_tokens = 0, .max_sample_tokens = 2048,
        .max_steps = mla_collect_options_default().max_steps,
        .prompt = mla_prompt_options_default(), .seed = 1};
}

// --- candidates ---------------------------------------------------------------------------------

typedef struct {
    const mla_trajectory *trajectory;
    size_t at;                     // step of the trajectory
} place;

// A step that is worth learning. Trajectories that meet in a state came there by ways that differ
// in words: all actions from it are learned in one of these ways, so that they share its tokens.
typedef struct {
    place step;
    place way;                     // the step before which its state is shown
    uint64_t state;                // hash of the files and of the last feedback
    char *key;                     // what it does, without the wording of its thought; owned
    size_t rank;                   // how many equal ones from this state come before it
    size_t crowd;                  // how many different ones start from its state
    uint64_t draw;                 // its own place by lot
} candidate;

// Steps of one task, or family of variants, and sort, the different ones first.
typedef struct {
    candidate *items;              // [len], owned
    size_t len, cap;
    size_t next, taken;
} shelf;

typedef struct {
    shelf sorts[SORTS];
} task_shelf;

static sort sort_of(mla_action_kind kind) {
    if (mla_action_is_edit(kind)) return EDIT;
    if (kind == MLA_ACTION_UNDO_EDIT) return UNDO;
    return kind == MLA_ACTION_FINAL_ANSWER ? FINAL : LOOK;
}

static bool worth_learning(const mla_step *step) {
    if (step->kind == MLA_ACTION_NONE || isnan(step->reward.reward) || step->flags) return false;
    if (mla_outcome_class_of(step->outcome) != MLA_CLASS_DONE) return false;
    return !mla_action_is_edit(step->kind) || step->reward.gain >= EDIT_GAIN_MIN;
}

// An edit is its blocks; all else is its kind.
static char *key_of(const mla_step *step) {
    mla_action action;
    mla_err why;
    if (step->edit) return mla_strdup(step->edit);
    if (sort_of(step->kind) != EDIT ||
        mla_action_parse(&action, step->text, MLA_ACTIONS_ALL, &why) < 0) {
        return mla_strdup(mla_action_name(step->kind));
    }
    char *key = mla_strdup(action.blocks ? action.blocks : "");
    mla_action_clear(&action);
    return key;
}

static uint64_t state_of(const place *p) {
    const mla_step *step = &p->trajectory->steps[p->at];
    const char *feedback = p->at ? step[-1].feedback : NULL;
    return mla_rng_derive(mla_rng_hash(step->state.commit), mla_rng_hash(feedback ? feedback : ""),
                          0, 0);
}

static int by_state(const void *a, const void *b) {
    const candidate *p = *(candidate *const *)a, *q = *(candidate *const *)b;
    if (p->state != q->state) return p->state < q->state ? -1 : 1;
    int order = strcmp(p->key, q->key);
    return order ? order : (p->draw > q->draw) - (p->draw < q->draw);
}

// The different actions first; among these, the states that have most of them, for a state costs
// its tokens only once.
static int by_rank(const void *a, const void *b) {
    const candidate *p = a, *q = b;
    if (p->rank != q->rank) return p->rank < q->rank ? -1 : 1;
    if (p->crowd != q->crowd) return p->crowd > q->crowd ? -1 : 1;
    if (p->state != q->state) return p->state < q->state ? -1 : 1;
    return (p->draw > q->draw) - (p->draw < q->draw);
}

// Candidates [n] of one state, equal ones side by side.
static void meet(candidate **all, size_t n) {
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

static void arrange(task_shelf *t) {
    size_t n = 0, from = 0;
    for (int s = 0; s < SORTS; s++) n += t->sorts[s].len;
    candidate **all = MLA_NEW_ARRAY(candidate *, n);
    for (int s = 0, at = 0; s < SORTS; s++) {
        for (size_t i = 0; i < t->sorts[s].len; i++) all[at++] = &t->sorts[s].items[i];
    }
    qsort(all, n, sizeof *all, by_state);
    for (size_t i = 1; i <= n; i++) {
        if (i < n && all[i]->state == all[from]->state) continue;
        meet(all + from, i - from);
        from = i;
    }
    free(all);
    for (int s = 0; s < SORTS; s++) {
        shelf *one = &t->sorts[s];
        if (one->len) qsort(one->items, one->len, sizeof *one->items, by_rank);
    }
}

static void put(shelf *s, place at, mla_rng *rng) {
    MLA_GROW(s->items, s->cap, s->len + 1);
    s->items[s->len++] = (candidate){
        .step = at, .state = state_of(&at), .draw = mla_rng_u64(rng),
        .key = key_of(&at.trajectory->steps[at.at])};
}

static task_shelf *make_shelves(const mla_trajectories *all, const mla_task *const *tasks,
                                size_t n_tasks, mla_rng *rng) {
    task_shelf *shelves = MLA_NEW_ARRAY(task_shelf, n_tasks);
    for (size_t i = 0; i < all->len; i++) {
        const mla_trajectory *t = &all->items[i];
        size_t task = 0;               // the first of its family: variants share its shelf
        while (strcmp(tasks[task]->family, t->task->family)) task++;
        for (size_t at = 0; at < t->n_steps; at++) {
            const mla_step *step = &t->steps[at];
            if (!worth_learning(step)) continue;
            put(&shelves[task].sorts[sort_of(step->kind)], (place){t, at}, rng);
        }
    }
    for (size_t t = 0; t < n_tasks; t++) arrange(&shelves[t]);
    return shelves;
}

static void free_shelves(task_shelf *shelves, size_t n_tasks) {
    for (size_t t = 0; t < n_tasks; t++) {
        for (int s = 0; s < SORTS; s++) {
            shelf *one = &shelves[t].sorts[s];
            for (size_t i = 0; i < one->len; i++) free(one->items[i].key);
            free(one->items);
        }
    }
    free(shelves);
}

// What is farthest behind its share of this task's samples. All else follows the edits: when these
// are used up the task is, so that a data set of any size keeps the mix. NULL when it is used up.
static shelf *pick_sort(task_shelf *t) {
    size_t total = 1;
    for (int s = 0; s < SORTS; s++) total += t->sorts[s].taken;
    if (t->sorts[EDIT].next == t->sorts[EDIT].len) return NULL;
    shelf *best = &t->sorts[EDIT];
    double most = mix[EDIT].share * (double)total - (double)best->taken;
    for (int s = UNDO; s < SORTS; s++) {
        shelf *one = &t->sorts[s];
        double behind = mix[s].share * (double)total - (double)one->taken;
        if (one->next < one->len && behind > most) {
            most = behind;
            best = one;
        }
    }
    return best;
}

// --- samples ------------------------------------------------------------------------------------

typedef struct {
    mla_env *env;
    const mla_policy *policy;
    const mla_dataset_options *options;
    mla_steps samples;
    size_t tokens, too_long;
    bool full;
} making;

static void action_tokens(const mla_policy *policy, const char *text, mla_ids *out) {
    mla_tokenizer_encode(mla_policy_tokenizer(policy), text, strlen(text), out);
    mla_ids_push(out, mla_chat_end_of_turn(policy));
}

// The prompt as the policy would have read it before that step.
static int prompt_tokens(const making *m, const place *way, mla_ids *out, mla_err *err) {
    const mla_trajectory *t = way->trajectory;
    const mla_step *step = &t->steps[way->at];
    char *script = mla_env_script(m->env, t->task, &step->state, err);
    if (!script) return mla_err_wrap(err, "step %zu of trajectory %s", way->at, step->trajectory);
    int left = m->options->max_steps - (int)way->at;
    const mla_view view = {
        .task = t->task, .state = step->state, .script = script, .history = t->steps,
        .n_history = way->at, .steps_left = left > 1 ? left : 1, .seed = step->seed};
    mla_prompt_render(m->policy, &view, &m->options->prompt, out);
    free(script);
    return 0;
}

// A state's tokens go through the network once for all the actions learned from it, so they count
// once.
static bool same_prompt(const mla_step *sample, const mla_ids *prompt) {
    return sample->n_prompt == prompt->len &&
           memcmp(sample->prompt_ids, prompt->data, prompt->len * sizeof *prompt->data) == 0;
}

static size_t cost_of(const making *m, const mla_ids *prompt, const mla_ids *action) {
    for (size_t i = 0; i < m->samples.len; i++) {
        if (same_prompt(&m->samples.items[i], prompt)) return action->len;
    }
    return prompt->len + action->len;
}

static void keep_sample(making *m, const candidate *c, mla_ids *prompt, mla_ids *action) {
    mla_step sample;
    mla_step_copy(&sample, &c->step.trajectory->steps[c->step.at]);
    free(sample.prompt_ids);
    free(sample.action_ids);
    free(sample.logprobs);
    sample.prompt_ids = prompt->data;
    sample.n_prompt = prompt->len;
    sample.action_ids = action->data;
    sample.n_action = action->len;
    sample.logprobs = NULL;
    sample.ended = true;
    sample.cost.prompt_tokens = (int)prompt->len;
    sample.cost.action_tokens = (int)action->len;
    *prompt = *action = (mla_ids){0};
    mla_steps_push_take(&m->samples, &sample);
}

// 1: kept, 0: left out, -1.
static int make_sample(making *m, const candidate *c, mla_err *err) {
    mla_ids prompt = {0}, action = {0};
    int rc = prompt_tokens(m, &c->way, &prompt, err);
    if (rc == 0) {
        action_tokens(m->policy, c->step.trajectory->steps[c->step.at].text, &action);
        size_t cost = cost_of(m, &prompt, &action);
        int ceiling = m->options->max_tokens;
        bool too_long = prompt.len + action.len > (size_t)m->options->max_sample_tokens;
        m->too_long += too_long;
        m->full = !too_long && ceiling && m->tokens + cost > (size_t)ceiling;
        if (!too_long && !m->full) {
            m->tokens += cost;
            keep_sample(m, c, &prompt, &action);
            rc = 1;
        }
    }
    mla_ids_clear(&prompt);
    mla_ids_clear(&action);
    return rc;
}

// One more sample of a task; 0 when it has no more.
static int take_one(making *m, task_shelf *t, mla_err *err) {
    shelf *s;
    while (!m->full && (s = pick_sort(t)) != NULL) {
        int rc = make_sample(m, &s->items[s->next++], err);
        if (rc < 0) return -1;
        if (rc == 0) continue;
        s->taken++;
        return 1;
    }
    return 0;
}

// The tasks give by turns until none has more or the ceiling is reached.
static int take_all(making *m, task_shelf *shelves, size_t n_tasks, mla_err *err) {
    mla_progress bar;
    double most = 0;
    for (size_t t = 0; t < n_tasks; t++) most += (double)shelves[t].sorts[EDIT].len;
    mla_progress_begin(&bar, "dataset", "samples", most / mix[EDIT].share, 0);
    int rc = 1;
    for (size_t t = 0, idle = 0; idle < n_tasks && !m->full && rc >= 0; t = (t + 1) % n_tasks) {
        if (mla_stop_wanted()) break;
        rc = take_one(m, &shelves[t], err);
        idle = rc > 0 ? 0 : idle + 1;
        mla_progress_set(&bar, (double)m->samples.len, "%zu tokens", m->tokens);
    }
    mla_progress_end(&bar);
    return rc < 0 ? -1 : 0;
}

// --- the stage ----------------------------------------------------------------------------------

// In training order: states by lot, so that a batch has several tasks and kinds, and the actions of
// one state together, so that they can share its tokens.
static size_t *training_order(const mla_steps *samples, mla_rng *rng) {
    size_t n = samples->len, at = 0;
    size_t *lot = MLA_NEW_ARRAY(size_t, n), *order = MLA_NEW_ARRAY(size_t, n);
    bool *placed = MLA_NEW_ARRAY(bool, n);
    for (size_t i = 0; i < n; i++) lot[i] = i;
    mla_rng_shuffle(rng, lot, n);
    for (size_t i = 0; i < n; i++) {
        const mla_step *first = &samples->items[lot[i]];
        const mla_ids prompt = {.data = first->prompt_ids, .len = first->n_prompt};
        for (size_t j = i; j < n; j++) {
            if (placed[lot[j]] || !same_prompt(&samples->items[lot[j]], &prompt)) continue;
            placed[lot[j]] = true;
            order[at++] = lot[j];
        }
    }
    free(placed);
    free(lot);
    return order;
}

static int write_samples(const mla_steps *samples, const char *path, mla_rng *rng, mla_err *err) {
    size_t *order = training_order(samples, rng);
    char *aside = mla_format("%s.new", path);
    remove(aside);
    mla_lines *lines = mla_lines_open(aside, err);
    int rc = lines ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < samples->len; i++) {
        rc = mla_store_append(lines, &samples->items[order[i]], err);
    }
    mla_lines_close(lines);
    if (rc == 0 && rename(aside, path) < 0) {
        rc = mla_err_set(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    free(aside);
    free(order);
    return rc;
}

static void report(const making *m) {
    size_t counts[SORTS] = {0};
    for (size_t i = 0; i < m->samples.len; i++) counts[sort_of(m->samples.items[i].kind)]++;
    char text[256] = "";
    for (size_t s = 0, at = 0; s < SORTS && at < sizeof text; s++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu %s", s ? ", " : "", counts[s],
                               mix[s].name);
    }
    mla_info("data set: %zu samples (%s), %zu tokens; %zu left out for being longer than %d tokens",
             m->samples.len, text, m->tokens, m->too_long, m->options->max_sample_tokens);
}

static int build(mla_run *run, making *m, const mla_trajectories *all, const mla_task *const *tasks,
                 size_t n_tasks, mla_err *err) {
    mla_rng rng;
    mla_rng_init(&rng, m->options->seed);
    task_shelf *shelves = make_shelves(all, tasks, n_tasks, &rng);
    int rc = take_all(m, shelves, n_tasks, err);
    free_shelves(shelves, n_tasks);
    if (rc < 0 || mla_stop_wanted()) return rc;
    if (!m->samples.len) {
        return mla_err_set(err, "%s/expert/steps.jsonl: no step to learn from: of %zu "
                           "trajectories, %zu samples were longer than max_sample_tokens (%d)",
                           mla_run_dir(run), all->len, m->too_long, m->options->max_sample_tokens);
    }
    char *path = mla_run_path(run, "sft/steps.jsonl");
    rc = write_samples(&m->samples, path, &rng, err);
    free(path);
    if (rc == 0) report(m);
    return rc;
}

int mla_dataset_build(mla_run *run, mla_env *env, const mla_policy *policy,
                      const mla_task *const *tasks, size_t n_tasks,
                      const mla_dataset_options *options, mla_err *err) {
    char *path = mla_run_path(run, "expert/steps.jsonl");
    mla_trajectories all;
    int rc = mla_trajectories_read(&all, path, tasks, n_tasks, err);
    if (rc == 0 && !all.len) {
        rc = mla_err_set(err, "%s: no whole trajectory; collect first", path);
    }
    making m = {.env = env, .policy = policy, .options = options};
    if (rc == 0) rc = build(run, &m, &all, tasks, n_tasks, err);
    mla_trajectories_clear(&all);
    mla_steps_clear(&m.samples);
    free(path);
    return rc;
}
