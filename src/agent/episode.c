// Whole trajectories: every live episode is shown its state, the actor replies, the environment
// answers, the step is appended; until each has given its final answer or used up its steps.
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"

typedef struct {
    mla_episode *episode;
    mla_state state;
    char *script;            // of the state, owned while the step is asked for
    bool waiting;            // for the environment
} live;

typedef struct {
    mla_agent *agent;
    const mla_actor *actor;
    live *lives;             // [n_live]
    size_t n_live;
    mla_view *views;         // [n_views] of this round
    size_t *view_of;         // [n_views]: which live one
    size_t n_views;
    mla_episode_sink sink;
    void *ctx;               // the sink's
} rounds;

void mla_episode_clear(mla_episode *episode) {
    free(episode->trajectory);
    mla_steps_clear(&episode->steps);
    *episode = (mla_episode){0};
}

static int submit_reply(void *ctx, size_t at, mla_reply *take, mla_err *err) {
    rounds *r = ctx;
    live *l = &r->lives[r->view_of[at]];
    int rc = mla_agent_submit(r->agent, &r->views[at], r->actor->name, l->episode->trajectory, take,
                              r->view_of[at], err);
    if (rc == 0) l->waiting = true;
    return rc;
}

static int look(rounds *r, size_t at, mla_err *err) {
    live *l = &r->lives[at];
    const mla_episode *e = l->episode;
    free(l->script);
    l->script = mla_env_script(mla_agent_env(r->agent), e->task, &l->state, err);
    if (!l->script) return -1;
    r->view_of[r->n_views] = at;
    r->views[r->n_views++] = (mla_view){
        .task = e->task, .state = l->state, .script = l->script, .history = e->steps.items,
        .n_history = e->steps.len, .steps_left = e->max_steps - (int)e->steps.len,
        .seed = mla_rng_derive(e->seed, e->steps.len, 1, 0), .episode = (size_t)e->slot,
    };
    return 0;
}

// Shows every live episode that is not waiting to the actor.
static int act(rounds *r, mla_err *err) {
    r->n_views = 0;
    for (size_t i = 0; i < r->n_live; i++) {
        if (!r->lives[i].waiting && look(r, i, err) < 0) return -1;
    }
    if (!r->n_views) return 0;
    return r->actor->act(r->actor->self, r->views, r->n_views, submit_reply, r, err);
}

static void append(live *l, mla_step *step) {
    mla_episode *e = l->episode;
    l->state = step->state_after;
    l->waiting = false;
    if ((int)e->steps.len + 1 >= e->max_steps) step->final = true;
    e->done = step->final;
    mla_steps_push_take(&e->steps, step);
}

// Takes in results: at least one, all that are outstanding when the actor works in batches.
static int take_in(rounds *r, mla_err *err) {
    do {
        size_t at;
        mla_step step;
        int rc = mla_agent_await(r->agent, &at, &step, err);
        if (rc <= 0) return rc;
        append(&r->lives[at], &step);
        if (r->sink(r->ctx, r->lives[at].episode, err) < 0) return -1;
    } while (r->actor->batched);
    return 0;
}

static void retire(rounds *r) {
    for (size_t i = 0; i < r->n_live; i++) {
        live *l = &r->lives[i];
        if (!l->episode || !l->episode->done) continue;
        free(l->script);
        *l = (live){.waiting = true};   // a place for the next episode
    }
}

static int start(rounds *r, size_t at, mla_episode *episode, size_t slot, mla_err *err) {
    live *l = &r->lives[at];
    *l = (live){.episode = episode};
    episode->slot = slot;
    if (episode->steps.len) l->state = episode->steps.items[episode->steps.len - 1].state_after;
    else if (episode->from) l->state = *episode->from;
    if (l->state.commit[0]) return 0;
    return mla_env_begin(mla_agent_env(r->agent), episode->task, &l->state, err);
}

static size_t fill(rounds *r, mla_episode *episodes, size_t n, size_t next, mla_err *err, int *rc) {
    for (size_t i = 0; i < r->n_live && next < n && *rc == 0; i++) {
        if (r->lives[i].episode) continue;
        *rc = start(r, i, &episodes[next], next, err);
        next++;
    }
    return next;
}

static bool any_live(const rounds *r) {
    for (size_t i = 0; i < r->n_live; i++) {
        if (r->lives[i].episode) return true;
    }
    return false;
}

int mla_agent_run(mla_agent *agent, const mla_actor *actor, mla_episode *episodes, size_t n,
                  size_t at_once, mla_episode_sink sink, void *ctx, mla_err *err) {
    rounds r = {.agent = agent, .actor = actor, .n_live = at_once < n ? at_once : n,
                .sink = sink, .ctx = ctx};
    r.lives = MLA_NEW_ARRAY(live, r.n_live);
    r.views = MLA_NEW_ARRAY(mla_view, r.n_live);
    r.view_of = MLA_NEW_ARRAY(size_t, r.n_live);
    for (size_t i = 0; i < r.n_live; i++) r.lives[i].waiting = true;
    int rc = 0;
    size_t next = fill(&r, episodes, n, 0, err, &rc);
    while (rc == 0 && any_live(&r) && !mla_stop_wanted()) {
        rc = act(&r, err);
        if (rc == 0) rc = take_in(&r, err);
        retire(&r);
        if (rc == 0) next = fill(&r, episodes, n, next, err, &rc);
    }
    mla_agent_cancel(agent);      // what is still out when a run stops early
    for (size_t i = 0; i < r.n_live; i++) free(r.lives[i].script);
    free(r.lives);
    free(r.views);
    free(r.view_of);
    return rc;
}
