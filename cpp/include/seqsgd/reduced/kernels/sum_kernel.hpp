// Students of sums (so that all delta_l are equal) in the commonest case: independent tokens, no P,
// no c, the normalised step, and chi-squares that are functions of one normal. Draws, increments
// and their sums over a few steps (DrawLayout::flush_interval) are in the precision T of the draws,
// one vector of T after the other; the coordinates that these sums are brought into are double as
// everywhere, and steps that are not small are computed in double. Of s it is the square whose
// increments are summed: with p = g delta a, less = m - p,
//
//     h = g^2 delta^2 (chi^2 + b^2) - 2 g delta s b,    N^2 = 1 + h - p (less + m),    m' = less /
//     N,    s'^2 = (s^2 + h) / N^2
//
// takes no root but that of s^2, and where N is common to the rows, N^2 - 1 takes no row at all but
// the sums of chi^2 + a^2 + b^2 and of z. Shared weights are one row, that sees the sums over
// tokens.
#pragma once

#include <limits>

#include "seqsgd/reduced/kernels/draw_layout.hpp"
#include "seqsgd/reduced/kernels/moves.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T, bool Shared>
class SumKernel {
  using V = Pack;
  using X = PackOf<T>;
  using Mask = typename MaskOf<X>::type;
  static constexpr Index together = DrawLayout::rows_together;

 public:
  SumKernel(const Task& task, const Settings& s, const Coordinates& c, const DrawLayout& layout,
            ReducedWorkspace& ws, const LaneGroupState& group, Index step)
      : task_(task),
        s_(s),
        layout_(layout),
        ws_(ws),
        L_(c.L),
        rows_(c.n),
        ones_(Shared ? group.ones : 1.0),
        group_(group),
        step_(step) {}

  // Draws the fields of the first packs and leaves delta, and the losses.
  SEQSGD_INLINE void draw_fields(RunGenerators<T>& g, int count, V* loss) {
    in_groups<most_packs>(count, [&](auto P, int pack) SEQSGD_LAMBDA_INLINE {
      if constexpr (Shared)
        draw_shared<P.value>(g, pack);
      else
        draw_row_fields<P.value>(g, pack);
    });
    in_groups<group_packs>(count, [&](auto P, int pack) SEQSGD_LAMBDA_INLINE {
      evaluate<P.value>(pack, loss + pack);
    });
  }

  // One step of the first packs, and their squared overlaps, if somebody looks for passages.
  SEQSGD_INLINE void move(RunGenerators<T>&, int count, double gamma_d, V* overlap) {
    in_groups<most_packs>(count, [&](auto P, int pack) SEQSGD_LAMBDA_INLINE {
      move_packs<P.value>(pack, gamma_d, overlap + pack);
    });
  }

 private:
  static constexpr int terms = sizeof(T) == 8 ? 7
                               : Shared ? 4
                                        : 3;  // of the series of 1 / N - 1, right to the rounding
                                              // of T where N^2 is within `reach` of 1
  static constexpr double reach = sizeof(T) == 4 && Shared ? 0x1p-6 : 0x1p-8;

  // Packs that are taken together, to share what is not done run by run. All copies of the code are
  // to give the same bits: hence no_contract().
  static constexpr int most_packs = sizeof(T) == 8 ? 1 : Shared ? 4 : 2;
  template <int P, class F>
  static SEQSGD_INLINE void in_groups(int count, F f, int pack = 0) {
    for (; pack + P <= count; pack += P) f(std::integral_constant<int, P>(), pack);
    if constexpr (P > 1) in_groups<P / 2>(count, f, pack);
  }

  // (Draws and moves are out of line, each for itself: what their loops have at hand should stay in
  // registers.)
  template <int P>
  __attribute__((noinline)) void move_packs(int pack, double gamma_d, V* overlap) const {
    if (one_sphere())
      move_as<P, true>(pack, gamma_d);
    else
      move_as<P, false>(pack, gamma_d);
    if (s_.plan.eta > 0)
      for (int k = 0; k < P; ++k) overlap[k] = recovered(pack + k);
  }

