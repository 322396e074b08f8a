// The coordinates in which a run of the reduced dynamics is followed, and where it starts.
//
// Every weight vector w_i / sqrt d is written in an orthonormal basis of its own: b_0 = w* / sqrt
// d; b_1 .. b_r, which with b_0 spans the rows of P that its tokens carry; and the direction of
// what remains, of length s_i. That is r + 2 numbers (m_i, u_i1 .. u_ir, s_i). docs/reduced.md
// derives it.
#pragma once

#include <stdexcept>
#include <vector>

#include "seqsgd/random/chi_square.hpp"
#include "seqsgd/state/settings.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline void check_reduced(const Settings& s) {
  if (s.tokens.law != TokenLaw::gaussian && s.tokens.law != TokenLaw::correlated)
    throw std::invalid_argument(
        "tokens: the reduced dynamics is exact for Gaussian tokens only; use the sampled dynamics "
        "for other laws");
}

// Whether runs take the general step (gram.hpp): asked for, or because overlaps between weights
// matter.
inline bool follows_overlaps(const Settings& s) {
  return s.general || (s.tokens.law == TokenLaw::correlated && !s.fields.one_weight());
}

// What all runs have in common.
struct Coordinates {
  // `measured`: P is looked at; else nothing is computed, and its rank is a bound.
  Coordinates(const Settings& s, Index L, bool measured = true)
      : L(L),
        n(s.fields.weights),
        dimension(s.d),
        shared(s.fields.one_weight()),
        encoded(s.encoded()) {
    check_reduced(s);
    if (s.position == PositionKind::opposite) {
      mix = Matrix(2, 1);
      mix << 1, -1;
    }
    if (s.position == PositionKind::matrix && measured) {
      const Matrix q = orthonormal_basis(s.P.transpose());
      mix = s.P * q;
    }
    rank = s.position == PositionKind::matrix && !measured ? std::min(L, s.d) : mix.cols();
    if (encoded) r = shared ? std::min(rank, s.d - 1) : std::min<Index>(1, s.d - 1);
    rest = s.d - 1 - r >= 1;
    across = r + rest;
    dof = s.d - 1 - across;
  }

  const Index L, n, dimension;
  const bool shared, encoded;
  Matrix mix;        // (L, rank): rows of P in an orthonormal basis of their span
  Index rank = 0;    // of P
  Index r = 0;       // directions beside w* in which P is seen
  bool rest = true;  // whether there is any direction beside these
  Index across = 1;  // directions orthogonal to w* that are followed: r, and what remains of w
  Index dof = 0;     // directions that are not

  Index size() const { return n * (r + 2); }
};

// w* and the rows of P, in an orthonormal basis of span(P, w*) of which the last vector is what w*
// has beside span(P). w* is uniform: normals and a chi.
inline Matrix teacher_and_positions(const Settings& s, const Coordinates& c, OneByOne& g) {
  const Index beside = s.d > c.rank ? 1 : 0;
  Matrix span = Matrix::Zero(c.rank + beside, 1 + c.L);
  for (Index k = 0; k < c.rank; ++k) span(k, 0) = g.normal();
  if (beside) span(c.rank, 0) = std::sqrt(ChiSquare(s.d - c.rank)(g));
  span.col(0).normalize();
  span.bottomRightCorner(c.rank + beside, c.L).topRows(c.rank) = c.mix.transpose();
  return span;
}

struct ReducedStart {
  std::vector<double> at;       // (n, r + 2): m, u, s of every weight vector
  std::vector<double> P;        // (L, r + 1): rows of P along b_0 .. b_r
  std::vector<double> outside;  // (r + 1), shared: the unit vector of span(b_0 .. b_r) orthogonal
                                // to the rows of P; 0 if there is none
};

inline ReducedStart reduced_start(const Settings& s, const Coordinates& c, std::uint32_t run) {
  const Index r = c.r;
  ReducedStart out;
  out.at.assign(std::size_t(c.size()), 0.0);
  out.P.assign(std::size_t(c.encoded ? c.L * (r + 1) : 0), 0.0);
  out.outside.assign(std::size_t(c.encoded && c.shared ? r + 1 : 0), 0.0);

  if (s.position == PositionKind::opposite) {  // orthogonal to w* and to the initial weights
    for (Index l = 0; l < 2; ++l) out.P[std::size_t(l * (r + 1) + 1)] = c.mix(l, 0);
    if (c.shared) out.outside[0] = 1;
  }
  if (s.position == PositionKind::matrix) {
    OneByOne g(Use::start, Address{s.seed, Stream::teacher, run, 0});
    const Matrix span = teacher_and_positions(s, c, g), rows = span.rightCols(c.L);
    const Vector star = span.col(0);
    if (c.shared) {
      const Matrix q = orthonormal_basis(span);
      const Index found = std::min<Index>(q.cols(), r + 1);
      for (Index l = 0; l < c.L; ++l)
        for (Index k = 0; k < found; ++k)
          out.P[std::size_t(l * (r + 1) + k)] = rows.col(l).dot(q.col(k));
      if (span.rows() > c.rank)
        for (Index k = 0; k < found; ++k) out.outside[std::size_t(k)] = q(c.rank, k);
    } else {
      for (Index l = 0; l < c.L; ++l) {
        const double along = rows.col(l).dot(star);
        out.P[std::size_t(l * (r + 1))] = along;
        if (r > 0) out.P[std::size_t(l * (r + 1) + 1)] = (rows.col(l) - along * star).norm();
      }
    }
  }

  double m0 = s.init.m0;
  if (s.init.overlap && s.init.random_sign &&
      gaussian_vector(s.seed, Stream::init, run, std::uint64_t(c.n), 1)[0] < 0)
    m0 = -m0;
  const bool free = s.position != PositionKind::opposite;  // u is drawn
  for (Index i = 0; i < c.n; ++i) {
    OneByOne g(Use::start, Address{s.seed, Stream::init, run, std::uint64_t(i)});
    double* w = out.at.data() + i * (r + 2);
    Vector x = Vector::Zero(r + 2);
    x[0] = g.normal();
    if (free)
      for (Index k = 1; k <= r; ++k) x[k] = g.normal();
    if (c.rest) x[r + 1] = std::sqrt(ChiSquare(s.d - 1 - (free ? r : 0))(g));
    const double across = x.tail(r + 1).norm();
    if (!s.init.overlap)
      x.normalize();
    else if (across > 0 && m0 * m0 < 1) {
      x *= std::sqrt((1 - m0) * (1 + m0)) / across;
      x[0] = m0;
    } else {
      x.setZero();
      x[0] = s.d == 1 ? (m0 < 0 ? -1 : 1) : m0;
    }
    std::copy_n(x.data(), r + 2, w);
  }
  return out;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
