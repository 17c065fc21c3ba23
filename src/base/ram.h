// How much memory this process may still take.
#ifndef MLA_BASE_RAM_H
#define MLA_BASE_RAM_H

#include <stdint.h>

// Bytes that can be had without swapping: what the kernel calls available, or what the limits of
// the process's control groups leave, whichever is less. UINT64_MAX: not known.
uint64_t mla_ram_available(void);

#endif
