// A task: fields (z*, z) in, loss and delta = d loss / d z out. It knows no d.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>

#include "seqsgd/model/links.hpp"
#include "seqsgd/model/losses.hpp"
#include "seqsgd/model/students.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Task {
 public:
  Task(LinkPtr link, StudentPtr student, const std::string& loss, double noise)
      : link_(checks::given("link", std::move(link))),
        student_(checks::given("student", std::move(student))),
        loss_(loss_named(loss)),
        noise_(std::sqrt(noise)) {
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

  std::size_t scratch() const { return 3 * std::size_t(k()) + student_->scratch; }

  // Loss at the label y and the fields z. ws: scratch() doubles. Allocates nothing.
  double labelled(const double* y, const double* z, double* delta, double* ws) const {
    double *f = ws + k(), *D = f + k(), *rest = D + k();
    student_->forward(z, f, rest);
    const double value = loss_.one(y, f, k(), D);
    student_->backward(z, f, D, delta, rest);
    return value;
  }

  // Loss at the fields (z*, z); `normals` (k of them) carry the label noise, or are null.
  double operator()(const double* zstar, const double* z, const double* normals, double* delta,
                    double* ws) const {
    (*link_)(zstar, ws);
    if (normals)
      for (int i = 0; i < k(); ++i) ws[i] += noise_ * normals[i];
    return labelled(ws, z, delta, ws);
  }

  // The same for runs side by side, of which the first `count` matter; ws: scratch() numbers of
  // runs. If the student depends on sums alone, z is one vector, sum_l z_l, and so is delta.
  Runs lanes(const Runs* zstar, const Runs* z, const Runs* normals, Runs* delta, Runs* ws,
             int count) const {
    link_->lanes(zstar, ws, count);
    return labelled_lanes(z, normals, delta, ws, count);
  }
  // For a network and a link of sums, with the sums of z* and of its squares instead of z*, and
  // that of z; P numbers of runs. Their normals are `stride` apart, or null.
  template <int P>
  SEQSGD_INLINE void lanes_of_sums(const Runs* sum, const Runs* squares, const Runs* z,
                                   const Runs* normals, Index stride, Runs* delta,
                                   Runs* loss) const {
    Runs y[P];
    for (int k = 0; k < P; ++k)
      y[k] = rounded(link_->of_sums.first * sum[k]) +
             link_->of_sums.second * (squares[k] - double(L()));
    if (normals)
      for (int k = 0; k < P; ++k) y[k] += noise_ * normals[k * stride];
    student_->network->lanes(P, z, loss_.kind, y, delta, loss);
  }

 private:
  Runs labelled_lanes(const Runs* z, const Runs* normals, Runs* delta, Runs* ws, int count) const {
    if (normals)
      for (int i = 0; i < k(); ++i) ws[i] += noise_ * normals[i];
    if (student_->network) {
      Runs loss;
      student_->network->lanes(1, z, loss_.kind, ws, delta, &loss);
      return loss;
    }
    Runs *f = ws + k(), *D = f + k(), *rest = D + k();
    student_->forward_lanes(z, f, rest, count);
    const Runs value = loss_.lanes(ws, f, k(), D);
    student_->backward_lanes(z, f, D, delta, rest);
    return value;
  }
  LinkPtr link_;
  StudentPtr student_;
  Loss loss_;
  double noise_;  // standard deviation of the label noise
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
