// Students: functions of the fields z alone. Which weights the tokens see is not their business.
#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "seqsgd/model/activations.hpp"
#include "seqsgd/model/attention.hpp"
#include "seqsgd/model/lane_by_lane.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Student {
 public:
  Student(int L, int k, std::size_t scratch) : L(L), k(k), scratch(scratch) {
    checks::within("L", L, 1, std::numeric_limits<int>::max());
  }
  virtual ~Student() = default;
  // f(z). ws: `scratch` numbers, as everywhere.
  virtual void output(const double* z, double* f, double* ws) const = 0;
  // The loss against the label y at the fields z, and delta = d loss / d z.
  virtual double evaluate(const Loss& loss, const double* y, const double* z, double* delta,
                          double* ws) const = 0;
  // The same for a pack of runs, of which the first `count` matter. A student of sums takes
  // sum_l z_l in place of z, and gives one delta, which is that of every token (sums.hpp).
  virtual Pack evaluate(const Loss& loss, const Pack* y, const Pack* z, Pack* delta, Pack* ws,
                        int count) const = 0;

  const int L, k;
  const std::size_t scratch;
};
using StudentPtr = std::shared_ptr<const Student>;

// f = sigma(u), u = (1/sqrt L) sum_l z_l. Tied, untied and linear attention are all of this kind.
class Network final : public Student {
 public:
  Network(ActivationPtr sigma, int L)
      : Student(L, 1, 3),
        sigma_(checks::given("sigma", std::move(sigma))),
        scale_(1 / std::sqrt(double(L))) {}
  void output(const double* z, double* f, double* ws) const override {
    *f = (*sigma_)(sum(z) * scale_, *ws);
  }
  double evaluate(const Loss& loss, const double* y, const double* z, double* delta,
                  double*) const override {
    double value, slope;
    const double all = sum(z);
    from_sums(loss, 1, &all, y, &slope, &value);
    for (int l = 0; l < L; ++l) delta[l] = slope;
    return value;
  }
  Pack evaluate(const Loss& loss, const Pack* y, const Pack* z, Pack* delta, Pack*,
                int) const override {
    Pack value;
    from_sums(loss, 1, z, y, delta, &value);
    return value;
  }
  // For n numbers sum_l z_l: the loss against the label y, and its derivative with respect to any
  // of the z_l.
  template <class V>
  SEQSGD_INLINE void from_sums(const Loss& loss, int n, const V* sum, const V* y, V* delta,
                               V* value) const {
    sigma_->evaluate(loss, n, sum, scale_, y, delta, value);
  }

 private:
  double sum(const double* z) const {
    double u = 0;
    for (int l = 0; l < L; ++l) u += z[l];
    return u;
  }
  ActivationPtr sigma_;
  double scale_;
};

class Attention final : public Student {
 public:
  Attention(int L, Reduction r, std::vector<double> a, std::vector<double> b)
      : Student(L, ReducedAttention::outputs(L, r),
                2 * std::size_t(ReducedAttention::outputs(L, r)) + 2 * std::size_t(L)),
        attention_(L, r, std::move(a), std::move(b)) {}
  void output(const double* z, double* f, double* ws) const override {
    attention_.forward(z, f, ws, ws + L);
  }
  double evaluate(const Loss& loss, const double* y, const double* z, double* delta,
                  double* ws) const override {
    return evaluate_over(loss, y, z, delta, ws, 1);
  }
  Pack evaluate(const Loss& loss, const Pack* y, const Pack* z, Pack* delta, Pack* ws,
                int count) const override {
    return evaluate_over(loss, y, z, delta, ws, count);
  }

 private:
  template <class V>
  SEQSGD_INLINE V evaluate_over(const Loss& loss, const V* y, const V* z, V* delta, V* ws,
                                int count) const {
    V *f = ws, *D = f + k, *gradient = D + k;
    forward(z, f, gradient, count);
    const V value = loss(y, f, k, D);
    attention_.backward(z, f, D, gradient, delta);
    return value;
  }
  void forward(const double* z, double* f, double* gradient, int) const {
    attention_.forward(z, f, gradient, gradient + L);
  }
  void forward(const Pack* z, Pack* f, Pack* gradient, int count) const {
    if (L <= few_tokens) return attention_.forward(z, f, gradient, gradient + L);
    const std::size_t n = std::size_t(L), outputs = std::size_t(k);
    lane_by_lane(
        z, L, outputs + 2 * n, count,
        [&](const double* x, double* out) {
          attention_.forward(x, out, out + outputs, out + outputs + n);
        },
        [&](int lane, const double* out) {
          for (std::size_t j = 0; j < outputs; ++j) f[j][lane] = out[j];
          for (std::size_t l = 0; l < n; ++l) gradient[l][lane] = out[outputs + l];
        });
  }
  ReducedAttention attention_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
