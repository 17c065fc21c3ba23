// Memory. Running out of it aborts in one place, so no caller checks for NULL.
#ifndef MLA_BASE_MEM_H
#define MLA_BASE_MEM_H

#include <stddef.h>

void *mla_alloc(size_t count, size_t size);                // zeroed; caller frees with free()
void *mla_realloc(void *old, size_t count, size_t size);   // as realloc(); new part not zeroed
void *mla_alloc_aligned(size_t bytes);                     // 64-byte aligned, zeroed; free()
char *mla_strdup(const char *text);                        // NULL stays NULL
char *mla_strndup(const char *text, size_t len);          // exactly len bytes, and a NUL
char *mla_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define MLA_NEW(type) ((type *)mla_alloc(1, sizeof(type)))
#define MLA_NEW_ARRAY(type, count) ((type *)mla_alloc((count), sizeof(type)))
#define MLA_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// Grows `*array` (elements of `size` bytes, `*cap` allocated) to hold at least `need` elements.
void mla_grow(void **array, size_t *cap, size_t need, size_t size);
#define MLA_GROW(array, cap, need) \
    mla_grow((void **)&(array), &(cap), (need), sizeof *(array))

#endif
