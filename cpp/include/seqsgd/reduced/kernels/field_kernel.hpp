// A step of the reduced dynamics for the runs of a pack: draws, fields, delta, and how the
// coordinates move. Everything but students of sums in the commonest case (sum_kernel.hpp).
#pragma once

#include "seqsgd/reduced/kernels/draw_layout.hpp"
#include "seqsgd/reduced/kernels/moves.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// What the compiler is told of a task. K: directions of P beside w*, -1 for any number. Common:
// weights shared by all tokens, a student that tells them apart, and DrawLayout::common; then
// also whether there is P.
template <int K_, bool Common_ = false, bool Encoded_ = false>
struct KernelKind {
  static constexpr int K = K_;
  static constexpr bool common = Common_, encoded = Encoded_;
};

template <class Kind, class T>
class FieldKernel {
  using V = Pack;
  static constexpr int K = Kind::K;

 public:
  FieldKernel(const Task& task, const Settings& s, const Coordinates& c, const DrawLayout& layout,
              ReducedWorkspace& ws, const LaneGroupState& group, Index step)
      : task_(task), s_(s), c_(c), layout_(layout), ws_(ws), group_(group), step_(step) {}

  // Draws the fields of the first packs and leaves delta, and the losses.
  SEQSGD_INLINE void draw_fields(RunGenerators<T>& g, int count, V* loss) {
    for (int pack = 0; pack < count; ++pack) loss[pack] = draw_fields(g, pack);
  }
  // One step of the first packs, and their squared overlaps, if somebody looks for passages.
  SEQSGD_INLINE void move(RunGenerators<T>& g, int count, double gamma_d, V* overlap) {
    for (int pack = 0; pack < count; ++pack) overlap[pack] = move(g, pack, gamma_d);
  }

 private:
  SEQSGD_INLINE V draw_fields(RunGenerators<T>& g, int pack) {
    V *a = ws_.step_draws.data() + pack * ws_.stride, *b = a + layout_.star,
      *z = ws_.z.data() + pack * ws_.seen, *t = ws_.t.data() + pack * c_.n,
      *u = a + ws_.uniforms_at;
    draw_doubles(g, pack, layout_.star + layout_.field + (shared() ? layout_.row_draws : 0), a);
    if (!Kind::common) draw_uniforms(g, pack, layout_.uniforms, u);
    const V* normals = layout_.noise ? ws_.noise.data() + pack * even(layout_.noise) : nullptr;
    V* delta = ws_.delta.data() + pack * ws_.seen;
    TeacherSums sums_of;
    if (mixed() && !layout_.by_sums) mix(a);
    Local own_values;
    V* x = values(own_values);
    if (!sums()) {
      if (mixed()) mix(b);
      for (Index l = 0; l < c_.L; ++l) {
        if (l == 0 || !shared()) {
          load(at(pack, l), x);
          t[l] = norm_orthogonal(x);
        }
        z[l] = x[0] * a[l] + t[shared() ? 0 : l] * b[l] + offset(pack, l, x);
      }
    } else if (shared()) {
      load(at(pack, 0), x);
      t[0] = norm_orthogonal(x);
      b[0] *= group_.root_ones;
      if (layout_.by_sums) {
        sums_of = layout_.teacher_sums(a, u, group_.root_ones, rejection(pack, c_.n));
      } else {
        for (Index l = 0; l < c_.L; ++l) sums_of.star += a[l];
      }
      ws_.total[pack] = sums_of.star;
      V all = x[0] * sums_of.star + t[0] * b[0];
      if (encoded() || injected())
        for (Index l = 0; l < c_.L; ++l) all += offset(pack, l, x);
      z[0] = all;
    } else {
      V sum{}, other{};  // two chains of sums
      const V* c = at(pack, 0);
      for (Index l = 0; l < c_.L; ++l, c += 2 * (followed() + 1)) {
        load(c, x);
        const V length = norm_orthogonal(x);
        t[l] = length;
        sum += x[0] * a[l] + offset(pack, l, x);
        other += length * b[l];
      }
      z[0] = sum + other;
    }
    if (!layout_.by_sums)
      return task_.evaluate(a, z, normals, delta, ws_.scratch.data(), group_.taken(pack));
    V loss;
    task_.evaluate_sums<1>(&sums_of.star, &sums_of.squares, z, normals, 0, delta, &loss);
    return loss;
  }