  template <class F>
  SEQSGD_INLINE void with_degree(F f) const {
    layout_.chi.of_normal().template with_degree<T>(f);
  }
  SEQSGD_INLINE Index n() const { return Shared ? 1 : rows_; }
  SEQSGD_INLINE bool one_sphere() const { return !Shared && s_.spheres.one(); }
  // What a row has of a step: its products with w* and with the direction of its part orthogonal to
  // w*, and the normal of its chi-square. The latter two are replaced by what the move takes of
  // them.
  struct Drawn {
    X a, b, chi;
    X& sb() { return b; }
    X& across() { return chi; }
  };
  Drawn* drawn(int pack) const {
    return reinterpret_cast<Drawn*>(reinterpret_cast<X*>(ws_.sum_draws.data()) +
                                    pack * ws_.sum_stride);
  }
  // Shared weights: z* or what gives its sums, then the orthogonal field, then the chi-square.
  X* shared_draws(int pack) const { return reinterpret_cast<X*>(drawn(pack) + 1); }
  const V* at(int pack, Index l) const { return group_.coords + 4 * (pack * n() + l); }
  SumRow<T>* rows_of(int pack) const {
    return static_cast<SumRow<T>*>(group_.sum_rows) + pack * n();
  }
  ScalarPhilox rejection(int lane, Index which) const {
    return ScalarPhilox(Purpose::rejection,
                        Address{s_.seed, Stream::data, group_.run[lane], std::uint64_t(step_)},
                        std::uint32_t(which));
  }

