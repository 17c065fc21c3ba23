// The data set for fine-tuning, as a stage: the expert's steps are filtered, some trajectories are
// held back, the rest is balanced, and what is kept is tokenised once. It leaves out the choice
// (dataset_pick.c), what is held back (dataset_hold.c), the loss (train) and the prompt's wording
// (agent/prompt.c).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "collect/collect.h"
#include "collect/dataset.h"

// By default an edit is learned from unless it clearly hurt: one that is a little worse is as
// likely noise as a mistake. Of the mix: edits earn the reward and are hard to learn; a few samples
// teach the others, but without them the model could not do them; undos stand in states of their
// own, so they cost most tokens.
mla_dataset_options mla_dataset_options_default(void) {
    return (mla_dataset_options){
        .max_tokens = 0, .max_sample_tokens = 2048,
        .max_steps = mla_collect_options_default().max_steps,
        .keep = MLA_KEEP_NOT_HURT, .margin = 0.05,
        .mix = {.edits = 0.80, .undos = 0.06, .finals = 0.07, .looks = 0.07}, .val_share = 0.05,
        .prompt = mla_prompt_options_default(), .seed = 1};
}

// Samples of one file under way: those trained on, or those held back.
typedef struct {
    mla_steps samples;
    mla__seen prompts;
    size_t tokens, ceiling;        // ceiling 0: none
    size_t too_long;
    bool full;
} making;

typedef struct {
    mla_run *run;
    mla_env *env;
    const mla_policy *policy;
    const mla_task *const *tasks;
    size_t n_tasks;
    const mla_dataset_options *options;
    mla_trajectories expert;
    mla__candidates candidates;
    size_t left_out[MLA__REASON_COUNT], shared;   // shared: held back, but of a trained script
    making train, validation;
} work;

// ---- candidates --------------------------------------------------------------------------------

static uint64_t state_of(const mla__place *p) {
    const mla_step *step = &p->trajectory->steps[p->at];
    const char *feedback = p->at ? step[-1].feedback : NULL;
    return mla_rng_derive(mla_rng_hash(step->state.commit), mla_rng_hash(feedback ? feedback : ""),
                          0, 0);
}

// The hash of the script that a step starts from. Steps often start where the one before did.
static int script_of(work *w, const mla__place *p, uint64_t *out, mla_err *err) {
    const mla_step *step = &p->trajectory->steps[p->at];
    const mla__candidate *last = w->candidates.items + w->candidates.len - 1;
    if (w->candidates.len && last->step.trajectory == p->trajectory &&
        !strcmp(p->trajectory->steps[last->step.at].state.commit, step->state.commit)) {
        *out = last->script;
        return 0;
    }
    char *script = mla_env_script(w->env, p->trajectory->task, &step->state, err);
    if (!script) return mla_err_wrap(err, "step %zu of trajectory %s", p->at, step->trajectory);
    *out = mla_rng_hash(script);
    free(script);
    return 0;
}

static int add_candidate(work *w, mla__place at, size_t task, mla_rng *rng, mla_err *err) {
    mla__candidate c = {.step = at, .task = task, .state = state_of(&at)};
    if (script_of(w, &at, &c.script, err) < 0) return -1;
    c.draw = mla_rng_u64(rng);
    c.key = mla__step_key(&at.trajectory->steps[at.at]);
    mla__candidates *all = &w->candidates;
    MLA_GROW(all->items, all->cap, all->len + 1);
    all->items[all->len++] = c;
    return 0;
}

static int find_candidates(work *w, mla_err *err) {
    mla_rng rng;
    mla_rng_init(&rng, w->options->seed);
    for (size_t i = 0; i < w->expert.len; i++) {
        const mla_trajectory *t = &w->expert.items[i];
        size_t task = 0;               // the first of its family: variants share its shelf
        while (strcmp(w->tasks[task]->family, t->task->family)) task++;
        for (size_t at = 0; at < t->n_steps; at++) {
            mla__reason reason = mla__step_reason(&t->steps[at], w->options);
            if (reason != MLA__LEARN) w->left_out[reason]++;
            else if (add_candidate(w, (mla__place){t, at}, task, &rng, err) < 0) return -1;
        }
    }
    w->shared = mla__hold_back(&w->candidates, w->options->val_share, w->options->seed);
    return 0;
}

// ---- samples -----------------------------------------------------------------------------------

static void action_tokens(const mla_policy *policy, const char *text, mla_ids *out) {
    mla_tokenizer_encode(mla_policy_tokenizer(policy), text, strlen(text), out);
    mla_ids_push(out, mla_chat_end_of_turn(policy));
}

