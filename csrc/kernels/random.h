// Family random.
#pragma once
#include "base/types.h"
