// Students of sums (so that all delta_l are equal) in the commonest case: independent tokens, no P, no c, the normalised step, and enough degrees of freedom for
// chi-squares in groups. Draws, increments and their sums over a few steps (ReducedDraws::settling) are in the precision T of the draws, one vector of T after the
// other; the coordinates that these sums are brought into are double as everywhere, and steps that are not small are computed in double, lane by lane. Shared weights
// are one row, that sees the sums over tokens.
#pragma once

#include <limits>

#include "reduced_draws.hpp"
#include "reduced_moves.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T, bool Shared>
class LeanStep {
  using V = Runs;
  using X = RunsOf<T>;
  using Mask = typename MaskOf<X>::type;
  static constexpr Index together = ReducedDraws::rows_together;

 public:
  LeanStep(const Task& task, const Settings& s, const Coordinates& c, const ReducedDraws& draws, ReducedWorkspace& ws, const BatchState& batch, Index step)
      : task_(task), s_(s), draws_(draws), ws_(ws), L_(c.L), rows_(c.n), ones_(Shared ? batch.ones : 1.0), batch_(batch), step_(step) {}

  // Draws the fields of part h and leaves delta; returns the loss.
  SEQSGD_INLINE V ask(RunLanes<T>& g, int h) {
    X *x = drawn(h), *zstar = Shared ? x + 3 : x;
    Sums q;
    if constexpr (Shared)
      q = ask_shared(g, h, x);
    else
      q = ask_rows(g, h, x);
    const V* normals = draws_.noise ? ws_.noise.data() + h * even(draws_.noise) : nullptr;
    V* delta = ws_.delta.data() + h;
    if (task_.link().by_sums) return task_.lanes_of_sums(q.star, q.squares, &q.z, normals, delta);
    for (Index l = 0; l < L_; ++l) ws_.fresh[std::size_t(l)] = widened(zstar[l]);
    return task_.lanes(ws_.fresh.data(), &q.z, normals, delta, ws_.scratch.data(), batch_.taken(h));
  }

  // One step of part h. Returns the squared overlap, if somebody looks for passages.
  SEQSGD_INLINE V move(RunLanes<T>& g, int h, double gamma_d) { return !Shared && s_.weights == Weights::global ? move_as<true>(g, h, gamma_d) : move_as<false>(g, h, gamma_d); }

 private:
  static constexpr int terms = sizeof(T) == 4 ? 3 : 5;  // of series, right to the rounding of T up to `reach`
  static constexpr double reach = sizeof(T) == 4 ? 0x1p-8 : 0x1p-12;

