// Where a run starts in R^d: teacher, initial weights and the opposite encoding, drawn in double
// whatever the dynamics computes in. (reduced/start.hpp has order parameters of the same law.)
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "seqsgd/random/normal.hpp"
#include "seqsgd/simd/checks.hpp"
#include "seqsgd/state/basis.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

struct InitialCondition {
  bool overlap = true;  // else uniform on the sphere
  double m0 = 0;  // overlap w . w* / d of every weight vector; at 0 a link without a first-order
                  // part teaches nothing for a long time
  bool random_sign = false;  // one sign per run
};

inline Vector gaussian_vector(std::uint64_t seed, Stream stream, std::uint32_t run,
                              std::uint64_t block, Index d) {
  Xoshiro16 g(Address{seed, stream, run, block});
  Vector x(padded(d));
  fill_normal(g, x.data(), x.size());
  return x.head(d);
}

// The overlap that all of a run's n weight vectors start with.
inline double first_overlap(const InitialCondition& init, std::uint64_t seed, std::uint32_t run,
                            Index n) {
  const bool turned = init.overlap && init.random_sign &&
                      gaussian_vector(seed, Stream::init, run, std::uint64_t(n), 1)[0] < 0;
  return turned ? -init.m0 : init.m0;
}

// Unit vector in the direction of x orthogonal to the columns of the orthonormal Q.
inline Vector unit_orthogonal(Vector x, const Matrix& Q) {
  remove_along(Q, Q.cols(), x);
  return x.normalized();
}

struct Start {
  Vector teacher;   // (d), norm sqrt d
  Matrix w;         // (d, n)
  Vector opposite;  // (d), unit, orthogonal to teacher and w; empty unless asked
};

inline Start make_start(std::uint64_t seed, std::uint32_t run, Index d, Index n,
                        const InitialCondition& init, bool opposite) {
  Start s;
  const double radius = std::sqrt(double(d));
  const Vector t = gaussian_vector(seed, Stream::teacher, run, 0, d).normalized();
  s.teacher = t * radius;
  s.w.resize(d, n);
  const double m0 = first_overlap(init, seed, run, n);
  for (Index i = 0; i < n; ++i) {
    const Vector x = gaussian_vector(seed, Stream::init, run, std::uint64_t(i), d);
    if (!init.overlap)
      s.w.col(i) = x.normalized() * radius;
    else if (d == 1 || m0 * m0 == 1)
      s.w.col(i) = t * (m0 < 0 ? -radius : radius);
    else
      s.w.col(i) = (m0 * t + std::sqrt(1 - m0 * m0) * unit_orthogonal(x, t)) * radius;
  }
  if (opposite) {
    Matrix span(d, n + 1);
    span.col(0) = t;
    span.rightCols(n) = s.w / radius;
    s.opposite = unit_orthogonal(gaussian_vector(seed, Stream::position, run, 0, d),
                                 orthonormal_basis(span));
  }
  return s;
}

inline void check_start(Index d, Index n, const InitialCondition& init, bool opposite) {
  if (init.overlap && !(init.m0 >= -1 && init.m0 <= 1))
    checks::refuse("m0", "a number in [-1, 1]", init.m0);
  if (init.overlap && d == 1 && std::fabs(init.m0) != 1)
    checks::refuse("m0", "-1 or 1, as d = 1", init.m0);
  if (opposite && d < n + 2)
    throw std::invalid_argument(
        "d: the opposite encoding is orthogonal to w* and to the initial weights and needs d >= " +
        std::to_string(n + 2) + ", got " + std::to_string(d));
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