// The prompt as the policy would have read it before that step.
static int prompt_tokens(const work *w, const mla__place *way, mla_ids *out, mla_err *err) {
    const mla_trajectory *t = way->trajectory;
    const mla_step *step = &t->steps[way->at];
    char *script = mla_env_script(w->env, t->task, &step->state, err);
    if (!script) return mla_err_wrap(err, "step %zu of trajectory %s", way->at, step->trajectory);
    int left = w->options->max_steps - (int)way->at;
    const mla_view view = {
        .task = t->task, .state = step->state, .script = script, .history = t->steps,
        .n_history = way->at, .steps_left = left > 1 ? left : 1, .seed = step->seed};
    mla_prompt_render(w->policy, &view, &w->options->prompt, out);
    free(script);
    return 0;
}

static void keep_sample(making *m, const mla__candidate *c, mla_ids *prompt, mla_ids *action) {
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

// 1: kept, 0: left out. A state's tokens go through the network once for all the actions learned
// from it, so they count once.
static int keep_if_fits(making *m, const mla__candidate *c, int longest, mla_ids *prompt,
                        mla_ids *action) {
    uint64_t hash = mla__ids_hash(prompt->data, prompt->len);
    size_t cost = action->len + (mla__seen_has(&m->prompts, hash) ? 0 : prompt->len);
    if (prompt->len + action->len > (size_t)longest) {
        m->too_long++;
        return 0;
    }
    m->full = m->ceiling && m->tokens + cost > m->ceiling;
    if (m->full) return 0;
    m->tokens += cost;
    mla__seen_add(&m->prompts, hash);
    keep_sample(m, c, prompt, action);
    return 1;
}

// 1: kept, 0: left out, -1.
static int make_sample(work *w, making *m, const mla__candidate *c, mla_err *err) {
    mla_ids prompt = {0}, action = {0};
    int rc = prompt_tokens(w, &c->way, &prompt, err);
    if (rc == 0) {
        action_tokens(w->policy, c->step.trajectory->steps[c->step.at].text, &action);
        rc = keep_if_fits(m, c, w->options->max_sample_tokens, &prompt, &action);
    }
    mla_ids_clear(&prompt);
    mla_ids_clear(&action);
    return rc;
}

// One more sample of a task; 0 when it has no more.
static int take_one(work *w, making *m, mla__task_shelf *t, mla_err *err) {
    mla__shelf *s;
    while (!m->full && (s = mla__shelves_pick(t, &w->options->mix)) != NULL) {
        int rc = make_sample(w, m, s->items[s->next++], err);
        if (rc < 0) return -1;
        if (rc == 0) continue;
        s->taken++;
        return 1;
    }
    return 0;
}

// The tasks give by turns until none has more or the ceiling is reached.
static int take_all(work *w, making *m, const char *what, bool held_back, mla_err *err) {
    mla_progress bar;
    mla__task_shelf *shelves = mla__shelves_create(&w->candidates, w->n_tasks, held_back);
    double most = 0;
    for (size_t t = 0; t < w->n_tasks; t++) most += (double)shelves[t].sorts[MLA__EDITS].len;
    mla_progress_begin(&bar, what, "samples", most / w->options->mix.edits, 0);
    int rc = 1;
    for (size_t t = 0, idle = 0; idle < w->n_tasks && !m->full && rc >= 0;
         t = (t + 1) % w->n_tasks) {
        if (mla_stop_wanted()) break;
        rc = take_one(w, m, &shelves[t], err);
        idle = rc > 0 ? 0 : idle + 1;
        mla_progress_set(&bar, (double)m->samples.len, "%zu tokens", m->tokens);
    }
    mla_progress_end(&bar);
    mla__shelves_free(shelves, w->n_tasks);
    return rc < 0 ? -1 : 0;
}

// ---- what came of it ---------------------------------------------------------------------------

static json_t *count_samples(const making *m) {
    size_t counts[MLA__SORTS] = {0};
    for (size_t i = 0; i < m->samples.len; i++) counts[mla__sort_of(m->samples.items[i].kind)]++;
    json_t *o = json_pack("{s:I, s:I, s:I}", "samples", (json_int_t)m->samples.len, "states",
                          (json_int_t)m->prompts.len, "tokens", (json_int_t)m->tokens);
    for (int s = 0; s < MLA__SORTS; s++) {
        json_object_set_new(o, mla__sort_name((mla__sort)s), json_integer((json_int_t)counts[s]));
    }
    return o;
}

static json_t *count_left_out(const work *w) {
    json_t *o = json_object();
    size_t too_long = w->train.too_long + w->validation.too_long;
    size_t used = w->train.samples.len + w->validation.samples.len + too_long;
    for (int r = 0; r < MLA__REASON_COUNT; r++) {
        json_object_set_new(o, mla__reason_name((mla__reason)r),
                            json_integer((json_int_t)w->left_out[r]));
    }
    json_object_set_new(o, "held back, but of a trained script",
                        json_integer((json_int_t)w->shared));
    json_object_set_new(o, "too long", json_integer((json_int_t)too_long));
    json_object_set_new(o, "beyond the mix or the ceiling",
                        json_integer((json_int_t)(w->candidates.len - used)));
    return o;
}

// sft/data.json.
static int write_counts(const work *w, mla_err *err) {
    json_t *o = json_pack("{s:i, s:s, s:o, s:I, s:I, s:o, s:o, s:o}", "version", 1, "keep",
                          mla_keep_name(w->options->keep), "margin",
                          mla_json_number(w->options->margin), "trajectories",
                          (json_int_t)w->expert.len, "steps", (json_int_t)w->expert.steps.len,
                          "left_out", count_left_out(w), "train", count_samples(&w->train),
                          "validation", count_samples(&w->validation));
    char *path = mla_run_path(w->run, "sft/data.json");
    int rc = mla_json_write_file(path, o, err);
    free(path);
    json_decref(o);
    return rc;
}

static void report(const work *w) {
    const making *m = &w->train;
    size_t counts[MLA__SORTS] = {0};
    for (size_t i = 0; i < m->samples.len; i++) counts[mla__sort_of(m->samples.items[i].kind)]++;
    char text[256] = "";
    for (size_t s = 0, at = 0; s < MLA__SORTS && at < sizeof text; s++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu %s", s ? ", " : "", counts[s],
                               mla__sort_name((mla__sort)s));
    }
    mla_info("data set: %zu samples (%s), %zu tokens; %zu left out for being longer than %d "
             "tokens; %zu more, %zu tokens, held back for validation", m->samples.len, text,
             m->tokens, m->too_long, w->options->max_sample_tokens, w->validation.samples.len,
             w->validation.tokens);
    if (w->options->val_share > 0 && !w->validation.samples.len) {
        mla_warn("data set: nothing is held back: no trajectory comes to a script that no other "
                 "comes to; collect with more ideas, or longer trajectories");
    }
}

