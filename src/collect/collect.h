// Expert experience: ideas and their diversity, the experts (scripted, an endpoint, recorded
// trajectories played again), and collection through the real environment. The data set made of it
// is collect/data.h.
#ifndef MLA_COLLECT_COLLECT_H
#define MLA_COLLECT_COLLECT_H

#include "agent/agent.h"
#include "agent/ledger.h"
#include "record/run.h"

// ---- ideas (collect/diverse.c) -----------------------------------------------------------------

typedef struct mla_diversity {            // cosine distances
    double mean_distance, min_distance;   // among the chosen
    double random_mean_distance, random_min_distance;   // of as many by chance, on average
} mla_diversity;

// Which of a pool's ideas are kept. All but the first are there to be compared with it.
// X(id, name, meaning)
#define MLA_IDEA_CHOICES(X)                                                                    \
    X(DIVERSE, "diverse", "far apart: a seeded start, then always the farthest (Gonzalez, 1985)") \
    X(RANDOM, "random", "drawn by chance")                                                      \
    X(FIRST, "first", "the first of the pool")                                                  \
    X(NARROW, "narrow", "near each other: a seeded start, and those that are nearest to it")

typedef enum {
#define X(id, name, meaning) MLA_IDEAS_##id,
    MLA_IDEA_CHOICES(X)
#undef X
} mla_idea_choice;
const char *mla_idea_choice_name(mla_idea_choice choice);
int mla_idea_choice_parse(const char *name);              // the enum, or -1

// Chooses k of n unit vectors. Of those that are far apart each is the one whose nearest chosen one
// is farthest. vectors [n, dim]; chosen [k] receives indices. 0 < k <= n.
void mla_diverse_choose(const float *vectors, size_t n, size_t dim, size_t k,
                        mla_idea_choice choice, uint64_t seed, size_t *chosen,
                        mla_diversity *out);

// The vectors on a plane, by their two principal components: map [n, 2]. Returns the share of the
// variance that is on it. The sign of each axis is such that its largest coordinate is positive.
double mla_diverse_map(const float *vectors, size_t n, size_t dim, float *map);

// ---- the scripted expert (collect/expert.c) ----------------------------------------------------

// What it may follow in one trajectory: 1 to 3 of the diverse ideas of the task.
typedef struct mla_expert mla_expert;
// One memory for each of n_episodes; `ideas` [n_tasks] with their chosen indices; all borrowed.
typedef struct mla_expert_ideas {
    const mla_task *task;
    const mla_ideas *ideas;
    const size_t *chosen;
    size_t n_chosen;
} mla_expert_ideas;
mla_expert *mla_expert_create(const mla_expert_ideas *tasks, size_t n_tasks, size_t n_episodes);
void mla_expert_free(mla_expert *expert);
mla_actor mla_expert_actor(mla_expert *expert);

// ---- the stage (collect/collect.c) -------------------------------------------------------------

// Who makes the trajectories. X(id, name)
#define MLA_EXPERT_KINDS(X) X(SCRIPTED, "scripted") X(ENDPOINT, "endpoint") X(REPLAY, "replay")

typedef enum {
#define X(id, name) MLA_EXPERT_##id,
    MLA_EXPERT_KINDS(X)
#undef X
} mla_expert_kind;
const char *mla_expert_kind_name(mla_expert_kind kind);
int mla_expert_kind_parse(const char *name);         // the enum, or -1

// An OpenAI-compatible service, as expert, as a source of ideas or of vectors.
typedef struct mla_collect_endpoint {
    char url[256], model[128];     // the base, and the model's name there ("": the only one)
    char embedding_model[128];     // of vectors; "": the policy makes them
    char key_env[64];              // the environment variable with its key, if there is one
    double seconds;                // of one attempt
    int attempts;
    int at_once;                   // requests
    double temperature;
    int max_new, max_prompt;       // tokens of an answer; about so many of a prompt
    mla_ledger_options limits;
} mla_collect_endpoint;

typedef struct mla_collect_options {
    int trajectories;          // per task
    int ideas_kept;            // of each task's pool; default 10
    mla_idea_choice ideas;          // which
    int max_steps;             // per trajectory; default 15
    double max_minutes;        // of generating and running scripts, per trajectory; default 30
    int at_once;               // trajectories running at a time
    mla_expert_kind expert;
    char ideas_from[256];      // the base of an endpoint that is asked for ideas; "": ideas.yaml
    int ideas_asked;           // how many at least, per task; default 100
    char replay[400];          // steps.jsonl whose trajectories are played again
    mla_collect_endpoint endpoint;
    mla_prompt_options prompt;     // that an endpoint reads
    uint64_t seed;
} mla_collect_options;
mla_collect_options mla_collect_options_default(void);

// Writes expert/ideas.json, expert/steps.jsonl (whole trajectories as they end) and, where an
// endpoint is asked, expert/calls.jsonl. Resumes: what is there is kept, what is missing is made.

MLA_MUST_USE int mla_collect_run(mla_run *run, mla_agent *agent, mla_policy *embedder,
                                 const mla_task *const *tasks, size_t n_tasks,
                                 const mla_collect_options *options, mla_err *err);

#endif
