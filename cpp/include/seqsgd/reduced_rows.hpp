// The reduced dynamics of untied weights under correlated tokens. Token l and token k see w_l and w_k, and where their x are correlated so are their fields through w_l . w_k:
// all overlaps between rows are followed, one run at a time. Exact in law at any d, at a cost of order L^3 a step.
#pragma once

#include <Eigen/QR>
#include <cmath>
#include <limits>
#include <vector>

#include "reduced_start.hpp"
#include "unit.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Rows w_l / sqrt d along b_0 = w* / sqrt d, along b_1 .. b_r, which with b_0 spans P, and along an orthonormal frame of what remains of them, chosen so that this part is lower
// triangular. What a step adds outside has a Wishart Gram matrix, drawn by Bartlett's decomposition; the frame is chosen anew.
class CorrelatedRows final : public ReducedRuns {
 public:
  CorrelatedRows(const Task& task, const Settings& s, const Coordinates& c, std::uint32_t run, Index row, Records& records)
      : task_(task), s_(s), run_(run), row_(row), records_(records), L_(task.L()), encoded_(c.encoded), r_(c.encoded ? std::min(c.rank, s.d - 1) : 0), frame_(std::min(L_, s.d - 1 - r_)),
        outside_(s.d - 1 - r_ - frame_), W_(Matrix::Zero(L_, 1 + r_ + frame_)), P_(Matrix::Zero(L_, 1 + r_)), mixing_(Matrix::Zero(L_, L_)), z_(std::size_t(L_)), zstar_(z_), delta_(z_), noise_(std::size_t(task.noisy() ? task.k() : 0)),
        scratch_(task.scratch()) {
    for (Index i = 0; i < L_; ++i)
      for (Index k = 0; k <= i; ++k) mixing_(s.tokens.factor.order[std::size_t(i)], s.tokens.factor.order[std::size_t(k)]) = s.tokens.factor.F[std::size_t(i * L_ + k)];
    start(c);
    if (s.plan.eta > 0 && overlap() >= s.plan.eta) p_.passage = 0;
    record_if_due();
  }

  // Of one run, and of what a step of it takes for a moment.
  static double bytes(const Coordinates& c, const Task& task) {
    const double L = double(c.L), seen = 1 + (c.encoded ? double(std::min(c.rank, c.dimension - 1)) : 0);
    return 8 * L * (2 * seen + 2 * L) + 8 * (4 * L + double(task.scratch() + std::size_t(task.k()))) + double(sizeof(CorrelatedRows)) + 512;
  }
  static double bytes_of_step(const Coordinates& c) {
    const double L = double(c.L), seen = 1 + (c.encoded ? double(std::min(c.rank, c.dimension - 1)) : 0);
    return 8 * L * (6 * seen + 10 * L);
  }

  Index runs() const override { return 1; }
  bool done(Index target) const override { return p_.step >= target || p_.halted(s_.plan); }
  const Progress& progress(Index) const override { return p_; }

  void advance(Index target, Index budget, int, const std::atomic<bool>& pause) override {
    const Index end = std::min(target, p_.step + budget);
    while (p_.step < end && !p_.halted(s_.plan) && !pause.load(std::memory_order_relaxed)) {
      step();
      record_if_due();
    }
  }

  OrderParameters order_parameters(Index) const override {
    OrderParameters o;
    for (Index l = 0; l < L_; ++l) {
      o.m.push_back(W_(l, 0));
      o.q.push_back(W_.row(l).squaredNorm());
      if (encoded_) o.e.push_back(P_.row(l).dot(W_.row(l).head(1 + r_)));
    }
    return o;
  }

  Index state_size() const override { return W_.size() + Progress::size; }
  void save(Index, double* state) const override { p_.save(std::copy_n(W_.data(), W_.size(), state)); }
  void check_state(const double* state) const override {
    for (Index i = 0; i < W_.size(); ++i)
      if (!std::isfinite(state[i])) Progress::refuse();
    Progress::check(state + W_.size(), s_.plan);
  }
  void restore(Index, const double* state) override {
    std::copy_n(state, W_.size(), W_.data());
    p_.restore(state + W_.size());
  }

 private:
  void start(const Coordinates& c) {
    OneByOne g(Use::start, Address{s_.seed, Stream::teacher, run_, 0});
    if (s_.position == PositionKind::opposite) P_.col(1) = c.mix.col(0);
    if (s_.position == PositionKind::matrix) {
      const Matrix span = teacher_and_positions(s_, c, g), q = orthonormal_basis(span);
      const Index found = std::min<Index>(q.cols(), 1 + r_);
      P_.leftCols(found) = span.rightCols(L_).transpose() * q.leftCols(found);
    }
    OneByOne init(Use::start, Address{s_.seed, Stream::init, run_, 0});
    double m0 = s_.init.m0;
    if (s_.init.overlap && s_.init.random_sign && gaussian_vector(s_.seed, Stream::init, run_, std::uint64_t(L_), 1)[0] < 0) m0 = -m0;
    const Index from = s_.position == PositionKind::opposite ? 1 + r_ : 1;  // the opposite encoding is orthogonal to the initial weights
    const Index directions = s_.d - from;
    Matrix rest = bartlett(L_, directions, init);  // Gram matrix of uniform directions, up to lengths
    Matrix across = Matrix::Zero(L_, r_ + frame_);
    if (from == 1 && r_ > 0) {  // r of the directions are those of P
      for (Index l = 0; l < L_; ++l)
        for (Index k = 0; k < r_; ++k) across(l, k) = init.normal();
      rest = bartlett(L_, directions - r_, init);
    }
    across.block(0, r_, L_, rest.cols()) = rest;
    for (Index l = 0; l < L_; ++l) {
      const double size = across.row(l).norm();
      W_(l, 0) = !s_.init.overlap ? init.normal() : s_.d == 1 ? (m0 < 0 ? -1 : 1) : m0;
      if (s_.init.overlap)
        across.row(l) *= size > 0 && m0 * m0 < 1 ? std::sqrt((1 - m0) * (1 + m0)) / size : 0;
      W_.row(l).tail(r_ + frame_) = across.row(l);
      if (!s_.init.overlap) W_.row(l) /= W_.row(l).norm();
    }
  }

