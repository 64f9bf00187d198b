// Family activation.
#pragma once
#include "simd/vec.h"
