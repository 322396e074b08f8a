// The smallest harness that does: checks that count, and a last line that ctest and people can
// read.
#pragma once

#include <cmath>
#include <cstdio>
#include <exception>

namespace check {

inline int passed = 0, failed = 0;

inline void that(bool ok, const char* what, const char* file, int line) {
  ok ? ++passed : ++failed;
  if (!ok) std::printf("%s:%d: failed: %s\n", file, line, what);
}

template <class F>
bool throws(F f) {
  try {
    f();
  } catch (const std::exception&) {
    return true;
  }
  return false;
}

inline int report() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

}  // namespace check

#define CHECK(x) check::that(bool(x), #x, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) \
  check::that(std::fabs(double(a) - double(b)) <= (tolerance), #a " == " #b, __FILE__, __LINE__)
