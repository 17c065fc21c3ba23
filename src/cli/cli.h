// The command line: options to a struct, one library call, print.
#ifndef MLA_CLI_CLI_H
#define MLA_CLI_CLI_H

#include "cli/config.h"
#include "record/run.h"

#define MLA_VERSION "0.1.0"

// Exit statuses.
enum { MLA_EXIT_OK = 0, MLA_EXIT_ERROR = 1, MLA_EXIT_USAGE = 2, MLA_EXIT_STOPPED = 130 };

typedef struct mla_command {
    const char *name, *usage, *summary;
    const char *help;                      // the options, a line each; may be ""
    int (*run)(int argc, char **argv);     // argv[0] is the command's name
} mla_command;
const mla_command *mla_commands(size_t *n);

int mla_cmd_pipeline(int argc, char **argv);
int mla_cmd_stage(int argc, char **argv);      // collect, sft, rl, eval, report
int mla_cmd_collect(int argc, char **argv);    // the stage, and the data set in and out
int mla_cmd_env(int argc, char **argv);
int mla_cmd_generate(int argc, char **argv);
int mla_cmd_serve(int argc, char **argv);
int mla_cmd_chat(int argc, char **argv);
int mla_cmd_tasks(int argc, char **argv);
int mla_cmd_solve(int argc, char **argv);
int mla_cmd_model(int argc, char **argv);
int mla_cmd_cache(int argc, char **argv);
int mla_cmd_completion(int argc, char **argv);

// ---- options ---------------------------------------------------------------------------------

typedef struct mla_options {               // what any command may be given; NULL or 0: not given
    const char *home, *tasks, *config, *run, *python, *prompt;
    const char *to, *eos, *host, *adapter;
    double temperature;
    double older_than, max_mb;             // below 0: not given
    int max_new, queue, kv_mb;
    int port;                              // -1: not given
    mla_compute compute;                   // by default the best for training
    uint64_t seed;
    bool json, quiet, check, force, jsonl, allow_weaker_sandbox, run_all;
    bool fast, clear, dry_run;             // of tasks vary
    int count;
    const char *target, *metric, *id, *name, *script;    // of a new task
    const char *from;                      // the download that a task is prepared from
    const char *model, *endpoint, *output, *actions, *editor, *editor_url, *editor_model;
    const char *expert, *ideas, *ideas_from, *endpoint_model, *replay;      // of collect
    double budget_tokens, budget_money;    // below 0: not given
    double best;                           // NaN: not given
    double seconds, hours, minutes;
    int memory_mb, steps, trajectories, at_once;
    bool from_best;
    int max_bad;                           // records that an import may leave out
    char **rest;                           // operands
    int n_rest;
} mla_options;

// Parses; on bad usage prints one line and returns MLA_EXIT_USAGE, on --help prints the command's
// help and returns -1, else 0.
int mla_options_parse(mla_options *out, int argc, char **argv);
// The folders: given, or the defaults. Callers free.
char *mla_options_home(const mla_options *options);
char *mla_options_tasks(const mla_options *options);
char *mla_options_own_tasks(const mla_options *options);   // of those that the user has made
char *mla_options_variants(const mla_options *options);    // of those that `tasks vary` has made
// The folder of a task: a path that holds a task.yaml, or a name in any of the three or in the
// first's kaggle/, whose tasks are not listed as a person must download their data. NULL when it is
// nowhere.
char *mla_options_task(const mla_options *options, const char *name, mla_err *err);
// The file or folder of a model: a path as it is, a bare name among the fetched models.
char *mla_options_model(const mla_options *options, const char *name);

// Prints "mlagent: <message>" on standard error; returns MLA_EXIT_ERROR.
int mla_fail(const mla_err *err);

// Puts what the options say of collection into the configuration (cli/overrides.c): 1 when they say
// anything, 0, -1.
MLA_MUST_USE int mla_config_override(mla_config *config, const mla_options *options, mla_err *err);

// `mlagent collect stats` (cli/data_stats.c): of a run folder, or of a file of step records.
MLA_MUST_USE int mla_data_stats_print(const char *path, bool json, mla_err *err);

// `mlagent tasks new` (cli/new_task.c).
MLA_MUST_USE int mla_task_make(const mla_options *options, mla_err *err);

// ---- the stages on a run folder (cli/stages.c) -----------------------------------------------

typedef struct mla_pipeline {
    mla_run *run;
    mla_config config;
    char *home, *python;
    bool allow_weaker_sandbox;
    mla_task **tasks;                      // [n_tasks], all that the config names, owned
    const mla_task **train, **evaluate;    // borrowed from tasks
    size_t n_tasks, n_train, n_evaluate;
    char *model;                           // path of the model to start from
} mla_pipeline;

// Opens a run folder: its config.yaml, or the one given, which is copied into it.
MLA_MUST_USE int mla_pipeline_open(mla_pipeline *out, const char *run_dir, const char *config,
                                   const mla_options *options, mla_err *err);
// Loads the tasks that its configuration names; prepares the data of those that lack it.
MLA_MUST_USE int mla_pipeline_open_tasks(mla_pipeline *pipeline, const mla_options *options,
                                         mla_err *err);
void mla_pipeline_close(mla_pipeline *pipeline);

typedef struct mla_stage {
    const char *name;
    int (*run)(mla_pipeline *pipeline, mla_err *err);  // 1 finished, 0 stopped, -1 error
    const char *products[8];                           // what it makes, in the run folder
} mla_stage;
const mla_stage *mla_stages(size_t *n);                 // in order
// Runs one stage unless it is marked done; marks it when it has finished. `force` first removes
// what the stage made before, and the marks of the stages that build on it.
MLA_MUST_USE int mla_stage_run(mla_pipeline *pipeline, const mla_stage *stage, bool force,
                               mla_err *err);

#endif
