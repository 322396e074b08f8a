// Students of sums (so that all delta_l are equal) in the commonest case: independent tokens, no P, no c, the normalised step, and enough degrees of freedom for
// chi-squares in groups. Draws, increments and their sums over a few steps (ReducedDraws::settling) are in the precision T of the draws, one vector of T after the
// other; the coordinates that these sums are brought into are double as everywhere, and steps that are not small are computed in double. Of s it is the square whose
// increments are summed: with p = g delta a, less = m - p,
//
//     h = g^2 delta^2 (chi^2 + b^2) - 2 g delta s b,    N^2 = 1 + h - p (less + m),    m' = less / N,    s'^2 = (s^2 + h) / N^2
//
// takes no root but that of s^2, and where N is common to the rows, N^2 - 1 takes no row at all but the sums of chi^2 + a^2 + b^2 and of z. Shared weights are one row,
// that sees the sums over tokens.
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
    const Sums q = sums(g, h);
    const V z = q.z;  // (so that only this has an address)
    const V* normals = draws_.noise ? ws_.noise.data() + h * even(draws_.noise) : nullptr;
    V* delta = ws_.delta.data() + h;
    if (task_.link().by_sums) return task_.lanes_of_sums(q.star, q.squares, &z, normals, delta);
    for (Index l = 0; l < L_; ++l) ws_.fresh[std::size_t(l)] = widened(Shared ? shared_draws(h)[l] : drawn(h)[l].a);
    return task_.lanes(ws_.fresh.data(), &z, normals, delta, ws_.scratch.data(), batch_.taken(h));
  }

  // One step of part h. Returns the squared overlap, if somebody looks for passages.
  SEQSGD_INLINE V move(RunLanes<T>&, int h, double gamma_d) { return global() ? move_as<true>(h, gamma_d) : move_as<false>(h, gamma_d); }

 private:
  static constexpr int terms = sizeof(T) == 4 ? 3 : 5;  // of series, right to the rounding of T up to `reach`
  static constexpr double reach = sizeof(T) == 4 ? 0x1p-8 : 0x1p-12;

  SEQSGD_INLINE Index n() const { return Shared ? 1 : rows_; }
  SEQSGD_INLINE bool global() const { return !Shared && s_.weights == Weights::global; }
  // What a row has of a step: its products with w* and with the direction of what w has beside w*, and the normal of its chi-square. The latter two are replaced by
  // what the move takes of them.
  struct Drawn {
    X a, b, chi;
    X &sb() { return b; }
    X &across() { return chi; }
  };
  Drawn* drawn(int h) const { return reinterpret_cast<Drawn*>(reinterpret_cast<X*>(ws_.lean.data()) + h * ws_.lean_stride); }
  // Shared weights: z* or what gives its sums, then the field beside, then the chi-square.
  X* shared_draws(int h) const { return reinterpret_cast<X*>(drawn(h) + 1); }
  const V* at(int h, Index l) const { return batch_.at + 4 * (h * n() + l); }
  LeanRow<T>* rows_of(int h) const { return static_cast<LeanRow<T>*>(batch_.lean) + h * n(); }
  OneByOne again(int lane, Index which) const { return OneByOne(Use::again, Address{s_.seed, Stream::data, batch_.run[lane], std::uint64_t(step_)}, std::uint32_t(which)); }

  struct Sums : TeacherSums {
    V z;  // of the fields
  };
  SEQSGD_INLINE Sums sums(RunLanes<T>& g, int h) const {
    if constexpr (Shared) return ask_shared(g, h);
    if (global()) return draws_.solvable ? ask_rows<true, true>(g, h) : ask_rows<false, true>(g, h);
    return draws_.solvable ? ask_rows<true, false>(g, h) : ask_rows<false, false>(g, h);
  }
  SEQSGD_INLINE Sums ask_shared(RunLanes<T>& g, int h) const {
    X* y = shared_draws(h);
    draw_normals(g, h, draws_.star + 2, y);
    X u[ChiSquare::most_uniforms];
    g.each(h, draws_.squares.uniforms(), [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { u[i] = uniform(word); });
    Drawn& x = *drawn(h);
    TeacherSums star;
    x.chi = y[draws_.star + 1];
    decide(g.next(h), h, 0, 1, &x);
    if (draws_.by_sums) {
      star = draws_.teacher_sums(y, u, batch_.root_ones, [&](int lane) { return again(h * wide + lane, 1); });
      x.a = y[0] * T(batch_.root_ones);
    } else {
      for (Index l = 0; l < L_; ++l) star.star += widened(y[l]);
      x.a = narrowed(star.star, T());
    }
    x.b = y[draws_.star] * T(batch_.root_ones);
    const LeanRow<T>& row = *rows_of(h);
    prepare(row, x);
    return {star, at(h, 0)[0] * star.star + widened(row.dm * x.a + x.sb())};
  }
  // Some rows at a time. What may cancel in a residual is summed in double: near a solution z and z* are almost the same.
  template <bool Solvable, bool Global>
  SEQSGD_INLINE Sums ask_rows(RunLanes<T>& g, int h) const {
    const LeanRow<T>* row = rows_of(h);
    Drawn* x = drawn(h);
    V sum_z{}, sum_star{}, sum_squares{}, sum_lengths{};
    for (Index begin = 0; begin < n(); begin += together) {
      const Index rows = std::min(together, n() - begin), end = begin + rows;
      draw_normals(g, h, even(3 * rows), &x[begin].a);
      decide(g.next(h), h, begin, rows, x + begin);
      X z{}, along{}, star{}, squares{}, lengths{};  // (each a chain of its own)
      for (Index l = begin; l < end; ++l) {
        const X a = x[l].a;
        prepare(row[l], x[l]);
        z += x[l].sb();
        if constexpr (Global) lengths += x[l].across() + a * a;
        if constexpr (Solvable) {
          const V wide_a = widened(a);
          along += row[l].dm * a;
          sum_z += at(h, l)[0] * wide_a;
          sum_star += wide_a;
          sum_squares += wide_a * wide_a;
        } else {
          along += row[l].m() * a;
          star += a;
          squares += a * a;
        }
      }
      sum_z += widened(z + along);
      if constexpr (Global) sum_lengths += widened(lengths);
      if constexpr (Solvable) continue;
      sum_star += widened(star);
      sum_squares += widened(squares);
    }
    if constexpr (Global) {
      ws_.z[std::size_t(h)] = sum_z;
      ws_.total[std::size_t(h)] = sum_lengths;
    }
    return {{sum_star, sum_squares}, sum_z};
  }

  // Whether the normals of the chi-squares of a group of rows are accepted, by one uniform.
  SEQSGD_INLINE void decide(const WordsOf<T>& word, int h, Index begin, Index rows, Drawn* x) const {
    const auto fourth = [&](Index l) SEQSGD_LAMBDA_INLINE {
      const X x2 = x[l].chi * x[l].chi;
      return x2 * x2;
    };
    X sum{};
    if constexpr (Shared) {
      sum = fourth(0);
    } else {
      X q[4]{};  // chains of sums
      for (Index l = 0; l + 4 <= rows; l += 4)
        for (Index k = 0; k < 4; ++k) q[k] += fourth(l + k);
      for (Index l = rows & ~Index(3); l < rows; ++l) q[0] += fourth(l);
      sum = q[0] + q[1] + (q[2] + q[3]);
    }
    const Mask unsure = uniform(word) <= sum * bound_;
    if (__builtin_expect(any(unsure), 0)) review(word, h, begin, rows, unsure, x);
  }
  __attribute__((noinline)) void review(const WordsOf<T>& word, int h, Index begin, Index rows, const Mask& unsure, Drawn* x) const {
    for (int i = 0; i < wide; ++i) {
      if (!unsure[i]) continue;
      OneByOne g = again(h * wide + i, begin);
      const double u = sizeof(T) == 4 ? (double(word[i] >> 1) + 0.5) * 0x1p-31 : double(uniform(word)[i]);
      // (through a pointer to elements: a lane of a vector has no address)
      T* lane = reinterpret_cast<T*>(&x->chi) + i;
      draws_.chi.review(rows, u, g, [&](Index l) -> T& { return lane[3 * l * wide]; });
    }
  }

  // s b, and chi^2 + b^2 (times ones_, for sums over tokens).
  SEQSGD_INLINE void prepare(const LeanRow<T>& row, Drawn& x) const {
    const X v = T(1) + slope_ * x.chi, b = x.b;
    x.across() = scale_ * v * (v * v) + b * b;
    x.sb() = root_or_zero(row.square()) * b;
  }

  // gamma delta / d
  template <class U>
  struct Common {
    U e, twice, squared;
    explicit Common(const V& x) : e(to(x)), twice(to(2.0 * x)), squared(to(x * x)) {}
    static U to(const V& x) {
      if constexpr (std::is_same_v<U, V>)
        return x;
      else
        return narrowed(x, T());
    }
  };
  // A row on its way, before division by N: by how much m shrinks and s^2 grows; N^2 - 1 of the row alone.
  template <class U>
  struct Row {
    U p, growth, less, excess;
    SEQSGD_INLINE Row(const Common<U>& c, const U& m, const U& a, const U& sb, const U& across) : p(c.e * a), growth(c.squared * across - c.twice * sb), less(m - p), excess(growth - p * (less + m)) {}
  };

  template <bool Global>
  SEQSGD_INLINE V move_as(int h, double gamma_d) {
    Drawn* x = drawn(h);
    LeanRow<T>* rows = rows_of(h);
    const V long_e = gamma_d * ws_.delta[std::size_t(h)];
    Common<X> c(long_e);
    // Squares of what is smaller or larger may leave the range of single precision (`across` is at least 10); what is not a number is not short below.
    if constexpr (sizeof(T) == 4) c.e = choose((c.e == T(0)) | ((absolute(c.e) >= T(1e-17)) & (absolute(c.e) <= T(1e4))), c.e, X{} + std::numeric_limits<T>::quiet_NaN());
    X nu;
    bool all_short;
    Whole whole;
    if constexpr (Global) {
      whole.excess = long_e * (long_e * ws_.total[std::size_t(h)] - 2.0 * ws_.z[std::size_t(h)]) * (1 / double(n()));
      const X excess = narrowed(whole.excess, T()) + (c.e - c.e);
      all_short = all_within(excess, T(reach));
      whole.is_short = absolute(excess) <= T(reach);
      nu = inverse_root_less_one<terms>(excess);
    }
    for (Index l = 0; l < n(); ++l) {
      const Row<X> row(c, rows[l].m(), x[l].a, x[l].sb(), x[l].across());
      if constexpr (!Global) {
        nu = inverse_root_less_one<terms>(row.excess);
        all_short = all_within(row.excess, T(reach));
      }
      X dm = nu * row.less - row.p, dsquare = (nu * nu + (nu + nu)) * (rows[l].square() + row.growth) + row.growth;
      if (__builtin_expect(!all_short, 0)) {
        if constexpr (!Global) whole.is_short = absolute(row.excess) <= T(reach);
        const Increments taken = take_long<Global>(h, l, long_e, whole, {dm, dsquare});
        dm = taken.m, dsquare = taken.square;
      }
      rows[l].dm += dm;
      rows[l].dsquare += dsquare;
    }
    V m2{};
    if (s_.plan.eta <= 0) return m2;
    for (Index l = 0; l < n(); ++l) {
      const V m = at(h, l)[0] + widened(rows[l].dm);
      m2 += m * m;
    }
    return m2 / double(n());
  }

  // Steps that are not short, in double.
  struct Whole {
    Mask is_short;
    V excess;  // of all rows, where N is common to them
  };
  struct LongRow : Row<V> {
    V m, square;
  };
  LongRow long_row(int h, Index l, const V& e) const {
    const LeanRow<T>& increments = rows_of(h)[l];
    const V *c = at(h, l), m = c[0] + widened(increments.dm);
    Drawn& x = drawn(h)[l];
    return {Row<V>(Common<V>(e), m, widened(x.a), widened(x.sb()), widened(x.across())), m, c[2] * c[2] + widened(increments.dsquare)};
  }
  struct Increments {
    X m, square;
  };
  // With those of the runs whose step is not short.
  template <bool Global>
  __attribute__((noinline)) Increments take_long(int h, Index l, const V& e, const Whole& whole, Increments by) const {
    const LongRow row = long_row(h, l, e);
    const V excess = Global ? whole.excess : row.excess, inverse2 = 1.0 / (1.0 + excess), inverse = root(inverse2), nu = -excess * inverse2 / (1.0 + inverse);
    const V m = nu * row.m - inverse * row.p, square = inverse2 * (row.growth - excess * row.square);
    return {choose(whole.is_short, by.m, narrowed(m, T())), choose(whole.is_short, by.square, narrowed(square, T()))};
  }

  const Task& task_;
  const Settings& s_;
  const ReducedDraws& draws_;
  ReducedWorkspace& ws_;
  const Index L_, rows_;
  const double ones_;  // tokens to a row
  const BatchState& batch_;
  const Index step_;
  const T bound_ = T(1.001 * draws_.chi.bound()), slope_ = T(draws_.chi.slope()), scale_ = T(ones_ * draws_.chi.scale());
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
