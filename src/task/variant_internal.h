// What the files that make variants share: a recipe, and the rewriting that each of its parts asks
// for. A rewriting takes any script of the task, the starter or the starter with an idea's edit,
// and gives a new text, or NULL where it can't be done safely. Callers free.
#ifndef MLA_TASK_VARIANT_INTERNAL_H
#define MLA_TASK_VARIANT_INTERNAL_H

#include <stdint.h>

#include "base/rng.h"
#include "task/python.h"
#include "task/task.h"

#define MLA__CHANGES_MAX 24

typedef struct mla__names {
    char **items;            // [len], owned
    size_t len, cap;
} mla__names;

void mla__names_clear(mla__names *names);
bool mla__names_has(const mla__names *names, const char *name, size_t len);
void mla__names_add(mla__names *names, const char *name, size_t len);    // once
// Every word of a text that could be a name.
void mla__names_add_words(mla__names *names, const char *text);

// One replacement of a text by another at certain places.
typedef struct mla__change {
    char *key;               // what stands before: a keyword, a constant, a list's name
    char *from, *to;
} mla__change;

typedef struct mla__changes {
    mla__change items[MLA__CHANGES_MAX];
    size_t len;
} mla__changes;

void mla__changes_clear(mla__changes *changes);
// Takes over the texts; false, and freed, when there are too many.
bool mla__changes_add_take(mla__changes *changes, char *key, char *from, char *to);

typedef enum {
    MLA__LAYOUT_KEEP,
    MLA__LAYOUT_FLAT,        // definitions first, then the work, at the top level
    MLA__LAYOUT_MAIN,        // the work in a function that a guard calls
    MLA__LAYOUT_CALL,        // ... that is called
    MLA__LAYOUT_GUARD,       // the work under the guard
    MLA__LAYOUTS,
} mla__layout;

typedef enum {
    MLA__COMMENTS_KEEP,
    MLA__COMMENTS_NONE,
    MLA__COMMENTS_ADD,
    MLA__COMMENTS_OTHERS,    // none of its own, some of ours
    MLA__COMMENTS,
} mla__comments;

// All that makes a variant of a script. The same recipe does the same to each script of the task.
typedef struct mla__recipe {
    uint64_t seed;           // of orders
    mla__changes literals;   // key and number: another number
    mla__changes drops;      // key and an element of its list, or a line of its own ("" as key)
    mla__changes hoists;     // key and number: a new constant's name
    mla__changes inlines;    // key: a constant that gives way to its value
    mla__changes renames;    // from, to
    mla__layout layout;
    mla__comments comments;
    const char *reader;      // name of a function that reads the tables, or NULL
    const char *main_name;
    bool split_writing;      // the submission is made and written in two statements
    bool plain_parameters;   // no annotations
    bool short_imports;      // `from sklearn import metrics`
    bool full_names;         // `import pandas`
    bool single_quotes, tight;
} mla__recipe;

void mla__recipe_clear(mla__recipe *recipe);

// --- variant_names.c ----------------------------------------------------------------------------

// Which tokens bind a name: assignments, loops, parameters, definitions. [n_tokens]: 0 none, 1 a
// name, 2 a parameter. Methods and imported names are none. Caller frees.
unsigned char *mla__bindings_find(const mla__py *py);
// Draws new names for about `share` of those that the script binds, none of `taken`; a parameter
// that is a `keyword` somewhere keeps its name.
void mla__renames_draw(mla__changes *out, const mla__py *py, const mla__names *taken,
                       const mla__names *keywords, double share, mla_rng *rng);
char *mla__rename(const char *script, const mla__changes *renames);

// --- variant_values.c: numbers, constants, columns -----------------------------------------------

void mla__values_draw(mla__recipe *recipe, const char *script, const mla__names *taken,
                      mla_rng *rng);
char *mla__literals_change(const char *script, const mla__changes *literals);
char *mla__columns_drop(const char *script, const mla__changes *drops);
char *mla__constants_hoist(const char *script, const mla__changes *hoists);
char *mla__constants_inline(const char *script, const mla__changes *inlines);

// --- variant_style.c: imports, reading and writing, quotes, comments ----------------------------

char *mla__imports_change(const char *script, bool short_imports, bool full_names);
char *mla__reading_share(const char *script, const char *reader);
char *mla__writing_split(const char *script);
char *mla__annotations_drop(const char *script);
char *mla__quotes_change(const char *script);
char *mla__comments_change(const char *script, mla__comments comments, uint64_t seed);
char *mla__blanks_drop(const char *script);

// --- variant_layout.c ---------------------------------------------------------------------------

char *mla__layout_change(const char *script, mla__layout layout, const char *main_name,
                         uint64_t seed);

// --- variant_blocks.c ---------------------------------------------------------------------------

// SEARCH/REPLACE blocks that make `to` of `from`; each SEARCH part stands in `from` once. NULL when
// the two are alike or too many lines differ.
char *mla__blocks_make(const char *from, const char *to);

#endif
