// Losses of a label y and an output f, both of dimension k.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Value; the gradient with respect to f goes to D. V is double, or a vector of runs side by side.
struct HalfSquare {
  template <class V>
  SEQSGD_INLINE V operator()(const V* y, const V* f, int k, V* __restrict D) const {
    return with_length(k, [&](auto n) SEQSGD_LAMBDA_INLINE {
      V s{};
      for (int i = 0; i < n; ++i) {
        D[i] = f[i] - y[i];
        s += D[i] * D[i];
      }
      return 0.5 * s;
    });
  }
};

struct Square {
  template <class V>
  SEQSGD_INLINE V operator()(const V* y, const V* f, int k, V* __restrict D) const {
    return with_length(k, [&](auto n) SEQSGD_LAMBDA_INLINE {
      V s{};
      for (int i = 0; i < n; ++i) {
        const V r = f[i] - y[i];
        D[i] = 2.0 * r;
        s += r * r;
      }
      return s;
    });
  }
};

// Not differentiable at f = y, where the gradient is taken to be 0.
struct Frobenius {
  template <class V>
  SEQSGD_INLINE V operator()(const V* y, const V* f, int k, V* __restrict D) const {
    return with_length(k, [&](auto n) SEQSGD_LAMBDA_INLINE {
      V s{};
      for (int i = 0; i < n; ++i) {
        D[i] = f[i] - y[i];
        s += D[i] * D[i];
      }
      const V norm = root(s);
      V c = norm * (1.0 / s);                       // the division need not wait for the root
      if (__builtin_expect(any(s <= 1e-280), 0)) {  // each lane by its own numbers
        const V small = choose(s > 0.0, 1.0 / norm, V{});
        c = choose(s <= 1e-280, small, c);
      }
      for (int i = 0; i < n; ++i) D[i] *= c;
      return norm;
    });
  }
};

enum class LossKind { half_square, square, frobenius };
// f(loss), as the compiler knows it.
template <class F>
SEQSGD_INLINE void with_loss(LossKind kind, F f) {
  switch (kind) {
    case LossKind::half_square:
      return f(HalfSquare{});
    case LossKind::square:
      return f(Square{});
    case LossKind::frobenius:
      return f(Frobenius{});
  }
}

struct Loss {
  LossKind kind;
  double (*one)(const double* y, const double* f, int k, double* D);
  Runs (*lanes)(const Runs* y, const Runs* f, int k, Runs* D);
};
template <class F>
Loss make_loss(LossKind kind, F) {
  return {kind, [](const double* y, const double* f, int k, double* D) { return F{}(y, f, k, D); },
          [](const Runs* y, const Runs* f, int k, Runs* D) { return F{}(y, f, k, D); }};
}

inline const std::vector<std::pair<std::string, Loss>>& loss_table() {
  static const std::vector<std::pair<std::string, Loss>> table = {
      {"half_square", make_loss(LossKind::half_square, HalfSquare{})},
      {"square", make_loss(LossKind::square, Square{})},
      {"frobenius", make_loss(LossKind::frobenius, Frobenius{})}};
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
