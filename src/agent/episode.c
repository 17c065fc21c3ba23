// Whole trajectories: every live episode is shown its state, the actor replies, the environment
// answers, the step is appended; until each has given its final answer or used up its steps.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"

#define POLL_SECONDS 0.01    // for a reply, while scripts run
#define WAIT_SECONDS 0.2     // while none does

typedef struct {
    mla_episode *episode;
    mla_state state;
    char *script;            // of the state, owned while the step is asked for
    mla_view view;           // as it was shown
    bool waiting;            // for the environment, or for a reply that comes later
} live;

typedef struct {
    mla_agent *agent;
    const mla_actor *actor;
    live *lives;             // [n_live]
    size_t n_live;
    mla_view *views;         // [n_views] of this round
    size_t n_views;
    mla_episode_sink sink;
    void *ctx;               // the sink's
} rounds;

void mla_episode_clear(mla_episode *episode) {
    free(episode->trajectory);
    mla_steps_clear(&episode->steps);
    *episode = (mla_episode){0};
}

static int submit(rounds *r, size_t place, mla_reply *take, mla_err *err) {
    live *l = &r->lives[place];
    int rc = mla_agent_submit(r->agent, &l->view, r->actor->name, l->episode->trajectory, take,
                              place, err);
    if (rc == 0) l->waiting = true;
    return rc;
}

static int submit_reply(void *ctx, size_t at, mla_reply *take, mla_err *err) {
    rounds *r = ctx;
    return submit(r, r->views[at].place, take, err);
}

static int submit_late(void *ctx, size_t place, mla_reply *take, mla_err *err) {
    return submit(ctx, place, take, err);
}

static double seconds_left(const mla_episode *e) {
    double left = e->max_seconds > 0 ? e->max_seconds : INFINITY;
    for (size_t i = 0; i < e->steps.len; i++) {
        const mla_cost *cost = &e->steps.items[i].cost;
        left -= cost->run_seconds + cost->generate_seconds;
    }
    return left;
}

static int look(rounds *r, size_t at, mla_err *err) {
    live *l = &r->lives[at];
    const mla_episode *e = l->episode;
    free(l->script);
    l->script = mla_env_script(mla_agent_env(r->agent), e->task, &l->state, err);
    if (!l->script) return -1;
    l->view = (mla_view){
        .task = e->task, .state = l->state, .script = l->script, .history = e->steps.items,
        .n_history = e->steps.len, .steps_left = e->max_steps - (int)e->steps.len,
        .seconds_left = seconds_left(e), .seed = mla_rng_derive(e->seed, e->steps.len, 1, 0),
        .episode_seed = e->seed, .trajectory = e->trajectory, .episode = e->slot, .place = at,
    };
    r->views[r->n_views++] = l->view;
    return 0;
}

// Shows every live episode that is not waiting to the actor.
static int act(rounds *r, mla_err *err) {
    r->n_views = 0;
    for (size_t i = 0; i < r->n_live; i++) {
        if (!r->lives[i].waiting && look(r, i, err) < 0) return -1;
    }
    if (!r->n_views) return 0;
    int rc = r->actor->act(r->actor->self, r->views, r->n_views, submit_reply, r, err);
    for (size_t i = 0; r->actor->poll && i < r->n_views; i++) {
        r->lives[r->views[i].place].waiting = true;
    }
    return rc;
}

static void append(live *l, mla_step *step) {
    mla_episode *e = l->episode;
    l->state = step->state_after;
    l->waiting = false;
    mla_steps_push_take(&e->steps, step);
    mla_step *last = &e->steps.items[e->steps.len - 1];
    if ((int)e->steps.len >= e->max_steps || seconds_left(e) <= 0) last->final = true;
    e->done = last->final;
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

// The same of an actor whose replies come later: until a step has come back.
static int take_in_late(rounds *r, mla_err *err) {
    while (!mla_stop_wanted()) {
        size_t at;
        mla_step step;
        bool runs = mla_env_outstanding(mla_agent_env(r->agent)) > 0;
        if (r->actor->poll(r->actor->self, runs ? POLL_SECONDS : WAIT_SECONDS, submit_late, r,
                           err) < 0) {
            return -1;
        }
        int rc = mla_agent_collect(r->agent, 0, &at, &step, err);
        if (rc < 0) return -1;
        if (!rc) continue;
        append(&r->lives[at], &step);
        return r->sink(r->ctx, r->lives[at].episode, err);
    }
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
    for (size_t i = 0; i < r.n_live; i++) r.lives[i].waiting = true;
    int rc = 0;
    size_t next = fill(&r, episodes, n, 0, err, &rc);
    while (rc == 0 && any_live(&r) && !mla_stop_wanted()) {
        rc = act(&r, err);
        if (rc == 0) rc = actor->poll ? take_in_late(&r, err) : take_in(&r, err);
        retire(&r);
        if (rc == 0) next = fill(&r, episodes, n, next, err, &rc);
    }
    mla_agent_cancel(agent);      // what is still out when a run stops early
    for (size_t i = 0; i < r.n_live; i++) free(r.lives[i].script);
    free(r.lives);
    free(r.views);
    return rc;
}
