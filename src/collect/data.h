// The data set for fine-tuning: what is learned from, in what proportion, and as which tokens; what
// a file of steps holds, in numbers; and other programs' formats, in and out.
#ifndef MLA_COLLECT_DATA_H
#define MLA_COLLECT_DATA_H

#include "agent/agent.h"
#include "collect/talk.h"
#include "record/run.h"

// ---- the data set (collect/dataset.c) ----------------------------------------------------------

// Which edits that ran are learned from, by their gain, which every form of the reward leaves as it
// is.  X(id, name, meaning)
#define MLA_KEEP_MAP(X)                                                          \
    X(VALID, "valid", "all of them")                                             \
    X(NOT_HURT, "not_hurt", "those whose gain is not below minus the margin")    \
    X(IMPROVED, "improved", "those whose gain is above the margin")

typedef enum mla_keep {
#define X(id, name, meaning) MLA_KEEP_##id,
    MLA_KEEP_MAP(X)
#undef X
    MLA_KEEP_COUNT
} mla_keep;
const char *mla_keep_name(mla_keep keep);
int mla_keep_parse(const char *name);      // the enum, or -1

// Shares of the samples of each task; they need not add up to 1.
typedef struct mla_mix {
    double edits, undos, finals, looks;    // edits: above 0; looks: all other actions, runs too
} mla_mix;

typedef struct mla_dataset_options {
    int max_tokens;            // tokens of all samples, a prompt counted once; 0: no ceiling
    int max_sample_tokens;     // longer samples are left out
    int max_steps;             // of a trajectory as collected: the prompt says what is left
    mla_keep keep;
    double margin;             // a gain of less, either way, is taken for noise
    mla_mix mix;
    double val_share;          // of each task's trajectories, held back for the validation loss
    mla_prompt_options prompt;
    uint64_t seed;
} mla_dataset_options;
mla_dataset_options mla_dataset_options_default(void);

// Chooses expert steps (valid actions only, nothing flagged, edits by `keep`; balanced over tasks,
// the variants of one counting as one, then over kinds of action; distinct edits before repeated
// ones), tokenises prompt and action once, and writes sft/steps.jsonl: step records whose
// prompt_ids and action_ids (the end-of-turn token included) are filled in and whose logprobs are
// null, in training order. Of the trajectories held back it writes sft/validation.jsonl in the same
// form, without the steps that start from a script that a trained trajectory has too; it may come
// to val_share / (1 - val_share) of max_tokens. sft/data.json counts what was kept and what was
// left out, and why.
MLA_MUST_USE int mla_dataset_build(mla_run *run, mla_env *env, const mla_policy *policy,
                                   const mla_task *const *tasks, size_t n_tasks,
                                   const mla_dataset_options *options, mla_err *err);

// ---- what a file holds (collect/stats.c) -------------------------------------------------------

// Counts of a file of step records by task, action, outcome and flag; gains, rewards and token
// lengths; how diverse its actions are; what the filters of `options` leave out and why.
// docs/data.md has the keys. Caller owns; NULL on error.
json_t *mla_data_stats(const char *path, const mla_dataset_options *options, mla_err *err);

// ---- other programs' formats (collect/import.c, export.c; docs/data.md) ------------------------

typedef struct mla_import_options {
    int max_bad;               // so many records may be left out for being none; then it gives up
    int max_sample_tokens;     // longer samples are left out
    double val_share;          // of the conversations, held back for the validation loss
    uint64_t seed;
} mla_import_options;
mla_import_options mla_import_options_default(void);

typedef struct mla_import_counts {
    size_t records, bad;       // read; left out, each with a warning
    size_t train, validation;  // samples
    size_t tokens;             // of all samples, a prompt counted once
    size_t too_long;
    size_t shared;             // held back, but with a prompt that is trained on too: left out
    size_t unanswered;         // turns behind the last one that is learned from
} mla_import_counts;

// Makes the data set of a run, sft/steps.jsonl and sft/validation.jsonl, from files in any of the
// formats (collect/talk.h): each turn of an assistant is a sample, with the turns before it as its
// prompt. A file NAME.validation.EXT beside NAME.EXT is what is held back of it; without one,
// conversations are drawn. Nothing is written unless all of it went well. 1: done, 0: stopped, -1.
MLA_MUST_USE int mla_data_import(mla_run *run, const mla_policy *policy, char *const *files,
                                 size_t n_files, const mla_import_options *options,
                                 mla_import_counts *counts, mla_err *err);

// Writes the samples of sft/steps.jsonl in the folder `run_dir` to `path`, sorted by trajectory, a
// JSON array when its name ends in .json, else a record a line; those of sft/validation.jsonl to
// NAME.validation.EXT; and what LLaMA-Factory wants to know of them to dataset_info.json beside
// them. Samples that go on from one another are one conversation. `counts`: [2], records trained on
// and held back.
MLA_MUST_USE int mla_data_export(const char *run_dir, const mla_policy *policy,
                                 mla_data_format format, const char *path, size_t *counts,
                                 mla_err *err);

// "dir/NAME.EXT" -> "dir/NAME.validation.EXT"; caller frees.
char *mla_data_counterpart(const char *path);

#endif