// ---- the stage ---------------------------------------------------------------------------------

// Beside max_tokens: so many more that they are val_share of the whole.
static void set_ceilings(work *w) {
    double share = w->options->val_share;
    w->train.ceiling = (size_t)w->options->max_tokens;
    w->validation.ceiling = (size_t)(w->options->max_tokens * share / (1 - share));
}

static int write_all(const work *w, mla_err *err) {
    char *train = mla_run_path(w->run, "sft/steps.jsonl"),
         *validation = mla_run_path(w->run, "sft/validation.jsonl");
    uint64_t seed = w->options->seed;
    int rc = mla__samples_write(&w->validation.samples, validation, seed, err);
    if (rc == 0) rc = mla__samples_write(&w->train.samples, train, seed, err);
    if (rc == 0) rc = write_counts(w, err);
    free(train);
    free(validation);
    return rc;
}

static int build(work *w, mla_err *err) {
    if (find_candidates(w, err) < 0) return -1;
    set_ceilings(w);
    if (take_all(w, &w->train, "dataset", false, err) < 0) return -1;
    if (w->candidates.len && take_all(w, &w->validation, "validation", true, err) < 0) return -1;
    if (mla_stop_wanted()) return 0;
    if (!w->train.samples.len) {
        return mla_err_set(err, "%s/expert/steps.jsonl: no step to learn from: of %zu "
                           "trajectories, %zu samples were longer than max_sample_tokens (%d)",
                           mla_run_dir(w->run), w->expert.len, w->train.too_long,
                           w->options->max_sample_tokens);
    }
    int rc = write_all(w, err);
    if (rc == 0) report(w);
    return rc;
}

static void making_clear(making *m) {
    mla_steps_clear(&m->samples);
    mla__seen_clear(&m->prompts);
}

int mla_dataset_build(mla_run *run, mla_env *env, const mla_policy *policy,
                      const mla_task *const *tasks, size_t n_tasks,
                      const mla_dataset_options *options, mla_err *err) {
    char *path = mla_run_path(run, "expert/steps.jsonl");
    work w = {.run = run, .env = env, .policy = policy, .tasks = tasks, .n_tasks = n_tasks,
              .options = options};
    int rc = mla_trajectories_read(&w.expert, path, tasks, n_tasks, err);
    if (rc == 0 && !w.expert.len) {
        rc = mla_err_set(err, "%s: no whole trajectory; collect first", path);
    }
    if (rc == 0) rc = build(&w, err);
    mla__candidates_clear(&w.candidates);
    mla_trajectories_clear(&w.expert);
    making_clear(&w.train);
    making_clear(&w.validation);
    free(path);
    return rc;
}
