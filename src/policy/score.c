// Scoring: a state and its actions as one token batch (the state's tokens once), and the
// log-probabilities of the actions' tokens by the training forward.
#include <stdlib.h>

#include "base/mem.h"
#include "policy/internal.h"

void mla_group_init(mla_group *group, const int32_t *prompt, size_t n_prompt) {
    *group = (mla_group){0};
    mla_group_state(group, prompt, n_prompt);
}

static void add_segment(mla_group *group, const int32_t *ids, size_t n, int parent) {
    group->segments = mla_realloc(group->segments, (size_t)group->n_segments + 1,
                                  sizeof *group->segments);
    group->segments[group->n_segments++] =
        (mla_segment){.start = (int)group->ids.len, .len = (int)n, .parent = parent};
    mla_ids_append(&group->ids, ids, n);
}

void mla_group_state(mla_group *group, const int32_t *prompt, size_t n_prompt) {
    MLA_ASSERT(n_prompt > 0);
    group->state = group->n_segments;
    add_segment(group, prompt, n_prompt, -1);
}

// The first token is predicted at the prompt's last row and the last token predicts nothing, so an
// action of n tokens adds n - 1 to the batch.
void mla_group_add(mla_group *group, const int32_t *action, size_t n_action) {
    MLA_ASSERT(n_action > 0);
    int n = (int)n_action, start = (int)group->ids.len;
    int last = group->segments[group->state].start + group->segments[group->state].len - 1;
    int which = group->n_rows ? group->action_of[group->n_rows - 1] + 1 : 0;
    if (n > 1) add_segment(group, action, n_action - 1, group->state);
    size_t rows = (size_t)(group->n_rows + n);
    group->rows = mla_realloc(group->rows, rows, sizeof *group->rows);
    group->targets = mla_realloc(group->targets, rows, sizeof *group->targets);
    group->action_of = mla_realloc(group->action_of, rows, sizeof *group->action_of);
    for (int i = 0; i < n; i++) {
        group->rows[group->n_rows] = i == 0 ? last : start + i - 1;
        group->targets[group->n_rows] = action[i];
        group->action_of[group->n_rows++] = which;
    }
}

void mla_group_clear(mla_group *group) {
    mla_ids_clear(&group->ids);
    free(group->segments);
    free(group->rows);
    free(group->targets);
    free(group->action_of);
    *group = (mla_group){0};
}

mla_token_batch mla_group_batch(const mla_group *group) {
    return (mla_token_batch){.ids = group->ids.data, .n = (int)group->ids.len,
                             .segments = group->segments, .n_segments = group->n_segments};
}

mla_head_rows mla_group_head(const mla_group *group, float temperature) {
    return (mla_head_rows){.rows = group->rows, .targets = group->targets, .n = group->n_rows,
                           .temperature = temperature};
}

void mla_policy_score(mla_policy *policy, const mla_group *group, float temperature,
                      float *logprob) {
    if (!policy->acts) policy->acts = mla_activations_create(policy->model);
    const mla_token_batch batch = mla_group_batch(group);
    const mla_head_rows head = mla_group_head(group, temperature);
    mla_transformer_forward(policy->model, &batch, policy->acts, false);
    mla_head_forward(policy->model, policy->acts, &head, logprob, NULL);
}
