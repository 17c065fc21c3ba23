// Variants of a training task's starter: the same work written by somebody else, with other names,
// another layout, other numbers, fewer columns or a poor idea built in; and the task's ideas with
// the edits that do them to this script. One seed gives one variant, on any machine.
#ifndef MLA_TASK_VARIANT_H
#define MLA_TASK_VARIANT_H

#include <stdint.h>

#include "task/task.h"

#define MLA_VARIANT_IDEAS_MIN 30     // fewer, and a seed gives no variant

// The script with SEARCH/REPLACE blocks applied, NULL where they do not fit it. Caller frees.
typedef char *(*mla_edit_apply)(const char *script, const char *blocks);

// What variants are made of: a task's starter, its ideas and their names.
typedef struct mla_varying mla_varying;

// NULL and an error for a held-out task, a variant, and a task without ideas. The caller frees; the
// task must live as long.
mla_varying *mla_varying_create(const mla_task *task, mla_edit_apply apply, mla_err *err);
void mla_varying_free(mla_varying *varying);

typedef struct mla_variant {
    char *script;            // the starter
    mla_ideas ideas;         // those of the task that can be done to it
    char *recipe;            // what was changed, in words, on one line
    uint64_t print;          // of the script, as mla_variant_print has it
} mla_variant;

// Equal for scripts that differ in blanks, quotes and comments only.
uint64_t mla_variant_print(const char *script);

// False when this seed gives no variant; `out` is then empty. Without `with_ideas` none are made,
// and how few there would be does not count. The caller clears.
bool mla_variant_make(mla_variant *out, const mla_varying *varying, uint64_t seed,
                      bool with_ideas);
void mla_variant_clear(mla_variant *variant);

// The text of its task.yaml and ideas.yaml; callers free. task.yaml is the task's with other names
// and scores and the origin. NULL and an error when the task's cannot be read.
char *mla_variant_task_yaml(const mla_task *task, const char *name, const char *seed,
                            const char *recipe, mla_halves init, mla_halves best, mla_err *err);
char *mla_variant_ideas_yaml(const mla_variant *variant);

#endif
