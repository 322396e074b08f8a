// A program of its own that steps a simulation inside its own loop: an outer search for the largest learning rate that still learns.
#include <seqsgd/seqsgd.hpp>

#include <cstdio>

int main() {
  using namespace seqsgd;
  const int L = 4;
  const auto task = std::make_shared<Task>(link_named("sum", L, 0.5), std::make_shared<Network>(activation_named("relu"), L), "half_square", 0.0);

  double best = 0;
  for (double lr = 0.05; lr < 3; lr *= 2) {
    Settings s;
    s.d = 200;
    s.seed = 1;
    s.init.m0 = 0.1;
    s.lr.values = {lr};
    SampledSimulation<float> sim(task, s, 1, 0, 1);
    for (int outer = 0; outer < 20; ++outer) sim.advance((outer + 1) * 500, nullptr);
    const double m = sim.run(0).order_parameters(0).m[0];
    std::printf("lr = %.2f   m = %.3f\n", lr, m);
    if (m > 0.9) best = lr;
  }
  return best > 0 ? 0 : 1;
}
