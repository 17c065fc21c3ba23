// The data set as fine-tuning sees it: samples, the states that they share, which of them make up a
// step, and how they are packed into passes through the network.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/sft_internal.h"

#define STATE_MAX 16           // samples that share a state's tokens in one pass

// ---- reading ---------------------------------------------------------------------------------

static int check_ids(const int32_t *ids, size_t n, int vocab, const char *path, int line,
                     mla_err *err) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && ids[i] < vocab) continue;
        return mla_err_set(err, "%s: line %d has the token id %d, and the model has %d tokens; "
                           "remake the data set for this model with `mlagent collect`", path, line,
                           ids[i], vocab);
    }
    return 0;
}

static int check_sample(const mla_step *s, int vocab, const char *path, int line, mla_err *err) {
    if (!s->n_prompt || !s->n_action) {
        return mla_err_set(err, "%s: line %d has no prompt_ids or action_ids; remake the data set "
                           "with `mlagent collect`", path, line);
    }
    if (check_ids(s->prompt_ids, s->n_prompt, vocab, path, line, err) < 0) return -1;
    return check_ids(s->action_ids, s->n_action, vocab, path, line, err);
}

static int read_file(mla__sft_data *d, const char *path, int vocab, size_t longest, mla_err *err) {
    mla_steps more;
    int rc = mla_store_read(path, &more, err);
    for (size_t i = 0; rc == 0 && i < more.len; i++) {
        mla_step *s = &more.items[i];
        rc = check_sample(s, vocab, path, (int)i + 1, err);
        if (rc < 0) break;
        if (s->n_prompt + s->n_action > longest) {
            d->left_out++;
            continue;
        }
        MLA_GROW(d->lines, d->cap_lines, d->samples.len + 1);
        d->lines[d->samples.len] = (int)i + 1;
        mla_steps_push_take(&d->samples, s);
        mla_step_init(s);
    }
    mla_steps_clear(&more);
    return rc;
}

// ---- states ----------------------------------------------------------------------------------

static bool same_state(const mla_step *a, const mla_step *b) {
    return a->n_prompt == b->n_prompt &&
           memcmp(a->prompt_ids, b->prompt_ids, a->n_prompt * sizeof *a->prompt_ids) == 0;
}

// Samples of one state stand together in the file. As many share its tokens as one pass can take.
static void find_states(mla__sft_data *d, size_t from, int tokens) {
    const mla_step *samples = d->samples.items;
    size_t first_state = d->n_states;
    for (size_t i = from; i < d->samples.len; i++) {
        int action = (int)samples[i].n_action;
        mla__sft_state *last = d->n_states > first_state ? &d->states[d->n_states - 1] : NULL;
        if (last && last->n < STATE_MAX && same_state(&samples[i], &samples[last->first]) &&
            last->tokens + action - 1 <= tokens) {
            last->n++;
            last->tokens += action - 1;
            last->targets += action;
            continue;
        }
        MLA_GROW(d->states, d->cap_states, d->n_states + 1);
        d->states[d->n_states++] = (mla__sft_state){
            .first = i, .n = 1, .tokens = (int)samples[i].n_prompt + action - 1,
            .targets = action};
    }
}

int mla__sft_data_read(mla__sft_data *d, const mla_run *run, const mla_model_config *config,
                       const mla_sft_options *options, mla_err *err) {
    char *train = mla_run_path(run, "sft/steps.jsonl");
    char *held_back = mla_run_path(run, "sft/validation.jsonl");
    const size_t longest = (size_t)(options->cutoff < config->max_context ? options->cutoff
                                                                          : config->max_context);
    *d = (mla__sft_data){0};
    int rc = read_file(d, train, config->vocab, longest, err);
    if (rc == 0 && !d->samples.len) {
        rc = d->left_out ? mla_err_set(err, "%s: all %zu samples are longer than %zu tokens, the "
                                       "lesser of sft.cutoff and the model's context", train,
                                       d->left_out, longest)
                         : mla_err_set(err, "%s: no samples to train on; make them with `mlagent "
                                       "collect`", train);
    }
    find_states(d, 0, options->pack_tokens);
    d->n_train = d->n_states;
    const size_t trained = d->samples.len;
    if (rc == 0) rc = read_file(d, held_back, config->vocab, longest, err);
    find_states(d, trained, options->pack_tokens);
    free(train);
    free(held_back);
    return rc;
}

