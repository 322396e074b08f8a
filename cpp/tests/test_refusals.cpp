// Whatever the public interface is given, it refuses in one line that names the argument, before
// anything is allocated; or it goes on.
#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "check.hpp"
#include "seqsgd/seqsgd.hpp"

// The largest allocation of this program.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
static std::atomic<std::size_t> largest{0};
void* operator new(std::size_t n) {
  for (std::size_t before = largest; n > before && !largest.compare_exchange_weak(before, n);) {
  }
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return std::malloc(n); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

using namespace seqsgd;

static const double no_number = std::numeric_limits<double>::quiet_NaN(),
                    inf = std::numeric_limits<double>::infinity();
static constexpr int most = std::numeric_limits<int>::max(),
                     least = std::numeric_limits<int>::min();
using Numbers = std::vector<double>;

// f throws std::invalid_argument or std::out_of_range in one line that begins with the name and
// says what was expected.
template <class F>
static void refused(const char* name, F f, int line, bool out_of_range = false) {
  std::string said, kind = "nothing";
  largest = 0;
  try {
    f();
  } catch (const std::invalid_argument& e) {
    kind = "invalid_argument", said = e.what();
  } catch (const std::out_of_range& e) {
    kind = "out_of_range", said = e.what();
  } catch (const std::exception& e) {
    kind = "something else", said = e.what();
  }
  const bool ok = kind == (out_of_range ? "out_of_range" : "invalid_argument") &&
                  said.rfind(std::string(name) + ":", 0) == 0 &&
                  said.find('\n') == std::string::npos && said.size() < 200 && largest < 100000;
  check::that(ok,
              (std::string(name) + " <- " + kind + ": " + said + ", allocated " +
               std::to_string(largest.load()))
                  .c_str(),
              __FILE__, line);
}
#define REFUSED(name, ...) refused(name, [&] { __VA_ARGS__; }, __LINE__)
#define OUT_OF_RANGE(name, ...) refused(name, [&] { __VA_ARGS__; }, __LINE__, true)

static LinkPtr link(int L = 2) { return link_named("sum", L, 1); }
static StudentPtr network(int L = 2) {
  return std::make_shared<Network>(activation_named("relu"), L);
}
static std::shared_ptr<Task> task(int L = 2, double noise = 0) {
  return std::make_shared<Task>(link(L), network(L), "half_square", noise);
}

static Settings settings() {
  Settings s;
  s.d = 10;
  s.init.m0 = 0.2;
  s.lr.values = {0.1};
  return s;
}

static void links_students_and_tasks() {
  REFUSED("link", link_named("", 2, 1));
  REFUSED("L", link_named("sum", 0, 1));
  REFUSED("L", link_named("sum", -1, 1));
  REFUSED("L", link_named("z1*z2*z3", 2, 1));
  for (double x : {no_number, inf, -inf}) REFUSED("scale", link_named("sum", 2, x));
  using Terms = std::vector<HermiteLink::Term>;
  REFUSED("terms", HermiteLink(2, 1, {}));
  REFUSED("L", HermiteLink(0, 1, Terms{{1, {{0, 1}}}}));
  REFUSED("scale", HermiteLink(2, no_number, Terms{{1, {{0, 1}}}}));
  REFUSED("coefficient", HermiteLink(2, 1, Terms{{inf, {{0, 1}}}}));
  for (int token : {-1, 2, most, least})
    REFUSED("token", HermiteLink(2, 1, Terms{{1, {{token, 1}}}}));
  for (int degree : {-1, 31, most, least})
    REFUSED("degree", HermiteLink(2, 1, Terms{{1, {{0, degree}}}}));
  REFUSED("function", PointerLink(2, 1, nullptr, nullptr));
  REFUSED("L", PointerLink(-1, 1, reinterpret_cast<void*>(1), nullptr));
  REFUSED("k", PointerLink(2, 0, reinterpret_cast<void*>(1), nullptr));
  REFUSED("A", PositionalSemanticLink(0.5, 2, {0.5, 0.5, 1}));
  REFUSED("A", PositionalSemanticLink(0.5, 2, {0.5, 0.5, 1, no_number}));
  REFUSED("A", PositionalSemanticLink(0.5, 2, {0.5, 0.5, 2, -1}));
  REFUSED("A", PositionalSemanticLink(0.5, 2, {0.5, 0.5, 1, 1}));
  for (double omega : {-0.1, 1.1, no_number, inf})
    REFUSED("omega", PositionalSemanticLink(omega, 2, {0.5, 0.5, 1, 0}));
  for (int L : {0, -1, least, 32769, most}) REFUSED("L", PositionalSemanticLink(0.5, L, {}));
  REFUSED("weights", AttentionLink(Reduction::trace, {}, {}, {no_number}, {0}));
  REFUSED("weights: number of entries", AttentionLink(Reduction::trace, {}, {}, {}, {}));
  REFUSED("offset", AttentionLink(Reduction::trace, {}, {}, {1, 1}, {0}));
  REFUSED("offset", AttentionLink(Reduction::none, {}, {}, {1, 1}, {0, -inf}));
  REFUSED("a", AttentionLink(Reduction::bilinear, {}, {}, {1, 1}, {0, 0}));
  REFUSED("b", AttentionLink(Reduction::bilinear, {1, 1}, {1}, {1, 1}, {0, 0}));
  REFUSED("b", AttentionLink(Reduction::bilinear, {1, 1}, {1, no_number}, {1, 1}, {0, 0}));
  for (int L : {0, -1, least, 32769, most}) REFUSED("L", Attention(L, Reduction::none, {}, {}));
  for (int L : {0, -1, least}) REFUSED("L", Attention(L, Reduction::trace, {}, {}));
  REFUSED("a", Attention(2, Reduction::bilinear, {1}, {1, 1}));
  REFUSED("b", Attention(2, Reduction::bilinear, {1, 1}, {1, inf}));
  REFUSED("reduction", reduction_named("sum"));
  REFUSED("sigma", Network(nullptr, 2));
  for (int L : {0, -1, least}) REFUSED("L", Network(activation_named("relu"), L));
  for (const char* name : {"", "He", "He31", "He-1", "RELU", "He1000000000000"})
    REFUSED("activation", activation_named(name));
  REFUSED("coefficients", hermite_activation({}));
  REFUSED("coefficients", hermite_activation({0, no_number}));
  REFUSED("sigma", pointer_activation(nullptr, [](double u) { return u; }));
  REFUSED("derivative", pointer_activation([](double u) { return u; }, nullptr));
  REFUSED("loss", loss_named("cross_entropy"));
  REFUSED("link", Task(nullptr, network(), "half_square", 0));
  REFUSED("student", Task(link(), nullptr, "half_square", 0));
  REFUSED("student", Task(link(2), network(3), "half_square", 0));
  REFUSED("student",
          Task(link(2), std::make_shared<Attention>(2, Reduction::none, Numbers(), Numbers()),
               "half_square", 0));
  for (double noise : {-1.0, no_number, inf})
    REFUSED("noise", Task(link(), network(), "half_square", noise));
}

static void covariances_and_names() {
  REFUSED("L", semidefinite_factor({}, 0));
  REFUSED("L", semidefinite_factor({1}, -1));
  REFUSED("covariance", semidefinite_factor({}, 2));
  REFUSED("covariance", semidefinite_factor({1, 0, 0}, 2));
  REFUSED("covariance", semidefinite_factor({1}, most));
  REFUSED("covariance", semidefinite_factor({1, no_number, no_number, 1}, 2));
  REFUSED("covariance", semidefinite_factor({1, 0.5, 0.4, 1}, 2));
  REFUSED("covariance", semidefinite_factor({1, 2, 2, 1}, 2));
  REFUSED("covariance", semidefinite_factor({-1, 0, 0, 1}, 2));
  REFUSED("tokens", token_law_named("cauchy"));
  REFUSED("position", position_named("sine"));
  Xoshiro16 g(Address{1, Stream::data, 0, 0});
  double x[draw_size];
  for (Index n : {Index(1), Index(31), Index(33), Index(-1)}) REFUSED("n", fill_normal(g, x, n));
}

// Both dynamics, and the count of memory, refuse the same settings.
template <class Change>
static void setting(const char* name, Change change, int line, int L = 2) {
  const auto with = [&](auto make) {
    Settings s = settings();
    change(s);
    refused(name, [&] { make(s); }, line);
  };
  const auto t = task(L);
  with([&](const Settings& s) { SampledSimulation<float>(t, s, 1, 0, 1); });
  with([&](const Settings& s) { SampledSimulation<double>::bytes(s, *t, 1, 1); });
  with([&](const Settings& s) { ReducedSimulation<float>(t, s, 1, 0, 1); });
}
#define SETTING(name, ...) setting(name, [&](Settings& s) { __VA_ARGS__; }, __LINE__)

static void wrong_settings() {
  for (Index d : {Index(0), Index(-1), (Index(1) << 40) + 1, std::numeric_limits<Index>::max(),
                  std::numeric_limits<Index>::min()})
    SETTING("d", s.d = d);
  for (double m0 : {1.5, -1.5, no_number, inf}) SETTING("m0", s.init.m0 = m0);
  SETTING("m0", s.d = 1; s.init.m0 = 0.5);
  SETTING("lr", s.lr.values = {});
  SETTING("lr", s.lr = LearningRate());
  for (double x : {-1.0, no_number, inf}) SETTING("lr", s.lr.values = {x});
  SETTING("lr", s.lr.values = {0.1, 0.2});
  SETTING("lr", s.lr.steps = {});
  SETTING("lr", s.lr.steps = {1});
  SETTING("lr", s.lr.steps = {0, 5, 5}; s.lr.values = {1, 1, 1});
  SETTING("lr", s.lr.steps = {0, -5}; s.lr.values = {1, 1});
  for (double x : {0.0, -1.0, no_number, inf}) SETTING("lr.t0", s.lr.t0 = x);
  for (double x : {-1.0, no_number, inf}) SETTING("lr.power", s.lr.power = x);
  for (double x : {-0.1, no_number, inf}) SETTING("eta", s.plan.eta = x);
  SETTING("record", s.plan.record = {-1});
  SETTING("record", s.plan.record = {3, 3});
  SETTING("record", s.plan.record = {3, 2});
  SETTING("record", s.plan.record = {std::numeric_limits<Index>::max()});
  SETTING("P", s.position = PositionKind::matrix);
  SETTING("P", s.position = PositionKind::matrix; s.P = Matrix::Zero(3, 10));
  SETTING("P", s.position = PositionKind::matrix; s.P = Matrix::Zero(2, 9));
  for (double x : {no_number, inf, 1e16})
    SETTING("P", s.position = PositionKind::matrix; s.P = Matrix::Constant(2, 10, x));
  SETTING("fields", s.fields = FieldMap::per_token(3));
  SETTING("fields", s.fields = FieldMap::shared(2, 2));
  SETTING("fields", s.fields.own = true);
  SETTING("spheres", s.spheres = Spheres::own(2));
  SETTING("spheres", s.spheres.common = true);
  SETTING("c", s.position = PositionKind::injected);
  SETTING("c", s.position = PositionKind::injected; s.c = {1});
  SETTING("c", s.position = PositionKind::injected; s.c = {1, no_number});
  SETTING("d", s.position = PositionKind::opposite; s.d = 2);
  setting("position", [](Settings& s) { s.position = PositionKind::opposite; }, __LINE__, 3);
  for (double nu : {2.0, 0.0, -1.0, no_number, inf})
    SETTING("nu", s.tokens.law = TokenLaw::student_t; s.tokens.nu = nu);
  SETTING("factor.F", s.tokens.law = TokenLaw::correlated);
  SETTING("factor.F", s.tokens.law = TokenLaw::correlated;
          s.tokens.factor = semidefinite_factor({1}, 1));
  SETTING("factor.F", s.tokens.law = TokenLaw::correlated;
          s.tokens.factor = semidefinite_factor({1, 0, 0, 1}, 2); s.tokens.factor.F[1] = no_number);
  SETTING("factor.order", s.tokens.law = TokenLaw::correlated; s.tokens.factor.F = {1, 0, 0, 1});
  for (int i : {-1, 2, 0, most})
    SETTING("factor.order", s.tokens.law = TokenLaw::correlated;
            s.tokens.factor = {{0, i}, {1, 0, 0, 1}});
}

template <class T>
static void calls_of_sampled() {
  using Simulation = SampledSimulation<T>;
  const auto t = task();
  const Settings s = settings();
  REFUSED("task", Simulation(nullptr, s, 1, 0, 1));
  for (Index runs : {Index(0), Index(-1), (Index(1) << 32) + 1})
    REFUSED("runs", Simulation(t, s, runs, 0, 1));
  for (Index first : {Index(-1), Index(1) << 32, std::numeric_limits<Index>::max()})
    REFUSED("first_run", Simulation(t, s, 1, first, 1));
  for (int threads : {0, -1, 4097, least}) REFUSED("threads", Simulation(t, s, 1, 0, threads));
  Settings large = s;
  large.d = Index(1) << 40;
  REFUSED("runs, record, L, d", Simulation(t, large, Index(1) << 32, 0, 1));
  REFUSED("d", Simulation(task(1 << 21), large, 1, 0, 1));
  for (Index runs : {1, 2}) {
    Simulation sim(t, s, runs, 0, 1);
    for (Index r : {Index(-1), runs, Index(7), std::numeric_limits<Index>::max(),
                    std::numeric_limits<Index>::min()}) {
      T x[20] = {};
      OUT_OF_RANGE("run", sim.order_parameters(r));
      OUT_OF_RANGE("run", sim.progress(r));
      OUT_OF_RANGE("run", sim.weights(r, nullptr));
      OUT_OF_RANGE("run", sim.observe(r, x, nullptr));
    }
    for (Index target : {Index(-1), (Index(1) << 53) + 1, std::numeric_limits<Index>::min()})
      REFUSED("target", sim.advance(target, nullptr));
    REFUSED("x", sim.observe(0, nullptr, nullptr));
    REFUSED("out", sim.weights(0, nullptr));
    REFUSED("out", sim.teacher(0, nullptr));
    REFUSED("lr", sim.set_rate(LearningRate()));
    REFUSED("lr", sim.set_rate({{0}, {-1.0}, 1, 0}));
    CHECK(sim.advance(5, nullptr) && sim.advance(3, nullptr) && sim.progress(0).step == 5);

    std::vector<T> v(10);
    std::vector<double> state(std::size_t(sim.state_size()));
    REFUSED("w", sim.save(0, state.data(), nullptr));
    REFUSED("state", sim.save(0, nullptr, v.data()));
    sim.save(0, state.data(), v.data());
    REFUSED("w", sim.restore(0, state.data(), nullptr));
    REFUSED("state", sim.restore(0, nullptr, v.data()));
    const OrderParameters before = sim.order_parameters(0);
    for (T x : {T(no_number), T(inf)}) {
      auto wrong = v;
      wrong[3] = x;
      REFUSED("state", sim.restore(0, state.data(), wrong.data()));
    }
    REFUSED("state", sim.restore(0, state.data(), std::vector<T>(10).data()));
    for (std::size_t i = 0; i < state.size(); ++i)
      for (double x : {no_number, inf, -1e300}) {
        auto wrong = state;
        wrong[i] = x;
        const bool loss = i + 3 == state.size() || i + 2 == state.size(),
                   product = i == 1;  // what may be any number, or any finite one
        if (loss || (product && std::isfinite(x))) continue;
        REFUSED("state", sim.restore(0, wrong.data(), v.data()));
      }
    CHECK(sim.order_parameters(0).m == before.m);
    sim.restore(0, state.data(), v.data());
  }
  // Values that are not finite stop a run, whatever they are in.
  for (double bad : {no_number, inf, 1e300}) {
    Simulation sim(t, s, 1, 0, 1);
    const std::vector<T> x(20, T(0.3));
    std::vector<T> wrong = x;
    wrong[7] = T(bad);
    const double y = bad;
    CHECK(std::isnan(sim.observe(0, wrong.data(), nullptr)));
    CHECK(sim.progress(0).nonfinite == 1 && sim.progress(0).step == 0);
    Simulation other(t, s, 1, 0, 1);
    CHECK(std::isnan(other.observe(0, x.data(), &y)));
    CallbackSource source(other, [] { return 0.0; });
    CHECK(std::isnan(source.step()));
    OUT_OF_RANGE("run", source.step(1));
  }
  Settings laws = s;
  laws.tokens.law = TokenLaw::rademacher;
  Simulation rademacher(t, laws, 1, 0, 1);
  REFUSED("tokens", CallbackSource(rademacher, [] { return 0.0; }));
}

static void calls_of_reduced() {
  const auto t = task();
  const Settings s = settings();
  REFUSED("task", ReducedSimulation<double>(nullptr, s, 1, 0, 1));
  for (Index runs : {Index(0), Index(-1), (Index(1) << 32) + 1})
    REFUSED("runs", ReducedSimulation<double>(t, s, runs, 0, 1));
  for (Index first : {Index(-1), Index(1) << 32})
    REFUSED("first_run", ReducedSimulation<double>(t, s, 1, first, 1));
  for (int threads : {0, -1, 4097})
    REFUSED("threads", ReducedSimulation<double>(t, s, 1, 0, threads));
  Settings other = s;
  other.tokens.law = TokenLaw::uniform;
  REFUSED("tokens", ReducedSimulation<double>(t, other, 1, 0, 1));
  for (bool needs_row_overlaps : {false, true}) {
    Settings of = s;
    if (needs_row_overlaps) {
      of.fields = FieldMap::per_token(2);
      of.tokens.law = TokenLaw::correlated;
      of.tokens.factor = semidefinite_factor({1, 0.5, 0.5, 1}, 2);
    }
    for (Index runs : {Index(1), Index(2), Index(70)}) {
      ReducedSimulation<float> sim(t, of, runs, 0, 2);
      std::vector<double> state(std::size_t(sim.state_size()));
      for (Index r : {Index(-1), runs, Index(1000), std::numeric_limits<Index>::max(),
                      std::numeric_limits<Index>::min()}) {
        OUT_OF_RANGE("run", sim.order_parameters(r));
        OUT_OF_RANGE("run", sim.progress(r));
        OUT_OF_RANGE("run", sim.save(r, state.data()));
      }
      REFUSED("target", sim.advance(-1, nullptr));
      REFUSED("state", sim.save(0, nullptr));
      REFUSED("state", sim.restore(0, nullptr));
      REFUSED("state", sim.check_state(nullptr));
      sim.advance(5, nullptr);
      sim.save(0, state.data());
      OUT_OF_RANGE("run", sim.restore(runs, state.data()));
      for (std::size_t i = 0; i < state.size(); ++i) {
        if (i + 3 == state.size() || i + 2 == state.size()) continue;
        auto wrong = state;
        wrong[i] = no_number;
        REFUSED("state", sim.restore(0, wrong.data()));
      }
      sim.restore(0, state.data());
    }
  }
}

// The least and the largest that are legal.
static void edges_are_accepted() {
  Settings s;
  s.d = 1;
  s.init.m0 = 1;
  s.lr.values = {0};
  s.plan.eta = 1;
  s.plan.halt = true;
  s.plan.record = {0, most_steps};
  const auto t = task(1);
  SampledSimulation<float> sim(t, s, 1, most_runs - 1, most_threads);
  CHECK(sim.advance(3, nullptr) && sim.progress(0).step == 0 && sim.progress(0).passage == 0);
  ReducedSimulation<float> reduced(t, s, 1, most_runs - 1, most_threads);
  CHECK(reduced.advance(3, nullptr));
  CallbackSource source(sim, [] { return 1.0; });
  source.step();
  CHECK(sim.progress(0).step == 1);
  s.position = PositionKind::matrix;
  s.P = Matrix::Constant(1, 1, largest_P);
  SampledSimulation<float> far(t, s, 1, 0, 1);
  CHECK(std::isfinite(far.order_parameters(0).e[0]));
}

int main() {
  links_students_and_tasks();
  covariances_and_names();
  wrong_settings();
  calls_of_sampled<float>();
  calls_of_sampled<double>();
  calls_of_reduced();
  edges_are_accepted();
  return check::report();
}
