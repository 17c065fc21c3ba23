// A step in memory and as a JSON object. It leaves out files: store.c.
#include "record/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void mla_step_init(mla_step *step) {
    *step = (mla_step){
        .kind = MLA_ACTION_NONE,
        .outcome = MLA_OUTCOME_INVALID_ACTION,
        .state = {.score = NAN, .best = NAN},
        .state_after = {.score = NAN, .best = NAN},
        .reward = {NAN, NAN, NAN, NAN},
        .score_private = NAN,
    };
}

void mla_step_clear(mla_step *step) {
    free(step->task);
    free(step->trajectory);
    free(step->actor);
    free(step->prompt_ids);
    free(step->action_ids);
    free(step->logprobs);
    free(step->text);
    free(step->edit);
    free(step->error_type);
    free(step->feedback);
    free(step->idea);
    mla_step_init(step);
}

static void *copy_array(const void *items, size_t count, size_t size) {
    if (!items) return NULL;
    void *copy = mla_alloc(count ? count : 1, size);
    if (count) memcpy(copy, items, count * size);
    return copy;
}

void mla_step_copy(mla_step *to, const mla_step *from) {
    *to = *from;
    to->task = mla_strdup(from->task);
    to->trajectory = mla_strdup(from->trajectory);
    to->actor = mla_strdup(from->actor);
    to->prompt_ids = copy_array(from->prompt_ids, from->n_prompt, sizeof *from->prompt_ids);
    to->action_ids = copy_array(from->action_ids, from->n_action, sizeof *from->action_ids);
    to->logprobs = copy_array(from->logprobs, from->n_action, sizeof *from->logprobs);
    to->text = mla_strdup(from->text);
    to->edit = mla_strdup(from->edit);
    to->error_type = mla_strdup(from->error_type);
    to->feedback = mla_strdup(from->feedback);
    to->idea = mla_strdup(from->idea);
}

mla_step *mla_steps_push_take(mla_steps *steps, mla_step *step) {
    MLA_GROW(steps->items, steps->cap, steps->len + 1);
    mla_step *place = &steps->items[steps->len++];
    *place = *step;
    mla_step_init(step);
    return place;
}

void mla_steps_clear(mla_steps *steps) {
    for (size_t i = 0; i < steps->len; i++) mla_step_clear(&steps->items[i]);
    free(steps->items);
    *steps = (mla_steps){0};
}
