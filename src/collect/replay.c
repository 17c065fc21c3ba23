// Recorded trajectories as an expert: what was done then is done again, through the environment as
// it is now.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "collect/internal.h"

static const mla_trajectory *find(const mla_trajectories *all, const char *name) {
    for (size_t i = 0; i < all->len; i++) {
        if (!strcmp(all->items[i].steps->trajectory, name)) return &all->items[i];
    }
    return NULL;
}

// What an editor made of an instruction is put behind it, so that it is done without an editor.
static mla_reply reply_of(const mla_step *step) {
    const char *text = step->text ? step->text : "";
    return (mla_reply){
        .text = step->edit ? mla_format("%s\n%s", text, step->edit) : mla_strdup(text),
        .ended = true, .idea = mla_strdup(step->idea)};
}

static int act(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err) {
    const mla_trajectories *all = self;
    for (size_t i = 0; i < n; i++) {
        const mla_trajectory *t = find(all, views[i].trajectory);
        MLA_ASSERT(t && views[i].n_history < t->n_steps);
        mla_reply reply = reply_of(&t->steps[views[i].n_history]);
        if (sink(ctx, i, &reply, err) < 0) {
            mla_reply_clear(&reply);
            return -1;
        }
    }
    return 0;
}

mla_actor mla__replay_actor(const mla_trajectories *all) {
    return (mla_actor){.name = "replay", .act = act, .self = (mla_trajectories *)all};
}
