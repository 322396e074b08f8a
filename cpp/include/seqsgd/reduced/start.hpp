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
  // Of the general step: directions of w* and at most the rows of P, and of a frame of what weights
  // have beside them.
  Index fixed() const { return 1 + (encoded ? std::min(rank, dimension - 1) : 0); }
  Index frame() const { return std::min(n, dimension - fixed()); }
};

// w* and the rows of P, in an orthonormal basis of span(P, w*) of which the last vector is the part
// of w* orthogonal to span(P). w* is uniform: normals and a chi.
inline Matrix teacher_and_positions(const Settings& s, const Coordinates& c, ScalarPhilox& g) {
  const Index remaining = s.d > c.rank ? 1 : 0;
  Matrix span = Matrix::Zero(c.rank + remaining, 1 + c.L);
  for (Index k = 0; k < c.rank; ++k) span(k, 0) = g.normal();
  if (remaining) span(c.rank, 0) = std::sqrt(ChiSquare(s.d - c.rank)(g));
  span.col(0).normalize();
  span.bottomRightCorner(c.rank + remaining, c.L).topRows(c.rank) = c.mix.transpose();
  return span;
}

struct ReducedStart {
  Array<double> coords;   // (n, r + 2): m, u, s of every weight vector
  Array<double> P;        // (L, r + 1): rows of P along b_0 .. b_r
  Array<double> outside;  // (r + 1), shared: the unit vector of span(b_0 .. b_r) orthogonal
                          // to the rows of P; 0 if there is none
};

