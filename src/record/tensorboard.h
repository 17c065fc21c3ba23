// A TensorBoard event file: TFRecord frames that hold Event messages with scalar summaries, written
// by hand. It leaves out all other kinds of summary.
#ifndef MLA_RECORD_TENSORBOARD_H
#define MLA_RECORD_TENSORBOARD_H

#include "base/err.h"
#include "base/json.h"

// TensorBoard reads files that have "tfevents" in their name. A fixed one: a run that goes on
// writes on in it.
#define MLA_TENSORBOARD_FILE "events.out.tfevents.mlagent"

typedef struct mla_tensorboard mla_tensorboard;

// Opens or creates. What is there is kept up to the first event that is torn, damaged or of a step
// above `last`, which is cut off with all behind it. `wall` (seconds since 1970) is the time of a
// new file. NULL on error, which is also a file that is none of these.
mla_tensorboard *mla_tensorboard_open(const char *path, long long last, double wall, mla_err *err);
// Each number of an object is a scalar of its key's name; those of an object in it are called
// "<key>/<name>". All else, `skip` among it, is left out. -1 on a full disk and the like, with the
// file restored to its last whole event.
MLA_MUST_USE int mla_tensorboard_append(mla_tensorboard *board, long long step, double wall,
                                        const json_t *object, const char *skip, mla_err *err);
void mla_tensorboard_close(mla_tensorboard *board);     // NULL is fine

#endif