  SEQSGD_INLINE V move(RunGenerators<T>& g, int pack, double gamma_d) {
    if (shared()) return move_shared(pack, gamma_d);
    if (s_.spheres.one()) return move_one_sphere(g, pack, gamma_d);
    return move_rows(g, pack, gamma_d);
  }

  // What is known when this is compiled, and what is not.
  SEQSGD_INLINE bool shared() const { return Kind::common || c_.shared; }
  SEQSGD_INLINE bool encoded() const { return Kind::common ? Kind::encoded : c_.encoded; }
  SEQSGD_INLINE bool sums() const { return !Kind::common && layout_.sums; }
  SEQSGD_INLINE bool rest() const { return Kind::common || c_.rest; }
  SEQSGD_INLINE bool mixed() const { return !Kind::common && layout_.mixed; }
  SEQSGD_INLINE bool projected() const { return !Kind::common && s_.projected; }
  SEQSGD_INLINE bool injected() const {
    return !Kind::common && s_.position == PositionKind::injected;
  }
  SEQSGD_INLINE Index turns() const { return Kind::common ? Index(K == 1) : layout_.turns; }
  SEQSGD_INLINE Index directions() const { return K >= 0 ? K : c_.r; }
  SEQSGD_INLINE Index followed() const { return directions() + 1; }

  static SEQSGD_INLINE V value(const V* c, Index k) { return c[2 * k] + c[2 * k + 1]; }
  V* at(int pack, Index i) const { return group_.coords + 2 * (c_.r + 2) * (pack * c_.n + i); }
  const V* P(int pack, Index l) const { return group_.P + (c_.r + 1) * (pack * c_.L + l); }
  auto rejection(int pack, Index i) const {
    return [this, pack, i](int lane) {
      return ScalarPhilox(Purpose::rejection,
                          Address{s_.seed, Stream::data, group_.run[pack * Pack::size + lane],
                                  std::uint64_t(step_)},
                          std::uint32_t(i));
    };
  }

  // Independent to correlated normals across tokens, in place.
  void mix(V* x) const {
    const CovarianceFactor& f = s_.tokens.factor;
    for (Index i = c_.L - 1; i >= 0; --i) {
      V& y = x[f.order[i]];
      y *= f.F[i * c_.L + i];
      for (Index k = 0; k < i; ++k) y += f.F[i * c_.L + k] * x[f.order[k]];
    }
  }
  // delta^T C delta
  V spread(const V* delta) const {
    const CovarianceFactor& f = s_.tokens.factor;
    V q{};
    for (Index k = 0; k < c_.L; ++k) {
      V y{};
      for (Index i = k; i < c_.L; ++i) y += f.F[i * c_.L + k] * delta[f.order[i]];
      q += y * y;
    }
    return q;
  }

  // Room for the coordinates of a weight vector, on the stack where their number is known.
  using Local = V[K >= 0 ? K + 2 : 1];
  SEQSGD_INLINE V* values(V* local) const { return K >= 0 ? local : ws_.x.data(); }
  SEQSGD_INLINE void load(const V* c, V* x) const {
    for (Index k = 0; k < directions() + 2; ++k) x[k] = c[2 * k] + c[2 * k + 1];
  }

