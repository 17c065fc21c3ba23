// The editors of Edit Script (AI): an OpenAI-compatible endpoint, or a policy. Either is asked for
// SEARCH/REPLACE blocks or the whole script, at temperature 0. The environment calls them through
// mla_editor (env/env.h): the endpoint on the workers' threads, the policy on the thread that
// waits for results, so that it is never used by two threads at once (docs/actions.md).
#ifndef MLA_AGENT_EDITOR_H
#define MLA_AGENT_EDITOR_H

#include "env/env.h"
#include "policy/policy.h"

#define MLA_EDITOR_KINDS(X) X(NONE, "none") X(POLICY, "policy") X(ENDPOINT, "endpoint")

typedef enum {
#define X(id, name) MLA_EDITOR_##id,
    MLA_EDITOR_KINDS(X)
#undef X
} mla_editor_kind;
const char *mla_editor_kind_name(mla_editor_kind kind);
int mla_editor_kind_parse(const char *name);         // the enum, or -1

typedef struct mla_editor_options {
    mla_editor_kind kind;
    char url[256];             // endpoint: the base, such as http://127.0.0.1:8080/v1
    char model[128];           // endpoint: the model's name there
    char key_env[64];          // endpoint: the environment variable with its key, if there is one
    double seconds;            // endpoint: of one attempt
    int attempts;              // endpoint
    int max_tokens;            // of an answer; one that is cut there is of no use
} mla_editor_options;
mla_editor_options mla_editor_options_default(void);          // none

// An editor at an endpoint; for several threads at once. The caller frees `self` with
// mla_endpoint_editor_free after the environment. -1: there is no address or no model's name.
MLA_MUST_USE int mla_endpoint_editor_make(mla_editor *out, const mla_editor_options *options,
                                          mla_err *err);
void mla_endpoint_editor_free(mla_editor *editor);

typedef struct mla_policy_editor {
    mla_policy *policy;        // borrowed; may be changed between steps, NULL: not there for now
    int max_tokens;
} mla_policy_editor;
mla_editor mla_policy_editor_make(mla_policy_editor *self);   // borrows self

#endif
