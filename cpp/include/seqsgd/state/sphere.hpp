// A few weight vectors on their spheres, kept as direction and lazily as scale: w_i = scale_i v_i.
//
// A step only moves v; ||v||^2 comes out of the same pass, and v is brought back to its sphere only
// when it has left a factor of two.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "seqsgd/simd/rows.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
using Rows = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
class Sphere {
 public:
  // common: all n vectors share one sphere, of squared radius n d
  Sphere(bool common, Index n, Index d)
      : n(n),
        d(d),
        v_(Rows<T>::Zero(n, row_stride<T>(d))),
        common_(common),
        radius2_(common ? double(n) * double(d) : double(d)),
        inverse_radius2_(1 / radius2_),
        norm2_(n, 0.0),
        scale_(n, 1.0),
        inverse_(scale_) {}

  T* row(Index i) { return v_.data() + i * v_.cols(); }
  const T* row(Index i) const { return v_.data() + i * v_.cols(); }
  Index stride() const { return v_.cols(); }
  double scale(Index i) const { return scale_[i]; }
  double inverse_scale(Index i) const { return inverse_[i]; }
  double radius2() const { return radius2_; }
  const LineVector<double>& norm2() const { return norm2_; }

  // Place all vectors (rows of w, stride `stride`); norms as last measured if given (a restored
  // state), else measured.
  template <class S>
  void place(const S* w, Index stride, const double* norm2) {
    for (Index i = 0; i < n; ++i, w += stride) {
      for (Index j = 0; j < d; ++j) row(i)[j] = T(w[j]);
      norm2_[i] = norm2 ? norm2[i] : dot(row(i), row(i), padded(d));
    }
    for (Index i = 0; i < n; ++i) rescale(i);
  }

  // v_i <- a v_i - sum_r c_r rows_r; v_i . (last of the rows) goes to `last` if given. To be
  // rescaled before the next look.
  void move(Index i, T a, const T* const* rows, const T* c, Index count, double* last) {
    norm2_[i] = combine(row(i), d, a, rows, c, count, last);
  }

  // New scales after a move of vector i (any i moves all where one norm serves all). True if v
  // itself was rescaled.
  bool rescale_if_far(Index i) {
    rescale(i);
    if (scale(i) > 0.5 && scale(i) < 2) return false;
    if (!sound(i)) return false;
    const double f = exact_scale(i);
    for (Index k = first(i); k < end(i); ++k) {
      for (Index j = 0; j < d; ++j) row(k)[j] = T(double(row(k)[j]) * f);
      norm2_[k] = dot(row(k), row(k), padded(d));
    }
    rescale(i);
    return true;
  }

  // Whether the sphere of vector i has a direction left: a norm that is neither 0 nor too large.
  bool sound(Index i) const { return std::isfinite(scale(i)) && scale(i) > 0; }

  // The scale from norms recomputed in double: what is reported. O(d) per vector of the sphere: ask
  // once per sphere.
  double exact_scale(Index i) const {
    double s = 0;
    for (Index k = first(i); k < end(i); ++k) s += dot(row(k), row(k), padded(d));
    return std::sqrt(radius2() / s);
  }

  const Index n, d;

 private:
  // The vectors that share a sphere with vector i.
  Index first(Index i) const { return common_ ? 0 : i; }
  Index end(Index i) const { return common_ ? n : i + 1; }
  double size2(Index i) const {
    double s = 0;
    for (Index k = first(i); k < end(i); ++k) s += norm2_[k];
    return s;
  }
  void rescale(Index i) {
    const double n2 = size2(i), s = std::sqrt(radius2() / n2), inverse = s * n2 * inverse_radius2_;
    for (Index k = first(i); k < end(i); ++k) {
      scale_[k] = s;
      inverse_[k] = inverse;
    }
  }

  Rows<T> v_;
  const bool common_;
  double radius2_, inverse_radius2_;
  LineVector<double> norm2_, scale_,
      inverse_;  // ||v_i||^2 as the last move measured it, and what follows from it
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
