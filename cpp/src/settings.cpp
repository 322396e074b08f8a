// Settings of a simulation from keyword arguments.
#include "settings.hpp"

#include "arrays.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

template <class V>
std::vector<V> list_of(const py::array& a, const char* key) {
  const V* p = checked<V>(a, key, {-1}, "(n,)");
  return std::vector<V>(p, p + a.size());
}

// Keyword arguments, each read once; errors name the key.
class Keywords {
 public:
  explicit Keywords(const py::kwargs& kw)
      : left_(py::reinterpret_steal<py::dict>(PyDict_Copy(kw.ptr()))) {}
  template <class V>
  V get(const char* key) {
    if (!left_.contains(key)) throw py::type_error(std::string(key) + ": missing");
    const py::object value = left_[key];
    PyDict_DelItemString(left_.ptr(), key);
    try {
      return value.cast<V>();
    } catch (const py::cast_error&) {
      throw py::type_error(std::string(key) + ": wrong type, got " +
                           py::repr(value).cast<std::string>());
    }
  }
  template <class V>
  V get(const char* key, V otherwise) {
    return left_.contains(key) ? get<V>(key) : otherwise;
  }
  template <class V>
  std::vector<V> list(const char* key) {
    return list_of<V>(get<py::array>(key), key);
  }
  void finish() const {
    for (const auto& item : left_)
      throw py::type_error("unknown keyword " + py::str(item.first).cast<std::string>());
  }

 private:
  py::dict left_;
};

}  // namespace

LearningRate rate_of(const py::array& steps, const py::array& values, double t0, double power) {
  LearningRate lr;
  lr.steps = list_of<Index>(steps, "lr_steps");
  lr.values = list_of<double>(values, "lr_values");
  lr.t0 = t0;
  lr.power = power;
  return lr;
}

Call read_call(const Task& task, const py::kwargs& kwargs) {
  Keywords kw(kwargs);
  Call c;
  Settings& s = c.s;
  const Index L = task.L();
  s.d = kw.get<Index>("d");
  s.seed = kw.get<std::uint64_t>("seed");
  c.runs = kw.get<Index>("runs");
  c.first_run = kw.get<Index>("first_run");
  if (c.first_run < 0 || c.first_run > (Index(1) << 32) || c.runs > (Index(1) << 32) - c.first_run)
    throw py::value_error("first_run: expected runs between 0 and 2^32");
  c.threads = kw.get<int>("threads");
  const auto dtype = kw.get<std::string>("dtype");
  if (dtype != "float32" && dtype != "float64")
    throw py::value_error("dtype: expected float32 or float64, got '" + dtype + "'");
  c.single = dtype == "float32";
  s.weights = weights_named(kw.get<std::string>("weights"));
  s.projected = kw.get<bool>("projected");
  s.position = position_named(kw.get<std::string>("position"));
  const py::array P = kw.get<py::array>("P");
  if (s.position == PositionKind::matrix) {
    const double* p = checked<double>(P, "P", {L, s.d}, "(L, d)");
    s.P = Eigen::Map<const Rows<double>>(p, L, s.d);
  }
  s.c = kw.list<double>("c");
  const auto init = kw.get<std::string>("init");
  if (init != "overlap" && init != "uniform")
    throw py::value_error("init: expected overlap or uniform, got '" + init + "'");
  s.init = {init == "overlap", kw.get<double>("m0"), kw.get<bool>("random_sign")};
  s.tokens.law = token_law_named(kw.get<std::string>("tokens"));
  s.tokens.nu = kw.get<double>("nu");
  const py::array C = kw.get<py::array>("covariance");
  if (s.tokens.law == TokenLaw::correlated) {
    const double* p = checked<double>(C, "covariance", {L, L}, "(L, L)");
    s.tokens.factor = semidefinite_factor(std::vector<double>(p, p + L * L), int(L));
  }
  const auto steps = kw.get<py::array>("lr_steps"), values = kw.get<py::array>("lr_values");
  const double t0 = kw.get<double>("lr_t0");
  s.lr = rate_of(steps, values, t0, kw.get<double>("lr_power"));
  s.plan.record = kw.list<Index>("record");
  s.plan.eta = kw.get<double>("eta");
  s.plan.halt = kw.get<bool>("halt");
  s.general = kw.get<bool>("general", false);
  kw.finish();
  return c;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