  SEQSGD_INLINE Index n() const { return Shared ? 1 : rows_; }
  // Of all rows: products with w*, with the direction of what w has beside it, and normals of the chi-squares.
  X* drawn(int h) const { return reinterpret_cast<X*>(ws_.lean.data()) + h * ws_.lean_stride; }
  X* chi_of(int h) const { return drawn(h) + 2 * n(); }
  const V* at(int h, Index l) const { return batch_.at + 4 * (h * n() + l); }
  LeanRow<T>* rows_of(int h) const { return static_cast<LeanRow<T>*>(batch_.lean) + h * n(); }
  struct Sums : TeacherSums {
    V z;  // of the fields
  };
  SEQSGD_INLINE Sums ask_rows(RunLanes<T>& g, int h, X* x) const {
    draw_normals(g, h, 2 * n(), x);
    return draws_.solvable ? sums<true>(h, x) : sums<false>(h, x);
  }
  SEQSGD_INLINE Sums ask_shared(RunLanes<T>& g, int h, X* x) const {
    X* y = x + 3;  // z* or what gives its sums, then the field beside, then the chi-square
    draw_normals(g, h, draws_.star + 2, y);
    X u[ChiSquare::most_uniforms];
    g.each(h, draws_.squares.uniforms(), [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { u[i] = uniform(word); });
    const WordsOf<T> word = g.next(h);
    TeacherSums sums;
    if (draws_.by_sums) {
      sums = draws_.teacher_sums(y, u, batch_.root_ones, [&](int lane) { return again(h * wide + lane, 1); });
      x[0] = y[0] * T(batch_.root_ones);
    } else {
      for (Index l = 0; l < L_; ++l) sums.star += widened(y[l]);
      x[0] = narrowed(sums.star, T());
    }
    x[1] = y[draws_.star] * T(batch_.root_ones);
    x[2] = y[draws_.star + 1];
    decide(h, 0, 1, word, x + 2);
    const LeanRow<T>& row = *rows_of(h);
    return {sums, at(h, 0)[0] * sums.star + widened(row.dm * x[0] + row.s() * x[1])};
  }
  OneByOne again(int lane, Index which) const { return OneByOne(Use::again, Address{s_.seed, Stream::data, batch_.run[lane], std::uint64_t(step_)}, std::uint32_t(which)); }

  // What may cancel in a residual is summed in double: near a solution z and z* are almost the same.
  template <bool Solvable>
  SEQSGD_INLINE Sums sums(int h, const X* a) const {
    const LeanRow<T>* row = rows_of(h);
    const X* b = a + n();
    V sum_z{}, sum_star{}, sum_squares{};
    for (Index begin = 0; begin < n(); begin += together) {
      const Index end = std::min(begin + together, n());
      X z{}, along{}, star{}, squares{};  // (each a chain of its own)
      for (Index l = begin; l < end; ++l) {
        z += row[l].s() * b[l];
        if constexpr (Solvable) {
          const V x = widened(a[l]);
          along += row[l].dm * a[l];
          sum_z += at(h, l)[0] * x;
          sum_star += x;
          sum_squares += x * x;
        } else {
          along += row[l].m() * a[l];
          star += a[l];
          squares += a[l] * a[l];
        }
      }
      sum_z += widened(z + along);
      if constexpr (Solvable) continue;
      sum_star += widened(star);
      sum_squares += widened(squares);
    }
    return {{sum_star, sum_squares}, sum_z};
  }

  // Normals of the chi-squares of a group of rows.
  SEQSGD_INLINE void draw_chi(RunLanes<T>& g, int h, Index begin, Index rows, X* x) const {
    draw_normals(g, h, even(rows), x);
    decide(h, begin, rows, g.next(h), x);
  }
  // Whether they are accepted, by one uniform.
  SEQSGD_INLINE void decide(int h, Index begin, Index rows, const WordsOf<T>& word, X* x) const {
    X q{};
    for (Index l = 0; l < rows; ++l) {
      const X x2 = x[l] * x[l];
      q += x2 * x2;
    }
    const Mask unsure = uniform(word) <= q * bound_;
    if (__builtin_expect(any(unsure), 0)) review(h, begin, rows, unsure, word, x);
  }
  __attribute__((noinline)) void review(int h, Index begin, Index rows, const Mask& unsure, const WordsOf<T>& word, X* x) const {
    for (int i = 0; i < wide; ++i) {
      if (!unsure[i]) continue;
      OneByOne g = again(h * wide + i, begin);
      const double u = sizeof(T) == 4 ? (double(word[i] >> 1) + 0.5) * 0x1p-31 : double(uniform(word)[i]);
      // (through a pointer to elements: a lane of a vector has no address)
      T* lane = reinterpret_cast<T*>(x) + i;
      draws_.chi.review(rows, u, g, [&](Index l) -> T& { return lane[l * wide]; });
    }
  }

  // What a step has for all rows of a part: gamma delta / d, and 2 a (gamma delta / d)^2 of the chi-squares.
  struct Common {
    X e, scale;
    T slope;
  };
  // A row on its way: (m, s) - (p, r) before the part across, of squared length across2, and before division by N.
  struct Row {
    X m, s, p, r, across2, less, along;
    SEQSGD_INLINE Row(const LeanRow<T>& at, const Common& c, const X& a, const X& b, const X& chi) : m(at.m()), s(at.s()), p(c.e * a), r(c.e * b), less(m - p), along(s - r) {
      const X v = T(1) + c.slope * chi;
      across2 = c.scale * v * (v * v);
    }
    SEQSGD_INLINE X excess() const { return across2 - p * (m + less) - r * (s + along); }  // N^2 - 1
  };

  template <bool Global>
  SEQSGD_INLINE V move_as(RunLanes<T>& g, int h, double gamma_d) {
    const X *a = drawn(h), *b = a + n();
    LeanRow<T>* at_rows = rows_of(h);
    const V long_e = gamma_d * ws_.delta[std::size_t(h)];
    Common c{narrowed(long_e, T()), narrowed(ones_ * draws_.chi.scale() * long_e * long_e, T()), T(draws_.chi.slope())};
    // Squares of what is smaller or larger may leave the range of single precision (the sum across is at least 74 of them); what is not a number is not short below.
    if constexpr (sizeof(T) == 4) c.e = choose((c.e == T(0)) | ((absolute(c.e) >= T(1e-17)) & (absolute(c.e) <= T(1e4))), c.e, X{} + std::numeric_limits<T>::quiet_NaN());
    X nu;
    Mask short_all = c.e == c.e;
    X mine[together];
    if constexpr (Global) {
      V sum{};
      X* chi = chi_of(h);
      for (Index begin = 0; begin < n(); begin += together) {
        const Index rows = std::min(together, n() - begin);
        draw_chi(g, h, begin, rows, mine);
        X x{};
        for (Index l = 0; l < rows; ++l) {
          chi[begin + l] = mine[l];
          x += Row(at_rows[begin + l], c, a[begin + l], b[begin + l], mine[l]).excess();
        }
        sum += widened(x);
      }
      const X x = narrowed(sum * (1 / double(n())), T());
      short_all = absolute(x) <= T(reach);
      nu = inverse_root_less_one<terms>(x);
      whole_.nu = widened(nu);
      whole_.inverse = 1.0 + whole_.nu;
      if (__builtin_expect(!all(short_all), 0)) far_from_sphere(h, gamma_d, short_all);
    }
    for (Index begin = 0; begin < n(); begin += together) {
      const Index rows = std::min(together, n() - begin);
      if constexpr (!Global && !Shared) draw_chi(g, h, begin, rows, mine);
      const X* chi = Global || Shared ? chi_of(h) + begin : mine;
      for (Index j = 0; j < rows; ++j) {
        const Index l = begin + j;
        LeanRow<T>& to = at_rows[l];
        const Row x(to, c, a[l], b[l], chi[j]);
        const X over = T(1) / x.along, y = x.across2 * over, y2 = y * over;
        Mask is_short = (y2 <= T(reach)) & (x.along > T(0));
        if constexpr (Global) {
          is_short &= short_all;
        } else {
          const X excess = x.excess();
          nu = inverse_root_less_one<terms>(excess);
          is_short &= absolute(excess) <= T(reach);
        }
        const X grown = y * one_over_one_plus_root<terms>(y2) - x.r;
        X dm = nu * x.less - x.p, ds = nu * (x.s + grown) + grown;
        if (__builtin_expect(!all(is_short), 0)) {
          const Increments taken = take_long<Global>(h, l, gamma_d, is_short, chi[j], {dm, ds});
          dm = taken.m, ds = taken.s;
        }
        to.dm += dm;
        to.ds += ds;
      }
    }
    V m2{};
    if (s_.plan.eta <= 0) return m2;
    for (Index l = 0; l < n(); ++l) {
      const V m = at(h, l)[0] + widened(at_rows[l].dm);
      m2 += m * m;
    }
    return m2 / double(n());
  }

  // A row in double.
  struct LongRow {
    V m, s, v0, v1;
    Move move;
  };
  LongRow long_row(int h, Index l, double gamma_d, const X& chi) const {
    const LeanRow<T>& increments = rows_of(h)[l];
    const V *c = at(h, l), delta = ws_.delta[std::size_t(h)], w = 1.0 + draws_.chi.slope() * widened(chi);
    LongRow out{c[0] + widened(increments.dm), c[2] + widened(increments.ds), delta * widened(drawn(h)[l]), delta * widened(drawn(h)[n() + l]), {}};
    out.move.g = V{} + gamma_d;
    out.move.across2 = ones_ * delta * delta * draws_.chi.scale() * w * w * w;
    return out;
  }
  static V excess(const LongRow& x) { return x.move.g * (x.move.g * (x.v0 * x.v0 + x.v1 * x.v1 + x.move.across2) - 2.0 * (x.m * x.v0 + x.s * x.v1)); }
  static V grown(const LongRow& x) {
    const V m = x.m - x.move.g * x.v0, s = x.s + x.move.growth(x.s, x.v1);
    return m * m + s * s;
  }
  // N of those runs whose step is not short, where it is common to all rows.
  __attribute__((noinline)) void far_from_sphere(int h, double gamma_d, const Mask& is_short) {
    const auto mean = [&](auto f) {
      V x{};
      for (Index l = 0; l < n(); ++l) x += f(long_row(h, l, gamma_d, chi_of(h)[l]));
      return x / double(n());
    };
    Move whole{};
    whole.shrink(mean(excess), [&] { return mean(grown); });
    for (int i = 0; i < wide; ++i)
      if (!is_short[i]) {
        whole_.nu[i] = whole.nu[i];
        whole_.inverse[i] = whole.inverse[i];
      }
  }
  struct Increments {
    X m, s;
  };
  // With those of the runs whose step is not short.
  template <bool Global>
  __attribute__((noinline)) Increments take_long(int h, Index l, double gamma_d, Mask is_short, const X& chi, Increments by) {  // (copies, so that the others stay in registers)
    LongRow x = long_row(h, l, gamma_d, chi);
    if (Global) {
      x.move.nu = whole_.nu;
      x.move.inverse = whole_.inverse;
    } else {
      x.move.shrink(excess(x), [&] { return grown(x); });
    }
    const V m = x.move.change(x.m, -x.move.g * x.v0), s = x.move.change(x.s, x.move.growth(x.s, x.v1));
    return {choose(is_short, by.m, narrowed(m, T())), choose(is_short, by.s, narrowed(s, T()))};
  }

  const Task& task_;
  const Settings& s_;
  const ReducedDraws& draws_;
  ReducedWorkspace& ws_;
  const Index L_, rows_;
  const double ones_;  // tokens to a row
  const BatchState& batch_;
  const Index step_;
  const T bound_ = T(1.001 * draws_.chi.bound());
  Move whole_;  // of all rows of a part, where N is common to them
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
