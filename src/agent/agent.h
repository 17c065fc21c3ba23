// One loop for every actor (policy, scripted expert, endpoint): render, act, step, judge, append.
//
// mla_agent_submit/collect make one step of a trajectory: the environment executes the reply, the
// reward judges the facts, and a whole mla_step comes out. Episodes and step-wise RL are both made
// of it.
#ifndef MLA_AGENT_AGENT_H
#define MLA_AGENT_AGENT_H

#include "env/env.h"
#include "policy/policy.h"
#include "record/step.h"
#include "reward/reward.h"
#include "task/task.h"

// ---- what an actor sees and says -------------------------------------------------------------

typedef struct mla_view {
    const mla_task *task;
    mla_state state;
    const char *script;            // text of the task's script in this state
    const mla_step *history;       // [n_history], the steps before, oldest first
    size_t n_history;
    int steps_left;                // this one included
    double seconds_left;           // of generating and running; INFINITY: no limit
    uint64_t seed;                 // of this step
    uint64_t episode_seed;         // of its trajectory
    const char *trajectory;        // its name
    size_t episode;                // which episode of the batch (actors with a memory index by it)
    size_t place;                  // where a reply that comes later belongs (mla_actor.poll)
} mla_view;

typedef struct mla_reply {
    char *text;                    // owned
    int32_t *prompt_ids;           // [n_prompt], owned; policies only, else NULL
    size_t n_prompt;
    int32_t *ids;                  // [n_ids], owned; as sampled; policies only, else NULL
    float *logprobs;               // [n_ids], owned
    size_t n_ids;
    bool ended;                    // the end-of-turn token was sampled
    double seconds;                // this reply's share of the generation time
    char *idea;                    // experts: the ideas that it follows; may be NULL
} mla_reply;
void mla_reply_clear(mla_reply *reply);
// A policy's sample as a reply: takes over the sample, copies its prompt.
mla_reply mla_reply_of_sample(const mla_policy *policy, const int32_t *prompt, size_t n_prompt,
                              mla_sample *take, double seconds);

// Takes over the reply for views[at]; from `poll` for the view of that place.
typedef int (*mla_reply_sink)(void *ctx, size_t at, mla_reply *take, mla_err *err);

// The one function pointer of the program that stands for a choice: who acts. Replies to all views,
// handing each over as soon as it is there. An actor with `poll` only begins in `act` (the views
// last no longer than the call) and hands over what has come in `poll`, which waits `seconds` at
// most for something: how many replies, or -1.
typedef struct mla_actor {
    const char *name;              // "policy", "expert"
    int (*act)(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err);
    int (*poll)(void *self, double seconds, mla_reply_sink sink, void *ctx, mla_err *err);
    void *self;
    bool batched;  // better to wait until all episodes are ready for their next step
} mla_actor;

// ---- one step --------------------------------------------------------------------------------

struct mla_policy_editor;
typedef struct mla_agent mla_agent;
mla_agent *mla_agent_create(mla_env *env, const mla_reward_options *reward);   // borrows env
void mla_agent_free(mla_agent *agent);
mla_env *mla_agent_env(mla_agent *agent);
// Edits that a policy makes for Edit Script (AI) (agent/editor.h; borrowed, NULL: it makes none)
// are made by the policy that is in use: whoever samples says which one, and NULL before it goes.
void mla_agent_set_editor(mla_agent *agent, struct mla_policy_editor *editor);
void mla_agent_use_policy(mla_agent *agent, mla_policy *policy);

// Hands a reply to the environment. A reply that was cut at the length limit is an invalid action.
// `actor` and `trajectory` are copied.
MLA_MUST_USE int mla_agent_submit(mla_agent *agent, const mla_view *view, const char *actor,
                                  const char *trajectory, mla_reply *take, size_t tag,
                                  mla_err *err);
// The next step that is done, with its reward; the caller clears it. 1, 0 (none in time, or none
// outstanding), -1.
MLA_MUST_USE int mla_agent_collect(mla_agent *agent, double wait_seconds, size_t *tag,
                                   mla_step *out, mla_err *err);
// The same with no end of waiting but Ctrl-C: 0 when none is outstanding or mla_stop_wanted().
MLA_MUST_USE int mla_agent_await(mla_agent *agent, size_t *tag, mla_step *out, mla_err *err);
// Drops all steps that are out; their runs are ended.
void mla_agent_cancel(mla_agent *agent);

// What an action does, without the wording of its thought, so that equal actions can be told: an
// edit is its blocks, all else its kind. Caller frees.
char *mla_agent_action_key(const mla_step *step);

// ---- whole trajectories ----------------------------------------------------------------------

typedef struct mla_episode {
    const mla_task *task;
    char *trajectory;              // its name, owned
    uint64_t seed;
    int max_steps;
    double max_seconds;            // of generating and running scripts; 0: no limit
    const mla_state *from;         // borrowed: where it starts; NULL: at the task's start
    mla_steps steps;               // the result, owned; it goes on from those that are there
    bool done;
    size_t slot;                   // its place among the episodes; what actors index memory by
} mla_episode;
void mla_episode_clear(mla_episode *episode);

// Called after each step of an episode, the last time when it is `done`; -1 stops everything.
typedef int (*mla_episode_sink)(void *ctx, mla_episode *episode, mla_err *err);