  // Length of the part of a weight vector orthogonal to w*.
  SEQSGD_INLINE V norm_orthogonal(const V* x) const {
    if constexpr (K == 0) return x[1];
    V q{};
    for (Index k = 1; k < directions() + 2; ++k) q += x[k] * x[k];
    return root(q);
  }
  // e_l + c_l
  SEQSGD_INLINE V offset(int pack, Index l, const V* x) const {
    V e{};
    if (encoded()) {
      const V* p = P(pack, l);
      for (Index k = 0; k < directions() + 1; ++k) e += p[k] * x[k];
    }
    if (injected()) e += s_.c[l];
    return e;
  }

  // v, from its products V0 with w*, B with the direction of its part orthogonal to w* (length t),
  // Y with b_1 .. b_r through P, and normals for the directions across these; n = ||delta||.
  // Returns its squared length in the directions that are followed.
  SEQSGD_INLINE V gather(const V* x, const V& t, const V& V0, const V& B, const V* Y, const V& n,
                         const V* normals, V* v) const {
    v[0] = V0;
    if constexpr (K == 0) {
      v[1] = rest() ? B : V{};
      return V0 * V0 + v[1] * v[1];
    } else if constexpr (K == 1) {  // one direction across: a quarter turn of (u, s) / t
      const V inverse = choose(t > 0.0, 1.0 / t, V{}), cu = x[1] * inverse,
              cs = choose(t > 0.0, x[2] * inverse, V{} + 1.0), y = n * normals[0];
      v[1] = B * cu + y * cs + Y[0];
      v[2] = B * cs - y * cu;
      return V0 * V0 + v[1] * v[1] + v[2] * v[2];
    } else {
      const Index D = c_.across;
      const V inverse = choose(t > 0.0, 1.0 / t, V{});
      V along{};
      const auto direction = [&](Index k) SEQSGD_LAMBDA_INLINE {  // of the part of w orthogonal to
                                                                  // w*; the last one if that is 0
        return choose(t > 0.0, V(x[k + 1] * inverse), V{} + (k + 1 == D ? 1.0 : 0.0));
      };
      const auto normal = [&](Index k) SEQSGD_LAMBDA_INLINE { return D < 2 ? V{} : normals[k]; };
      for (Index k = 0; k < D; ++k) along += direction(k) * normal(k);
      V q = V0 * V0;
      v[c_.r + 1] = V{};
      for (Index k = 0; k < D; ++k) {
        v[k + 1] =
            B * direction(k) + n * (normal(k) - direction(k) * along) + (k < c_.r ? Y[k] : V{});
        q += v[k + 1] * v[k + 1];
      }
      return q;
    }
  }

