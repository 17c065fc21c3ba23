// Rules that flag a script or a submission (record/flag.h). Pure functions of bytes.
#ifndef MLA_ENV_FLAGS_H
#define MLA_ENV_FLAGS_H

#include <stddef.h>

#include "record/flag.h"

// Of a script's text: the bits of TOUCHED_EVALUATION, READ_OUTSIDE and FAKE_SCORES. Comments do not
// count.
unsigned mla__flags_of_script(const char *script);
// Of a submission of ids and predictions (the last column): COPIED_SAMPLE and CONSTANT_PREDICTIONS.
// `sample` may be NULL.
unsigned mla__flags_of_submission(const char *bytes, size_t len, const char *sample,
                                  size_t sample_len);

#endif
