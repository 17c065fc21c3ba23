// Whether a column, or an order of rows, tells the answers. Private to the room.
#ifndef MLA_TASK_CHECK_LEAK_H
#define MLA_TASK_CHECK_LEAK_H

#include <stdbool.h>
#include <stddef.h>

// The answers of n rows, one target.
typedef struct mla__target {
    const double *truth;     // [n]: numbers, or labels' numbers
    size_t n;
    bool labels;
} mla__target;

// values [n]: a column's cells. How it tells (nearly) all answers, a static phrase, or NULL.
const char *mla__leak_of_column(const mla__target *target, char *const *values);
// The rows as they stand in a file. How their order tells something of the answers, or NULL.
const char *mla__leak_of_order(const mla__target *target);

#endif
