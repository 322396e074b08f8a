// Activations sigma: value and derivative at one point.
#pragma once

#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "seqsgd/model/losses.hpp"
#include "seqsgd/simd/checks.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Activation {
 public:
  virtual ~Activation() = default;
  // sigma(u); the derivative goes to `slope`.
  virtual double operator()(double u, double& slope) const = 0;
  // Activation and loss in one pass, for n numbers: the loss of sigma(scale z) against the label
  // y, and its derivative with respect to z.
  virtual void evaluate(const Loss& loss, int n, const double* z, double scale, const double* y,
                        double* delta, double* value) const = 0;
  virtual void evaluate(const Loss& loss, int n, const Pack* z, double scale, const Pack* y,
                        Pack* delta, Pack* value) const = 0;
};
using ActivationPtr = std::shared_ptr<const Activation>;

// An activation from a functor V(V u, V& slope). One that takes doubles alone is called once per
// lane of a pack.
template <class F>
class MadeActivation final : public Activation {
 public:
  explicit MadeActivation(F f) : f_(std::move(f)) {}
  double operator()(double u, double& slope) const override { return f_(u, slope); }
  void evaluate(const Loss& loss, int n, const double* z, double scale, const double* y,
                double* delta, double* value) const override {
    evaluate_over(loss, n, z, scale, y, delta, value);
  }
  void evaluate(const Loss& loss, int n, const Pack* z, double scale, const Pack* y, Pack* delta,
                Pack* value) const override {
    evaluate_over(loss, n, z, scale, y, delta, value);
  }

 private:
  template <class V>
  SEQSGD_INLINE void evaluate_over(const Loss& loss, int n, const V* z, double scale, const V* y,
                                   V* delta, V* value) const {
    loss.visit([&](auto of) SEQSGD_LAMBDA_INLINE {
      for (int i = 0; i < n; ++i) {
        V slope, D;
        const V u = no_contract(z[i] * scale), f = no_contract(sigma(u, slope));
        value[i] = of(y + i, &f, 1, &D);
        if constexpr (std::is_same_v<V, double>)
          delta[i] = D * slope * scale;  // the two orders differ in the last bit, which sampled
        else                             // and reduced runs keep as they were published
          delta[i] = D * (slope * scale);
      }
    });
  }
  template <class V>
  SEQSGD_INLINE V sigma(const V& u, V& slope) const {
    if constexpr (std::is_invocable_v<const F&, V, V&>) {
      return f_(u, slope);
    } else {
      V f{};
      for (int i = 0; i < V::size; ++i) {
        double s;
        f[i] = f_(u[i], s);
        slope[i] = s;
      }
      return f;
    }
  }
  F f_;
};
template <class F>
ActivationPtr make_activation(F f) {
  return std::make_shared<MadeActivation<F>>(std::move(f));
}

// sigma = sum_k c[k] He_k, with He_k' = k He_{k-1}.
inline ActivationPtr hermite_activation(std::vector<double> c) {
  if (c.empty()) throw std::invalid_argument("coefficients: expected at least one, got none");
  checks::finite("coefficients", c);
  return make_activation([c = std::move(c)](auto u, auto& slope) {
    using V = decltype(u);
    V value = V{} + c[0], below = V{} + 1.0, here = u;  // He_{k-1}, He_k
    slope = V{};
    for (std::size_t k = 1; k < c.size(); ++k) {
      value += c[k] * here;
      slope += c[k] * double(k) * below;
      const V next = u * here - double(k) * below;
      below = here;
      here = next;
    }
    return value;
  });
}

// A pair of C functions double(double), from outside.
inline ActivationPtr pointer_activation(double (*f)(double), double (*df)(double)) {
  checks::given("sigma", f);
  checks::given("derivative", df);
  return make_activation([f, df](double u, double& slope) {
    slope = df(u);
    return f(u);
  });
}

inline const std::vector<std::pair<std::string, ActivationPtr>>& activation_table() {
  static const std::vector<std::pair<std::string, ActivationPtr>> table = {
      {"identity", make_activation([](auto u, auto& s) { return s = decltype(u){} + 1.0, u; })},
      {"relu", make_activation([](auto u, auto& s) {
         using V = decltype(u);
         s = choose(u > 0.0, V{} + 1.0, V{});
         return u * s;
       })},
      {"tanh", make_activation([](auto u, auto& s) {
         using V = decltype(u);
         if constexpr (std::is_same_v<V, double>) {
           const double t = std::tanh(u);
           return s = 1 - t * t, t;
         } else {  // right to rounding in the absolute sense, which is what a loss asks for
           const V e = seqsgd::exp(-2.0 * absolute(u)), c = 1.0 / (1.0 + e), t = (1.0 - e) * c;
           return s = 4.0 * e * c * c, choose(u < 0.0, -t, t);
         }
       })},
      {"sigmoid", make_activation([](auto u, auto& s) {
         using V = decltype(u);
         const V e = seqsgd::exp(-absolute(u)), c = 1.0 / (1.0 + e);
         return s = e * c * c, choose(u < 0.0, e, V{} + 1.0) * c;
       })},
      {"square", make_activation([](auto u, auto& s) { return s = 2.0 * u, u * u; })},
      {"h2", make_activation([](auto u, auto& s) { return s = 2 * sqrt_half * u, h2(u); })},
      {"erf", make_activation([](double u, double& s) {
         return s = 1.12837916709551257390 * std::exp(-u * u), std::erf(u);
       })},
  };
  return table;
}

// By name; "He<k>" is the Hermite polynomial of degree k <= 30.
inline ActivationPtr activation_named(const std::string& name) {
  for (const auto& [key, a] : activation_table())
    if (key == name) return a;
  if (name.rfind("He", 0) == 0 && name.size() <= 4 && name.size() > 2 &&
      name.find_first_not_of("0123456789", 2) == std::string::npos) {
    const int k = std::stoi(name.substr(2));
    if (k <= 30) {
      std::vector<double> c(std::size_t(k) + 1, 0.0);
      c.back() = 1;
      return hermite_activation(std::move(c));
    }
  }
  std::string known;
  for (const auto& [key, a] : activation_table()) known += key + ", ";
  throw std::invalid_argument("activation: expected one of " + known + "He0 .. He30, got '" + name +
                              "'");
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
