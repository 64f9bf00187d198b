// Family loss.
#pragma once
#include "base/types.h"
