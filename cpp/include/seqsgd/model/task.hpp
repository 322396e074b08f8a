// A task: fields (z*, z) in, loss and delta = d loss / d z out. It knows no d.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "seqsgd/model/sums.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Task {
 public:
  Task(LinkPtr link, StudentPtr student, const std::string& loss, double noise)
      : link_(checks::given("link", std::move(link))),
        student_(checks::given("student", std::move(student))),
        loss_(loss_named(loss)),
        noise_(std::sqrt(noise)),
        sums_(*link_, *student_) {
    if (link_->L != student_->L)
      throw std::invalid_argument("student: expected L = " + std::to_string(link_->L) +
                                  " as the teacher, got " + std::to_string(student_->L));
    if (link_->k != student_->k)
      throw std::invalid_argument("student: expected an output of dimension " +
                                  std::to_string(link_->k) + " as the teacher's, got " +
                                  std::to_string(student_->k));
    if (!(noise >= 0) || !std::isfinite(noise))
      checks::refuse("noise", "a finite variance >= 0", noise);
  }

  int L() const { return link_->L; }
  int k() const { return link_->k; }
  const Link& link() const { return *link_; }
  const Student& student() const { return *student_; }
  bool noisy() const { return noise_ > 0; }
  const Sums& sums() const { return sums_; }

  std::size_t scratch() const { return std::size_t(k()) + student_->scratch; }

  // Loss at the fields (z*, z), and delta; `normals` (k of them) carry the label noise, or are
  // null; ws: scratch() numbers. Allocates nothing. V is double, or a pack of runs of which the
  // first `count` (one more argument) matter.
  template <class V, class... Count>
  V evaluate(const V* zstar, const V* z, const std::common_type_t<V>* normals, V* delta, V* ws,
             Count... count) const {
    (*link_)(zstar, ws, count...);
    if (normals)
      for (int i = 0; i < k(); ++i) ws[i] += noise_ * normals[i];
    return student_->evaluate(loss_, ws, z, delta, ws + k(), count...);
  }

  // Loss at the label y and the fields z, and delta.
  double labelled(const double* y, const double* z, double* delta, double* ws) const {
    return student_->evaluate(loss_, y, z, delta, ws + k());
  }

  // For a student and a link of sums: P packs, with the sums of z* and of its squares, and that of
  // z. Their normals are `stride` apart, or null.
  template <int P>
  SEQSGD_INLINE void evaluate_sums(const Pack* sum, const Pack* squares, const Pack* z,
                                   const Pack* normals, Index stride, Pack* delta,
                                   Pack* loss) const {
    Pack y[P];
    for (int k = 0; k < P; ++k) y[k] = sums_.label(sum[k], squares[k], L());
    if (normals)
      for (int k = 0; k < P; ++k) y[k] += noise_ * normals[k * stride];
    sums_.network->from_sums(loss_, P, z, y, delta, loss);
  }

 private:
  LinkPtr link_;
  StudentPtr student_;
  Loss loss_;
  double noise_;  // standard deviation of the label noise
  Sums sums_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
