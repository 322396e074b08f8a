// The instruction set this translation unit is compiled for, and what every header needs.
//
// Everything lives in an inline namespace named after the level, so that objects compiled for
// different levels can never be merged by the linker.
#pragma once

#include <cstdint>

#if !defined(__GNUC__) && !defined(__clang__)
#error "seqsgd needs GCC or Clang (on Windows: clang-cl): the kernels use vector extensions"
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512BW__)
#define SEQSGD_LEVEL avx512
#define SEQSGD_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__)
#define SEQSGD_LEVEL avx2
#define SEQSGD_AVX2 1
#else
#define SEQSGD_LEVEL baseline
#endif

#if defined(SEQSGD_OUTLINE)  // for sanitizers, which take many minutes to compile what is inlined
                             // by force
#define SEQSGD_INLINE inline
#define SEQSGD_LAMBDA_INLINE
#else
#define SEQSGD_INLINE inline __attribute__((always_inline))
#define SEQSGD_LAMBDA_INLINE __attribute__((always_inline))
#endif

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

using Index = std::int64_t;

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
