// Evaluation: a policy works on each task n times. It leaves out the numbers made of that: table.c.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "eval/internal.h"

// All trajectories of a task are made side by side: they share its prompt's head.
#define AT_ONCE_MAX 16

mla_eval_options mla_eval_options_default(void) {
    return (mla_eval_options){.trajectories = 8, .max_steps = 15, .temperature = 0.7f,
                              .max_new = 320, .prompt = mla_prompt_options_default(),
                              .state_samples = 8, .seed = 1};
}

static int check_options(const mla_eval_options *o, const char *model, size_t n_tasks,
                         mla_err *err) {
    if (!n_tasks) return mla_err_set(err, "eval: no task to evaluate on");
    if (!*model || strchr(model, '/') || *model == '.') {
        return mla_err_set(err, "eval: \"%s\" cannot be a model's name: it names a folder below "
                           "eval/", model);
    }
    if (o->trajectories < 0 || o->max_steps < 1 || o->max_new < 1 || o->temperature < 0) {
        return mla_err_set(err, "eval: steps (%d) and tokens of a reply (%d) must be at least 1, "
                           "trajectories (%d) and the temperature (%g) at least 0", o->max_steps,
                           o->max_new, o->trajectories, (double)o->temperature);
    }
    return 0;
}

// The seeds do not depend on the model: every model meets the same draws.
int mla_eval_run(mla_run *run, mla_agent *agent, mla_policy *policy, const char *model,
                 const mla_task *const *tasks, size_t n_tasks, const mla_eval_options *options,
                 mla_err *err) {
    if (check_options(options, model, n_tasks, err) < 0) return -1;
    if (!options->trajectories) return 0;
    mla_policy_actor self = {.policy = policy, .prompt = options->prompt,
                             .temperature = options->temperature, .max_new = options->max_new};
    mla_actor actor = mla_policy_actor_make(&self);
    char *relative = mla_format("eval/%s/steps.jsonl", model);
    char *path = mla_run_path(run, relative), *prefix = mla_format("%s-", model);
    const mla_fill fill = {
        .path = path, .stage = "eval", .prefix = prefix, .digits = 2,
        .trajectories = options->trajectories, .max_steps = options->max_steps,
        .at_once = options->trajectories < AT_ONCE_MAX ? options->trajectories : AT_ONCE_MAX,
        .by_task = true, .private_scores = true, .seed = options->seed};
    mla_agent_use_policy(agent, policy);
    int rc = mla_trajectories_fill(&fill, agent, &actor, tasks, n_tasks, err);
    mla_agent_use_policy(agent, NULL);
    free(relative);
    free(path);
    free(prefix);
    return rc;
}
