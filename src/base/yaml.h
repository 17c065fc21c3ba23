// YAML by schema, through libcyaml; what is wrong comes as one line naming file, line and key.
#ifndef MLA_BASE_YAML_H
#define MLA_BASE_YAML_H

#include <stddef.h>

#include "base/err.h"

struct cyaml_schema_value;

// Reads the YAML file `path` (at most `max` bytes, no aliases, one document) by `schema`, a pointer
// to a mapping. The caller frees with mla_yaml_free. NULL on error: "<path>: <key>: what".
void *mla_yaml_load(const char *path, size_t max, const struct cyaml_schema_value *schema,
                    mla_err *err);
void mla_yaml_free(const struct cyaml_schema_value *schema, void *data);

#endif
