// Which token sees which weight, and which weights share a sphere: two separate things.
#pragma once

#include <utility>
#include <vector>

#include "seqsgd/state/sphere.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// The student's fields: field f is z_f = x_l . w_i (+ what the position adds), (l, i) = map[f].
struct FieldMap {
  struct Field {
    Index token, weight;
  };
  Index weights = 0;
  std::vector<Field> fields;

  Index size() const { return Index(fields.size()); }

  // Every token sees every weight.
  static FieldMap shared(Index L, Index p) {
    FieldMap map{p, {}};
    for (Index l = 0; l < L; ++l)
      for (Index i = 0; i < p; ++i) map.fields.push_back({l, i});
    return map;
  }
  // Token l sees weight l.
  static FieldMap per_token(Index L) {
    FieldMap map{L, {}};
    for (Index l = 0; l < L; ++l) map.fields.push_back({l, l});
    return map;
  }
};

// Sets of weights; the squared norms over d of each set sum up to its size.
struct Spheres {
  std::vector<std::vector<Index>> members;

  static Spheres own(Index weights) {
    Spheres out;
    for (Index i = 0; i < weights; ++i) out.members.push_back({i});
    return out;
  }
  static Spheres one(Index weights) {
    Spheres out;
    out.members.resize(1);
    for (Index i = 0; i < weights; ++i) out.members[0].push_back(i);
    return out;
  }
};

inline FieldMap field_map(Weights weights, Index L) {
  return weights == Weights::shared ? FieldMap::shared(L, 1) : FieldMap::per_token(L);
}
inline Spheres spheres(Weights weights, Index L) {
  const Index p = weights == Weights::shared ? 1 : L;
  return weights == Weights::global ? Spheres::one(p) : Spheres::own(p);
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
