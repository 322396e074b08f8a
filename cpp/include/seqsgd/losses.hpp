// Losses of a label y and an output f, both of dimension k.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "numbers.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Value; the gradient with respect to f goes to D.
using Loss = double (*)(const double* y, const double* f, int k, double* D);

inline double half_square(const double* y, const double* f, int k, double* __restrict D) {
  return with_length(k, [&](auto n) SEQSGD_LAMBDA_INLINE {
    double s = 0;
    for (int i = 0; i < n; ++i) {
      D[i] = f[i] - y[i];
      s += D[i] * D[i];
    }
    return 0.5 * s;
  });
}

inline double square(const double* y, const double* f, int k, double* __restrict D) {
  return with_length(k, [&](auto n) SEQSGD_LAMBDA_INLINE {
    double s = 0;
    for (int i = 0; i < n; ++i) {
      const double r = f[i] - y[i];
      D[i] = 2 * r;
      s += r * r;
    }
    return s;
  });
}

// Not differentiable at f = y, where the gradient is taken to be 0.
inline double frobenius(const double* y, const double* f, int k, double* __restrict D) {
  return with_length(k, [&](auto n) SEQSGD_LAMBDA_INLINE {
    double s = 0;
    for (int i = 0; i < n; ++i) {
      D[i] = f[i] - y[i];
      s += D[i] * D[i];
    }
    const double root = std::sqrt(s), c = s > 1e-280 ? root * (1 / s) : s > 0 ? 1 / root : 0;  // the division need not wait for the root
    for (int i = 0; i < n; ++i) D[i] *= c;
    return root;
  });
}

inline const std::vector<std::pair<std::string, Loss>>& loss_table() {
  static const std::vector<std::pair<std::string, Loss>> table = {{"half_square", half_square}, {"square", square}, {"frobenius", frobenius}};
  return table;
}

inline Loss loss_named(const std::string& name) {
  std::string known;
  for (const auto& [key, loss] : loss_table()) {
    if (key == name) return loss;
    known += (known.empty() ? "" : ", ") + key;
  }
  throw std::invalid_argument("loss: expected one of " + known + ", got '" + name + "'");
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