void mla__sft_data_clear(mla__sft_data *d) {
    mla_steps_clear(&d->samples);
    free(d->lines);
    free(d->states);
    *d = (mla__sft_data){0};
}

// ---- packs -----------------------------------------------------------------------------------

static void pack_state(mla__sft_pack *pack, const mla__sft_data *d, const mla__sft_state *state) {
    const mla_step *from = &d->samples.items[state->first];
    mla_group_state(&pack->group, from->prompt_ids, from->n_prompt);
    for (size_t i = 0; i < state->n; i++) {
        mla_group_add(&pack->group, from[i].action_ids, from[i].n_action);
        pack->samples[pack->n_samples++] = state->first + i;
    }
}

size_t mla__sft_pack_make(mla__sft_pack *out, const mla__sft_data *d, const size_t *states,
                          size_t n, int tokens) {
    size_t taken = 0, samples = 0;
    for (int sum = 0; taken < n; taken++) {
        sum += d->states[states[taken]].tokens;
        if (taken && sum > tokens) break;
        samples += d->states[states[taken]].n;
    }
    *out = (mla__sft_pack){.samples = MLA_NEW_ARRAY(size_t, samples)};
    for (size_t i = 0; i < taken; i++) pack_state(out, d, &d->states[states[i]]);
    return taken;
}

void mla__sft_pack_clear(mla__sft_pack *pack) {
    mla_group_clear(&pack->group);
    free(pack->samples);
}

// ---- the plan --------------------------------------------------------------------------------

static void shuffle_epoch(mla__sft_plan *plan, size_t n, int epoch, uint64_t seed) {
    size_t *order = plan->order + (size_t)epoch * n;
    for (size_t i = 0; i < n; i++) order[i] = i;
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(seed, (uint64_t)epoch, 2, 0));
    mla_rng_shuffle(&rng, order, n);
}

void mla__sft_plan_make(mla__sft_plan *plan, const mla__sft_data *d,
                        const mla_sft_options *options) {
    const size_t all = d->n_train * (size_t)options->epochs;
    double targets = 0;
    *plan = (mla__sft_plan){.order = MLA_NEW_ARRAY(size_t, all),
                            .begin = MLA_NEW_ARRAY(size_t, all + 1),
                            .epoch_end = MLA_NEW_ARRAY(int, (size_t)options->epochs),
                            .epochs = options->epochs};
    for (int epoch = 0; epoch < options->epochs; epoch++) {
        const size_t end = (size_t)(epoch + 1) * d->n_train;
        size_t samples = 0;
        shuffle_epoch(plan, d->n_train, epoch, options->seed);
        for (size_t at = end - d->n_train; at < end; at++) {
            const mla__sft_state *state = &d->states[plan->order[at]];
            samples += state->n;
            targets += state->targets;
            if (samples < (size_t)options->batch && at + 1 < end) continue;
            plan->begin[++plan->steps] = at + 1;
            samples = 0;
        }
        plan->epoch_end[epoch] = plan->steps;
    }
    plan->step_targets = targets / plan->steps;
}

void mla__sft_plan_clear(mla__sft_plan *plan) {
    free(plan->order);
    free(plan->begin);
    free(plan->epoch_end);
    *plan = (mla__sft_plan){0};
}

int mla__sft_plan_largest(const mla__sft_plan *plan, const mla__sft_data *d, int tokens) {
    int largest = 0;
    for (size_t i = 0; i < d->n_states; i++)
        if (d->states[i].tokens > largest) largest = d->states[i].tokens;
    for (int step = 0; step < plan->steps; step++) {
        int sum = 0;
        for (size_t at = plan->begin[step]; at < plan->begin[step + 1]; at++) {
            int more = d->states[plan->order[at]].tokens;
            sum = sum + more > tokens ? more : sum + more;
            if (sum > largest) largest = sum;
        }
    }
    return largest;
}
