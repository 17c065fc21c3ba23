// Rules that flag an action, the scripts that it runs, what they print and what they submit
// (record/flag.h). Pure functions of bytes: a result from the run cache gets the flags of the run.
#ifndef MLA_ENV_FLAGS_H
#define MLA_ENV_FLAGS_H

#include <stddef.h>

#include "env/internal.h"
#include "record/flag.h"

// Of a script's text: the bits of TOUCHED_EVALUATION, READ_OUTSIDE and FAKE_SCORES. Comments do not
// count.
unsigned mla__flags_of_script(const char *script, size_t len);
// Of all that a run of `script` is likely to execute: it, `edited` (either may be NULL) and every
// file of the state that one of these names or imports, and so on.
unsigned mla__flags_of_files(const mla__files *files, const char *script, const char *edited);
// Of the paths that an action names, where they are no file of the state: READ_OUTSIDE and
// TOUCHED_EVALUATION.
unsigned mla__flags_of_action(const mla_action *action, const mla__files *files);
// Of a stream of a run: FAKE_SCORES when a line imitates the environment. NULL: nothing printed.
unsigned mla__flags_of_output(const char *stream);
// Of a submission that was scored: COPIED_SAMPLE and CONSTANT_PREDICTIONS. Only the id and the
// guesses are looked at, numbers by their value; rows in another order than the sample's are
// another submission. `sample` may be NULL.
unsigned mla__flags_of_submission(const mla_task *task, const char *bytes, size_t len,
                                  const char *sample, size_t sample_len);

#endif
