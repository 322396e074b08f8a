// Losses of a label y and an output f, both of dimension k.
//
// To add one: a functor with its name, its multiple of the half square (0: it is none, and the
// theory integrates numerically), its value and its gradient; and an entry of `Losses`.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Value; the gradient with respect to f goes to D. V is double, or a pack.
struct HalfSquare {
  static constexpr const char* name = "half_square";
  static constexpr double half_squares = 1;
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
  static constexpr const char* name = "square";
  static constexpr double half_squares = 2;
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
  static constexpr const char* name = "frobenius";
  static constexpr double half_squares = 0;
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

using Losses = std::tuple<HalfSquare, Square, Frobenius>;

// One of them, chosen at run time. A call through it is opaque to the compiler; `visit` lets it see
// the functor.
class Loss {
 public:
  template <class V>
  V operator()(const V* y, const V* f, int k, V* D) const {
    if constexpr (std::is_same_v<V, double>)
      return one_(y, f, k, D);
    else
      return pack_(y, f, k, D);
  }
  // f(functor).
  template <class F>
  SEQSGD_INLINE void visit(F f) const {
    visit(f, std::make_index_sequence<std::tuple_size_v<Losses>>());
  }
  const std::string& name() const { return name_; }
  double half_squares() const { return half_squares_; }

  // All of them, in the order of `Losses`.
  static const std::vector<Loss>& all() {
    static const std::vector<Loss> table =
        made(std::make_index_sequence<std::tuple_size_v<Losses>>());
    return table;
  }

 private:
  template <class F>
  Loss(F, int index)
      : index_(index),
        one_([](const double* y, const double* f, int k, double* D) { return F{}(y, f, k, D); }),
        pack_([](const Pack* y, const Pack* f, int k, Pack* D) { return F{}(y, f, k, D); }),
        name_(F::name),
        half_squares_(F::half_squares) {}
  template <std::size_t... I>
  static std::vector<Loss> made(std::index_sequence<I...>) {
    return {Loss(std::tuple_element_t<I, Losses>{}, int(I))...};
  }
  template <class F, std::size_t... I>
  SEQSGD_INLINE void visit(F& f, std::index_sequence<I...>) const {
    (void)((index_ == int(I) && (f(std::tuple_element_t<I, Losses>{}), true)) || ...);
  }

  int index_;
  double (*one_)(const double* y, const double* f, int k, double* D);
  Pack (*pack_)(const Pack* y, const Pack* f, int k, Pack* D);
  std::string name_;
  double half_squares_;
};

inline Loss loss_named(const std::string& name) {
  std::string known;
  for (const Loss& loss : Loss::all()) {
    if (loss.name() == name) return loss;
    known += (known.empty() ? "" : ", ") + loss.name();
  }
  throw std::invalid_argument("loss: expected one of " + known + ", got '" + name + "'");
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
