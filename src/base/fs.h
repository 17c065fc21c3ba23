// Files: whole reads with a ceiling, atomic writes, folders, checksums.
#ifndef MLA_BASE_FS_H
#define MLA_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

// Reads a whole file of at most `max` bytes; a longer one is an error. `out` is initialised here.
MLA_MUST_USE int mla_fs_read(const char *path, size_t max, mla_buf *out, mla_err *err);
// Writes to "<path>.tmp", syncs, renames: a reader sees the old file or the new one, never half.
MLA_MUST_USE int mla_fs_write(const char *path, const void *bytes, size_t len, mla_err *err);
// Renames `from` over `to` after syncing; an existing folder at `to` is moved aside and removed.
MLA_MUST_USE int mla_fs_replace_dir(const char *from, const char *to, mla_err *err);
MLA_MUST_USE int mla_fs_mkdirs(const char *path, mla_err *err);        // as mkdir -p
MLA_MUST_USE int mla_fs_remove_tree(const char *path,
                                    mla_err *err);  // as rm -rf, no links followed
MLA_MUST_USE int mla_fs_copy_file(const char *from, const char *to, mla_err *err);
bool mla_fs_exists(const char *path);
bool mla_fs_is_dir(const char *path);
int64_t mla_fs_size(const char *path);                                 // bytes, -1 if absent
char *mla_fs_join(const char *dir, const char *name);                  // caller frees
char *mla_fs_self_dir(void);      // folder of the running program; caller frees

// Names in a folder, sorted, without "." and ".."; caller frees with mla_fs_names_free.
MLA_MUST_USE int mla_fs_list(const char *dir, char ***names, size_t *count, mla_err *err);
void mla_fs_names_free(char **names, size_t count);

// Writes all of it, whatever write(2) takes at a time; EINTR is retried.
MLA_MUST_USE int mla_fs_write_all(int fd, const void *bytes, size_t len, mla_err *err);

// SHA-256 in lower-case hex.
void mla_sha256(const void *bytes, size_t len, char hex[65]);
MLA_MUST_USE int mla_sha256_file(const char *path, char hex[65], mla_err *err);

// Where models, task data and the task Python live: $MLAGENT_HOME, else
// $XDG_DATA_HOME/mlagent, else ~/.local/share/mlagent. Caller frees.
char *mla_home(void);

#endif
