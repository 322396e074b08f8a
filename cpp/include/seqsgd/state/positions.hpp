// Positional encodings: token l becomes x_l + p_l / sqrt d, or its field is shifted by a constant
// c_l.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "seqsgd/state/basis.hpp"
#include "seqsgd/state/sphere.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

enum class PositionKind { none, opposite, matrix, injected };

inline PositionKind position_named(const std::string& name) {
  if (name == "none") return PositionKind::none;
  if (name == "opposite") return PositionKind::opposite;
  if (name == "matrix") return PositionKind::matrix;
  if (name == "injected") return PositionKind::injected;
  throw std::invalid_argument("position: expected none, opposite, matrix or injected, got '" +
                              name + "'");
}

// P = mix * basis. With one weight the basis is orthonormal (rank r rows), so that one pass
// over r rows serves all tokens; where every token has a weight vector of its own the basis is P
// itself and only its own row matters to a token.
template <class T>
class Positions {
 public:
  Positions() = default;
  Positions(const Matrix& P, bool one_weight) : L_(P.rows()), d_(P.cols()), shared_(one_weight) {
    if (!shared_) {
      keep(P);
      return;
    }
    const Matrix q = orthonormal_basis(P.transpose());
    mix_.resize(L_, q.cols());
    for (Index l = 0; l < L_; ++l)
      for (Index k = 0; k < q.cols(); ++k) mix_(l, k) = P.row(l).dot(q.col(k));
    mixed_ = true;
    keep(q.transpose());
  }

  Index tokens() const { return L_; }
  Index rank() const { return basis_.rows(); }
  const T* row(Index k) const { return basis_.data() + k * basis_.cols(); }
  double largest() const { return largest_; }  // |P_lj|

  // p_l . v from the products of v (of token l's v) with the basis.
  double along(Index l, const double* products) const {
    if (!mixed_) return products[l];
    if (rank() == 1) return mix_(l, 0) * products[0];
    double e = 0;
    for (Index k = 0; k < rank(); ++k) e += mix_(l, k) * products[k];
    return e;
  }
  // b = mix^T delta: what sum_l delta_l p_l is along the basis.
  void gather(const double* delta, double* b) const {
    if (rank() == 1) {
      double sum = 0;
      for (Index l = 0; l < L_; ++l) sum += mix_(l, 0) * delta[l];
      *b = sum;
      return;
    }
    std::fill_n(b, rank(), 0.0);
    for (Index l = 0; l < L_; ++l)
      for (Index k = 0; k < rank(); ++k) b[k] += mix_(l, k) * delta[l];
  }
  Matrix matrix() const {
    Matrix P = Matrix::Zero(L_, d_);
    for (Index l = 0; l < L_; ++l)
      for (Index k = 0; k < rank(); ++k)
        if (mixed_ || k == l)
          P.row(l) += (mixed_ ? mix_(l, k) : 1.0) * basis_.row(k).head(d_).template cast<double>();
    return P;
  }

 private:
  void keep(const Matrix& rows) {
    basis_ = Rows<T>::Zero(rows.rows(), row_stride<T>(d_));
    basis_.leftCols(d_) = rows.template cast<T>();
    largest_ = rows.size() ? rows.cwiseAbs().maxCoeff() : 0;
  }
  Index L_ = 0, d_ = 0;
  bool shared_ = true, mixed_ = false;
  double largest_ = 0;
  Rows<T> basis_{0, 0};
  Rows<double> mix_{0, 0};
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
