// What the files of this room share: numbers and names as users write them, and a
// table that numbers distinct texts.
#ifndef MLA_TASK_INTERNAL_H
#define MLA_TASK_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/yaml.h"
#include "task/score.h"
#include "task/task.h"

// A decimal number as Python's float() reads it, the whole text, in the C locale; "nan" and "inf"
// too. False when it is not one.
bool mla__number_parse(const char *text, double *out);
// 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit: a name of a task or an idea.
bool mla__is_name(const char *text);
// The first bytes of a foreign text, made fit for one line of a message.
typedef struct mla__shown {
    char text[64];
} mla__shown;
mla__shown mla__show(const char *text);

// Distinct keys, numbered from 0 in the order they came. A key that is a number equals any other
// way of writing it ("1" and "1.0"); a text equals only itself.
typedef struct mla__key {
    const char *text;   // borrowed: must outlive the table
    double number;      // when `numeric`
    bool numeric;
} mla__key;

typedef struct mla__slot {
    uint32_t number;    // the key's index + 1; 0: free
    uint32_t tag;       // bits of its hash
} mla__slot;

typedef struct mla__keys {
    mla__key *items;    // [len]
    size_t len, cap;
    mla__slot *slots;   // [slot_count], a power of two
    size_t slot_count;
} mla__keys;

// The path from the root, so that it can be mounted; it need not exist. Caller frees.
char *mla__absolute(const char *path);
// Where the version of the task's data is written under `home`. Caller frees.
char *mla__version_path(const mla_task *task, const char *home);

// prepare.c: the version of a task's data, SHA-256 over a line for each file with its own SHA-256;
// and its files put to rest, readable only and on the disk.
MLA_MUST_USE int mla__data_hash(const char *public_dir, const char *answers, char hex[65],
                                mla_err *err);
MLA_MUST_USE int mla__data_settle(const char *public_dir, const char *answers, mla_err *err);

// A program's last line with anything on it: of a Python failure, the exception. Caller frees.
char *mla__last_line(const char *output);

// ---- wheels.c: the packages of a task's requirements.txt
// Sets task->wheels where there is such a file.
MLA_MUST_USE int mla__wheels_read(mla_task *task, mla_err *err);
// Installs them where they are not: 1 when it did, 0 when they were there or there are none.
MLA_MUST_USE int mla__wheels_install(const mla_task *task, const char *python, mla_err *err);

#define MLA__KEY_NONE SIZE_MAX

void mla__keys_clear(mla__keys *keys);
mla__key mla__key_text(const char *text);     // the text itself, whatever it looks like
mla__key mla__key_label(const char *text);    // a finite number when it reads as one, else text
bool mla__key_equal(mla__key a, mla__key b);
size_t mla__keys_find(const mla__keys *keys, mla__key key);             // or MLA__KEY_NONE
size_t mla__keys_add(mla__keys *keys, mla__key key, bool *added);       // its index, new or not

#endif