// Runs all episodes, at most `at_once` at a time. Returns 0 early when mla_stop_wanted(); some
// episodes are not done then.
MLA_MUST_USE int mla_agent_run(mla_agent *agent, const mla_actor *actor, mla_episode *episodes,
                               size_t n, size_t at_once, mla_episode_sink sink, void *ctx,
                               mla_err *err);

// ---- the policy as an actor (agent/prompt.c, agent/actor_policy.c) ---------------------------

// Which entries of the paper's reply are asked for: Thought, Action and Action Input; or all six,
// with Reflection, Research Plan and Status and Fact Check. The parser reads either.
#define MLA_PROMPT_ENTRIES(X) X(THREE, "default") X(SIX, "paper")

typedef enum {
#define X(id, name) MLA_PROMPT_##id,
    MLA_PROMPT_ENTRIES(X)
#undef X
} mla_prompt_entries;
const char *mla_prompt_entries_name(mla_prompt_entries entries);
int mla_prompt_entries_parse(const char *name);      // the enum, or -1

typedef struct mla_prompt_options {
    int max_tokens;                // the oldest steps of the history are cut first, whole steps
    int feedback_bytes;            // of the last feedback: its head and its end
    mla_action_set actions;        // that are offered; the environment must be told the same set
    mla_prompt_entries entries;
} mla_prompt_options;
mla_prompt_options mla_prompt_options_default(void);

// Renders what the policy reads: system (rules, actions, format), then task, history, script, last
// feedback in one user turn, then the opened reply. Appends to `out`.
void mla_prompt_render(const mla_policy *policy, const mla_view *view,
                       const mla_prompt_options *options, mla_ids *out);

// The same in words, for models that read words: the two turns, and about max_tokens of them, four
// bytes counted as one. Caller frees both.
void mla_prompt_text(const mla_view *view, const mla_prompt_options *options, char **system,
                     char **user);

// The script that a rendered prompt shows, as much of it as is shown, and its name; caller frees
// both. False: these ids are no such prompt.
bool mla_prompt_script(const mla_policy *policy, const int32_t *ids, size_t n, char **name,
                       char **script);

typedef struct mla_policy_actor {
    mla_policy *policy;            // borrowed
    mla_prompt_options prompt;
    float temperature;
    int max_new;
} mla_policy_actor;
mla_actor mla_policy_actor_make(mla_policy_actor *self);

// ---- several actions from one state (agent/branch.c) -----------------------------------------

// A state, and one action of each of `samples` draws from it: no episode follows.
typedef struct mla_branch {
    const mla_task *task;          // borrowed, as is the history
    mla_state state;
    const mla_step *history;       // [n_history], the steps before, oldest first
    size_t n_history;
    int steps_left;                // as the prompt says
    uint64_t seed;
    char *script;                  // what follows is made and owned: the script of this state,
    mla_ids prompt;                // what the policy read,
    mla_step *steps;               // [samples] in sample order; n_action is 0 where our own
} mla_branch;                      // machinery failed or the work was stopped
void mla_branch_clear(mla_branch *branch, int samples);

typedef struct mla_branch_options {
    int samples;                   // of each state
    float temperature;
    int max_new;                   // tokens of an action
    mla_prompt_options prompt;
    const char *name;              // step k of branch i belongs to the trajectory <name>-<i>-<k>
} mla_branch_options;

typedef struct mla_branch_times {
    double generate_seconds;       // sampling; the environment works meanwhile
    double wait_seconds;           // from the last sample to the last result
} mla_branch_times;

// Samples the actions of all branches [n], executes and judges each. 1, 0 when stopped, -1; the
// caller clears the branches in every case.
MLA_MUST_USE int mla_agent_branch(mla_agent *agent, mla_policy *policy,
                                  const mla_branch_options *options, mla_branch *branches, size_t n,
                                  mla_branch_times *times, mla_err *err);

// ---- an OpenAI-compatible endpoint as an actor (agent/actor_endpoint.c) ----------------------

struct mla_ledger;

// More to say to whom acts, behind the prompt: text, caller frees; NULL: nothing. `*idea`: ids of
// the ideas in it, for the record, caller frees. Called on the thread that acts.
typedef struct mla_endpoint_hint {
    char *(*text)(void *self, const mla_view *view, char **idea);
    void *self;
} mla_endpoint_hint;

typedef struct mla_endpoint_actor_options {
    const char *name;              // of the actor, in records: "endpoint"
    const char *key;               // of the setting with the address, in messages: "--endpoint"
    const char *url, *model;       // the base, such as http://127.0.0.1:8080/v1; its name there
    const char *key_env;           // the environment variable with the bearer key, if there is one
    double seconds;                // of one try; what may pass by itself is tried again
    int attempts;
    int at_once;                   // requests that are out at a time
    double temperature;
    int max_new;
    mla_prompt_options prompt;
    mla_endpoint_hint hint;        // .text NULL: none
    struct mla_ledger *ledger;     // agent/ledger.h; borrowed; NULL: nothing is counted or kept
} mla_endpoint_actor_options;
mla_endpoint_actor_options mla_endpoint_actor_options_default(void);

typedef struct mla_endpoint_actor mla_endpoint_actor;
// NULL: the address is none. The options' texts are copied but for the name. One mla_agent_run
// at a time, and none after one that failed or was stopped.
mla_endpoint_actor *mla_endpoint_actor_create(const mla_endpoint_actor_options *options,
                                              mla_err *err);
void mla_endpoint_actor_free(mla_endpoint_actor *actor);    // waits for what is under way
mla_actor mla_endpoint_actor_make(mla_endpoint_actor *self);     // borrows self

#endif
