// A sampled simulation on somebody else's random numbers.
#pragma once

#include <utility>
#include <vector>

#include "seqsgd/run/sampled_simulation.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Steps a simulation on Gaussian tokens and label noise made of the caller's standard normals:
// `normal()` gives one, and is asked for L d of them in a step (token by token), then for k more if
// the task is noisy. Allocates nothing in a step. One object and one simulation to a thread.
template <class T, class Normal>
class CallbackSource {
 public:
  CallbackSource(SampledSimulation<T>& sim, Normal normal)
      : sim_(gaussian(sim)),
        normal_(std::move(normal)),
        scale_(1 / std::sqrt(double(sim.settings().d))),
        x_(std::size_t(sim.task().L() * sim.settings().d)),
        noise_(std::size_t(sim.task().noisy() ? sim.task().k() : 0)) {}

  // One step of a run. Returns the loss before it; NaN, and no step, once a value was not finite.
  double step(Index run = 0) {
    for (T& x : x_) x = T(scale_ * normal_());
    for (double& z : noise_) z = normal_();
    return sim_.observe(run, x_.data(), nullptr, noise_.empty() ? nullptr : noise_.data());
  }

 private:
  static SampledSimulation<T>& gaussian(SampledSimulation<T>& sim) {
    if (sim.settings().tokens.law != TokenLaw::gaussian)
      throw std::invalid_argument(
          "tokens: CallbackSource draws independent Gaussian tokens; feed those of another law to "
          "observe");
    return sim;
  }
  SampledSimulation<T>& sim_;
  Normal normal_;
  const double scale_;
  std::vector<T> x_;
  std::vector<double> noise_;
};
template <class T, class Normal>
CallbackSource(SampledSimulation<T>&, Normal) -> CallbackSource<T, Normal>;

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
