// What an endpoint that acts as the expert is told beside the prompt: 1 to 3 of the task's diverse
// ideas, the same ones at every step of a trajectory. The data set is rendered without them.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "collect/internal.h"

#define IDEAS_MAX 3
#define HINT_MAX ((size_t)64 << 10)

static const mla_expert_ideas *ideas_of(const mla__book *book, const mla_task *task) {
    for (size_t t = 0; t < book->n_tasks; t++) {
        if (book->tasks[t] == task) return &book->chosen[t];
    }
    return NULL;
}

static void draw(size_t *out, size_t *n, const mla_expert_ideas *from, uint64_t seed) {
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(seed, 3, 0, 0));
    size_t *order = MLA_NEW_ARRAY(size_t, from->n_chosen);
    memcpy(order, from->chosen, from->n_chosen * sizeof *order);
    mla_rng_shuffle(&rng, order, from->n_chosen);
    *n = 1 + (size_t)mla_rng_below(&rng, IDEAS_MAX);
    if (*n > from->n_chosen) *n = from->n_chosen;
    memcpy(out, order, *n * sizeof *out);
    free(order);
}

static char *hint(void *self, const mla_view *view, char **idea) {
    const mla_expert_ideas *from = ideas_of(self, view->task);
    size_t drawn[IDEAS_MAX], n;
    MLA_ASSERT(from);
    draw(drawn, &n, from, view->episode_seed);
    mla_buf text, ids;
    mla_buf_init(&text, HINT_MAX);
    mla_buf_init(&ids, HINT_MAX);
    mla_buf_puts(&text, n > 1 ? "# Ideas to follow, one at a time, in this order\n"
                              : "# The idea to follow\n");
    for (size_t i = 0; i < n; i++) {
        const mla_idea *one = &from->ideas->items[drawn[i]];
        mla_buf_printf(&text, "%zu. %s %s\n", i + 1, one->text, one->why);
        mla_buf_printf(&ids, "%s%s", i ? "+" : "", one->id);
    }
    mla_buf_puts(&text, "Keep what makes the score better and undo what does not. Give the final "
                        "answer when they are tried. Now reply with one action.\n");
    *idea = mla_buf_take(&ids);
    return mla_buf_take(&text);
}

mla_endpoint_hint mla__hints_make(mla__book *book) {
    return (mla_endpoint_hint){.text = hint, .self = book};
}
