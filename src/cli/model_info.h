// What a model file holds and what using it takes, for a person or as JSON.
#ifndef MLA_CLI_MODEL_INFO_H
#define MLA_CLI_MODEL_INFO_H

#include <stdbool.h>

#include "model/weights.h"

// Prints on standard output.
void mla_model_info_print(const mla_weights *weights, const char *path, bool as_json);
// The same of an adapter's folder.
MLA_MUST_USE int mla_adapter_info_print(const char *dir, bool as_json, mla_err *err);

#endif
