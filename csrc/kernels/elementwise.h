// Family elementwise.
#pragma once
#include "base/types.h"