  // A (n, min(n, dof)) such that A A^T has the law of Z Z^T, Z (n, dof) of independent normals.
  static Matrix bartlett(Index n, Index dof, OneByOne& g) {
    Matrix A = Matrix::Zero(n, std::min(n, dof));
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < A.cols() && j <= i; ++j) A(i, j) = i == j ? std::sqrt(ChiSquare(dof - i)(g)) : g.normal();
    return A;
  }

  void step() {
    OneByOne g(Use::run, Address{s_.seed, Stream::data, run_, std::uint64_t(p_.step)});
    Matrix X(L_, W_.cols());
    for (Index j = 0; j < X.cols(); ++j)
      for (Index l = 0; l < L_; ++l) X(l, j) = g.normal();
    X = mixing_ * X;
    if (!noise_.empty()) {
      OneByOne n(Use::run, Address{s_.seed, Stream::noise, run_, std::uint64_t(p_.step)});
      for (double& x : noise_) x = n.normal();
    }
    for (Index l = 0; l < L_; ++l) {
      const double c = s_.position == PositionKind::injected ? s_.c[std::size_t(l)] : 0;
      zstar_[std::size_t(l)] = X(l, 0);
      z_[std::size_t(l)] = W_.row(l).dot(X.row(l)) + P_.row(l).dot(W_.row(l).head(1 + r_)) + c;
    }
    const double loss = task_(zstar_.data(), z_.data(), noise_.empty() ? nullptr : noise_.data(), delta_.data(), scratch_.data());
    Matrix V(L_, W_.cols() + std::min(L_, outside_));  // of token l: delta_l (xi_l + p_l), along the coordinates and outside
    V.leftCols(X.cols()) = X;
    V.rightCols(V.cols() - X.cols()) = mixing_ * bartlett(L_, outside_, g);
    V.leftCols(1 + r_) += P_;
    for (Index l = 0; l < L_; ++l) V.row(l) *= delta_[std::size_t(l)];
    const double gamma_d = s_.lr(p_.step) / double(s_.d);
    if (!std::isfinite(loss) || !V.allFinite() || !move(V, gamma_d)) {
      p_.nonfinite = p_.step + 1;
      return;
    }
    p_.count(loss);
    if (s_.plan.eta > 0 && p_.passage < 0 && overlap() >= s_.plan.eta) p_.passage = p_.step;
  }

  bool move(const Matrix& V, double gamma_d) {
    const bool global = s_.weights == Weights::global;
    Matrix N = Matrix::Zero(L_, V.cols());
    N.leftCols(W_.cols()) = W_;
    double along = 0;
    if (s_.projected && global) along = (V.leftCols(W_.cols()).cwiseProduct(W_)).sum() / double(L_);
    for (Index l = 0; l < L_; ++l) {
      if (s_.projected && !global) along = V.row(l).head(W_.cols()).dot(W_.row(l));
      N.row(l) = (1 + gamma_d * along) * N.row(l) - gamma_d * V.row(l);
      if (!global) N.row(l) /= N.row(l).norm();
    }
    if (global) N *= std::sqrt(double(L_)) / N.norm();
    if (!N.allFinite()) return false;
    W_.leftCols(1 + r_) = N.leftCols(1 + r_);
    if (frame_ == 0) return true;
    // A frame in which what remains is lower triangular again: N = R^T Q^T.
    const Matrix rest = N.rightCols(N.cols() - 1 - r_).transpose();
    const Eigen::HouseholderQR<Matrix> qr(rest);
    Matrix R = Matrix::Zero(frame_, L_);
    const Index rows = std::min<Index>(frame_, rest.rows());
    R.topRows(rows) = qr.matrixQR().topRows(rows).template triangularView<Eigen::Upper>();
    W_.rightCols(frame_) = R.transpose();
    return true;
  }

  // ||m|| / sqrt L
  double overlap() const { return W_.col(0).norm() / std::sqrt(double(L_)); }

  void record_if_due() {
    p_.record_if_due(s_.plan, [&](Index i, double mean_loss) { records_.put(row_, i, order_parameters(0), mean_loss); });
  }

  const Task& task_;
  const Settings& s_;
  const std::uint32_t run_;
  const Index row_;
  Records& records_;
  const Index L_;
  const bool encoded_;
  const Index r_, frame_;  // directions of P beside w*, and of the frame
  const Index outside_;    // directions that are not followed
  Matrix W_;               // (L, 1 + r + frame)
  Matrix P_;               // (L, 1 + r)
  Matrix mixing_;          // a square root of C
  std::vector<double> z_, zstar_, delta_, noise_, scratch_;
  Progress p_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
