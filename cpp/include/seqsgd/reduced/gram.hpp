// The general reduced step: any number of weights, any map of fields, any spheres. The definition;
// kernels that are faster for a case have its law (tests/dynamics/test_reduced_law.py).
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
#include <optional>
#include <vector>

#include "seqsgd/model/task.hpp"
#include "seqsgd/reduced/start.hpp"
#include "seqsgd/state/fields.hpp"
#include "seqsgd/state/work_item.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// What a worker keeps for any of the runs.
struct GramWorkspace {
  GramWorkspace(const Task& task, const Settings& s)
      : zstar(task.L()),
        z(s.fields.of_length(task.L()).size()),
        delta(z),
        noise(task.noisy() ? task.k() : 0),
        scratch(task.scratch()) {}
  Matrix X;  // (L, coordinates): this step's tokens
  std::optional<ScalarPhilox> g;
  Array<double> zstar, z, delta, noise, scratch;
};

class GramDynamics {
 public:
  using Workspace = GramWorkspace;

  GramDynamics(const Task& task, const Settings& s, std::uint32_t run, const Coordinates& c)
      : s_(s),
        run_(run),
        L_(task.L()),
        map_(s.fields.of_length(L_)),
        spheres_(s.spheres),
        p_(map_.weights),
        encoded_(c.encoded),
        fixed_(c.fixed()),
        frame_(c.frame()),
        unseen_(s.d - fixed_ - frame_) {
    FrameStart start = frame_start(s, c, run);
    W_ = std::move(start.W);
    P_ = std::move(start.P);
    const CovarianceFactor& factor = s.tokens.factor;
    if (s.tokens.law == TokenLaw::correlated) {
      mixing_ = Matrix::Zero(L_, L_);
      for (Index i = 0; i < L_; ++i)
        for (Index k = 0; k <= i; ++k)
          mixing_(factor.order[i], factor.order[k]) = factor.F[i * L_ + k];
    }
    if (encoded_ && s.fields.one_weight()) positional_ = orthonormal_basis(P_.transpose());
  }

  // Bytes of one run, and of what a worker keeps and takes for a moment.
  static double bytes(const Coordinates& c) {
    const double L = double(c.L), p = double(c.n), k = double(c.fixed());
    return 8 * (p * (k + p) + 2 * L * k + L * L) + double(sizeof(GramDynamics)) + 1024;
  }
  static double bytes_of_worker(const Coordinates& c, const Task& task) {
    const double L = double(c.L), p = double(c.n), k = double(c.fixed());
    return 8 * (3 * L * (k + p) + L * p + 4 * p * (k + 2 * p) + L * L) +
           8 * (L + 2 * (c.shared ? L * p : L) + double(task.scratch() + std::size_t(task.k()))) +
           512;
  }

  void seek(Workspace&, Index) const {}
  void forget(Workspace&) const {}
  Index stretch(const Workspace&, Index) const { return most_steps; }
  void draw_ahead(Workspace&) const {}
  void next(Workspace&) const {}

  Sample draw(Workspace& ws, Index step) const {
    ws.g.emplace(Purpose::run, Address{s_.seed, Stream::data, run_, std::uint64_t(step)});
    Matrix X(L_, W_.cols());
    for (Index j = 0; j < X.cols(); ++j)
      for (Index l = 0; l < L_; ++l) X(l, j) = ws.g->normal();
    ws.X = mixed(std::move(X));
    if (!ws.noise.empty()) {
      ScalarPhilox n(Purpose::run, Address{s_.seed, Stream::noise, run_, std::uint64_t(step)});
      for (double& x : ws.noise) x = n.normal();
    }
    for (Index l = 0; l < L_; ++l) ws.zstar[l] = ws.X(l, 0);
    for (Index f = 0; f < map_.size(); ++f) {
      const auto [l, i] = map_.field(f);
      const double c = s_.position == PositionKind::injected ? s_.c[l] : 0;
      ws.z[f] = W_.row(i).dot(ws.X.row(l)) + P_.row(l).dot(W_.row(i).head(fixed_)) + c;
    }
    return {ws.zstar.data(), ws.z.data(), ws.noise.empty() ? nullptr : ws.noise.data(),
            ws.delta.data(), map_.size(), ws.scratch.data()};
  }
  // False if a value was not finite.
  bool move(Workspace& ws, double, double gamma) {
    const Matrix G = gradients(ws);
    return G.allFinite() && move(G, gamma / double(s_.d));
  }

  // ||(e, m)|| of one weight, e measured along an orthonormal basis of P; of several, ||m|| / sqrt
  // p.
  bool recovered(Index) const {
    double sum = W_.col(0).squaredNorm() / double(p_);
    if (positional_.size()) sum += (W_.leftCols(fixed_) * positional_).squaredNorm();
    return std::sqrt(sum) >= s_.plan.eta;
  }

  OrderParameters measure() const {
    OrderParameters o;
    for (Index i = 0; i < p_; ++i) {
      o.m.push_back(W_(i, 0));
      o.q.push_back(W_.row(i).squaredNorm());
    }
    if (encoded_)
      for (Index f = 0; f < map_.size(); ++f) {
        const auto [l, i] = map_.field(f);
        o.e.push_back(P_.row(l).dot(W_.row(i).head(fixed_)));
      }
    return o;
  }

  Index state_size() const { return W_.size(); }
  void save(double* state, void*) const {
    std::copy_n(W_.data(), W_.size(), checks::given("state", state));
  }
  void check_state(const double* state, const void*) const {
    checks::given("state", state);
    for (Index i = 0; i < W_.size(); ++i)
      if (!std::isfinite(state[i])) Progress::refuse();
  }
  void restore(const double* state, const void*) {
    check_state(state, nullptr);
    std::copy_n(state, W_.size(), W_.data());
  }

 private:
  // Independent tokens become correlated ones.
  Matrix mixed(Matrix X) const { return mixing_.size() ? Matrix(mixing_ * X) : X; }

  // G (p, coordinates and as many directions beside them as there is need of).
  Matrix gradients(Workspace& ws) const {
    Matrix delta = Matrix::Zero(L_, p_), &X = ws.X;
    ScalarPhilox& g = *ws.g;
    for (Index f = 0; f < map_.size(); ++f) {
      const auto [l, i] = map_.field(f);
      delta(l, i) += ws.delta[f];
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
    Vector along = Vector::Zero(p_), norm2 = along, size = along;  // of each sphere
    for (Index i = 0; i < p_; ++i) {
      size[spheres_.of(i)] += 1;
      if (s_.projected) along[spheres_.of(i)] += G.row(i).head(kept).dot(W_.row(i));
    }
    for (Index i = 0; i < p_; ++i) {
      N.row(i) = (1 + gamma_d * (along[spheres_.of(i)] / size[spheres_.of(i)])) * N.row(i) -
                 gamma_d * G.row(i);
      norm2[spheres_.of(i)] += N.row(i).squaredNorm();
    }
    for (Index i = 0; i < p_; ++i)
      N.row(i) /= std::sqrt(norm2[spheres_.of(i)] / size[spheres_.of(i)]);
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

  const Settings& s_;
  const std::uint32_t run_;
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
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
