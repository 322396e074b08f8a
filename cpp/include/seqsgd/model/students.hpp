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
#include "seqsgd/model/attention_lanes.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Network;

class Student {
 public:
  // network: this student as one, if it is
  Student(int L, int k, const Network* network, std::size_t scratch)
      : L(L), k(k), network(network), sums_only(network), scratch(scratch) {
    checks::within("L", L, 1, std::numeric_limits<int>::max());
  }
  virtual ~Student() = default;
  // f(z); what backward needs is left in ws (`scratch` doubles).
  virtual void forward(const double* z, double* f, double* ws) const = 0;
  // delta = (d f / d z)^T D, after forward at the same z.
  virtual void backward(const double* z, const double* f, const double* D, double* delta,
                        double* ws) const = 0;
  // Both for runs side by side, of which the first `count` matter; ws: `scratch` numbers of runs.
  // (A network has `lanes`.)
  virtual void forward_lanes(const Runs*, Runs*, Runs*, int) const {
    throw std::logic_error("student: no runs side by side");
  }
  virtual void backward_lanes(const Runs*, const Runs*, const Runs*, Runs*, Runs*) const {
    throw std::logic_error("student: no runs side by side");
  }

  const int L, k;
  const Network* const network;
  const bool sums_only;  // depends on z through its sum alone, so that all delta_l are equal
  const std::size_t scratch;
};
using StudentPtr = std::shared_ptr<const Student>;

// f = sigma(u), u = (1/sqrt L) sum_l z_l. Tied, untied and linear attention are all of this kind.
class Network final : public Student {
 public:
  Network(ActivationPtr sigma, int L)
      : Student(L, 1, this, 1),
        sigma_(checks::given("sigma", std::move(sigma))),
        scale_(1 / std::sqrt(double(L))) {}
  void forward(const double* z, double* f, double* ws) const override {
    double u = 0;
    for (int l = 0; l < L; ++l) u += z[l];
    *f = (*sigma_)(u * scale_, *ws);
  }
  void backward(const double*, const double*, const double* D, double* delta,
                double* ws) const override {
    const double c = *D * *ws * scale_;
    for (int l = 0; l < L; ++l) delta[l] = c;
  }
  // For n numbers of runs side by side: the loss against the label y from sum_l z_l, and its
  // derivative with respect to any of the z_l.
  void lanes(int n, const Runs* sum, LossKind loss, const Runs* y, Runs* delta, Runs* value) const {
    sigma_->lanes(n, sum, scale_, loss, y, delta, value);
  }

 private:
  ActivationPtr sigma_;
  double scale_;
};

class Attention final : public Student {
 public:
  Attention(int L, Reduction r, std::vector<double> a, std::vector<double> b)
      : Student(L, r == Reduction::none ? matrix_size(L) : 1, nullptr, 2 * std::size_t(L)),
        r_(r),
        a_(std::move(a)),
        b_(std::move(b)) {
    if (r == Reduction::bilinear) check_bilinear(L, a_, b_);
  }
  void forward(const double* z, double* f, double* ws) const override {
    if (r_ == Reduction::none) softmax_matrix(z, L, f);
    if (r_ == Reduction::trace) *f = softmax_trace(z, L, ws, ws + L);
    if (r_ == Reduction::bilinear) *f = softmax_bilinear(z, L, a_.data(), b_.data(), ws, ws + L);
  }
  void backward(const double* z, const double* f, const double* D, double* delta,
                double* ws) const override {
    if (r_ == Reduction::none) return softmax_matrix_backward(z, L, f, D, delta);
    for (int l = 0; l < L; ++l) delta[l] = *D * ws[l];
  }
  void forward_lanes(const Runs* z, Runs* f, Runs* ws, int count) const override {
    if (L > few_tokens) return forward_one_by_one(z, f, ws, count);
    if (r_ == Reduction::none) in_lanes::softmax_matrix(z, L, f);
    if (r_ == Reduction::trace) *f = in_lanes::softmax_trace(z, L, ws, ws + L);
    if (r_ == Reduction::bilinear)
      *f = in_lanes::softmax_bilinear(z, L, a_.data(), b_.data(), ws, ws + L);
  }
  void backward_lanes(const Runs* z, const Runs* f, const Runs* D, Runs* delta,
                      Runs* ws) const override {
    if (r_ == Reduction::none) return in_lanes::softmax_matrix_backward(z, L, f, D, delta);
    for (int l = 0; l < L; ++l) delta[l] = *D * ws[l];
  }

 private:
  // Many tokens are vectorised over tokens instead, one run after the other.
  void forward_one_by_one(const Runs* z, Runs* f, Runs* ws, int count) const {
    thread_local std::vector<double> own;  // grows once per thread
    const std::size_t n = std::size_t(L), out = std::size_t(k);
    if (own.size() < 3 * n + out) own.resize(3 * n + out);
    double *one = own.data(), *rest = one + n, *y = rest + 2 * n;
    for (int i = 0; i < Runs::length; ++i) {
      if (i < count) {
        for (std::size_t l = 0; l < n; ++l) one[l] = z[l][i];
        forward(one, y, rest);
      }
      for (std::size_t l = 0; l < n; ++l) ws[l][i] = rest[l];
      for (std::size_t j = 0; j < out; ++j) f[j][i] = y[j];
    }
  }
  Reduction r_;
  std::vector<double> a_, b_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
