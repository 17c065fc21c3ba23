// What the files of `mlagent tasks vary` share: the subsets of a task's data on which its variants
// work, and the removal of variants.
#ifndef MLA_CLI_VARY_H
#define MLA_CLI_VARY_H

#include "base/rng.h"
#include "cli/tasks.h"
#include "task/variant.h"
#include "task/variant_data.h"

#define MLA_SUBSETS_MAX 6        // of a task: variants share them, as each costs a reference's run
#define VARY_COUNT 100           // variants of a task, if nothing is said

typedef struct mla_subset {
    char *name;                  // of its data; NULL: not made yet
    mla_task *task;              // with this data; the trial's
    size_t train_rows;           // of a split
    mla_halves init, best;       // of the task's own starter and reference on it
    bool bad;                    // no draw was fit
} mla_subset;

typedef struct mla_subsets {
    const mla_options *options;
    mla_trial *trial;
    const mla_task *task;
    const char *home;
    mla_subset items[MLA_SUBSETS_MAX];
} mla_subsets;

void mla_subsets_init(mla_subsets *out, const mla_options *options, mla_trial *trial,
                      const mla_task *task, const char *home);
void mla_subsets_clear(mla_subsets *subsets);
// The subset for a variant of that number, made and measured when it is first asked for: of six the
// sixteenth variant may have the third, the sixty-fourth any. NULL on error, and when no draw for
// it and the next one gives data on which the reference is clearly better than the starter.
const mla_subset *mla_subsets_get(mla_subsets *subsets, uint64_t number, mla_err *err);

// The seed as it is written to task.yaml. Caller frees.
char *mla_seed_text(const mla_options *options);

// Removes variants, and the subsets, of the tasks named by the operands from the second on; of all
// tasks when there are none.
MLA_MUST_USE int mla_variants_clear(const mla_options *options, mla_err *err);

#endif