  // v . w / sqrt d
  SEQSGD_INLINE V along_w(const V* x, const V* v) const {
    const Index n = followed();
    V y = x[n] * v[n];
    for (Index k = 0; k < n; ++k) y += x[k] * v[k];
    return y;
  }
  // ||w + g (pull w - v)||^2 / d. (Of a difference of two products either may become the fused one,
  // and a copy of this code the other: here is but one.)
  V grown(const V* at, const V* v, const Move& a) const {
    const Index n = followed();
    V q{};
    for (Index k = 0; k < n; ++k) {
      const V x = at[k] + a.g * (a.pull * at[k] - v[k]);
      q += x * x;
    }
    const V s = at[n], y = s + a.growth(s, v[n]);
    return q + y * y;
  }
  // Increments go to sums of their own, which are brought into the coordinates once a block: none
  // is lost, however small.
  SEQSGD_INLINE void apply(V* c, const V* at, const V* v, const Move& a) const {
    const Index n = followed();
    for (Index k = 0; k < n; ++k) c[2 * k + 1] += a.change(at[k], a.g * (a.pull * at[k] - v[k]));
    if (rest()) c[2 * n + 1] += a.change(at[n], a.growth(at[n], v[n]));
  }
  // N^2 - 1 from v . w and ||v||^2 (both in units of the squared radius), and the pull of the
  // projected step.
  SEQSGD_INLINE V excess(const V& along, const V& size, Move& a) const {
    a.pull = projected() ? along : V{};
    return projected() ? a.g * a.g * (size - along * along) : a.g * (a.g * size - 2.0 * along);
  }
  SEQSGD_INLINE V move_shared(int pack, double gamma_d) {
    const Index r = directions();
    Local at_local, v_local;
    V Y_local[K > 0 ? K : 1], *x = values(at_local), *v = K >= 0 ? v_local : ws_.v.data(),
                              *Y = K >= 0 ? Y_local : ws_.v.data() + c_.r + 3;
    const V *delta = ws_.delta.data() + pack * ws_.seen,
            *a = ws_.step_draws.data() + pack * ws_.stride, *b = a + layout_.star,
            *row_draws = b + layout_.field;
    V V0{}, B{}, n2{};
    if (sums()) {
      V0 = delta[0] * ws_.total[pack];
      B = delta[0] * b[0];
      n2 = delta[0] * delta[0] * group_.ones;
    } else {
      for (Index l = 0; l < c_.L; ++l) {
        V0 += delta[l] * a[l];
        B += delta[l] * b[l];
        n2 += delta[l] * delta[l];
      }
      if (mixed()) n2 = spread(delta);
    }
    for (Index k = 0; k < r; ++k) Y[k] = V{};
    if (encoded())
      for (Index l = 0; l < c_.L; ++l) {
        const V *p = P(pack, l), D = delta[sums() ? 0 : l];
        V0 += D * p[0];
        for (Index k = 0; k < r; ++k) Y[k] += D * p[k + 1];
      }
    V* c = at(pack, 0);
    load(c, x);
    Move move;
    move.g = V{} + gamma_d;
    move.untracked_norm2 =
        n2 * layout_.chi.template draw<Kind::common>(
                 row_draws + turns(), a + ws_.uniforms_at + layout_.squares.uniforms(),
                 rejection(pack, 0));
    const V size = gather(x, ws_.t[pack], V0, B, Y, turns() ? root(n2) : n2, row_draws, v) +
                   move.untracked_norm2;
    move.shrink(excess(along_w(x, v), size, move), [&] { return grown(x, v, move); });
    apply(c, x, v, move);
    return s_.plan.eta > 0 ? recovered(pack, c) : V{};
  }

  // m^2 + ||projection of w / sqrt d on span(P)||^2
  SEQSGD_INLINE V recovered(int pack, const V* c) const {
    const V m = value(c, 0), m2 = m * m;
    if (!encoded()) return m2;
    const V* out = group_.outside + pack * (c_.r + 1);
    V q = m2, y = out[0] * m;
    for (Index k = 1; k < followed(); ++k) {
      q += value(c, k) * value(c, k);
      y += out[k] * value(c, k);
    }
    return m2 + (q - y * y);
  }

  // What one pack of a row has of a step's draws, and where.
  struct Row {
    V *c, delta;
    const V *a, *b, *t, *p, *row_draws, *u;
  };
  // Draws what the rows l, l + 1, ... have of their own: normals, and uniforms behind them.
  Row draw_rows(RunGenerators<T>& g, int pack, Index l) {
    const Index rows = std::min(DrawLayout::rows_together, c_.n - l);
    V *row_draws = ws_.row_draws.data(), *u = row_draws + even(rows * layout_.row_draws);
    draw_doubles(g, pack, rows * layout_.row_draws, row_draws);
    draw_uniforms(g, pack, rows * layout_.chi.uniforms(), u);
    const V* step_draws = ws_.step_draws.data() + pack * ws_.stride + l;
    return {at(pack, l),
            ws_.delta[pack * ws_.seen + (sums() ? 0 : l)],
            step_draws,
            step_draws + layout_.star,
            ws_.t.data() + pack * c_.n + l,
            encoded() ? P(pack, l) : nullptr,
            row_draws,
            u};
  }
  SEQSGD_INLINE void next(Row& x, const V* delta) const {
    ++x.a, ++x.b, ++x.t;
    x.u += layout_.chi.uniforms();
    x.c += 2 * (followed() + 1);
    x.row_draws += layout_.row_draws;
    if (encoded()) x.p += c_.r + 1;
    if (!sums()) x.delta = *delta;
  }

