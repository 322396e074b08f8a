// What refuses an argument: one line that names it, says what was expected and what came.
#pragma once

#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "seqsgd/simd/level.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {
namespace checks {

inline std::string text(Index x) { return std::to_string(x); }
inline std::string text(int x) { return std::to_string(x); }
inline std::string text(std::size_t x) { return std::to_string(x); }
inline std::string text(double x) {
  char out[40];
  std::snprintf(out, sizeof out, "%.6g", x);
  return out;
}

// "name: expected ..., got ..."
template <class X>
[[noreturn]] inline void refuse(const char* name, const std::string& expected, X got) {
  throw std::invalid_argument(std::string(name) + ": expected " + expected + ", got " + text(got));
}

inline void within(const char* name, Index x, Index low, Index high) {
  if (x < low || x > high) refuse(name, "an integer in [" + text(low) + ", " + text(high) + "]", x);
}
inline void finite(const char* name, double x) {
  if (!std::isfinite(x)) refuse(name, "a finite number", x);
}
inline void finite(const char* name, const std::vector<double>& all) {
  for (double x : all)
    if (!std::isfinite(x)) refuse(name, "finite numbers", x);
}
// Of n things the i-th.
inline Index index(const char* name, Index i, Index n) {
  if (i < 0 || i >= n)
    throw std::out_of_range(std::string(name) + ": expected an index in [0, " + text(n) +
                            "), got " + text(i));
  return i;
}
// A pointer that is one.
template <class P>
inline P given(const char* name, P pointer) {
  if (!pointer)
    throw std::invalid_argument(std::string(name) +
                                ": expected an object or an address, got a null pointer");
  return pointer;
}

}  // namespace checks
}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
