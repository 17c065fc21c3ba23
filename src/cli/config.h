// A run's configuration: a YAML file by schema, defaults from the libraries' own options structs.
#ifndef MLA_CLI_CONFIG_H
#define MLA_CLI_CONFIG_H

#include "agent/editor.h"
#include "collect/collect.h"
#include "collect/data.h"
#include "eval/eval.h"
#include "train/train.h"

typedef struct mla_config {
    char *name;                  // of the run: runs/<name>
    char *note;                  // printed under the table; may be NULL
    char *model;                 // name of a fetched model, or a path
    char **train, **evaluate;    // names of tasks; none: only what needs no environment can be done
    size_t n_train, n_evaluate;
    uint64_t seed;               // every stage's seed is derived from it
    int workers;                 // scripts at once
    mla_compute compute;
    mla_collect_options collect;
    mla_collect_endpoint endpoint;   // of collection; collect.endpoint is not used
    mla_dataset_options data;
    mla_sft_options sft;
    mla_rl_options rl;
    mla_eval_options eval;
    mla_reward_options reward;
    mla_prompt_options prompt;
    mla_editor_options editor;   // of Edit Script (AI)
} mla_config;

// Unknown keys, wrong types and values out of range are errors naming file, key and range.
MLA_MUST_USE int mla_config_load(mla_config *out, const char *path, mla_err *err);
// Defaults for a model, without tasks.
mla_config mla_config_of_model(const char *name, const char *model);
void mla_config_clear(mla_config *config);
// Writes every value as used, in the form that mla_config_load reads.
MLA_MUST_USE int mla_config_save(const mla_config *config, const char *path, mla_err *err);

#endif