  // delta, and the losses.
  template <int P>
  SEQSGD_INLINE void evaluate(int pack, V* loss) const {
    const Index stride = even(layout_.noise);
    const V* normals = layout_.noise ? ws_.noise.data() + pack * stride : nullptr;
    V* delta = ws_.delta.data() + pack;
    if (task_.sums().link_of_sums)
      return task_.evaluate_sums<P>(star_ + pack, squares_ + pack, z_ + pack, normals, stride,
                                    delta, loss);
    for (int k = 0; k < P; ++k) {
      for (Index l = 0; l < L_; ++l)
        ws_.step_draws[l] = widened(Shared ? shared_draws(pack + k)[l] : drawn(pack + k)[l].a);
      loss[k] = task_.evaluate(ws_.step_draws.data(), z_ + pack + k,
                               normals ? normals + k * stride : nullptr, delta + k,
                               ws_.scratch.data(), group_.taken(pack + k));
    }
  }
  // Sums over tokens of z*, of its squares, and of z.
  template <int P>
  __attribute__((noinline)) void draw_shared(RunGenerators<T>& g, int pack) {
    X* y[P];
    for (int k = 0; k < P; ++k) y[k] = shared_draws(pack + k);
    draw_normals(g, pack, layout_.star + 2, y);
    Drawn* one[P];
    for (int k = 0; k < P; ++k) {
      one[k] = drawn(pack + k);
      one[k]->b = y[k][layout_.star] * T(group_.root_ones);
      one[k]->chi = y[k][layout_.star + 1];
    }
    with_degree([&](auto D) SEQSGD_LAMBDA_INLINE {
      for (Drawn* x : one) take_length<D.value>(*x);
    });
    for (int k = 0; k < P; ++k) {
      X u[ChiSquarePack::most_uniforms];
      g.each(pack + k, layout_.squares.uniforms(),
             [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { u[i] = uniform(word); });
      Drawn& x = *one[k];
      if (layout_.by_sums) {
        const TeacherSums sums = layout_.teacher_sums(y[k], u, group_.root_ones, [&](int lane) {
          return rejection((pack + k) * Pack::size + lane, 1);
        });
        star_[pack + k] = sums.star;
        squares_[pack + k] = sums.squares;
        x.a = y[k][0] * T(group_.root_ones);
      } else {
        V star{};
        for (Index l = 0; l < L_; ++l) star += widened(y[k][l]);
        x.a = narrowed(star, T());
        star_[pack + k] = star;
        squares_[pack + k] = V{};
      }
      const SumRow<T>& row = *rows_of(pack + k);
      scale_field(row, x);
      z_[pack + k] = at(pack + k, 0)[0] * star_[pack + k] + widened(row.dm * x.a + x.sb());
    }
  }
  template <int P>
  SEQSGD_INLINE void draw_row_fields(RunGenerators<T>& g, int pack) {
    with_degree([&](auto D) SEQSGD_LAMBDA_INLINE {
      if (one_sphere())
        layout_.solvable ? draw_row_fields<P, D.value, true, true>(g, pack)
                         : draw_row_fields<P, D.value, false, true>(g, pack);
      else
        layout_.solvable ? draw_row_fields<P, D.value, true, false>(g, pack)
                         : draw_row_fields<P, D.value, false, false>(g, pack);
    });
  }
  // Some rows at a time. What may cancel in a residual is summed in double: near a solution z and
  // z* are almost the same.
  template <int P, int D, bool Solvable, bool Global>
  __attribute__((noinline)) void draw_row_fields(RunGenerators<T>& g, int pack) {
    const SumRow<T>* row[P];
    Drawn* x[P];
    const V* c[P];
    V sum_star[P], sum_squares[P], sum_z[P], sum_lengths[P];
    for (int k = 0; k < P; ++k) {
      row[k] = rows_of(pack + k);
      x[k] = drawn(pack + k);
      c[k] = at(pack + k, 0);
      sum_star[k] = sum_squares[k] = sum_z[k] = sum_lengths[k] = V{};
    }
    for (Index begin = 0; begin < n(); begin += together) {
      const Index rows = std::min(together, n() - begin), end = begin + rows;
      X* out[P];
      for (int k = 0; k < P; ++k) out[k] = &x[k][begin].a;
      draw_normals(g, pack, even(3 * rows), out);
      X field[P], along[P], star[P], squares[P], lengths[P];  // (each a chain of its own)
      for (int k = 0; k < P; ++k) field[k] = along[k] = star[k] = squares[k] = lengths[k] = X{};
      for (Index l = begin; l < end; ++l)
        for (int k = 0; k < P; ++k) {
          const X a = x[k][l].a;
          take_length<D>(x[k][l]);
          scale_field(row[k][l], x[k][l]);
          field[k] += x[k][l].sb();
          if constexpr (Global) lengths[k] += x[k][l].across();
          if constexpr (Solvable) {
            const V wide_a = widened(a);
            along[k] += row[k][l].dm * a;
            sum_z[k] += c[k][4 * l] * wide_a;
            sum_star[k] += wide_a;
            sum_squares[k] += wide_a * wide_a;
          } else {
            along[k] += row[k][l].m() * a;
            star[k] += a;
            squares[k] += a * a;
          }
        }
      for (int k = 0; k < P; ++k) {
        sum_z[k] += widened(field[k] + along[k]);
        if constexpr (Global) sum_lengths[k] += widened(lengths[k]);
        if constexpr (Solvable) continue;
        sum_star[k] += widened(star[k]);
        sum_squares[k] += widened(squares[k]);
      }
    }
    for (int k = 0; k < P; ++k) {
      star_[pack + k] = sum_star[k];
      squares_[pack + k] = sum_squares[k];
      z_[pack + k] = sum_z[k];
      if constexpr (Global) lengths_[pack + k] = sum_lengths[k] + sum_squares[k];
    }
  }

  // From the normal of the chi-square to chi^2 + b^2, chi^2 times ones_ where b is a sum over
  // tokens. D: degree of the polynomial that does it.
  template <int D>
  SEQSGD_INLINE void take_length(Drawn& x) const {
    const X y = layout_.chi.of_normal().template at<D>(x.chi), b = x.b;
    x.across() = Shared ? T(ones_) * y + no_contract(b * b) : y + b * b;
  }
  SEQSGD_INLINE void scale_field(const SumRow<T>& row, Drawn& x) const {
    x.sb() = no_contract(sqrt_nonneg(row.square()) * x.b);
  }

  // gamma delta / d
  template <class U>
  struct Size {
    U once, half, twice;
    explicit Size(const U& e) : once(e), half(e * typename Element<U>::type(0.5)), twice(e + e) {}
    Size() = default;
  };
  // A row on its way, before division by N: by how much m shrinks and s^2 grows; N^2 - 1 of the row
  // alone.
  template <class U>
  struct Row {
    U p, growth, less, excess;
    SEQSGD_INLINE Row(const Size<U>& e, const U& m, const U& a, const U& sb, const U& across)
        : p(no_contract(e.once * a)),
          growth(no_contract(e.twice * (e.half * across - sb))),
          less(m - p),
          excess(growth - p * (less + m)) {}
  };

  template <int P, bool Global>
  SEQSGD_INLINE void move_as(int pack, double gamma_d) const {
    Drawn* x[P];
    SumRow<T>* rows[P];
    V long_e[P];
    X nu[P], near[P];  // how far N^2 may be from 1 in a short step
    Size<X> e[P];
    bool all_short[P], surely = !Shared;  // short, whatever the rows have drawn
    Whole whole[P];
    for (int k = 0; k < P; ++k) {
      x[k] = drawn(pack + k);
      rows[k] = rows_of(pack + k);
      long_e[k] = gamma_d * ws_.delta[pack + k];
      const X once = narrowed(long_e[k], T());
      e[k] = Size<X>(once);
      near[k] = X{} + T(reach);
      // Squares of what is smaller or larger may leave the range of single precision (`across` is
      // at least 10).
      if constexpr (sizeof(T) == 4)
        near[k] =
            choose((once == T(0)) | ((absolute(once) >= T(1e-17)) & (absolute(once) <= T(1e4))),
                   near[k], X{} - T(1));
      if constexpr (Global) {
        const V z = z_[pack + k];
        whole[k].excess =
            no_contract(long_e[k] * (long_e[k] * lengths_[pack + k] - (z + z))) * (1 / double(n()));
        const X excess = narrowed(whole[k].excess, T());
        all_short[k] = all_within(excess, near[k]);
        whole[k].is_short = absolute(excess) <= near[k];
        nu[k] = no_contract(inverse_root_less_one<terms>(excess));
        surely &= all_short[k];
      } else if constexpr (!Shared) {
        surely &= all_within(
            absolute(once) * (absolute(once) * T(layout_.longest) + T(4.04 * layout_.largest)),
            near[k]);
      }
    }
    const auto move = [&](auto Surely) SEQSGD_LAMBDA_INLINE {
      for (Index l = 0; l < n(); ++l)
        for (int k = 0; k < P; ++k) {
          SumRow<T>& to = rows[k][l];
          const Row<X> row(e[k], to.m(), x[k][l].a, x[k][l].sb(), x[k][l].across());
          if constexpr (!Global) nu[k] = no_contract(inverse_root_less_one<terms>(row.excess));
          if constexpr (!Global && !Surely.value) all_short[k] = all_within(row.excess, near[k]);
          X dm = nu[k] * row.less - row.p,
            dsquare = (nu[k] * nu[k] + (nu[k] + nu[k])) * (to.square() + row.growth) + row.growth;
          if (!Surely.value && __builtin_expect(!all_short[k], 0)) {
            if constexpr (!Global) whole[k].is_short = absolute(row.excess) <= near[k];
            const Increments taken =
                take_long<Global>(pack + k, l, long_e[k], whole[k], {dm, dsquare});
            dm = taken.m, dsquare = taken.square;
          }
          to.dm += dm;
          to.dsquare += dsquare;
        }
    };
    surely ? move(std::true_type()) : move(std::false_type());
  }
  V recovered(int pack) const {
    V m2{};
    for (Index l = 0; l < n(); ++l) {
      const V m = at(pack, l)[0] + widened(rows_of(pack)[l].dm);
      m2 += m * m;
    }
    return m2 / double(n());
  }

  // Steps that are not short, in double.
  struct Whole {
    Mask is_short;
    V excess;  // of all rows, where N is common to them
  };
  struct Increments {
    X m, square;
  };
  // With those of the runs whose step is not short.
  template <bool Global>
  __attribute__((noinline)) Increments take_long(int pack, Index l, const V& e, const Whole& whole,
                                                 Increments by) const {
    const SumRow<T>& increments = rows_of(pack)[l];
    Drawn& x = drawn(pack)[l];
    const V *c = at(pack, l), at_m = c[0] + widened(increments.dm),
            at_square = c[2] * c[2] + widened(increments.dsquare);
    const Row<V> row(Size<V>(e), at_m, widened(x.a), widened(x.sb()), widened(x.across()));
    const V excess = Global ? whole.excess : row.excess, inverse2 = 1.0 / (1.0 + excess),
            inverse = root(inverse2), nu = -excess * inverse2 / (1.0 + inverse);
    const V m = nu * at_m - no_contract(inverse * row.p),
            square = inverse2 * (row.growth - excess * at_square);
    return {choose(whole.is_short, by.m, narrowed(m, T())),
            choose(whole.is_short, by.square, narrowed(square, T()))};
  }

  const Task& task_;
  const Settings& s_;
  const DrawLayout& layout_;
  ReducedWorkspace& ws_;
  const Index L_, rows_;
  const double ones_;  // tokens to a row
  const LaneGroupState& group_;
  const Index step_;
  V star_[group_packs], squares_[group_packs], z_[group_packs],
      lengths_[group_packs];  // sums over tokens of z*, of its squares, of z; over rows of all
                              // squared lengths, if N is common to them
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
