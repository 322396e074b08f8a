// A program of its own that steps simulations inside its own loop, once on the core's random
// streams and once on a random source of its own.
#include <seqsgd/seqsgd.hpp>

#include <cmath>
#include <cstdio>
#include <random>

using namespace seqsgd;

static Settings settings(double lr) {
  Settings s;
  s.d = 200;
  s.seed = 1;
  s.init.m0 = 0.1;
  s.lr.values = {lr};
  return s;
}

int main() {
  const int L = 4;
  const auto task = std::make_shared<Task>(link_named("sum", L, 0.5),
                                           std::make_shared<Network>(activation_named("relu"), L),
                                           "half_square", 0.01);
  std::mt19937_64 engine(7);
  std::normal_distribution<double> normal;

  double best = 0;  // the largest learning rate that still learns
  for (double lr = 0.05; lr < 3; lr *= 2) {
    SampledSimulation<float> core(task, settings(lr), 1, 0, 1), own(task, settings(lr), 1, 0, 1);
    CallbackSource source(own, [&] { return normal(engine); });
    double loss = 0;
    for (int outer = 0; outer < 20; ++outer) {
      core.advance((outer + 1) * 500, nullptr);
      for (int i = 0; i < 500; ++i) loss = source.step();
    }
    const double m = core.order_parameters(0).m[0], m_own = own.order_parameters(0).m[0];
    std::printf("lr = %.2f   m = %.3f, on our own random numbers %.3f (last loss %.4f)\n", lr, m,
                m_own, loss);
    if (std::fabs(m - m_own) > 0.1 && std::fmax(m, m_own) > 0.9) return 1;  // the same law
    if (m > 0.9 && m_own > 0.9) best = lr;
  }
  return best > 0 ? 0 : 1;
}