  // v of a row; returns ||v||^2, of which across2 is in directions that are not followed.
  SEQSGD_INLINE V gather_row(const Row& x, const V* at, int pack, Index l, V* v,
                             V& untracked_norm2) const {
    V V0 = x.delta * *x.a, Y{};
    if (encoded()) {
      V0 += x.delta * x.p[0];
      if (K != 0 && c_.r > 0) Y = x.delta * x.p[1];
    }
    untracked_norm2 =
        x.delta * x.delta * layout_.chi.draw(x.row_draws + turns(), x.u, rejection(pack, l));
    return gather(at, *x.t, V0, x.delta * *x.b, &Y, absolute(x.delta), x.row_draws, v) +
           untracked_norm2;
  }

  // Calls f(row, l) for all rows, some of them drawn at a time.
  template <class F>
  SEQSGD_INLINE void each_row(RunGenerators<T>& g, int pack, F f) {
    for (Index begin = 0; begin < c_.n; begin += DrawLayout::rows_together) {
      const Index end = std::min(begin + DrawLayout::rows_together, c_.n);
      Row x = draw_rows(g, pack, begin);
      const V* delta = ws_.delta.data() + pack * ws_.seen + (sums() ? 0 : begin);
      for (Index l = begin; l < end; ++l) {
        f(x, l);
        if (l + 1 < end) next(x, sums() ? delta : ++delta);
      }
    }
  }

  V move_rows(RunGenerators<T>& g, int pack, double gamma_d) {
    V m2{};
    each_row(g, pack, [&](const Row& x, Index l) SEQSGD_LAMBDA_INLINE {
      V at[3], v[3];  // r is 0 or 1
      load(x.c, at);
      Move move;
      move.g = V{} + gamma_d;
      const V size = gather_row(x, at, pack, l, v, move.untracked_norm2);
      move.shrink(excess(along_w(at, v), size, move), [&] { return grown(at, v, move); });
      apply(x.c, at, v, move);
      if (s_.plan.eta > 0) m2 += value(x.c, 0) * value(x.c, 0);
    });
    return m2 / double(c_.n);
  }

  V move_one_sphere(RunGenerators<T>& g, int pack, double gamma_d) {
    const double share = 1 / double(c_.n);
    const Index width =
        c_.r + 3;  // v of a row, and its squared length in directions that are not followed
    V along{}, size{}, m2{}, *v = ws_.v.data();
    each_row(g, pack, [&](const Row& x, Index l) SEQSGD_LAMBDA_INLINE {
      V at[3];
      load(x.c, at);
      size += gather_row(x, at, pack, l, v + l * width, v[l * width + width - 1]);
      along += along_w(at, v + l * width);
    });
    Move move;
    move.g = V{} + gamma_d;
    move.shrink(excess(along * share, size * share, move), [&] {
      V q{};
      for (Index l = 0; l < c_.n; ++l) {
        V here[3];
        load(at(pack, l), here);
        move.untracked_norm2 = v[l * width + width - 1];
        q += grown(here, v + l * width, move);
      }
      return q * share;
    });
    for (Index l = 0; l < c_.n; ++l, v += width) {
      V *c = at(pack, l), here[3];
      load(c, here);
      move.untracked_norm2 = v[width - 1];
      apply(c, here, v, move);
      if (s_.plan.eta > 0) m2 += value(c, 0) * value(c, 0);
    }
    return m2 * share;
  }

  const Task& task_;
  const Settings& s_;
  const Coordinates& c_;
  const DrawLayout& layout_;
  ReducedWorkspace& ws_;
  const LaneGroupState& group_;
  const Index step_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
