// One step of a trajectory: the reply goes to the environment, the facts to the reward, and the
// record of both comes out. Steps are made side by side and come back as they end.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/editor.h"
#include "base/log.h"
#include "base/mem.h"
#include "env/action.h"

// A step on its way. Its place in the array is its tag in the environment.
typedef struct {
    enum { FREE, RUNNING, READY } status;
    const mla_task *task;
    size_t tag;              // the caller's
    mla_step step;
} pending;

struct mla_agent {
    mla_env *env;
    mla_reward_options reward;
    mla_policy_editor *editor;     // borrowed; NULL: no policy edits
    pending *slots;          // [n_slots]
    size_t n_slots, cap;
};

mla_agent *mla_agent_create(mla_env *env, const mla_reward_options *reward) {
    mla_agent *agent = MLA_NEW(mla_agent);
    agent->env = env;
    agent->reward = *reward;
    return agent;
}

void mla_agent_free(mla_agent *agent) {
    if (!agent) return;
    for (size_t i = 0; i < agent->n_slots; i++) {
        if (agent->slots[i].status != FREE) mla_step_clear(&agent->slots[i].step);
    }
    free(agent->slots);
    free(agent);
}

mla_env *mla_agent_env(mla_agent *agent) {
    return agent->env;
}

void mla_agent_set_editor(mla_agent *agent, mla_policy_editor *editor) {
    agent->editor = editor;
}

void mla_agent_use_policy(mla_agent *agent, mla_policy *policy) {
    if (agent->editor) agent->editor->policy = policy;
}

void mla_reply_clear(mla_reply *reply) {
    free(reply->text);
    free(reply->prompt_ids);
    free(reply->ids);
    free(reply->logprobs);
    free(reply->idea);
    *reply = (mla_reply){0};
}

static size_t take_slot(mla_agent *agent) {
    size_t at = 0;
    while (at < agent->n_slots && agent->slots[at].status != FREE) at++;
    if (at == agent->n_slots) {
        MLA_GROW(agent->slots, agent->cap, at + 1);
        agent->n_slots++;
    }
    return at;
}

// The record as far as it is known before the environment has answered.
static void begin_step(mla_step *step, const mla_view *view, const char *actor,
                       const char *trajectory, mla_reply *take) {
    mla_step_init(step);
    step->task = mla_strdup(view->task->name);
    step->trajectory = mla_strdup(trajectory);
    step->actor = mla_strdup(actor);
    step->index = (int)view->n_history;
    step->seed = view->seed;
    step->state = step->state_after = view->state;
    step->prompt_ids = take->prompt_ids;
    step->n_prompt = take->n_prompt;
    step->action_ids = take->ids;
    step->logprobs = take->logprobs;
    step->n_action = take->n_ids;
    step->ended = take->ids ? take->ended : true;
    step->text = take->text;
    step->idea = take->idea;
    step->cost.generate_seconds = take->seconds;
    step->cost.prompt_tokens = (int)take->n_prompt;
    step->cost.action_tokens = (int)take->n_ids;
    *take = (mla_reply){0};
}

static void judge(const mla_agent *agent, const mla_task *task, mla_step *step, double before,
                  double after) {
    const mla_reward_facts facts = {
        .outcome = step->outcome, .is_edit = mla_action_is_edit(step->kind),
        .score_before = before, .score_after = after, .best_before = step->state.best,
        .direction = task->direction,
        .score_init = task->init.public_half, .score_best = task->best.public_half,
    };
    step->reward = mla_reward_score(&agent->reward, &facts);
}

int mla_agent_submit(mla_agent *agent, const mla_view *view, const char *actor,
                     const char *trajectory, mla_reply *take, size_t tag, mla_err *err) {
    size_t at = take_slot(agent);
    pending *p = &agent->slots[at];
    *p = (pending){.status = RUNNING, .task = view->task, .tag = tag};
    begin_step(&p->step, view, actor, trajectory, take);
    if (p->step.ended) {
        int rc = mla_env_submit(agent->env, view->task, &view->state, p->step.text, at, err);
        if (rc < 0) {
            mla_step_clear(&p->step);
            p->status = FREE;
        }
        return rc;
    }
    // A reply cut at the length limit never reached its end-of-turn token: whatever it says, it is
    // not an action, and it stays in the loss as one.
    p->step.kind = MLA_ACTION_NONE;
    p->step.outcome = MLA_OUTCOME_INVALID_ACTION;
    p->step.feedback = mla_format("Your reply was cut at the limit of %zu tokens. Be shorter.",
                                  p->step.n_action);
    judge(agent, view->task, &p->step, view->state.score, NAN);
    p->status = READY;
    return 0;
}

static void finish_step(const mla_agent *agent, const mla_task *task, mla_step *step,
                        mla_facts *facts) {
    step->kind = facts->action.kind;
    step->outcome = facts->outcome;
    step->error_type = facts->error_type;
    step->feedback = facts->feedback;
    facts->error_type = facts->feedback = NULL;
    if (step->kind == MLA_ACTION_EDIT_SCRIPT_AI) {      // no editor says the same thing twice
        step->edit = facts->action.blocks;
        facts->action.blocks = NULL;
    }
    step->state_after = facts->state_after;
    step->score_private = facts->score_private;
    step->flags = facts->flags;
    step->final = facts->final;
    step->cost.run_seconds = facts->cost.run_seconds;
    step->cost.peak_mb = facts->cost.peak_mb;
    step->cost.cached = facts->cost.cached;
    judge(agent, task, step, facts->score_before, facts->score_after);
    mla_facts_clear(facts);
}

static void hand_over(pending *p, size_t *tag, mla_step *out) {
    *tag = p->tag;
    *out = p->step;
    p->status = FREE;
}

int mla_agent_collect(mla_agent *agent, double wait_seconds, size_t *tag, mla_step *out,
                      mla_err *err) {
    for (size_t i = 0; i < agent->n_slots; i++) {
        if (agent->slots[i].status != READY) continue;
        hand_over(&agent->slots[i], tag, out);
        return 1;
    }
    size_t at;
    mla_facts facts;
    int rc = mla_env_collect(agent->env, wait_seconds, &at, &facts, err);
    if (rc <= 0) return rc;
    pending *p = &agent->slots[at];
    finish_step(agent, p->task, &p->step, &facts);
    hand_over(p, tag, out);
    return 1;
}

int mla_agent_await(mla_agent *agent, size_t *tag, mla_step *out, mla_err *err) {
    while (!mla_stop_wanted()) {
        int rc = mla_agent_collect(agent, 0.2, tag, out, err);
        if (rc || !mla_env_outstanding(agent->env)) return rc;
    }
    return 0;
}

void mla_agent_cancel(mla_agent *agent) {
    mla_env_cancel(agent->env, NULL);
    for (size_t i = 0; i < agent->n_slots; i++) {
        if (agent->slots[i].status != FREE) mla_step_clear(&agent->slots[i].step);
        agent->slots[i].status = FREE;
    }
}

char *mla_agent_action_key(const mla_step *step) {
    mla_action action;
    mla_err why;
    if (step->edit) return mla_strdup(step->edit);
    if (!mla_action_is_edit(step->kind) ||
        mla_action_parse(&action, step->text, MLA_ACTIONS_ALL, &why) < 0) {
        return mla_strdup(mla_action_name(step->kind));
    }
    char *key = mla_strdup(action.blocks ? action.blocks : "");
    mla_action_clear(&action);
    return key;
}
