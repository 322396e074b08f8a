// The general reduced step: any number of weights, any map of fields, any spheres. The definition;
// kernels that are faster for a case have its law (tests/test_reduced_law.py).
//
// Weights w_i / sqrt d are written along b_0 = w* / sqrt d, along b_1 .. b_r, which with b_0 span
// P, and along an orthonormal frame of what remains of them, chosen so that this part is lower
// triangular. A step draws the tokens' coordinates along all of these, which gives the fields and
// delta. In the directions that are not followed the gradients G_i = sum_f delta_f x_f are jointly
// Gaussian given delta, so only their Gram matrix matters: Wishart, drawn by Bartlett's
// decomposition, of the tokens or of the weights, whichever are fewer. Then the frame is chosen
// anew (an LQ factorisation, so that no Gram matrix is ever factored). Exact in law at any d. Cost:
// L (1 + r + p) normals, and of order p^2 (p + L) operations.
#pragma once

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <vector>

#include "seqsgd/reduced/start.hpp"
#include "seqsgd/state/fields.hpp"
#include "seqsgd/state/unit.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class GramRun final : public ReducedRuns {
 public:
  GramRun(const Task& task, const Settings& s, const Coordinates& c, std::uint32_t run, Index row,
          Records& records)
      : task_(task),
        s_(s),
        run_(run),
        row_(row),
        records_(records),
        L_(task.L()),
        map_(field_map(s.weights, L_)),
        spheres_(spheres(s.weights, L_)),
        p_(map_.weights),
        encoded_(c.encoded),
        fixed_(1 + (c.encoded ? std::min(c.rank, s.d - 1) : 0)),
        frame_(std::min(p_, s.d - fixed_)),
        unseen_(s.d - fixed_ - frame_),
        W_(Matrix::Zero(p_, fixed_ + frame_)),
        P_(Matrix::Zero(L_, fixed_)),
        zstar_(std::size_t(L_)),
        z_(std::size_t(map_.size())),
        delta_(z_),
        noise_(std::size_t(task.noisy() ? task.k() : 0)),
        scratch_(task.scratch()) {
    const CovarianceFactor& factor = s.tokens.factor;
    if (s.tokens.law == TokenLaw::correlated) {
      mixing_ = Matrix::Zero(L_, L_);
      for (Index i = 0; i < L_; ++i)
        for (Index k = 0; k <= i; ++k)
          mixing_(factor.order[std::size_t(i)], factor.order[std::size_t(k)]) =
              factor.F[std::size_t(i * L_ + k)];
    }
    start(c);
    if (encoded_ && s.weights == Weights::shared) positional_ = orthonormal_basis(P_.transpose());
    if (s.plan.eta > 0 && overlap() >= s.plan.eta) progress_.passage = 0;
    record_if_due();
  }

  // Bytes of one run, and of what a step of it takes for a moment.
  static double bytes(const Coordinates& c, const Task& task) {
    const double L = double(c.L), p = double(c.n), k = fixed_directions(c);
    const double fields = c.shared ? L * p : L;
    return 8 * (p * (k + p) + 2 * L * k + L * L) + 24 * p +
           8 * (L + 4 * fields + double(task.scratch() + std::size_t(task.k()))) +
           double(sizeof(GramRun)) + 512;
  }
  static double bytes_of_step(const Coordinates& c) {
    const double L = double(c.L), p = double(c.n), k = fixed_directions(c);
    return 8 * (2 * L * (k + p) + L * p + 4 * p * (k + 2 * p) + L * L);
  }

  Index runs() const override { return 1; }
  bool done(Index target) const override {
    return progress_.step >= target || progress_.halted(s_.plan);
  }
  const Progress& progress(Index) const override { return progress_; }

  void advance(Index target, Index budget, int, const std::atomic<bool>& pause) override {
    const Index end = std::min(target, progress_.step + budget);
    while (progress_.step < end && !progress_.halted(s_.plan) &&
           !pause.load(std::memory_order_relaxed)) {
      step();
      record_if_due();
    }
  }

  OrderParameters order_parameters(Index) const override {
    OrderParameters o;
    for (Index i = 0; i < p_; ++i) {
      o.m.push_back(W_(i, 0));
      o.q.push_back(W_.row(i).squaredNorm());
    }
    if (encoded_)
      for (const auto& [l, i] : map_.fields) o.e.push_back(P_.row(l).dot(W_.row(i).head(fixed_)));
    return o;
  }

  Index state_size() const override { return W_.size() + Progress::size; }
  void save(Index, double* state) const override {
    progress_.save(std::copy_n(W_.data(), W_.size(), state));
  }
  void check_state(const double* state) const override {
    for (Index i = 0; i < W_.size(); ++i)
      if (!std::isfinite(state[i])) Progress::refuse();
    Progress::check(state + W_.size(), s_.plan);
  }
  void restore(Index, const double* state) override {
    std::copy_n(state, W_.size(), W_.data());
    progress_.restore(state + W_.size());
  }

 private:
  // w* and at most the rows of P.
  static double fixed_directions(const Coordinates& c) {
    return 1 + (c.encoded ? double(std::min(c.rank, c.dimension - 1)) : 0);
  }

  void start(const Coordinates& c) {
    const Index r = fixed_ - 1;
    OneByOne g(Use::start, Address{s_.seed, Stream::teacher, run_, 0});
    if (s_.position == PositionKind::opposite) P_.col(1) = c.mix.col(0);
    if (s_.position == PositionKind::matrix) {
      const Matrix span = teacher_and_positions(s_, c, g), q = orthonormal_basis(span);
      const Index found = std::min<Index>(q.cols(), fixed_);
      P_.leftCols(found) = span.rightCols(L_).transpose() * q.leftCols(found);
    }
    OneByOne init(Use::start, Address{s_.seed, Stream::init, run_, 0});
    double m0 = s_.init.m0;
    if (s_.init.overlap && s_.init.random_sign &&
        gaussian_vector(s_.seed, Stream::init, run_, std::uint64_t(p_), 1)[0] < 0)
      m0 = -m0;
    // Directions orthogonal to w* are uniform. With the opposite encoding, which is chosen
    // orthogonal to the initial weights, none of them is along P; else r of them are.
    const Index along = s_.position == PositionKind::matrix ? r : 0;
    Matrix across = Matrix::Zero(p_, r + frame_);
    for (Index i = 0; i < p_; ++i)
      for (Index k = 0; k < along; ++k) across(i, k) = init.normal();
    const Matrix rest = bartlett(p_, s_.d - 1 - along, init);
    across.block(0, r, p_, rest.cols()) = rest;
    for (Index i = 0; i < p_; ++i) {
      const double size = across.row(i).norm();
      W_(i, 0) = !s_.init.overlap ? init.normal() : s_.d == 1 ? (m0 < 0 ? -1 : 1) : m0;
      if (s_.init.overlap)
        across.row(i) *= size > 0 && m0 * m0 < 1 ? std::sqrt((1 - m0) * (1 + m0)) / size : 0;
      W_.row(i).tail(r + frame_) = across.row(i);
      if (!s_.init.overlap) W_.row(i) /= W_.row(i).norm();
    }
  }

  // A (n, min(n, dof)) such that A A^T has the law of Z Z^T, Z (n, dof) of independent normals.
  static Matrix bartlett(Index n, Index dof, OneByOne& g) {
    Matrix A = Matrix::Zero(n, std::min(n, dof));
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < A.cols() && j <= i; ++j)
        A(i, j) = i == j ? std::sqrt(ChiSquare(dof - i)(g)) : g.normal();
    return A;
  }

  // Independent tokens become correlated ones.
  Matrix mixed(Matrix X) const { return mixing_.size() ? Matrix(mixing_ * X) : X; }

  void step() {
    OneByOne g(Use::run, Address{s_.seed, Stream::data, run_, std::uint64_t(progress_.step)});
    Matrix X(L_, W_.cols());
    for (Index j = 0; j < X.cols(); ++j)
      for (Index l = 0; l < L_; ++l) X(l, j) = g.normal();
    X = mixed(std::move(X));
    if (!noise_.empty()) {
      OneByOne n(Use::run, Address{s_.seed, Stream::noise, run_, std::uint64_t(progress_.step)});
      for (double& x : noise_) x = n.normal();
    }
    for (Index l = 0; l < L_; ++l) zstar_[std::size_t(l)] = X(l, 0);
    for (Index f = 0; f < map_.size(); ++f) {
      const auto [l, i] = map_.fields[std::size_t(f)];
      const double c = s_.position == PositionKind::injected ? s_.c[std::size_t(l)] : 0;
      z_[std::size_t(f)] = W_.row(i).dot(X.row(l)) + P_.row(l).dot(W_.row(i).head(fixed_)) + c;
    }
    const double loss =
        task_.evaluate(zstar_.data(), z_.data(), noise_.empty() ? nullptr : noise_.data(),
                       delta_.data(), scratch_.data());
    const Matrix G = gradients(std::move(X), g);
    const double gamma_d = s_.lr(progress_.step) / double(s_.d);
    if (!std::isfinite(loss) || !G.allFinite() || !move(G, gamma_d)) {
      progress_.nonfinite = progress_.step + 1;
      return;
    }
    progress_.count(loss);
    if (s_.plan.eta > 0 && progress_.passage < 0 && overlap() >= s_.plan.eta)
      progress_.passage = progress_.step;
  }

  // G (p, coordinates and as many directions beside them as there is need of).
  Matrix gradients(Matrix X, OneByOne& g) const {
    Matrix delta = Matrix::Zero(L_, p_);
    for (Index f = 0; f < map_.size(); ++f) {
      const auto [l, i] = map_.fields[std::size_t(f)];
      delta(l, i) += delta_[std::size_t(f)];
    }
    const bool by_tokens = L_ <= p_;
    Matrix unseen;
    if (by_tokens)
      unseen = delta.transpose() * mixed(bartlett(L_, unseen_, g));
    else
      unseen = gram_root(delta) * bartlett(p_, unseen_, g);
    X.leftCols(fixed_) += P_;
    Matrix G(p_, W_.cols() + unseen.cols());
    G.leftCols(W_.cols()) = delta.transpose() * X;
    G.rightCols(unseen.cols()) = unseen;
    return G;
  }

  // A square root (p, p) of delta^T C delta, by a QR factorisation of a root of C times delta:
  // exact where it is singular.
  Matrix gram_root(const Matrix& delta) const {
    const Matrix A = mixing_.size() ? Matrix(mixing_.transpose() * delta) : delta;
    if (p_ == 1) return Matrix::Constant(1, 1, A.norm());
    const Eigen::HouseholderQR<Matrix> qr(A);
    return Matrix(qr.matrixQR().topRows(p_).template triangularView<Eigen::Upper>()).transpose();
  }

  bool move(const Matrix& G, double gamma_d) {
    const Index kept = W_.cols();
    Matrix N = Matrix::Zero(p_, G.cols());
    N.leftCols(kept) = W_;
    for (const std::vector<Index>& sphere : spheres_.members) {
      double along = 0, norm2 = 0;
      if (s_.projected)
        for (const Index i : sphere) along += G.row(i).head(kept).dot(W_.row(i));
      along /= double(sphere.size());
      for (const Index i : sphere) {
        N.row(i) = (1 + gamma_d * along) * N.row(i) - gamma_d * G.row(i);
        norm2 += N.row(i).squaredNorm();
      }
      const double norm = std::sqrt(norm2 / double(sphere.size()));
      for (const Index i : sphere) N.row(i) /= norm;
    }
    if (!N.allFinite()) return false;
    W_.leftCols(fixed_) = N.leftCols(fixed_);
    if (frame_ == 0) return true;
    // A frame in which what remains is lower triangular again: N = R^T Q^T.
    const Matrix rest = N.rightCols(N.cols() - fixed_).transpose();
    const Eigen::HouseholderQR<Matrix> qr(rest);
    Matrix R = Matrix::Zero(frame_, p_);
    const Index rows = std::min<Index>(frame_, rest.rows());
    R.topRows(rows) = qr.matrixQR().topRows(rows).template triangularView<Eigen::Upper>();
    W_.rightCols(frame_) = R.transpose();
    return true;
  }

  // ||(e, m)|| of one weight, e measured along an orthonormal basis of P; of several, ||m|| / sqrt
  // p.
  double overlap() const {
    double sum = W_.col(0).squaredNorm() / double(p_);
    if (positional_.size()) sum += (W_.leftCols(fixed_) * positional_).squaredNorm();
    return std::sqrt(sum);
  }

  void record_if_due() {
    progress_.record_if_due(s_.plan, [&](Index i, double mean_loss) {
      records_.put(row_, i, order_parameters(0), mean_loss);
    });
  }

  const Task& task_;
  const Settings& s_;
  const std::uint32_t run_;
  const Index row_;
  Records& records_;
  const Index L_;
  const FieldMap map_;
  const Spheres spheres_;
  const Index p_;
  const bool encoded_;
  const Index fixed_, frame_, unseen_;  // directions of w* and P, of the frame, and the others
  Matrix W_;                            // (p, fixed + frame)
  Matrix P_;                            // (L, fixed)
  Matrix mixing_;                       // a root of C; empty for independent tokens
  Matrix positional_;                   // (fixed, rank of P): orthonormal, spans the rows of P_
  std::vector<double> zstar_, z_, delta_, noise_, scratch_;
  Progress progress_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