inline ReducedStart reduced_start(const Settings& s, const Coordinates& c, std::uint32_t run) {
  const Index r = c.r;
  ReducedStart out;
  out.coords.assign(c.size(), 0.0);
  out.P.assign(c.encoded ? c.L * (r + 1) : 0, 0.0);
  out.outside.assign(c.encoded && c.shared ? r + 1 : 0, 0.0);

  if (s.position == PositionKind::opposite) {  // orthogonal to w* and to the initial weights
    for (Index l = 0; l < 2; ++l) out.P[l * (r + 1) + 1] = c.mix(l, 0);
    if (c.shared) out.outside[0] = 1;
  }
  if (s.position == PositionKind::matrix) {
    ScalarPhilox g(Purpose::start, Address{s.seed, Stream::teacher, run, 0});
    const Matrix span = teacher_and_positions(s, c, g), rows = span.rightCols(c.L);
    const Vector star = span.col(0);
    if (c.shared) {
      const Matrix q = orthonormal_basis(span);
      const Index found = std::min<Index>(q.cols(), r + 1);
      for (Index l = 0; l < c.L; ++l)
        for (Index k = 0; k < found; ++k) out.P[l * (r + 1) + k] = rows.col(l).dot(q.col(k));
      if (span.rows() > c.rank)
        for (Index k = 0; k < found; ++k) out.outside[k] = q(c.rank, k);
    } else {
      for (Index l = 0; l < c.L; ++l) {
        const double along = rows.col(l).dot(star);
        out.P[l * (r + 1)] = along;
        if (r > 0) out.P[l * (r + 1) + 1] = (rows.col(l) - along * star).norm();
      }
    }
  }

  const double m0 = first_overlap(s.init, s.seed, run, c.n);
  const bool free = s.position != PositionKind::opposite;  // u is drawn
  for (Index i = 0; i < c.n; ++i) {
    ScalarPhilox g(Purpose::start, Address{s.seed, Stream::init, run, std::uint64_t(i)});
    double* w = out.coords.data() + i * (r + 2);
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

// A (n, min(n, dof)) such that A A^T has the law of Z Z^T, Z (n, dof) of independent normals
// (Bartlett's decomposition).
inline Matrix bartlett(Index n, Index dof, ScalarPhilox& g) {
  Matrix A = Matrix::Zero(n, std::min(n, dof));
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < A.cols() && j <= i; ++j)
      A(i, j) = i == j ? std::sqrt(ChiSquare(dof - i)(g)) : g.normal();
  return A;
}

// Start of the general step: weights with all their overlaps.
struct FrameStart {
  Matrix W;  // (n, fixed + frame): w_i / sqrt d along w*, along what P adds, and in the frame
  Matrix P;  // (L, fixed)
};

inline FrameStart frame_start(const Settings& s, const Coordinates& c, std::uint32_t run) {
  const Index r = c.fixed() - 1, frame = c.frame();
  FrameStart out{Matrix::Zero(c.n, c.fixed() + frame), Matrix::Zero(c.L, c.fixed())};
  if (s.position == PositionKind::opposite) out.P.col(1) = c.mix.col(0);
  if (s.position == PositionKind::matrix) {
    ScalarPhilox g(Purpose::start, Address{s.seed, Stream::teacher, run, 0});
    const Matrix span = teacher_and_positions(s, c, g), q = orthonormal_basis(span);
    const Index found = std::min<Index>(q.cols(), c.fixed());
    out.P.leftCols(found) = span.rightCols(c.L).transpose() * q.leftCols(found);
  }
  ScalarPhilox init(Purpose::start, Address{s.seed, Stream::init, run, 0});
  const double m0 = first_overlap(s.init, s.seed, run, c.n);
  // Directions orthogonal to w* are uniform. With the opposite encoding, which is chosen orthogonal
  // to the initial weights, none of them is along P; else r of them are.
  const Index along = s.position == PositionKind::matrix ? r : 0;
  Matrix across = Matrix::Zero(c.n, r + frame);
  for (Index i = 0; i < c.n; ++i)
    for (Index k = 0; k < along; ++k) across(i, k) = init.normal();
  const Matrix rest = bartlett(c.n, s.d - 1 - along, init);
  across.block(0, r, c.n, rest.cols()) = rest;
  for (Index i = 0; i < c.n; ++i) {
    const double size = across.row(i).norm();
    out.W(i, 0) = !s.init.overlap ? init.normal() : s.d == 1 ? (m0 < 0 ? -1 : 1) : m0;
    if (s.init.overlap)
      across.row(i) *= size > 0 && m0 * m0 < 1 ? std::sqrt((1 - m0) * (1 + m0)) / size : 0;
    out.W.row(i).tail(r + frame) = across.row(i);
    if (!s.init.overlap) out.W.row(i) /= out.W.row(i).norm();
  }
  return out;
}

// Order parameters of a start of the reduced dynamics, and what P and w* have in common. Overlaps
// between weights, and of any weight with any position, where they are followed; else no entries.
struct GramStart {
  Vector m, e, star;  // (n), and (L) or none: p_l . w / sqrt d, p_l . w* / sqrt d
  Matrix Q, E;        // (n, n), and (n, L) or none
};

inline GramStart gram_start(const Settings& s, const Coordinates& c, std::uint32_t run) {
  GramStart out;
  const Index L = c.encoded ? c.L : 0;
  if (follows_overlaps(s)) {
    const FrameStart start = frame_start(s, c, run);
    out.m = start.W.col(0);
    out.Q = start.W * start.W.transpose();
    out.E = start.W.leftCols(c.fixed()) * start.P.topRows(L).transpose();
    out.star = start.P.topRows(L).col(0);
    out.e.resize(L);
    for (Index l = 0; l < L; ++l) out.e[l] = out.E(c.shared ? 0 : l, l);
    return out;
  }
  const ReducedStart start = reduced_start(s, c, run);
  const Eigen::Map<const Rows<double>> W(start.coords.data(), c.n, c.r + 2),
      P(start.P.data(), L, c.r + 1);
  out.m = W.col(0);
  out.star.resize(L);
  out.e.resize(L);
  for (Index l = 0; l < L; ++l) {
    out.star[l] = P(l, 0);
    out.e[l] = P.row(l).dot(W.row(c.shared ? 0 : l).head(c.r + 1));
  }
  return out;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
