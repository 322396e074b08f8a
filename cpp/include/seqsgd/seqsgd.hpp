// The whole core: tasks, and the sampled dynamics. Header-only; needs Eigen and C++17.
#pragma once

#include "simulation.hpp"
