// What keeps scripts in on this machine, seen from the inside of a run: `mlagent env --check`.
#ifndef MLA_ENV_PROTECTIONS_H
#define MLA_ENV_PROTECTIONS_H

#include "env/env.h"

#define MLA_PROTECTIONS_MAX 24

typedef struct mla_protection {
    const char *name;
    bool required;         // without it scripts only run when told: allow_weaker_sandbox
    bool given;
    char how[120];         // in which way, or why not
} mla_protection;

// Starts a sandbox as the options say (only `python` and `home` count), has one run look around in
// it, and fills in all protections, `*n` of them, always in the same order (docs/sandbox.md).
// -1: no script can run at all.
MLA_MUST_USE int mla_env_protections(const mla_env_options *options,
                                     mla_protection out[MLA_PROTECTIONS_MAX], size_t *n,
                                     mla_err *err);

#endif
