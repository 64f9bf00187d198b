// Family optimizer.
#pragma once
#include "base/types.h"
