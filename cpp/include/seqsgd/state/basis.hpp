// Orthonormal bases, by Gram-Schmidt applied twice (which is enough, Kahan).
#pragma once

#include <Eigen/Core>

#include "seqsgd/simd/simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

// The part of x orthogonal to the first r columns of Q.
inline void remove_along(const Matrix& Q, Index r, Vector& x) {
  if (r == 0) return;
  for (int pass = 0; pass < 2; ++pass) {
    const Vector along = Q.leftCols(r).transpose() * x;
    x.noalias() -= Q.leftCols(r) * along;
  }
}

// Orthonormal columns that span the columns of A; columns within `tolerance` (relative) of the span
// of those before them add none.
inline Matrix orthonormal_basis(const Matrix& A, double tolerance = 1e-10) {
  Matrix Q(A.rows(), A.cols());
  Index r = 0;
  for (Index i = 0; i < A.cols() && r < A.rows(); ++i) {
    Vector x = A.col(i);
    const double before = x.norm();
    remove_along(Q, r, x);
    if (x.norm() > tolerance * before) Q.col(r++) = x / x.norm();
  }
  return Q.leftCols(r);
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
