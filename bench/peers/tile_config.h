// For building llama.cpp with GCC 12 and AMX. That compiler's _tile_loadconfig says of the 64 bytes
// of a configuration that it reads the first 8; the others are then optimised away, and the first
// product of quantised weights with several rows ends in a fault. In the venv of PEERS_LLAMA:
//
//   export CMAKE_ARGS="-DCMAKE_CXX_FLAGS='-include $PWD/bench/peers/tile_config.h'"
//   pip install --no-binary llama-cpp-python llama-cpp-python
#ifndef MLA_PEERS_TILE_CONFIG_H
#define MLA_PEERS_TILE_CONFIG_H

#include <immintrin.h>

#define _tile_loadconfig(config)                                                                   \
    __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])(config)))

#endif
